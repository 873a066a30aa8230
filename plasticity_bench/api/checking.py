"""``pb.check``: the contract of all methods, checked for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plasticity_bench.contract.report import check_all, count_states
from plasticity_bench.contract.results import Result, Verdict
from plasticity_bench.registry.choices import AnyMethod, choose_method


@dataclass(frozen=True, repr=False)
class CheckReport:
    """What ``pb.check`` found; printed, it shows a line per check.

    Args:
        label: The method with its settings.
        results: One result per check: ``result.check``, ``.state``, ``.detail``, ``.fix`` and ``.where``.
        lines: The lines of the report.
    """

    label: str
    results: tuple[Result, ...]
    lines: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.state != Verdict.FAILED for result in self.results)

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return "\n".join([*self.lines, f"{self.label}: {count_states(self.results)}"])


def check(method: AnyMethod, *, on_line: Callable[[str], None] | None = None) -> CheckReport:
    """Checks that a method keeps the contract: reproducible, stacked seeds, checkpoints, PPO, adapters.

    It trains small networks for about ten seconds.

    Args:
        method: A class derived from ``pb.Method``, an object of one, a name with settings as on the command
            line, or ``path/to/file.py``.
        on_line: Is called with each line of the report as soon as its check is done, such as ``print``.

    Returns:
        The report, which is true if no check failed.

    Raises:
        InputError: There is no such method or setting.

    Example:
        >>> report = check("l2")
        >>> report.passed, report.results[0].check
        (True, 'definition')
    """
    chosen = choose_method(method)
    begun: list[str] = []
    lines: list[str] = []

    def end(text: str) -> None:
        lines.append(f"{begun[-1]} {text}")
        if on_line is not None:
            on_line(lines[-1])

    results = check_all(chosen, begun.append, end)
    return CheckReport(chosen.label, tuple(results), tuple(lines))
