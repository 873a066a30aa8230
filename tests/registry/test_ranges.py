"""The values that settings may have: declared for every number, and checked wherever a name is given."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest

from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.cli import main
from plasticity_bench.contract.definition import is_defined
from plasticity_bench.contract.results import Broken
from plasticity_bench.errors import InputError
from plasticity_bench.ranges import AT_LEAST_ONE, NOT_NEGATIVE, Range
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.registry.choices import choose_method, choose_stream
from tests.support.command_line import expect_one_line

#: Of every stream; checked where streams are chosen.
ELSEWHERE = {"tasks"}


@pytest.mark.parametrize("name", [*METHODS, *STREAMS])
def test_every_number_has_a_range_and_nothing_outside_is_taken(name: str) -> None:
    choose = choose_method if name in METHODS else choose_stream
    cls: Any = choose(name).cls
    numbers = {f.name for f in fields(cls) if type(f.default) in (int, float)} - ELSEWHERE
    assert {*cls.info.ranges} == numbers
    for setting, allowed in cls.info.ranges.items():
        default: Any = next(f.default for f in fields(cls) if f.name == setting)
        assert allowed.holds(default)
        step = 1 if type(default) is int else 1e-6
        for wrong in (allowed.low - step, allowed.high + step):
            if math.isfinite(wrong):
                with pytest.raises(InputError, match=f"{setting} must be {allowed}, not") as caught:
                    choose(f"{name}:{setting}={wrong:.9g}").make()
                assert "\n" not in str(caught.value)
                with pytest.raises(ValueError, match=setting):
                    cls(**{setting: wrong})


def test_what_a_range_holds() -> None:
    half_open = Range(0, 1, below=True)
    assert [half_open.holds(x) for x in (-0.1, 0, 0.5, 1, math.nan, math.inf)] == [False, True, True] + [
        False
    ] * 3
    assert not Range().holds(math.inf)
    assert Range(0, above=True).holds(1e-300)
    assert not Range(0, above=True).holds(0)
    texts = [str(r) for r in (Range(), Range(0, 1), Range(0, 1, above=True, below=True), Range(high=3))]
    assert texts == ["finite", "at least 0 and at most 1", "above 0 and below 1", "at most 3"]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("redo:period=0", "redo:period=0: period must be at least 1, not 0"),
        ("snr:window=0", "window must be at least 1"),
        ("l2:strength=-1", "strength must be at least 0, not -1.0"),
        ("layer-norm+l2:strength=-1", "strength must be at least 0"),
    ],
)
def test_the_command_refuses_in_one_line(
    method: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--method", method, "--stream", "permuted-digits:tasks=2"]) == 2
    expect_one_line(capsys.readouterr().err, message)


@dataclass
class Careless(Method):
    info: ClassVar[MethodInfo] = MethodInfo("careless", "forgets its ranges", ranges={"size": AT_LEAST_ONE})
    size: int = 3

    def __post_init__(self) -> None:
        self.twice = 2 * self.size


@dataclass
class Misnamed(Method):
    info: ClassVar[MethodInfo] = MethodInfo("misnamed", "has another range", ranges={"sise": NOT_NEGATIVE})
    size: int = 3


@pytest.mark.parametrize(
    ("cls", "detail", "fix"),
    [
        (Careless, "size=1 is not refused", "super().__post_init__()"),
        (Misnamed, 'ranges names "sise"', "name fields of the class"),
    ],
)
def test_the_contract_sees_ranges_that_are_not_checked(cls: type[Method], detail: str, fix: str) -> None:
    from plasticity_bench.contract.subject import Subject

    with pytest.raises(Broken) as caught:
        is_defined(Subject(choose_method(cls)))
    assert detail in caught.value.detail
    assert fix in caught.value.fix
