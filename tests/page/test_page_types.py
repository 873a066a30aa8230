"""The page's scripts: the TypeScript compiler checks that they use the page's data with the right types."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench.page.document import ASSETS, SCRIPTS, ReportedRuns, page_data
from tests.support.fake_scores import fake_scores
from tests.support.paths import REPOSITORY
from tests.support.typescript import type_errors

FOLDER = REPOSITORY / "plasticity_bench" / "page" / ASSETS
TYPES = "types.d.ts"


def test_the_compiler_finds_nothing() -> None:
    assert type_errors([FOLDER / name for name in (TYPES, *SCRIPTS)]) == []


#: Script -> (a right access in it, a wrong one).
BROKEN = {
    "state.js": ("DATA.methods[row.method]", "DATA.methodz[row.method]"),
    "detail.js": ("row.lowest[1]", "row.lowest[2]"),
    "table.js": ("comparison.p <= DATA.level", "comparison.q <= DATA.level"),
    "format.js": ("value.toFixed(1)", "value.toFixd(1)"),
}


def test_wrong_accesses_are_found(tmp_path: Path) -> None:
    for script in (TYPES, *SCRIPTS):
        shutil.copy(FOLDER / script, tmp_path)
    for script, (right, wrong) in BROKEN.items():
        text = (tmp_path / script).read_text()
        assert right in text
        (tmp_path / script).write_text(text.replace(right, wrong, 1))
    errors = type_errors([tmp_path / script for script in (TYPES, *SCRIPTS)])
    for script in BROKEN:
        found = next(line for line in errors if script in line)
        assert re.search("does not exist|has no element", found)


def test_every_script_is_checked_and_short() -> None:
    own = {path.name for path in FOLDER.glob("*.js") if not path.name.startswith("uPlot")}
    assert own == set(SCRIPTS)
    for name in (TYPES, *SCRIPTS):
        lines = (FOLDER / name).read_text().splitlines()
        assert name == TYPES or lines[0] == "// @ts-check"
        assert max(map(len, lines)) < 110, name


def fields(interface: str) -> set[str]:
    """Names of the fields of an interface in types.d.ts, without those that it inherits."""
    text = re.sub(r"/\*\*.*?\*/", "", (FOLDER / TYPES).read_text(), flags=re.DOTALL)
    match = re.search(rf"^interface {interface}\b[^{{]*{{\n(.*?)^}}", text, flags=re.DOTALL | re.MULTILINE)
    assert match, interface
    return set(re.findall(r"^  (\w+)\??:", match[1], flags=re.MULTILINE))


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """A report with tuned rows, so that every kind of object occurs."""
    return page_data(fake_scores(tuned=9), Path(), runs=ReportedRuns("runs", [("digits", "l2")]))


def test_types_are_those_of_the_data(data: dict[str, Any]) -> None:
    """The page's data have the names that the type declarations have."""
    stream = data["streams"][0]
    row = next(row for row in stream["rows"] if "tuning" in row)
    ranked = fields("RankedRow")
    optional = {"why", "range", "none", "reset"}
    assert set(data) == fields("PageData")
    assert set(data["methods"][0]) == fields("Method")
    assert set(data["methods"][0]["cited"][0]) == fields("Citation")
    assert set(stream) == fields("Stream")
    assert set(stream["grids"]["performance"]) == fields("Grid")
    assert set(data["overall"]) == fields("Aggregate")
    assert set(row["tuning"]) == fields("Tuning")
    assert set(row["none"]) == fields("Comparison")
    assert ranked - optional <= set(row) <= ranked | fields("StreamRow")
    assert set(row) >= fields("StreamRow") - {"settings", "streams"}
    aggregate = data["overall"]["rows"][-1]
    assert ranked - optional <= set(aggregate) <= ranked | fields("AggregateRow")
    assert set(aggregate) >= fields("AggregateRow")
