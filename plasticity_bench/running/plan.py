"""Plans the missing seeds of some cells as jobs: stacks of seeds that one process trains together."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import Cell, open_cell
from plasticity_bench.records.checkpoints import checkpoint_path, checkpoint_seeds
from plasticity_bench.records.configuration import (
    CellPlan,
    configuration,
    method_folder,
    stream_folder,
)
from plasticity_bench.records.documents import CellConfig, StreamRecord
from plasticity_bench.registry.choices import Chosen
from plasticity_bench.running.job import Job
from plasticity_bench.specs import layer_shapes, parameter_count
from plasticity_bench.storage.files import remove_leftovers

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method

#: Most seeds in one stack on a CPU: beyond it the weights leave the cache and nothing is gained.
CPU_STACK = 16
#: Numbers (parameters times seeds) in a stack of several configurations on a CPU, likewise: it holds its
#: weights twice. More than so many seeds gain little even where the network is tiny.
CPU_GROUPED_NUMBERS, CPU_GROUPED = 2**19, 64
#: Multiplications in one update of one seed above which stacking gains nothing on a CPU.
CPU_STACK_WORK = 2e7
GPU_STACK = 64
#: Environment variable: seconds between two checkpoints, in place of Job.checkpoint_seconds (for tests).
CHECKPOINT_SECONDS = "PLASTICITY_BENCH_CHECKPOINT_SECONDS"


@dataclass(frozen=True)
class Planned:
    """One cell that was asked for, its folder made."""

    plan: CellPlan
    cell: Cell
    seeds: tuple[int, ...]  # asked for

    @property
    def missing(self) -> list[int]:
        """Asked for and not recorded yet."""
        recorded = set(self.cell.seeds())
        return [seed for seed in self.seeds if seed not in recorded]

    @property
    def outdated(self) -> list[Path]:
        """Checkpoints whose seeds are all recorded: the run was killed before it could remove them."""
        recorded = set(self.cell.seeds())
        stacks = checkpoint_seeds(self.cell.path)
        return [checkpoint_path(self.cell.path, stack) for stack in stacks if recorded.issuperset(stack)]


def open_cells(runs: Path, plans: Sequence[CellPlan], seeds: Sequence[int] | None) -> list[Planned]:
    """Makes or finds the folder of every plan. ``seeds=None``: the stream's default number.

    Raises InputError for anything wrong with any of them, before a folder is made for the first.
    """
    prepared = []
    for plan in plans:
        stream, method = plan.stream, plan.method
        chosen_seeds = tuple(range(stream.cls.info.seeds)) if seeds is None else tuple(seeds)
        folders = (stream_folder(stream), method_folder(method))
        config = configuration(stream, method)
        _check_it_acts(method, config.stream)
        if plan.tuning and (both := sorted(set(plan.tuning.seeds).intersection(chosen_seeds))):
            raise InputError(f"seed {both[0]} was used to tune {method.cls.info.name}: choose other --seeds")
        prepared.append((plan, folders, config, chosen_seeds, _sources(method)))
    return [
        Planned(plan, open_cell(runs, *folders, config, plan.tuning, sources), wanted)
        for plan, folders, config, wanted, sources in prepared
    ]


def _sources(method: Chosen[Method]) -> dict[str, bytes]:
    """File name -> text of every plug-in, as it is trained."""
    plugins = [part.plugin for part in method.parts or (method,) if part.plugin]
    return {
        plugin.file_name: plugin.source or f"# The source of {plugin.origin} could not be read.\n".encode()
        for plugin in plugins
    }


def _check_it_acts(method: Chosen, stream: StreamRecord) -> None:
    """Raises InputError where the method would wait to the stream's end, and be no method."""
    for part in method.parts or (method,):
        name = part.cls.info.acts_after
        waits = part.settings.get(name)
        if isinstance(waits, int) and waits >= stream.tasks:
            raise InputError(
                f"{part.label} never acts on {stream.label}: it waits for {waits} tasks of "
                f"{stream.tasks}; set {name} to {stream.tasks - 1} or less"
            )


