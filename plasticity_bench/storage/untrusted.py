"""Reading files of strangers: links are not followed, nothing is imported, and every size is limited.

Content that is not accepted raises ``Refused``, whose message is one line: what is wrong with it.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Largest file of each kind, in bytes. A table of 1,000 tasks takes about 0.1 MB.
MAX_JSON, MAX_TABLE, MAX_SOURCE = 2_000_000, 16_000_000, 500_000
#: Most files and folders in one tree, and deepest nesting of folders in it.
MAX_FILES, MAX_FOLDERS_DEEP = 20_000, 6
#: Of a JSON value: deepest nesting, longest number (characters), longest text (characters).
MAX_DEPTH, MAX_NUMBER, MAX_TEXT = 12, 40, 2_000
#: Larger whole numbers are not exact as floating-point numbers.
MAX_WHOLE = 2**53
#: Most problems listed for one submission; further ones are only counted.
MAX_PROBLEMS = 50


class Refused(ValueError):
    """Content that is not accepted; the message is one line, without the file's name."""


def printable(text: str, longest: int = 200) -> str:
    """``text`` as it may be printed: on one line, at most ``longest`` characters of it, with control
    characters and surrogates as escapes."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: longest + 1])
    return shown if len(text) <= longest else f"{shown[:longest]}..."


def list_tree(root: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The files below ``root``. Links are not followed, and pipes and devices are not opened.

    Returns:
        Relative name -> size in bytes, of every plain file; and (name, reason) of everything else.
    """
    files: dict[str, int] = {}
    refused: list[tuple[str, str]] = []
    folders, entries = [(root, "", 0)], 0
    while folders:
        folder, prefix, depth = folders.pop()
        try:
            with os.scandir(folder) as found:
                listed = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            refused.append((prefix or ".", f"cannot be listed: {error.strerror}"))
            continue
        for entry in listed:
            entries += 1
            if entries > MAX_FILES:
                return files, [*refused, (".", f"holds more than {MAX_FILES} files")]
            name = f"{prefix}{entry.name}"
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                refused.append((name, f"cannot be looked at: {error.strerror}"))
                continue
            if stat.S_ISLNK(status.st_mode):
                refused.append((name, "is a symbolic link; submit the file itself"))
            elif stat.S_ISDIR(status.st_mode):
                if depth + 1 < MAX_FOLDERS_DEEP:
                    folders.append((folder / entry.name, f"{name}/", depth + 1))
                else:
                    refused.append((name, f"folders are nested more than {MAX_FOLDERS_DEEP} deep"))
            elif stat.S_ISREG(status.st_mode):
                files[name] = status.st_size
            else:
                refused.append((name, "is not a plain file"))
    return files, refused


def read_file(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most ``limit`` bytes. Raises Refused for anything else.

    Only the last part of the path is checked for links: check the folders with ``list_tree`` first.
    """
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # not every system has all of them
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(path, flags)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused("is not a plain file")
            data = file.read(limit + 1)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise Refused(f"is larger than {limit:,} bytes")
    return data


def parse_json(data: bytes) -> Any:
    """Parses a JSON value.

    Raises Refused if it has duplicate keys, NaN or infinities, numbers or text that are too long, deep
    nesting, or text that does not print on one line.
    """
    try:
        whole = data.decode("utf-8")
        value = json.loads(
            whole,
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_number,
            parse_constant=_constant,
        )
    except RecursionError:
        raise Refused(f"is nested more than {MAX_DEPTH} deep") from None
    except UnicodeDecodeError as error:
        raise Refused(f"is not UTF-8 text (byte {error.start})") from None
    except Refused:
        raise
    except ValueError as error:
        raise Refused(printable(str(error))) from None
    if (
        len(whole) <= MAX_TEXT
        and "\\" not in whole
        and whole.replace("\n", "").isprintable()
        and whole.count("{") + whole.count("[") <= MAX_DEPTH
    ):
        return value  # its texts are all short and printable, and it is not nested deeply
    for text, depth in _texts(value):
        if depth > MAX_DEPTH:
            raise Refused(f"is nested more than {MAX_DEPTH} deep")
        if len(text) > MAX_TEXT:
            raise Refused(f"holds a text of more than {MAX_TEXT} characters")
        if not text.isprintable():
            raise Refused(f'holds a text with control characters: "{printable(text, 60)}"')
    return value


def parse_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object. Raises Refused if ``parse_json`` does, or if it is another value."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise Refused("not a JSON object")
    return value


def same_json(left: Any, right: Any) -> bool:
    """Whether two JSON values are written in the same way: 1, 1.0 and true are three different values."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(f'holds the key "{printable(twice, 60)}" twice')
    return found


def _whole(text: str) -> int:
    if len(text) > MAX_NUMBER or abs(int(text)) > MAX_WHOLE:
        raise Refused(f"holds a whole number beyond {MAX_WHOLE}")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER else math.inf
    if not math.isfinite(value):
        raise Refused("holds a number that is too long or too large")
    return value


def _constant(text: str) -> float:
    raise Refused(f"holds {text}, which is not JSON")


def _texts(value: Any) -> Iterator[tuple[str, int]]:
    """Every text in ``value``, keys included, with its depth; and for every list or object an empty text."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            yield item, depth
        elif isinstance(item, Mapping):
            yield "", depth + 1
            waiting += [(part, depth + 1) for part in (*item.keys(), *item.values())]
        elif isinstance(item, list):
            yield "", depth + 1
            waiting += [(part, depth + 1) for part in item]


def is_name(text: str) -> bool:
    """Whether ``text`` may be the name of a submission's folder, on every operating system.

    It has lowercase letters, digits, + _ and -, and is not the name of a folder inside a submission.
    """
    reserved = re.fullmatch(r"con|prn|aux|nul|com\d|lpt\d|records|source", text)
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9+_-]{0,79}", text, re.ASCII)) and not reserved
