"""The page's compact encoding of numbers: a separate decoder gives back what was encoded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticity_bench.page.packing import pack_rows, pack_values
from tests.support.packed_text import seed_values, unpacked

WHOLE = st.integers(-(2**28) + 1, 2**28 - 1)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "A"), (1, "C"), (-1, "D"), (15, "e"), (16, "gB"), (-16, "hB"), (123, "2H")]
)
def test_it_is_the_coding_of_source_maps(number: int, text: str) -> None:
    assert pack_rows([[number]]) == [text]


@settings(deadline=None)
@given(st.lists(st.lists(st.none() | WHOLE, max_size=20), max_size=6))
def test_numbers_come_back(rows: list[list[int | None]]) -> None:
    assert [unpacked(text) for text in pack_rows(rows)] == rows


@pytest.mark.parametrize("number", [2**28, -(2**28)])
def test_larger_numbers_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"{abs(number)} is too large"):
        pack_rows([[0, number]])


def test_values_keep_three_decimals() -> None:
    values = np.random.default_rng(0).normal(0, 3, (3, 20))
    values[0, 3] = np.nan
    for row, entry in zip(values, pack_values(list(values)), strict=True):
        found = np.array(seed_values(entry), dtype=float)
        np.testing.assert_allclose(found, row, atol=5.1e-4)


def test_values_that_diverged_do_not_coarsen_the_others() -> None:
    assert pack_values([np.array([0.12345, 1e30]), np.array([np.inf, np.nan, 1234.56789])]) == [
        [0.1235, 1e30],
        [None, None, 1235.0],
    ]
