"""Every rule of the contract in every hook that it applies to: a method that breaks it is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from plasticity_bench.agents.methods.base import CLASS_VARIABLES, HOOKS, Hook
from plasticity_bench.contract.results import Verdict
from plasticity_bench.contract.subject import Subject
from plasticity_bench.errors import InputError, RunFailed
from tests.support.broken_methods import GOOD, Case, each, result_of, write
from tests.support.broken_rules import CHECK_OF, broken, rules_of

PAIRS = [(hook, rule) for hook in HOOKS for rule in CHECK_OF if rule in rules_of(hook)]


@pytest.mark.parametrize(("hook", "rule"), PAIRS, ids=[f"{hook.name}-{rule}" for hook, rule in PAIRS])
def test_a_rule_broken_in_a_hook_is_caught(hook: Hook, rule: str, tmp_path: Path) -> None:
    case = broken(hook, rule)
    path = write(tmp_path, case)
    if hook.returns == "network" and rule in ("arguments", "raises", "returns"):
        with pytest.raises(
            RunFailed, match="TypeError" if rule == "arguments" else "ZeroDiv|not a NetworkSpec"
        ):
            Subject(str(path))  # there is nothing to train: every command reports this
        return
    result = result_of(case.check, Subject(str(path)))
    assert result.state == Verdict.FAILED, result
    for phrase in case.says:
        assert phrase in result.detail + result.fix, result
    assert result.fix
    lines = [i for i, line in enumerate(path.read_text().splitlines(), 1) if "# here" in line]
    assert lines in ([], [int(result.where.removeprefix("tried.py:") or 0)]), result


def test_every_rule_applies_to_some_hook_and_no_hook_is_without_rules() -> None:
    assert {rule for _, rule in PAIRS} == set(CHECK_OF)
    assert {hook.name for hook, _ in PAIRS} == {hook.name for hook in HOOKS}


def test_a_hook_without_broken_examples_is_noticed() -> None:
    with pytest.raises(KeyError):
        broken(HOOKS[1]._replace(name="before_setup"), "stack")


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_a_setting_cannot_have_the_name_of_a_hook(hook: Hook, tmp_path: Path) -> None:
    body = each("p.mul_(1 - 1e-3 * self.strength)", "after_update") if hook.name == "before_update" else GOOD
    case = Case("definition", body, (), settings=f"strength: float = 1e-3\n    {hook.name}: int = 1")
    path = write(tmp_path, case)
    if hook.name == "network":
        with pytest.raises(RunFailed, match="not callable"):
            Subject(str(path))
        return
    result = result_of("definition", Subject(str(path)))
    assert result.state == Verdict.FAILED
    assert f'"{hook.name}" is the name of a hook' in result.detail


#: Class variable -> (how a method writes it, a wrong value).
WRITTEN = {
    "info": ("", ""),
    "needs_features": ("True", "1"),
    "needs_order": ("True", "1"),
    "schedule": ('("updates",)', '"updates"'),
}


@pytest.mark.parametrize("name", CLASS_VARIABLES)
def test_class_variables_of_methods_are_no_settings(name: str, tmp_path: Path) -> None:
    right, wrong = WRITTEN[name]
    if name == "info":  # every other case sets it, without an annotation
        return

    def subject(line: str) -> Subject:
        return Subject(
            str(write(tmp_path, Case("", GOOD, (), settings=f"strength: float = 1e-3\n    {line}")))
        )

    for line in (f"{name} = {right}", f"{name}: ClassVar[Any] = {right}"):
        assert result_of("definition", subject(line)).state == Verdict.PASSED
        assert set(subject(line).chosen.settings) == {"strength", "lr"}
    result = result_of("definition", subject(f"{name} = {wrong}"))
    assert result.state == Verdict.FAILED
    assert f"write {name}: ClassVar[" in result.fix
    assert f"= {right.replace(chr(34), chr(39))}" in result.fix
    as_setting = f"{name}: Any = {right}"
    if name == "schedule":  # a tuple is no setting: every command reports this
        with pytest.raises(InputError, match='field "schedule" is a tuple'):
            subject(as_setting)
        return
    result = result_of("definition", subject(as_setting))
    assert result.state == Verdict.FAILED
    assert f'"{name}" is written as a hyperparameter' in result.detail
    assert f"write {name}: ClassVar[bool] = True" in result.fix
