"""Settings as text, and back."""

from __future__ import annotations

import doctest
import math
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasticity_bench.agents.methods import papers
from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import configuration
from plasticity_bench.records.documents import CellConfig
from plasticity_bench.registry import choices, create, settings
from plasticity_bench.registry.catalog import STREAMS
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.settings import (
    choice_text,
    parse_value,
    setting_text,
    setting_texts,
    split_settings,
)

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("abz09.-", min_size=1, max_size=5),
)
NAMES = st.text("abz-", min_size=1, max_size=5)


@given(VALUES)
def test_a_value_is_read_back_as_it_was(value: bool | int | float | str) -> None:
    read = parse_value(setting_text(value), value, "here")
    assert type(read) is type(value)
    assert read == value


@given(NAMES, st.dictionaries(NAMES, st.one_of(VALUES, st.none()), max_size=4))
def test_a_choice_is_read_back_as_it_was(
    name: str, values: dict[str, bool | int | float | str | None]
) -> None:
    texts = setting_texts(values)
    assert texts.keys() == {key for key, value in values.items() if value is not None}
    assert split_settings(choice_text(name, values)) == (name, texts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (0, "0"),
        (1_000_000, "1000000"),
        (1.0, "1"),
        (1e-5, "1e-05"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("cnn", "cnn"),
    ],
)
def test_texts_are_short(value: bool | int | float | str, text: str) -> None:
    assert setting_text(value) == text


def test_infinite_numbers_have_a_text_that_no_setting_takes() -> None:
    for value in (math.inf, math.nan):
        with pytest.raises(InputError, match="is not a finite number"):
            parse_value(setting_text(value), 1.0, "here")


@pytest.mark.parametrize("value", ["", "a,b=c", " a"])
def test_a_value_that_a_line_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"permuted-mnist: dataset is .*, which cannot be written"):
        choice_text("permuted-mnist", {"tasks": 3, "dataset": value})


def test_a_chosen_method_is_chosen_again_from_its_settings() -> None:
    chosen = choose_method("upgd:sigma=0.123456789,protect=false,lr=3e-4")
    again = choose_method(choice_text("upgd", chosen.settings))
    assert again.settings == chosen.settings
    assert choose_method("upgd", setting_texts(chosen.settings)).settings == chosen.settings


@pytest.mark.parametrize("module", [choices, create, settings, papers])
def test_examples_in_docstrings(module: ModuleType) -> None:
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 1
    assert found.failed == 0


def plan_config(stream: str, method: str) -> CellConfig:
    return configuration(choose_stream(stream), choose_method(method))


def test_a_later_setting_is_recorded_only_if_it_differs() -> None:
    """So records that are older than the setting stay valid."""
    for text, recorded in (("bit-flip", False), ("bit-flip:width=5", False), ("bit-flip:width=20", True)):
        config = plan_config(text, "none")
        assert ("width" in config.stream.settings) == recorded, text
        assert config.network.hidden == (20 if recorded else 5,)
    for text, recorded in (("redo+l2", False), ("redo:fresh_count=true+l2", True)):
        settings = plan_config("permuted-digits", text).method.settings
        assert ("redo.fresh_count" in settings) == recorded, text
        assert "l2.strength" in settings


@pytest.mark.parametrize("name", STREAMS)
def test_later_settings_of_streams_exist(name: str) -> None:
    chosen = choose_stream(name)
    assert set(chosen.cls.info.later) <= set(chosen.settings)
