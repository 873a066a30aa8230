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
from plasticity_bench.records.checkpoints import (
    CHECKPOINT,
    FRESH_CHECKPOINT,
    checkpoint_path,
    checkpoint_seeds,
)
from plasticity_bench.records.configuration import (
    CellPlan,
    configuration,
    method_folder,
    stream_folder,
)
from plasticity_bench.records.documents import CellConfig, StreamRecord
from plasticity_bench.registry.choices import Chosen
from plasticity_bench.running.job import Job
from plasticity_bench.specs import layer_shapes, parameter_count, twin_tasks
from plasticity_bench.storage.files import remove_leftovers

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method

#: Most seeds in one stack on a CPU: with more, the weights do not fit the cache, and nothing is gained. Tiny
#: networks have larger stacks, up to these numbers (parameters times seeds) and CPU_GROUP seeds.
CPU_STACK, CPU_STACK_NUMBERS = 16, 2**14
#: Most numbers (parameters times seeds) in a stack of several configurations on a CPU, for the same reason;
#: such a stack holds its weights twice. And most seeds in it: more gain little, even if the network is tiny.
CPU_GROUP_NUMBERS, CPU_GROUP = 2**19, 64
#: If one update of one seed takes more multiplications than this, stacking gains nothing on a CPU.
CPU_STACK_WORK = 2e7
#: Most seeds in one stack on a GPU.
GPU_STACK = 64
#: Environment variable: seconds between two checkpoints, instead of Job.checkpoint_seconds (for tests).
CHECKPOINT_SECONDS = "PLASTICITY_BENCH_CHECKPOINT_SECONDS"


@dataclass(frozen=True)
class Planned:
    """One cell to train; its folder exists."""

    plan: CellPlan
    cell: Cell
    seeds: tuple[int, ...]  # that the cell should have
    twins: bool = False  # whether the seeds should have fresh twins

    @property
    def missing(self) -> list[int]:
        """The seeds that are not recorded yet, or lack their fresh twins."""
        return sorted([*self.untrained, *self.without_twins])

    @property
    def untrained(self) -> list[int]:
        """The seeds that are not recorded yet."""
        recorded = set(self.cell.seeds())
        return [seed for seed in self.seeds if seed not in recorded]

    @property
    def without_twins(self) -> list[int]:
        """The recorded seeds that lack their fresh twins, if they should have them."""
        lacking = set(self.cell.seeds()).difference(self.cell.fresh.seeds()) if self.twins else set()
        return [seed for seed in self.seeds if seed in lacking]

    @property
    def outdated(self) -> list[Path]:
        """Checkpoints whose seeds are all recorded: the run was killed before it removed them."""
        folder = self.cell.path
        return [
            checkpoint_path(folder, stack, kind)
            for kind, recorded in (
                (CHECKPOINT, set(self.cell.seeds())),
                (FRESH_CHECKPOINT, set(self.cell.fresh.seeds())),
            )
            for stack in checkpoint_seeds(folder, kind)
            if recorded.issuperset(stack)
        ]


def open_cells(
    runs: Path, plans: Sequence[CellPlan], seeds: Sequence[int] | None, twins: bool = False
) -> list[Planned]:
    """Finds the folder of every plan, or makes it.

    Args:
        runs: The run folder.
        plans: What to train.
        seeds: The seeds that every cell should have; None: the stream's default number of them.
        twins: Whether the seeds should have fresh twins.

    Raises:
        InputError: Something is wrong with one of the plans. Then no folder was made for any of them.
    """
    prepared = []
    for plan in plans:
        stream, method = plan.stream, plan.method
        cell_seeds = tuple(range(stream.cls.info.seeds)) if seeds is None else tuple(seeds)
        folders = (stream_folder(stream), method_folder(method))
        config = configuration(stream, method)
        _check_method_acts(method, config.stream)
        if plan.tuning and (both := sorted(set(plan.tuning.seeds).intersection(cell_seeds))):
            raise InputError(f"seed {both[0]} was used to tune {method.cls.info.name}: choose other --seeds")
        prepared.append((plan, folders, config, cell_seeds, _sources(method)))
    return [
        Planned(plan, open_cell(runs, *folders, config, plan.tuning, sources), cell_seeds, twins)
        for plan, folders, config, cell_seeds, sources in prepared
    ]


