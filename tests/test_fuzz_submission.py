"""Random damage to a submission: verification answers with problems or accepts what is harmless, no more.

Deterministic: hypothesis draws the same damage at every run.
"""

from __future__ import annotations

import builtins
import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugins import GOOD
from submission_bench import submit

from plasticity_bench.files import sha256
from plasticity_bench.tables import parse_table
from plasticity_bench.untrusted import Refused, parse_json
from plasticity_bench.verify import verify

fuzzed = settings(
    derandomize=True,
    deadline=None,
    max_examples=80,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Values of every JSON type, and those that break naive readers.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=20),
    st.sampled_from([[], {}, [[]], {"a": {}}, "../../x", "<script>", "none", "-0.0", 2**53, 1e308, [0, 0]]),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission of a built-in and one of a plug-in, with the references beside them."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "noise.py").write_text(GOOD)
    for method in ("none", "reset", "l2", f"{folder}/noise.py:Noise"):
        submit(folder / "submissions", folder / "runs", method)
    return folder / "submissions"


@contextmanager
def copied(sound: Path) -> Iterator[Path]:
    """A copy, mended afterwards for the next example: to remove a tree takes longer than to verify it."""
    folder = sound.parent / "copy" / "submissions"
    if not folder.exists():
        shutil.copytree(sound, folder)
    try:
        yield folder
    finally:
        mend(folder, sound)


