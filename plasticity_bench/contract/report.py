"""All checks of one method, and the report's lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from plasticity_bench.contract.checks import CHECKS, examine
from plasticity_bench.contract.results import Result, Verdict
from plasticity_bench.contract.subject import Subject
from plasticity_bench.errors import RunFailed

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.registry.choices import Chosen

#: State of a check -> how it is shown.
SHOWN_STATES = {
    Verdict.PASSED: "ok",
    Verdict.FAILED: "FAILED",
    Verdict.WARNING: "warning",
    Verdict.INAPPLICABLE: "does not apply",
    Verdict.INFORMATION: "",
}


def check_all(
    method: Chosen[Method], on_begin: Callable[[str], None], on_end: Callable[[str], None]
) -> list[Result]:
    """Runs all checks. Returns their results in order.

    Args:
        method: The method with its settings.
        on_begin: Receives the begin of a check's line, before the check runs.
        on_end: Receives the rest of the line, and below it what to do.

    Raises InputError if the method refuses its settings or the network of the checks' stream.
    """
    results: list[Result] = []

    def finish(result: Result) -> None:
        results.append(result)
        on_end(_outcome(result, results[:-1]))

    try:
        subject = Subject(method)
    except RunFailed as error:  # there is nothing to train
        on_begin(f"{'makes a network':56}")
        fix = "network returns a NetworkSpec: replace(spec, ...)"
        finish(Result("network", Verdict.FAILED, str(error), fix))
        return results
    for number, check in enumerate(CHECKS, 1):
        on_begin(f"{number:2}/{len(CHECKS)} {check.question:50}")
        finish(examine(check, subject))
    return results


def count_states(results: Sequence[Result]) -> str:
    """``15 passed, 1 failed``"""
    states = [result.state for result in results]
    return ", ".join(
        f"{states.count(state)} {state.value}"
        for state in SHOWN_STATES
        if state in states and state != Verdict.INFORMATION
    )


def _outcome(result: Result, before: Sequence[Result]) -> str:
    state = SHOWN_STATES[result.state]
    if result.state in (Verdict.PASSED, Verdict.INFORMATION):
        return f"{state}{'  ' if state else ''}{result.detail}"
    for number, other in enumerate(before, 1):
        if (other.state, other.detail, other.where) == (result.state, result.detail, result.where):
            return f"{state}  as in {number}"
    lines = [state, f"      {result.where + ': ' if result.where else ''}{result.detail}"]
    return "\n".join([*lines, f"      -> {result.fix}"] if result.fix else lines)
