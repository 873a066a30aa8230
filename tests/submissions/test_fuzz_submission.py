"""Random damage to a submission: verification reports problems or accepts harmless changes; it never crashes.

Deterministic: hypothesis draws the same damage at every run.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasticity_bench.records.tables import parse_table
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.untrusted import Refused, parse_json
from plasticity_bench.submissions.verify import verify
from tests.support.fuzzing import VALUES, copied, fuzzed, places, watched
from tests.support.plugins import GOOD
from tests.support.submission_bench import submit


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission of a built-in and one of a plug-in, with the references."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "noise.py").write_text(GOOD)
    for method in ("none", "reset", "l2", f"{folder}/noise.py:Noise"):
        submit(folder / "submissions", folder / "runs", method)
    return folder / "submissions"


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
    """The change is found even if the forger updates the checksum: then method.json or a score differs."""
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
        forged = data.draw(st.booleans(), label="checksum updated")
        if forged:
            provenance = path.with_suffix(".json")
            document = json.loads(provenance.read_text())
            provenance.write_text(json.dumps({**document, "sha256": sha256(content)}))
        assert bool(examine(folder)) == (value != before or forged)  # forging writes other bytes


@fuzzed
@given(st.data())
def test_values_of_json_replaced_dropped_and_added(sound: Path, data: st.DataObject) -> None:
    with copied(sound) as folder:
        path = data.draw(st.sampled_from([p for p in files(folder) if p.suffix == ".json"]), label="file")
        document = json.loads(path.read_text())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.sampled_from(places(document) or [("x",)]), label="place")
            inner: Any = document
            for key in place[:-1]:
                inner = inner[key]
            action = data.draw(st.sampled_from(["replace", "drop", "add"]))
            if action == "drop":
                del inner[place[-1]]
                if not document:
                    break
            elif action == "add" and isinstance(inner, dict):
                inner[data.draw(st.text(max_size=8))] = data.draw(VALUES)
            else:
                inner[place[-1]] = copy.deepcopy(data.draw(VALUES))
        path.write_text(json.dumps(document), encoding="utf-8", errors="surrogatepass")
        examine(folder)


@fuzzed
@given(st.data())
def test_files_dropped_renamed_swapped_and_doubled(sound: Path, data: st.DataObject) -> None:
    with copied(sound) as folder:
        path, other = (data.draw(st.sampled_from(files(folder))) for _ in range(2))
        names = [
            "seed-002.csv",
            "seed-2.csv",
            "x.json",
            "seed-000.json",
            "..csv",
            "fresh-002.csv",
            "fresh-000.json",
        ]
        name = data.draw(st.sampled_from(names))
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
        unchanged = (action == "swap" and left == right) or (action == "rename" and path.name == name)
        assert bool(examine(folder)) != unchanged


def attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """(what was read, "") or (None, the line that refuses it)."""
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
