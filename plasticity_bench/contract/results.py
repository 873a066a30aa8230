"""How a check ends: it returns what it found, or raises a ``NotPassed``."""

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
    """A check that did not pass: what was found, how to fix it, and where it is."""

    state: ClassVar[Verdict]

    def __init__(self, detail: str, fix: str = "", where: str = "") -> None:
        super().__init__(detail)
        self.detail, self.fix, self.where = detail, fix, where


class Broken(NotPassed):
    """The contract is not fulfilled."""

    state = Verdict.FAILED


class Doubtful(NotPassed):
    """Allowed, and rarely what is meant."""

    state = Verdict.WARNING


class DoesNotApply(NotPassed):
    """There is nothing to check, and the method says why."""

    state = Verdict.INAPPLICABLE


class Information(NotPassed):
    """Worth knowing; neither right nor wrong."""

    state = Verdict.INFORMATION
