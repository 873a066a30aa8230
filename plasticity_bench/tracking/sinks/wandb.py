"""Weights & Biases: a run per seed, grouped by cell.

    <folder>/wandb/offline-run-<time>-<key>/   what wandb writes
                  /logged/<stream>/<cell>/   which runs are complete; stays when wandb's own files are removed

A run's key depends only on its cell and seed, so that a resumed seed continues the same run. Its step counts
the points. For supervised streams that is the task; rollouts come before the row of their task.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from plasticity_bench.errors import InputError
from plasticity_bench.tracking.sinks.base import AXES, Point, Tracked, missing_package

if TYPE_CHECKING:
    import wandb

#: Used unless WANDB_PROJECT names another.
PROJECT = "plasticity_bench"


class WeightsAndBiases:
    """Logs to the account that wandb finds, or into ``folder`` if wandb is offline.

    Raises InputError if the package or an account is missing; it never prompts for one.
    """

    title: ClassVar[str] = "Weights & Biases"

    def __init__(self, folder: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing_package("wandb", error) from error
        self.folder, self.home = folder, folder / "wandb" / "logged"
        found = wandb.setup(wandb.Settings(silent=True)).settings
        if found.mode == "disabled":
            raise InputError(
                "wandb is disabled here (WANDB_MODE, or `wandb disabled`): set WANDB_MODE=offline"
            )
        self.offline = found.mode in ("offline", "dryrun")
        self.project = found.project or PROJECT
        if not self.offline and not _logged_in():
            raise InputError(
                "wandb finds no account: set WANDB_MODE=offline to go on without one (`wandb sync` uploads "
                "it later), or log in with `wandb login`"
            )

    @property
    def view(self) -> str:
        """How to see or to upload it."""
        if self.offline:
            return f"wandb sync {shlex.quote(str(self.folder / 'wandb'))}/offline-run-*"
        return f"project {self.project} of your wandb account"

    def open(self, run: Tracked) -> WandbLog:
        """Continues the run if the server knows it; offline, replaces what was written of it."""
        import wandb

        for path in (self.folder / "wandb").glob(f"offline-run-*-{run.key}") if self.offline else ():
            shutil.rmtree(path)
        # One process tracks many seeds, so what wandb records of the process belongs to no run.
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        opened = wandb.init(
            project=self.project,
            dir=os.fspath(self.folder),
            id=run.key,
            name=f"{run.cell.method} {run.name}",
            group=run.cell.label,
            job_type="scores" if run.seed is None else "seed",
            tags=[run.cell.stream[:64], run.cell.config.method.name[:64]],
            config=run.config,
            resume="allow",
            reinit="create_new",
            mode="offline" if self.offline else "online",
            settings=settings,
        )
        for axis, step in AXES.items():
            opened.define_metric(step, hidden=True)
            opened.define_metric(f"{axis}/*", step_metric=step)
        return WandbLog(opened)


class WandbLog:
    """One run of wandb."""

    def __init__(self, run: wandb.Run) -> None:
        self.run, self.step = run, 0

    def write(self, points: Sequence[Point]) -> None:
        """A line of history per point: ``task`` or ``steps``, and its values. Skips points the run has."""
        for axis, step, values in points:
            if self.step >= self.run.starting_step:
                named = {f"{axis}/{name}": value for name, value in values.items()}
                self.run.log({AXES[axis]: step, **named}, step=self.step)
            self.step += 1

    def score(self, values: Mapping[str, float], seeds: int) -> None:
        """Writes ``score/level`` and so on to the run's summary."""
        self.run.summary.update({f"score/{name}": value for name, value in values.items()} | {"seeds": seeds})

    def close(self, complete: bool) -> None:
        """Waits until all is written and, if online, uploaded."""
        self.run.finish(exit_code=0 if complete else 1)


def _logged_in() -> bool:
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.Error as error:
        raise InputError(
            f"wandb cannot log in ({error}): set WANDB_MODE=offline to go on without an account"
        ) from error
