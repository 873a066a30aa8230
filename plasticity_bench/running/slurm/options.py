"""The options of a job: from the command line to the parameters of submitit and sbatch."""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plasticity_bench.errors import InputError

#: Time limit of a job without ``--time``. A job that reaches it is put back in the queue and resumes.
DEFAULT_TIME = "4:00:00"
#: Number of jobs that run at a time without ``--max-parallel``.
DEFAULT_PARALLEL = 64
#: A job is asked to save at most this many seconds before its time limit.
SIGNAL_SECONDS = 90
#: Options of sbatch that the submission sets itself.
RESERVED_OPTIONS = frozenset(
    {
        "array",
        "output",
        "error",
        "job-name",
        "requeue",
        "open-mode",
        "time",
        "nodes",
        "ntasks",
        "ntasks-per-node",
    }
)


@dataclass(frozen=True)
class Options:
    """The resources of one job, and the number of jobs at a time."""

    minutes: int
    gpus: int = 0
    cpus: int = 1
    parallel: int = DEFAULT_PARALLEL
    device: str = "cpu"
    sbatch: tuple[tuple[str, str | bool], ...] = ()  # other options of sbatch; True: a flag without a value

    @property
    def signal_seconds(self) -> int:
        """Seconds before the time limit at which Slurm sends the job a signal."""
        return min(SIGNAL_SECONDS, self.minutes * 60 // 4)

    def parameters(self, name: str) -> dict[str, Any]:
        """The arguments of ``SlurmExecutor.update_parameters``. ``name``: of the Slurm job."""
        given: dict[str, Any] = {
            "job_name": name,
            "time": self.minutes,
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": self.cpus,
            "array_parallelism": self.parallel,
            "signal_delay_s": self.signal_seconds,
            # A job computes on one thread; numpy reads this when it is imported.
            "setup": ["export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}"],
            # Since Slurm 22.05, srun does not inherit it from the job.
            "srun_args": [f"--cpus-per-task={self.cpus}"],
            "additional_parameters": {"requeue": True, **dict(self.sbatch)},
        }
        return given | ({"gpus_per_node": self.gpus} if self.gpus else {})


def slurm_options(args: argparse.Namespace) -> Options | None:
    """The options for Slurm from the command line; None for a run on this machine.

    Raises InputError if an option is wrong, is not for this executor, or if submitit is not installed.
    """
    given = {
        name: getattr(args, name)
        for name in (
            *("partition", "time", "mem", "account", "qos"),
            *("gpus_per_job", "cpus_per_job", "max_parallel", "slurm"),
        )
    }
    if args.executor != "slurm":
        used = [name for name, value in {**given, "wait": args.wait or None}.items() if value is not None]
        if used:
            raise InputError(f"--{used[0].replace('_', '-')} is for jobs of Slurm: give --executor slurm too")
        return None
    if args.jobs is not None:
        raise InputError("--jobs counts processes on this machine; with --executor slurm give --max-parallel")
    gpus, cpus, parallel = args.gpus_per_job or 0, args.cpus_per_job, args.max_parallel
    if gpus not in (0, 1):
        raise InputError(f"--gpus-per-job {gpus}: a job trains on one GPU or none; ask for more jobs")
    for option, value in (("cpus-per-job", cpus), ("max-parallel", parallel)):
        if value is not None and value < 1:
            raise InputError(f"--{option} {value}: at least one is needed")
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", args.device):
        raise InputError(f'unknown device "{args.device}": use auto, cpu, cuda or cuda:0')
    _require_submitit()
    named = [(key, given[key]) for key in ("partition", "mem", "account", "qos") if given[key] is not None]
    return Options(
        minutes(args.time or DEFAULT_TIME),
        gpus,
        cpus or 1,
        parallel or DEFAULT_PARALLEL,
        # A job sees only the GPU that is assigned to it.
        args.device if args.device != "auto" else "cuda" if gpus else "cpu",
        (*named, *_extra_options(args.slurm or ())),
    )


def minutes(text: str) -> int:
    """A time as sbatch reads it ("90", "90:00", "4:00:00", "1-12", "1-12:30"), rounded up to minutes.

    Raises InputError if it is not such a time, or if it is 0.
    """
    match = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,7})(?::(\d{1,4}))?(?::(\d{1,4}))?", text, re.ASCII)
    if match:
        days, first, second, third = (None if part is None else int(part) for part in match.groups())
        if days is not None:
            seconds = ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
        elif third is not None:
            seconds = ((first or 0) * 60 + (second or 0)) * 60 + third
        else:
            seconds = (first or 0) * 60 + (second or 0)
        if seconds:
            return math.ceil(seconds / 60)
    raise InputError(
        f'--time "{text}": write minutes (90), hours:minutes:seconds (4:00:00) or days-hours (1-12)'
    )


def _extra_options(texts: Sequence[str]) -> list[tuple[str, str | bool]]:
    found: list[tuple[str, str | bool]] = []
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.lstrip("-")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", key) or (equals and not value) or not value.isprintable():
            raise InputError(f'--slurm "{text}": write key=value as for sbatch, such as constraint=a100')
        if key in RESERVED_OPTIONS:
            raise InputError(f"--slurm {key}: is set by the submission itself; leave it out")
        found.append((key, value if equals else True))
    return found


def _require_submitit() -> None:
    if importlib.util.find_spec("submitit") is None:
        raise InputError(
            'submitit is not installed, which --executor slurm needs: pip install "plasticity_bench[slurm]"'
        )