def plan_jobs(planned: Sequence[Planned], workers: int, devices: Sequence[str]) -> list[Job]:
    """Stacks of missing seeds: as large as the network gains from, as small as fills every worker.

    An unfinished stack of seeds goes on as it was begun; beside it may train other configurations than then.
    """
    begun: list[tuple[Planned, list[int]]] = []
    fresh: list[tuple[Planned, list[int]]] = []
    for item in planned:
        missing = item.missing
        for stack in checkpoint_seeds(item.cell.path):
            if set(stack) & set(missing):
                begun.append((item, list(stack)))
                missing = [seed for seed in missing if seed not in stack]
        fresh.append((item, missing))
    jobs, begun = _side_by_side(begun, _share(begun, workers), devices[0])
    jobs += [_job(item, tuple(seeds), devices[0]) for item, seeds in begun]
    share = _share(fresh, workers)
    more, fresh = _side_by_side(fresh, share, devices[0])
    jobs += more
    for item, missing in fresh:
        if not missing:
            continue
        size = min(share, _largest_stack(item.cell.config, devices[0]))
        count = -(-len(missing) // size)
        for i in range(count):  # even stacks: 16 seeds in 3 are 6, 5, 5
            stack = tuple(missing[i * len(missing) // count : (i + 1) * len(missing) // count])
            jobs.append(_job(item, stack, devices[0]))
    jobs.sort(key=lambda job: -job.seconds)  # longest first, so that no worker is left with a long one
    revision = git_revision() if jobs else None
    return [replace(job, device=devices[i % len(devices)], git=revision) for i, job in enumerate(jobs)]


def _share(units: Sequence[tuple[Planned, list[int]]], workers: int) -> int:
    """Seeds for each worker."""
    return max(1, -(-sum(len(seeds) for _, seeds in units) // workers))


def _side_by_side(
    units: Sequence[tuple[Planned, list[int]]], share: int, device: str
) -> tuple[list[Job], list[tuple[Planned, list[int]]]]:
    """Stacks of about ``share`` seeds of configurations that can train side by side, and the units that are
    left over."""
    families: dict[str, list[tuple[Planned, list[int]]]] = {}
    for unit in units:
        families.setdefault(_family(*unit, device), []).append(unit)
    jobs: list[Job] = []
    rest: list[tuple[Planned, list[int]]] = []
    for name, family in families.items():
        item, seeds = family[0]
        most = min(share, _largest_group(item.cell.config, device)) // max(1, len(seeds)) if name else 1
        if most < 2 or len(family) < 2:
            rest += family
            continue
        count = -(-len(family) // most)
        for i in range(count):
            members = family[i * len(family) // count : (i + 1) * len(family) // count]
            first, *others = (_job(item, tuple(seeds), device) for item, seeds in members)
            seconds = _expected_seconds(item.cell.config, len(seeds) * len(members))
            steps = first.steps * len(members)
            jobs.append(replace(first, others=tuple(others), seconds=seconds, steps=steps))
    return jobs, rest


def _family(item: Planned, seeds: list[int], device: str) -> str:
    """The same for configurations of a method that can train side by side with these seeds; "" for none."""
    config = item.cell.config
    if not seeds or not item.plan.sweep or config.acts or _largest_stack(config, device) == 1:
        return ""
    optimizer = {key: value for key, value in config.optimizer.recorded().items() if key != "lr"}
    same = [item.plan.stream.label, item.plan.sweep, config.network.recorded(), optimizer, seeds]
    return json.dumps(same, sort_keys=True)


def git_revision() -> str | None:
    """Revision of the source that runs, with ``+`` where it was changed; None outside a repository."""
    folder = Path(__file__).resolve().parent
    try:
        call = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        ours = [*call[:3], "ls-files", "--error-unmatch", __file__]
        tracked = subprocess.run(ours, capture_output=True, check=False)
        if tracked.returncode:
            return None
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _job(item: Planned, seeds: tuple[int, ...], device: str) -> Job:
    job = Job(
        item.plan,
        item.cell.path,
        seeds,
        device,
        seconds=_expected_seconds(item.cell.config, len(seeds)),
        steps=_steps(item.cell.config) * len(seeds),
    )
    text = os.environ.get(CHECKPOINT_SECONDS)
    if text is None:
        return job
    try:
        return replace(job, checkpoint_seconds=float(text))
    except ValueError:
        raise InputError(f'{CHECKPOINT_SECONDS}="{text}" is not a number of seconds') from None


def tidy(item: Planned) -> None:
    """Removes what killed or failed runs left in a cell; its lock is held."""
    remove_leftovers(item.cell.path)
    for path in (item.cell.path / "error.txt", *item.outdated):
        with suppress(OSError):
            path.unlink()


def update_multiplications(config: CellConfig) -> float:
    """Multiplications of one update of one seed, forward and backward."""
    work = sum(math.prod(shape.weight) * shape.positions for shape in layer_shapes(config.network))
    return 3 * work * config.stream.batch


def _largest_stack(config: CellConfig, device: str) -> int:
    if device.startswith("cuda"):
        return GPU_STACK
    return CPU_STACK if update_multiplications(config) < CPU_STACK_WORK else 1


def _largest_group(config: CellConfig, device: str) -> int:
    """Most seeds of several configurations together."""
    if device.startswith("cuda"):
        return GPU_STACK
    numbers = parameter_count(config.network)
    return min(CPU_GROUPED, CPU_GROUPED_NUMBERS // numbers)


def _steps(config: CellConfig) -> int:
    """Of training, for one seed: updates, or where the agent acts steps in its environments."""
    return config.stream.tasks * config.stream.steps


def _expected_seconds(config: CellConfig, stack: int) -> float:
    """A rough guess, for the order of jobs and the weight of their progress: overhead and arithmetic."""
    updates, rounds, acting = float(_steps(config)), 1, 0.0
    if ppo := config.ppo:
        acting = updates / ppo.environments * (3e-4 + 2e-5 * stack)
        updates *= ppo.epochs / ppo.batch
        rounds = 2  # policy and value network
    return acting + rounds * updates * (2e-4 + stack * (1e-5 + update_multiplications(config) / 2e10))
