"""Every table has one spelling, and reading it returns what was written."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from plasticity_bench.records.tables import (
    COLUMNS,
    CONTROL_COLUMNS,
    YOUNGER_COLUMNS,
    Table,
    columns_held,
    parse_table,
    read_columns,
    read_many,
    to_csv,
)
from plasticity_bench.storage.untrusted import MAX_WHOLE, Refused

NAMES = ["task", "a", "b"]
WHOLE = frozenset({"task"})
FAULTS = [
    "1.50",
    "+1.5",
    "1_0.5",
    " 1.5",
    "1.5 ",
    "1",
    "nan",
    "NaN",
    "0x1p3",
    "1e5",
    "1.5e+00",
    "\u0663.5",
    "-",
]
WHOLE_FAULTS = ["1.0", "01", "+1", "-0", "1e3", "nan", "inf", str(MAX_WHOLE + 2), "9" * 400, "1_0"]


def table(task: str, a: str) -> str:
    return f"task,a,b\n0,0.1,\n{task},{a},-0.0\n2,1e-07,1.7976931348623157e+308\n"


@pytest.mark.parametrize("field", FAULTS)
def test_another_spelling_is_refused(field: str) -> None:
    with pytest.raises(Refused, match="not ASCII" if not field.isascii() else "line 3"):
        parse_table(table("1", field).encode(), NAMES, WHOLE)


@pytest.mark.parametrize("field", WHOLE_FAULTS)
def test_another_spelling_of_a_whole_number_is_refused(field: str) -> None:
    with pytest.raises(Refused, match="line 3"):
        parse_table(table(field, "0.5").encode(), NAMES, WHOLE)


@pytest.mark.parametrize("field", ["", "0.5", "inf", "-inf", "5e-324", "-1.0", "0.30000000000000004"])
@pytest.mark.parametrize("task", ["", "1", "-7", str(MAX_WHOLE)])
def test_what_is_written_so_is_read(task: str, field: str) -> None:
    found = parse_table(table(task, field).encode(), NAMES, WHOLE)
    wanted = [[0.0, float(task or "nan"), 2.0], [0.1, float(field or "nan"), 1e-07]]
    assert found["task"].tobytes() == np.array(wanted[0]).tobytes()
    assert found["a"].tobytes() == np.array(wanted[1]).tobytes()
    assert np.array_equal(found["b"], [math.nan, -0.0, 1.7976931348623157e308], equal_nan=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "other columns"),
        ("task,a\n0,0.5\n", "other columns"),
        ("task,a,b", "middle of a line"),
        ("task,a,b\n0,0.5,0.5", "middle of a line"),
        ("task,a,b\n0,0.5\n1,0.5,0.5\n", "line 2 has 2 fields, not 3"),
        ("task,a,b\n0,0.5,0.5\n\n", "line 3 has 1 fields, not 3"),
    ],
)
@pytest.mark.parametrize("read", [parse_table, lambda data, names, whole: read_columns(data, names)])
def test_what_is_no_table_is_refused(read: Callable[..., object], content: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read(content.encode(), NAMES, WHOLE)


def test_lines_must_be_even_where_strangers_write() -> None:
    """A field too many in one line and one too few in the next."""
    with pytest.raises(Refused, match="line 2 has 4 fields, not 3"):
        parse_table(b"task,a,b\n0,0.5,0.5,1\n0.5,0.5\n", NAMES, WHOLE)


def test_random_damage_is_refused_or_another_table() -> None:
    """If a changed table is accepted, its bytes are those that would be written for its numbers."""
    rng = np.random.default_rng(0)
    rows = [[float(i), *(rng.normal(size=2) * 10.0 ** rng.integers(-30, 30)).tolist()] for i in range(6)]
    rows[2][1] = math.nan
    data = to_csv(NAMES, rows)
    start = data.index(b"\n") + 1
    accepted = 0
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 3)):
            changed[rng.integers(start, len(data) - 1)] = rng.choice(list(b"0123456789.,-e+\n n_"))
        try:
            found = parse_table(bytes(changed), NAMES, WHOLE)
        except Refused:
            continue
        accepted += 1
        assert to_csv(NAMES, zip(*(column.tolist() for column in found.values()), strict=True)) == changed
    assert 100 < accepted < 2500


def drawn(rng: np.random.Generator, n: int) -> np.ndarray:
    """Numbers of all kinds."""
    kinds = [
        rng.normal(size=n) * 10.0 ** rng.integers(-6, 18, n),
        rng.uniform(size=n),
        rng.integers(0, 2000, n) / 1797,
        rng.integers(-(10**6), 10**6, n).astype(float),
        2.0 ** rng.integers(-20, 60, n),
        rng.integers(0, 2**63, n).view(np.float64),
        np.nextafter(2.0 ** rng.integers(-10, 50, n), 0),
    ]
    values = np.concatenate(kinds)
    return values[np.isfinite(values)]


def test_every_number_comes_back_bit_for_bit() -> None:
    values = drawn(np.random.default_rng(1), 400)
    half = len(values) // 2
    a, b = values[:half], np.where(np.arange(half) % 3 == 0, math.nan, values[half : 2 * half])
    data = to_csv(NAMES, zip(range(half), a.tolist(), b.tolist(), strict=True))
    for found in (parse_table(data, NAMES, WHOLE), read_columns(data, NAMES)):
        assert found["task"].tolist() == list(range(half))
        assert found["a"].tobytes() == a.tobytes()
        assert np.array_equal(found["b"], b, equal_nan=True)
    (only,) = read_columns(data, NAMES, {"a"}).items()
    assert only[0] == "a"
    assert only[1].tobytes() == a.tobytes()


@pytest.mark.parametrize("wanted", [("task", "a"), ("b", "task"), tuple(NAMES)])
def test_tables_read_together_are_those_read_one_by_one(wanted: tuple[str, ...]) -> None:
    rng = np.random.default_rng(3)
    values = np.frombuffer(rng.bytes(8 * 5 * 40 * 2)).reshape(5, 40, 2)
    values = np.where(np.abs(values) < 1e15, values, rng.normal(size=values.shape))  # all exponents below
    values[rng.uniform(size=values.shape) < 0.3] = np.nan
    data = [to_csv(NAMES, [[i, *row] for i, row in enumerate(table.tolist())]) for table in values]
    found = read_many(data, NAMES, wanted, 40)
    assert found is not None
    assert set(found) == set(wanted)
    for index, one in enumerate(data):
        for name, column in read_columns(one, NAMES, wanted).items():
            assert found[name][index].tobytes() == column.tobytes()


@pytest.mark.parametrize(
    "field", ["1e+16", "inf", "nan", "x", "1.2.3", "--", "1-2", "-", "e", "1 ", '"1"', "1,2"]
)
@pytest.mark.parametrize("place", [0, 7])
def test_what_cannot_be_read_together_is_left_to_one_by_one(field: str, place: int) -> None:
    lines = [f"{i},{field if i == place else '0.5'},1.5" for i in range(8)]
    odd = "\n".join(["task,a,b", *lines, ""]).encode()
    plain = odd.replace(f"{place},{field},".encode(), f"{place},0.5,".encode())
    assert read_many([plain, plain], NAMES, NAMES, 8) is not None
    assert read_many([plain, odd], NAMES, NAMES, 8) is None
    assert read_many([odd], NAMES, NAMES, 8) is None


def test_tables_of_other_lengths_are_not_read_together() -> None:
    long, short = (to_csv(NAMES, [[i, 0.5, 1.5] for i in range(n)]) for n in (6, 4))
    assert read_many([long, short], NAMES, NAMES, 5) is None
    assert read_many([long, long], NAMES, NAMES, 6) is not None
    assert read_many([long[:-1]], NAMES, NAMES, 6) is None
    assert read_many([long.replace(b"task", b"Task")], NAMES, NAMES, 6) is None
    assert (
        read_many([long.replace(b"5\n", b"5,\n", 1).replace(b"1,0.5,1.5\n", b"1,0.5\n")], NAMES, NAMES, 6)
        is None
    )


#: Columns of today's tables of each kind, and those of the first tables.
KINDS = [list(COLUMNS), [*COLUMNS, *CONTROL_COLUMNS]]
READERS: list[Callable[[bytes, list[str]], Table]] = [
    lambda data, columns: parse_table(data, columns, WHOLE | {"episodes"}),
    read_columns,
]


def numbered(columns: list[str], tasks: int = 3) -> bytes:
    """A table in which column j holds task + j / 8."""
    return to_csv(columns, [[float(task + j / 8) for j in range(len(columns))] for task in range(tasks)])


@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("read", READERS)
def test_older_tables_are_read_with_nan_in_the_younger_columns(
    read: Callable[[bytes, list[str]], Table], columns: list[str]
) -> None:
    older = [name for name in columns if name not in YOUNGER_COLUMNS]
    assert len(older) < len(columns)
    data = numbered(older)
    assert columns_held(data, columns) == older
    found = read(data, columns)
    assert list(found) == columns
    for name in columns:
        wanted = [task + older.index(name) / 8 if name in older else math.nan for task in range(3)]
        if name != "episodes":  # a whole number: written without the fraction
            assert np.array_equal(found[name], wanted, equal_nan=True), name
    assert columns_held(numbered(columns), columns) == columns


@pytest.mark.parametrize("columns", KINDS)
def test_older_tables_are_read_together(columns: list[str]) -> None:
    older = [name for name in columns if name not in YOUNGER_COLUMNS]
    needed = {"task", "weight_norm", "probe_retention"}
    for held in (older, columns):
        data = [numbered(held), numbered(held)]
        found = read_many(data, columns, needed, 3)
        assert found is not None
        assert set(found) == needed
        for name, values in read_columns(data[0], columns, needed).items():
            assert all(np.array_equal(row, values, equal_nan=True) for row in found[name]), name
    assert read_many([numbered(older), numbered(columns)], columns, needed, 3) is None


@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("read", READERS)
def test_a_table_has_all_younger_columns_or_none(
    read: Callable[[bytes, list[str]], Table], columns: list[str]
) -> None:
    """Also another order, a column twice, and one column too few."""
    younger = [name for name in columns if name in YOUNGER_COLUMNS]
    older = [name for name in columns if name not in YOUNGER_COLUMNS]
    some = [[name for name in columns if name != left_out] for left_out in younger]
    others = [[*older, *younger[::-1], younger[0]], [*columns[::-1]], [*older, older[-1]], older[:-1]]
    for head in [*some, *others]:
        with pytest.raises(Refused, match="other columns than this version records"):
            read(numbered(head), columns)
        assert read_many([numbered(head)], columns, {"task"}, 3) is None


def test_columns_of_a_head_that_is_no_text() -> None:
    for data in (b"", b"\xff\n", b"task\n", b"task,a,b\r\n"):
        with pytest.raises(Refused):
            columns_held(data, NAMES)
