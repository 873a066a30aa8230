"""How seeds were trained, as their .json files record it: device, versions, hardware, training time."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from msgspec import UNSET

from plasticity_bench.records.documents import PROTOCOL, Hardware, Origin, Versions, utc_now
from plasticity_bench.registry.precision import precision_of
from plasticity_bench.running.job import Job


def origin_of(job: Job, stack: int, device: Any, seconds: float) -> Origin:
    """How the job's seeds were trained: ``seconds`` is the time of one seed, ``stack`` their number."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return Origin(
        protocol=PROTOCOL,
        device=str(device),
        stack=stack,
        threads=torch.get_num_threads(),
        seconds=seconds,
        finished=utc_now(),
        git=job.git,
        versions=_versions(str(torch.__version__)),
        hardware=Hardware(platform.machine(), torch.backends.cpu.get_cpu_capability(), gpu),
        precision=precision_of(job.plan.stream.settings),
        slurm_job=slurm_job() or UNSET,
    )


def _versions(torch: str) -> Versions:
    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return Versions(
        python=platform.python_version(),
        torch=torch,
        numpy=version("numpy"),
        plasticity_bench=version("plasticity_bench"),
        scikit_learn=installed("scikit-learn"),
        avalanche_lib=installed("avalanche-lib"),
        pybullet=installed("pybullet"),
        gymnasium=installed("gymnasium"),
    )


def slurm_job() -> str | None:
    """Slurm's number of the job that this process is part of, ``17_3`` in an array; None outside a job."""
    number, array = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else number