def mend(folder: Path, sound: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        wanted = sound / path.relative_to(folder)
        if path.is_symlink() or path.is_dir() != wanted.is_dir() or not wanted.exists():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for wanted in sound.rglob("*"):
        path = folder / wanted.relative_to(sound)
        if wanted.is_file() and not (path.is_file() and path.read_bytes() == wanted.read_bytes()):
            shutil.copy(wanted, path)
    assert contents(folder) == contents(sound)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Within, a file of the data kind that is opened outside ``folder`` is an error."""
    opened = os.open
    opens = builtins.open

    def check(path: Any) -> None:
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if text.endswith((".csv", ".json", ".py")) and str(folder) not in os.path.abspath(text):
            assert "plasticity_bench" in text or "site-packages" in text or "/lib/python" in text, text

    def watching_os(path: Any, *rest: Any, **named: Any) -> int:
        check(path)
        return opened(path, *rest, **named)

    def watching(path: Any, *rest: Any, **named: Any) -> Any:
        check(path)
        return opens(path, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watching_os)
        patch.setattr(builtins, "open", watching)
        yield


def examine(folder: Path) -> list[str]:
    """The problems of both; any exception but these is a failure of the test."""
    with watched(folder):
        report = verify([folder / "l2", folder / "noise"])
    lines = [str(problem) for problem in report.problems]
    assert all(line.isprintable() for line in lines)
    return lines


def files(folder: Path) -> list[Path]:
    return sorted(path for name in ("l2", "noise") for path in (folder / name).rglob("*") if path.is_file())


@fuzzed
@given(st.data())
def test_bytes_flipped(sound: Path, data: st.DataObject) -> None:
    with copied(sound) as folder:
        path = data.draw(st.sampled_from(files(folder)), label="file")
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        unchanged = bytes(content) == path.read_bytes()
        path.write_bytes(bytes(content))
        found = examine(folder)
        if path.suffix == ".csv" or path.name == "config.json":  # evidence: not a bit goes unnoticed
            assert bool(found) != unchanged


@fuzzed
@given(st.data())
def test_bytes_inserted_and_cut(sound: Path, data: st.DataObject) -> None:
    with copied(sound) as folder:
        path = data.draw(st.sampled_from(files(folder)), label="file")
        content = path.read_bytes()
        at = data.draw(st.integers(0, len(content)))
        inserted, cut = data.draw(st.binary(max_size=30)), data.draw(st.integers(0, 200))
        changed = content[:at] + inserted + content[at + cut :]
        path.write_bytes(changed)
        found = examine(folder)
        if path.suffix == ".csv":
            assert bool(found) == (changed != content)


@fuzzed
@given(st.data())
def test_numbers_of_a_table_replaced(sound: Path, data: st.DataObject) -> None:
    """Also where the forger mends the checksum beside it: then method.json or a score differs."""
    with copied(sound) as folder:
        path = data.draw(st.sampled_from([p for p in files(folder) if p.suffix == ".csv"]))
        lines = [line.split(",") for line in path.read_text().splitlines()]
        row = data.draw(st.integers(1, len(lines) - 1))
        column = data.draw(st.integers(0, len(lines[0]) - 1))
        before = lines[row][column]
        value = data.draw(st.one_of(st.floats(0, 1).map(repr), st.just(""), st.text(max_size=5)))
        lines[row][column] = value
        content = ("\n".join(",".join(line) for line in lines) + "\n").encode(errors="surrogatepass")
        path.write_bytes(content)
        mended = data.draw(st.booleans(), label="checksum mended")
        if mended:
            provenance = path.with_suffix(".json")
            document = json.loads(provenance.read_text())
            provenance.write_text(json.dumps({**document, "sha256": sha256(content)}))
        assert bool(examine(folder)) == (value != before or mended)  # mending writes other bytes


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    found = [path] if path else []
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        found += places(inner, (*path, key))
    return found


@fuzzed
@given(st.data())
def test_values_of_json_replaced_dropped_and_added(sound: Path, data: st.DataObject) -> None:
    with copied(sound) as folder:
        path = data.draw(st.sampled_from([p for p in files(folder) if p.suffix == ".json"]), label="file")
        document = json.loads(path.read_text())
        for _ in range(data.draw(st.integers(1, 3))):
            where = data.draw(st.sampled_from(places(document) or [("x",)]), label="where")
            inner: Any = document
            for key in where[:-1]:
                inner = inner[key]
            action = data.draw(st.sampled_from(["replace", "drop", "add"]))
            if action == "drop":
                del inner[where[-1]]
                if not document:
                    break
            elif action == "add" and isinstance(inner, dict):
                inner[data.draw(st.text(max_size=8))] = data.draw(VALUES)
            else:
                inner[where[-1]] = copy.deepcopy(data.draw(VALUES))
        path.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
        examine(folder)


@fuzzed
@given(st.data())
def test_files_dropped_renamed_swapped_and_doubled(sound: Path, data: st.DataObject) -> None:
    with copied(sound) as folder:
        path, other = (data.draw(st.sampled_from(files(folder))) for _ in range(2))
        name = data.draw(st.sampled_from(["seed-002.csv", "seed-2.csv", "x.json", "seed-000.json", "..csv"]))
        action = data.draw(st.sampled_from(["drop", "rename", "swap", "double", "link", "folder"]))
        if action == "drop":
            path.unlink()
        elif action == "rename":
            path.rename(path.with_name(name))
        elif action == "swap":
            left, right = path.read_bytes(), other.read_bytes()
            path.write_bytes(right)
            other.write_bytes(left)
        elif action == "double":
            shutil.copy(path, path.with_name(f"copy-{path.name}"))
        elif action == "link":
            path.unlink()
            path.symlink_to("/etc/passwd")
        else:
            path.unlink()
            path.mkdir()
        assert bool(examine(folder)) == (action != "swap" or left != right)


def attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """(what is read, "") or (None, the one line that refuses it)."""
    try:
        return read(*arguments), ""
    except Refused as error:
        line = str(error)
    assert line
    assert line.isprintable()
    return None, line


@fuzzed
@given(st.binary(max_size=300))
def test_json_of_any_bytes(data: bytes) -> None:
    value, refused = attempt(parse_json, data)
    if not refused:
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@fuzzed
@given(st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner)))
def test_json_of_any_value(value: Any) -> None:
    found, refused = attempt(parse_json, json.dumps(value).encode())
    if not refused:
        assert json.dumps(found) == json.dumps(value)


@fuzzed
@given(st.one_of(st.binary(max_size=100), st.text("0123456789.e-+nainf,\n _", max_size=60).map(str.encode)))
def test_tables_of_any_bytes(data: bytes) -> None:
    head = b"task,a,b\n"
    table, refused = attempt(parse_table, head + data, ["task", "a", "b"], {"task"})
    if not refused:
        lines = zip(*(table[name].tolist() for name in ("task", "a", "b")), strict=True)
        fields = [["" if v != v else repr(v) for v in rest] for _, *rest in lines]
        tasks = ["" if task != task else str(int(task)) for task in table["task"].tolist()]
        written = [",".join([task, *rest]) + "\n" for task, rest in zip(tasks, fields, strict=True)]
        assert "".join(written).encode() == data
