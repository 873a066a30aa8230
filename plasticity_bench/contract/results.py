"""The result of a check. A check that passes returns a text; every other one raises ``NotPassed``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class Verdict(str, Enum):
    """How a check ended, as ``check --json`` writes it."""

    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    INAPPLICABLE = "does not apply"
    INFORMATION = "information"


@dataclass(frozen=True)
class Result:
    """One line of the report.

    Args:
        check: Name of the check.
        state: How it ended.
        detail: What was found, in one line.
        fix: What to do, in one line; empty if nothing is wrong.
        where: ``file.py:line`` in the user's code; empty if it is not known.
        seconds: How long the check took.
    """

    check: str
    state: Verdict
    detail: str = ""
    fix: str = ""
    where: str = ""
    seconds: float = 0.0


class NotPassed(Exception):
    """A check did not pass: what was found, how to fix it, and at which line."""

    state: ClassVar[Verdict]

    def __init__(self, detail: str, fix: str = "", where: str = "") -> None:
        super().__init__(detail)
        self.detail, self.fix, self.where = detail, fix, where


class Broken(NotPassed):
    """The contract is not fulfilled."""

    state = Verdict.FAILED


class Doubtful(NotPassed):
    """What was found is allowed, but probably a mistake."""

    state = Verdict.WARNING


class DoesNotApply(NotPassed):
    """The check does not apply to this method; the detail says why."""

    state = Verdict.INAPPLICABLE


class Information(NotPassed):
    """A measurement to report; it cannot be wrong."""

    state = Verdict.INFORMATION
