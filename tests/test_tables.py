"""Tables are read fast, and as strictly as field by field."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from plasticity_bench.decimals import _together, numbers_as_written
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
    data = table(task, field).encode()
    fast = _regular(data, NAMES, WHOLE)
    assert fast is not None
    assert outcome(lambda: fast) == outcome(lambda: _line_by_line(data, NAMES, WHOLE))


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
        damaged = bytes(changed)
        fast = outcome(lambda damaged=damaged: _regular(damaged, NAMES, WHOLE))  # type: ignore[misc]
        slow = outcome(lambda damaged=damaged: _line_by_line(damaged, NAMES, WHOLE))  # type: ignore[misc]
        assert fast is None or fast == slow
        accepted += fast is not None
    assert 100 < accepted < 2500


def fields_of(texts: Sequence[str]) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Texts side by side, and where each begins and ends."""
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths + 1) - 1
    return ",".join(texts).encode(), ends - lengths, ends


def drawn(rng: np.random.Generator, n: int) -> np.ndarray:
    """Numbers of all kinds."""
    kinds = [
        rng.normal(size=n) * 10.0 ** rng.integers(-6, 18, n),
        rng.uniform(size=n),
        rng.integers(0, 2000, n) / 1797,
        rng.integers(-(10**6), 10**6, n).astype(float),
        rng.uniform(size=n).round(5),
        2.0 ** rng.integers(-20, 60, n),
        rng.integers(0, 2**63, n).view(np.float64),
        np.nextafter(2.0 ** rng.integers(-10, 50, n), 0),
    ]
    values = np.concatenate(kinds)
    return values[np.isfinite(values)]


def test_numbers_read_together_are_floats() -> None:
    values = drawn(np.random.default_rng(1), 4000)
    texts = list(map(repr, values.tolist()))
    found = numbers_as_written(*fields_of(texts))
    assert found.tobytes() == values.tobytes()
    assert len(numbers_as_written(b"", np.array([], dtype=int), np.array([], dtype=int))) == 0


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="no 64-bit mantissa: all go one by one")
def test_what_is_read_together_is_written_as_python_writes_it() -> None:
    """Other spellings, among them 17 digits that are not the closest or not the shortest."""
    rng = np.random.default_rng(2)
    texts = []
    for value in drawn(rng, 4000).tolist():
        text = repr(value)
        match rng.integers(6):
            case 0:
                place = int(rng.integers(len(text)))
                text = text[:place] + str(rng.choice(list("0123456789.-e"))) + text[place + 1 :]
            case 1:
                text = f"{value:.17g}"
            case 2:
                text = f"{value:.16g}"
            case 3:
                text = text[:-1] + str((int(text[-1]) + int(rng.choice([1, 2, 9]))) % 10)
            case 4:
                text = f"{value:.{rng.integers(1, 20)}f}"[:24]
        texts.append(text)
    data, starts, ends = fields_of(texts)
    values, sure = _together(np.frombuffer(data, dtype=np.uint8), starts, ends)
    for index in np.flatnonzero(sure):
        assert float(texts[index]) == values[index], texts[index]
        assert repr(float(texts[index])) == texts[index]
    # It is of use: most of what is written so is seen at once.
    plain = list(map(repr, rng.uniform(0, 50, 4000).tolist()))
    data, starts, ends = fields_of(plain)
    assert _together(np.frombuffer(data, dtype=np.uint8), starts, ends)[1].mean() > 0.95
