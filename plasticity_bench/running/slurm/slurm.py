"""Calls Slurm's commands: the states of jobs, and ending them. Nothing else calls these commands."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plasticity_bench.errors import InputError, RunFailed

#: States after which Slurm will not run the job again. A job in any other state may still write.
ENDED = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"),
        *("BOOT_FAIL", "DEADLINE", "PREEMPTED", "REVOKED"),
    }
)
#: States of a job that waits to be started, for the first time or again.
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING"})
#: State -> its meaning, in messages.
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
    reason: str  # why it waits: "Resources"

    @property
    def ended(self) -> bool:
        """Whether Slurm will not run it again."""
        return self.state in ENDED

    @property
    def waiting(self) -> bool:
        """Whether it waits to be started."""
        return self.state in WAITING


def require_command(command: str) -> None:
    """Raises InputError if this command of Slurm is missing."""
    if shutil.which(command) is None:
        raise InputError(
            f"no `{command}` on this machine: use one with Slurm's commands, such as the cluster's login node"
        )


def queue(names: Iterable[str]) -> dict[tuple[str, int], SlurmState]:
    """The states of all jobs with these names that Slurm still lists.

    Slurm forgets an ended job after some minutes (MinJobAge).

    Returns:
        (job name, index in the array) -> state; the index of a job without an array is 0.

    Raises:
        InputError: There is no ``squeue`` on this machine.
        RunFailed: Slurm did not answer, so that it is not known whether any job runs.
    """
    job_names = sorted(set(names))
    if not job_names:
        return {}
    require_command("squeue")
    command = ["squeue", "--all", "--noheader", "--array", "--states=all", f"--name={','.join(job_names)}"]
    return parse_queue(_run_command([*command, "--format=%j|%F|%K|%T|%r"]))


def parse_queue(text: str) -> dict[tuple[str, int], SlurmState]:
    """What ``queue`` returns, from the output of squeue."""
    found: dict[tuple[str, int], SlurmState] = {}
    for line in text.splitlines():
        name, array, index, state, reason = (part.strip() for part in line.split("|")[:5])
        in_array = index.isdigit()
        job = f"{array}_{index}" if in_array else array
        found[name, int(index) if in_array else 0] = SlurmState(job, state, reason)
    return found


def accounting_states(jobs: Sequence[str]) -> dict[str, str]:
    """Job ("17_3") -> state, from Slurm's accounting; empty if there is no accounting."""
    if not jobs or shutil.which("sacct") is None:
        return {}
    arrays = sorted({job.partition("_")[0] for job in jobs})
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", "--jobs"]
    try:
        text = _run_command([*command, ",".join(arrays)])
    except RunFailed:
        return {}
    rows = (line.split("|") for line in text.splitlines() if line.count("|") == 1)
    return {job: state.split()[0] for job, state in rows if state}  # "CANCELLED by 1000"


def cancel(jobs: Sequence[str]) -> None:
    """Ends pending or running jobs.

    Raises InputError if there is no ``scancel``, and RunFailed if Slurm refuses.
    """
    require_command("scancel")
    for start in range(0, len(jobs), 500):  # the length of a command line is limited
        _run_command(["scancel", *jobs[start : start + 500]])


def _run_command(command: Sequence[str]) -> str:
    """What the command prints. Raises RunFailed if it fails or does not end within a minute."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"`{command[0]}` did not answer within 60 s; try again later") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise RunFailed(f"`{command[0]}` failed: {reason or f'exit code {done.returncode}'}; try again later")
    return done.stdout
