"""Tables are read fast, and as strictly as field by field."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from plasticity_bench.records import to_csv
from plasticity_bench.untrusted import MAX_WHOLE, Refused, _line_by_line, _regular, parse_table

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


def lines_of(text: str) -> list[str]:
    return text.split("\n")


def outcome(read: Callable[[], dict[str, np.ndarray] | None]) -> object:
    try:
        found = read()
    except Refused as error:
        return str(error)
    return None if found is None else {name: column.tobytes() for name, column in found.items()}


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
def test_both_ways_give_the_same_bits(task: str, field: str) -> None:
    lines = lines_of(table(task, field))
    fast = _regular(lines[1:-1], NAMES, WHOLE)
    assert fast is not None
    assert outcome(lambda: fast) == outcome(lambda: _line_by_line(lines, NAMES, WHOLE))


def test_random_damage_is_judged_alike() -> None:
    """Whatever bytes change: the fast way accepts only what the slow one does, with the same values."""
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
        lines = lines_of(changed.decode())
        fast = outcome(lambda lines=lines: _regular(lines[1:-1], NAMES, WHOLE))  # type: ignore[misc]
        slow = outcome(lambda lines=lines: _line_by_line(lines, NAMES, WHOLE))  # type: ignore[misc]
        assert fast is None or fast == slow
        accepted += fast is not None
    assert 100 < accepted < 2500
