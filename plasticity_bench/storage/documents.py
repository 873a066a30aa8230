"""JSON documents, with one frozen class each: the same class writes, reads and checks a document.

A document is read in two steps. ``untrusted.parse_object`` refuses bytes that are nested too deeply or hold
numbers or text that are too long. ``convert`` then checks every field's type and refuses unknown fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from plasticity_bench.storage.untrusted import Refused, parse_object, printable, same_json

#: Type of a setting's value in JSON.
Setting = bool | int | float | str | None

#: Longest value that a message shows, in characters.
MAX_SHOWN = 80


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of all documents and their parts. A field whose default is UNSET may be absent."""

    def as_json(self) -> dict[str, Any]:
        """The document as plain dicts, lists, numbers and strings, without the fields that are UNSET."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def to_bytes(self) -> bytes:
        """The content of the document's file: equal documents give equal bytes."""
        return (json.dumps(self.as_json(), indent=1, sort_keys=True) + "\n").encode()


DocumentT = TypeVar("DocumentT", bound=Document)


def parse_document(data: bytes, kind: type[DocumentT]) -> DocumentT:
    """The document in ``data``. Raises Refused if it is not a document of this class."""
    return convert(parse_object(data), kind)


def convert(value: Mapping[str, Any], kind: type[DocumentT]) -> DocumentT:
    """A parsed JSON object as a document. Raises Refused, whose message names the field that is wrong."""
    try:
        document = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Refused(_in_words(str(error), value)) from None
    # Parts that are dataclasses (the specs) ignore unknown fields; a whole number may stand for a float.
    if not same_json(document.as_json(), value):
        raise Refused(_first_difference(value, json.loads(json.dumps(document.as_json())), ""))
    return document


def shown(value: object) -> str:
    """A value from a stranger's file, as it may be printed."""
    return printable(json.dumps(value), MAX_SHOWN)


def _in_words(error: str, value: Mapping[str, Any]) -> str:
    """msgspec's message as ``stream.tasks is "x"; expected int``."""
    what, _, place = error.partition(" - at `$")
    path = place.rstrip("`").lstrip(".").replace("[...]", ".*")  # an entry of any name
    if match := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"{_joined(path, match[1])} is missing"
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        return f"{printable(_joined(path, match[1]), MAX_SHOWN)} is not an entry that this version knows"
    what = what.replace("`", "").replace("Expected", "expected")
    found = _at(value, path)
    return (
        f"{path}: {what}"
        if found is ...
        else f"{path or 'it'} is {shown(found)}; {what.partition(', got ')[0]}"
    )


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _at(value: Any, path: str) -> Any:
    """The value at a path such as ``stream.seeds[2]``; ``...`` if the path is not of one value."""
    for name, index in re.findall(r"([^.\[\]]+)|\[([^\]]*)\]", path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return ...
    return value


def _first_difference(found: Any, written: Any, path: str) -> str:
    """The first part of ``found`` that this version would write differently, as a message."""
    if isinstance(found, Mapping) and isinstance(written, Mapping):
        for name in found:
            if name not in written:
                inner = printable(_joined(path, name), MAX_SHOWN)
                return f"{inner} is not an entry that this version knows"
            if not same_json(found[name], written[name]):
                return _first_difference(found[name], written[name], _joined(path, name))
    if isinstance(found, list) and isinstance(written, list) and len(found) == len(written):
        index = next(i for i, pair in enumerate(zip(found, written, strict=True)) if not same_json(*pair))
        return _first_difference(found[index], written[index], f"{path}[{index}]")
    return f"{printable(path, MAX_SHOWN)} is {shown(found)}; this version writes {shown(written)}"
