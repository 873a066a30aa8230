"""Every check of the contract against methods that break it: the message and the line that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench import seeding
from plasticity_bench.contract.checks import CHECKS, examine
from plasticity_bench.contract.results import Verdict
from plasticity_bench.contract.subject import Subject
from plasticity_bench.errors import InputError
from tests.support.broken_hooks import OTHER_TRAINERS, TRAINING
from tests.support.broken_methods import DEFINITION, GOOD, Case, result_of, write

CASES = {**DEFINITION, **TRAINING, **OTHER_TRAINERS}


def marked(path: Path) -> list[str]:
    """The lines that a result must name."""
    lines = path.read_text().splitlines()
    return [f"tried.py:{i}" for i, line in enumerate(lines, 1) if "# here" in line]


@pytest.fixture
def purposes() -> Iterator[None]:
    """Restores what a case changes."""
    kept = dict(seeding.PURPOSES)
    yield
    seeding.PURPOSES.update(kept)


@pytest.mark.usefixtures("purposes")
@pytest.mark.parametrize("name", CASES)
def test_a_broken_method_is_caught(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = write(tmp_path, case)
    result = result_of(case.check, Subject(str(path)))
    assert result.state == case.state, result
    for phrase in case.says:
        assert phrase in result.detail + result.fix, result
    assert "\n" not in result.detail + result.fix
    assert result.fix or result.state in (Verdict.INAPPLICABLE, Verdict.INFORMATION)
    assert marked(path) in ([], [result.where])


def test_every_check_has_a_case_and_the_method_that_they_mutate_passes_all(tmp_path: Path) -> None:
    assert {case.check for case in CASES.values()} == {check.name for check in CHECKS}
    subject = Subject(str(write(tmp_path, Case("", GOOD, ()))))
    states = {check.name: examine(check, subject) for check in CHECKS}
    assert states.pop("cost").state == Verdict.INFORMATION
    assert {result.state for result in states.values()} == {Verdict.PASSED}, states


def test_compositions_say_which_part_is_at_fault(tmp_path: Path) -> None:
    path = write(tmp_path, TRAINING["sum over everything"])
    subject = Subject(f"l2+{path}:Tried:strength=0.01")
    result = result_of("stack", subject)
    assert result.state == Verdict.FAILED
    assert "after tried before_update" in result.detail
    assert [result.where] == marked(path)
    assert result_of("off", Subject("l2+syre:sigma=1")).state == Verdict.PASSED
    assert result_of("off", Subject("l2+trac")).state == Verdict.INAPPLICABLE


def test_settings_and_step_size_are_those_that_are_checked() -> None:
    subject = Subject("l2:strength=0,lr=0.01")
    assert subject.optimizer.lr == 0.01
    assert result_of("acts", subject).state == Verdict.WARNING
    assert result_of("off", Subject("l2:strength=0.1,lr=0.01")).state == Verdict.PASSED
    assert not subject.run().equals(Subject("none").run())


def test_a_method_that_refuses_the_network_is_bad_input() -> None:
    with pytest.raises(InputError, match="two activations"):
        Subject("crelu+deep-fourier")


def test_results_are_data() -> None:
    result: Any = result_of("definition", Subject("l2"))
    with pytest.raises(AttributeError):
        result.state = Verdict.FAILED
