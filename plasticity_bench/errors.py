"""The two ways a command ends early: the user can mend it (exit 2), or a check or a run failed (exit 1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class _Told(Exception):
    """Told in one line each: the arguments."""

    @property
    def lines(self) -> list[str]:
        """What is said to the user."""
        return [" ".join(str(argument).splitlines()) for argument in self.args]

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class InputError(_Told):
    """Something the user can mend. The message is one line: what is wrong, where, and how to mend it."""


class CannotWrite(InputError):
    """The system refused a write: the disk is full, or the folder not writable."""


class RunFailed(_Told):
    """A run or a check failed for a reason inside the code that ran (exit code 1), told in one line."""


class OutOfMemory(RunFailed):
    """There was no memory for it beside what else ran on the device."""


class Interrupted(KeyboardInterrupt):
    """Asked to end by a signal, and all is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``'did you mean "syre"? '`` for a near miss, followed by every known name."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    guess = f'did you mean "{near[0]}"? ' if near else ""
    return f"{guess}known: {', '.join(names)}"
