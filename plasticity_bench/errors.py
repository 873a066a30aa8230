"""The two ways in which a command ends early: the user can fix it (exit code 2), or a check or a run failed
(exit code 1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class _LinesError(Exception):
    """An error whose arguments are messages of one line each."""

    @property
    def lines(self) -> list[str]:
        """The messages for the user."""
        return [" ".join(str(argument).splitlines()) for argument in self.args]

    def __str__(self) -> str:
        return "\n".join(self.lines)


class InputError(_LinesError):
    """Something that the user can fix. The message is one line: what is wrong, where, and how to fix it."""


class CannotWrite(InputError):
    """The system refused a write: the disk is full, or the folder is not writable."""


class RunFailed(_LinesError):
    """A run or a check failed for a reason inside the code that ran. The message is one line."""


class OutOfMemory(RunFailed):
    """There was too little memory on the device, next to what else ran there."""


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end, and all is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """All known names; in front of them, the one that ``name`` is likely to mean, if there is one.

    >>> did_you_mean("syer", ["none", "syre"])
    'did you mean "syre"? known: none, syre'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    guess = f'did you mean "{near[0]}"? ' if near else ""
    return f"{guess}known: {', '.join(names)}"
