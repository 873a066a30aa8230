"""What Slurm says of jobs, and how they are ended: the only code that calls its commands."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plasticity_bench.errors import InputError, RunFailed

#: States after which Slurm will not run the job again. A job of any other state may still write.
ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"),
        *("BOOT_FAIL", "DEADLINE", "PREEMPTED", "REVOKED"),
    }
)
#: States of a job that waits for its turn; among them those of a job that was put back.
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"})
#: In words, for a user.
MEANING = {
    "COMPLETED": "ended without its records",
    "FAILED": "the process failed or was killed",
    "CANCELLED": "cancelled",
    "TIMEOUT": "time limit",
    "OUT_OF_MEMORY": "out of memory",
    "NODE_FAIL": "node failure",
    "BOOT_FAIL": "node failure",
    "DEADLINE": "deadline",
    "PREEMPTED": "preempted",
}


class SlurmState(NamedTuple):
    """One job, or one index of an array."""

    job: str  # as scancel takes it: "17", "17_3"
    state: str  # "RUNNING"
    reason: str  # "Resources": why it waits

    @property
    def ended(self) -> bool:
        """Whether it will not run again."""
        return self.state in ENDED

    @property
    def waiting(self) -> bool:
        """Whether it waits for its turn."""
        return self.state in WAITING


def require_command(command: str) -> None:
    """Raises InputError where one of Slurm's commands is missing."""
    if shutil.which(command) is None:
        raise InputError(
            f"no `{command}` on this machine: use one with Slurm's commands, such as the cluster's login node"
        )


def queue(names: Iterable[str]) -> dict[tuple[str, int], SlurmState]:
    """(job name, index in its array, 0 where it is none) -> its state, of all that Slurm still knows.

    It forgets an ended job after some minutes (MinJobAge). Raises InputError without ``squeue`` and RunFailed
    where Slurm does not answer: then nothing is known, not even that nothing runs.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    require_command("squeue")
    given = ["squeue", "--all", "--noheader", "--array", "--states=all", f"--name={','.join(wanted)}"]
    text = _ask([*given, "--format=%j|%F|%K|%T|%r"])
    return parse_queue(text)


def parse_queue(text: str) -> dict[tuple[str, int], SlurmState]:
    """``queue`` of what squeue printed."""
    found: dict[tuple[str, int], SlurmState] = {}
    for line in text.splitlines():
        name, array, index, state, reason = (part.strip() for part in line.split("|")[:5])
        alone = not index.isdigit()
        job = array if alone else f"{array}_{index}"
        found[name, 0 if alone else int(index)] = SlurmState(job, state, reason)
    return found


def accounting_states(jobs: Sequence[str]) -> dict[str, str]:
    """Job ("17_3") -> state, by Slurm's accounting; empty where it keeps none."""
    if not jobs or shutil.which("sacct") is None:
        return {}
    arrays = sorted({job.partition("_")[0] for job in jobs})
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", "--jobs"]
    try:
        text = _ask([*command, ",".join(arrays)])
    except RunFailed:
        return {}
    rows = (line.split("|") for line in text.splitlines() if line.count("|") == 1)
    return {job: state.split()[0] for job, state in rows if state}  # "CANCELLED by 1000"


def cancel(jobs: Sequence[str]) -> None:
    """Ends jobs, pending or running. Raises InputError without ``scancel``, RunFailed where Slurm refuses."""
    require_command("scancel")
    for start in range(0, len(jobs), 500):  # a command line has an end
        _ask(["scancel", *jobs[start : start + 500]])


def _ask(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"`{command[0]}` did not answer within 60 s; try again later") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise RunFailed(f"`{command[0]}` failed: {reason or f'exit code {done.returncode}'}; try again later")
    return done.stdout