def _sources(method: Chosen[Method]) -> dict[str, bytes]:
    """File name -> source of every plug-in in the method."""
    plugins = [part.plugin for part in method.parts or (method,) if part.plugin]
    return {plugin.file_name: plugin.source for plugin in plugins}


def _check_method_acts(method: Chosen, stream: StreamRecord) -> None:
    """Raises InputError if the method would wait until the stream ends, and so do nothing."""
    for part in method.parts or (method,):
        name = part.cls.info.acts_after
        waits = part.settings.get(name)
        if isinstance(waits, int) and waits >= stream.tasks:
            raise InputError(
                f"{part.label} never acts on {stream.label}: it waits for {waits} tasks of "
                f"{stream.tasks}; set {name} to {stream.tasks - 1} or less"
            )


def plan_jobs(planned: Sequence[Planned], workers: int, devices: Sequence[str]) -> list[Job]:
    """The missing seeds as stacks: no larger than speeds up the training, and enough of them for all workers.

    An unfinished stack of seeds resumes with the same seeds. The configurations that train next to it may be
    others than before.

    Args:
        planned: The cells.
        workers: Number of processes.
        devices: Names of the devices that the processes use.

    Returns:
        The jobs, longest first.
    """
    begun: list[tuple[Planned, list[int]]] = []
    fresh: list[tuple[Planned, list[int]]] = []
    for item in planned:
        for kind, missing in ((CHECKPOINT, item.untrained), (FRESH_CHECKPOINT, item.without_twins)):
            for stack in checkpoint_seeds(item.cell.path, kind):
                if set(stack) & set(missing):
                    begun.append((item, list(stack)))
                    missing = [seed for seed in missing if seed not in stack]
            fresh.append((item, missing))
    jobs, begun = _side_by_side(begun, _seeds_per_worker(begun, workers), devices[0])
    jobs += [_job(item, tuple(seeds), devices[0]) for item, seeds in begun]
    share = _seeds_per_worker(fresh, workers)
    grouped, fresh = _side_by_side(fresh, share, devices[0])
    jobs += grouped
    for item, missing in fresh:
        if not missing:
            continue
        size = min(share, _largest_stack(item.cell.config, devices[0]))
        count = -(-len(missing) // size)
        for i in range(count):  # stacks of about equal size: 16 seeds in 3 stacks are 5, 5, 6
            stack = tuple(missing[i * len(missing) // count : (i + 1) * len(missing) // count])
            jobs.append(_job(item, stack, devices[0]))
    jobs.sort(key=lambda job: -job.seconds)  # longest first, so that no worker is left with a long one
    revision = git_revision() if jobs else None
    return [replace(job, device=devices[i % len(devices)], git=revision) for i, job in enumerate(jobs)]


def _seeds_per_worker(units: Sequence[tuple[Planned, list[int]]], workers: int) -> int:
    return max(1, -(-sum(len(seeds) for _, seeds in units) // workers))


def _side_by_side(
    units: Sequence[tuple[Planned, list[int]]], share: int, device: str
) -> tuple[list[Job], list[tuple[Planned, list[int]]]]:
    """Stacks of about ``share`` seeds, of configurations that can train side by side; and the units that are
    in none of them."""
    groups: dict[str, list[tuple[Planned, list[int]]]] = {}
    for unit in units:
        groups.setdefault(_group_key(*unit, device), []).append(unit)
    jobs: list[Job] = []
    rest: list[tuple[Planned, list[int]]] = []
    for key, group in groups.items():
        item, seeds = group[0]
        most = min(share, _largest_group(item.cell.config, device)) // max(1, len(seeds)) if key else 1
        if most < 2 or len(group) < 2:
            rest += group
            continue
        count = -(-len(group) // most)
        for i in range(count):
            members = group[i * len(group) // count : (i + 1) * len(group) // count]
            first, *others = (_job(item, tuple(seeds), device) for item, seeds in members)
            seconds = _expected_seconds(item.cell.config, len(seeds) * len(members))
            steps = first.steps * len(members)
            jobs.append(replace(first, others=tuple(others), seconds=seconds, steps=steps))
    return jobs, rest


def _group_key(item: Planned, seeds: list[int], device: str) -> str:
    """Equal for configurations that can train side by side; empty if this one trains alone."""
    config = item.cell.config
    if not seeds or not item.plan.sweep or item.twins or config.acts or _largest_stack(config, device) == 1:
        return ""
    optimizer = {key: value for key, value in config.optimizer.recorded().items() if key != "lr"}
    shared = [item.plan.stream.label, item.plan.sweep, config.network.recorded(), optimizer, seeds]
    return json.dumps(shared, sort_keys=True)


def git_revision() -> str | None:
    """Git revision of the running source, with ``+`` if it has changes; None outside a repository."""
    folder = Path(__file__).resolve().parent
    try:
        git = ["git", "-C", str(folder)]
        is_tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True)
        if is_tracked.returncode:  # another project's repository
            return None
        describe = [*git, "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _job(item: Planned, seeds: tuple[int, ...], device: str) -> Job:
    config = item.cell.config
    share = float(not set(item.cell.seeds()).issuperset(seeds))  # of the time that the stream takes
    if item.twins:
        share += len(twin_tasks(config.stream.tasks)) / config.stream.tasks
    job = Job(
        item.plan,
        item.cell.path,
        seeds,
        device,
        seconds=_expected_seconds(config, len(seeds)) * share,
        steps=round(_steps(config) * len(seeds) * share),
        twins=_largest_stack(config, device) if item.twins else 0,
    )
    text = os.environ.get(CHECKPOINT_SECONDS)
    if text is None:
        return job
    try:
        return replace(job, checkpoint_seconds=float(text))
    except ValueError:
        raise InputError(f'{CHECKPOINT_SECONDS}="{text}" is not a number of seconds') from None


def tidy(item: Planned) -> None:
    """Removes what killed or failed runs left in a cell. This process must hold the cell's lock."""
    remove_leftovers(item.cell.path)
    for path in (item.cell.path / "error.txt", *item.outdated):
        with suppress(OSError):
            path.unlink()


def update_multiplications(config: CellConfig) -> float:
    """Multiplications of one update of one seed, forward and backward."""
    work = sum(math.prod(shape.weight) * shape.positions for shape in layer_shapes(config.network))
    return 3 * work * config.stream.batch


def _largest_stack(config: CellConfig, device: str) -> int:
    """Most seeds in a stack of one configuration."""
    if device.startswith("cuda"):
        return GPU_STACK
    if update_multiplications(config) >= CPU_STACK_WORK:
        return 1
    return max(CPU_STACK, min(CPU_GROUP, CPU_STACK_NUMBERS // parameter_count(config.network)))


def _largest_group(config: CellConfig, device: str) -> int:
    """Most seeds in a stack of several configurations."""
    if device.startswith("cuda"):
        return GPU_STACK
    numbers = parameter_count(config.network)
    return min(CPU_GROUP, CPU_GROUP_NUMBERS // numbers)


def _steps(config: CellConfig) -> int:
    """Training steps of one seed: updates; if an agent acts, steps in its environments."""
    return config.stream.tasks * config.stream.steps


def _expected_seconds(config: CellConfig, stack: int) -> float:
    """A rough estimate from overhead and arithmetic, for the order of jobs and for the progress."""
    updates, rounds, acting = float(_steps(config)), 1, 0.0
    if ppo := config.ppo:
        acting = updates / ppo.environments * (3e-4 + 2e-5 * stack)
        updates *= ppo.epochs / ppo.batch
        rounds = 2  # policy and value network
    return acting + rounds * updates * (2e-4 + stack * (1e-5 + update_multiplications(config) / 2e10))
