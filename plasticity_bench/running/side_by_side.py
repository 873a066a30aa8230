"""Trains several configurations of a method in one stack: a sweep's.

Each is recorded in its own cell and has its checkpoint there, as if it trained alone: any later command goes
on from it, with whatever beside it. Each is charged an equal share of the stack's time: they are of one
method, and what each does by itself takes about as long, but where one resets more often than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plasticity_bench.errors import CannotWrite, InputError, OutOfMemory, RunFailed
from plasticity_bench.records.checkpoints import (
    checkpoint_path,
    checkpoint_position,
    load_checkpoint,
    save_checkpoint,
)
from plasticity_bench.registry.choices import with_learning_rate
from plasticity_bench.running.job import Job, OnProgress, ShouldStop
from plasticity_bench.running.training import (
    capture_record,
    is_recorded,
    prepare_device,
    record_seeds,
    run_error,
    stream_and_method,
    train_cell,
    train_to_end,
)


def run_members(job: Job, report: OnProgress, should_stop: ShouldStop) -> bool:
    """Trains and records every cell of the job; one that fails is left out and the others go on. Returns
    False where it saved and left early because ``should_stop()``.

    Raises CannotWrite and OutOfMemory at once, and in the end RunFailed, or InputError where the user can
    mend all of it, with a line for each failure, which names its configuration.
    """
    # Those that stand at the same step go on together.
    together: dict[Any, list[Job]] = {}
    for i, member in enumerate(job.members):
        if is_recorded(member):  # by a worker that was killed before the others were
            checkpoint_path(member.path, member.seeds).unlink(missing_ok=True)
            continue
        at = checkpoint_position(checkpoint_path(member.path, member.seeds))
        together.setdefault(i if at is None else at, []).append(member)
    failures: list[Exception] = []
    done = len(job.members) - sum(map(len, together.values()))
    for members in together.values():
        before = done

        def of_all(updates: int, total: int, part: int = len(members), before: int = before) -> None:
            report(before * total + updates * part, total * len(job.members))

        try:
            if len(members) == 1:
                finished = train_cell(members[0], of_all, should_stop)
            else:
                finished = _run(members, of_all, should_stop, failures)
            if not finished:
                return False
        except (CannotWrite, OutOfMemory):
            raise
        except (InputError, RunFailed) as error:
            failures.append(error)
        done += len(members)
    if failures:
        lines = [str(error) for error in failures]
        every = all(isinstance(error, InputError) for error in failures)
        raise InputError(*lines) if every else RunFailed(*lines)
    return True


def _run(
    members: Sequence[Job], report: OnProgress, should_stop: ShouldStop, failures: list[Exception]
) -> bool:
    """Adds the failures of single configurations to ``failures``. Raises what all of them fail at."""
    try:
        return _train(members, report, should_stop, failures)
    except InputError:
        raise
    except Exception as error:
        raise run_error(members[0], error) from None


def _train(
    members: Sequence[Job], report: OnProgress, should_stop: ShouldStop, failures: list[Exception]
) -> bool:
    from plasticity_bench.agents.grouped_learner import GroupedLearner
    from plasticity_bench.tasks.base import SupervisedStream

    (stream, *_), methods, (precision, *_) = zip(*map(stream_and_method, members), strict=True)
    device = prepare_device(members[0].device, precision)
    assert isinstance(stream, SupervisedStream)
    made = [(method.make(), with_learning_rate(stream, method)) for method in methods]
    learner = GroupedLearner(stream, made, members[0].seeds, device=device, precision=precision)
    paths = [checkpoint_path(member.path, member.seeds) for member in members]
    cells = list(zip(members, learner.shares, paths, strict=True))
    before = []
    for _, share, path in cells:
        try:
            before.append(load_checkpoint(path, share, device))
        except InputError as error:
            share.fail(error)
            before.append(0.0)

    def keep(spent: float) -> None:
        for (_, share, path), earlier in zip(cells, before, strict=True):
            if share.failure is None:
                try:
                    save_checkpoint(path, share, earlier + spent / len(cells))
                except InputError:  # a full disk is everybody's
                    raise
                except Exception as error:  # of the method's state
                    share.fail(error)

    spent = train_to_end(members[0], learner, keep, report, should_stop)
    for (member, share, path), earlier in zip(cells, before, strict=True):
        if share.failure is not None:
            own = isinstance(share.failure, InputError)
            failures.append(share.failure if own else run_error(member, share.failure))
            continue
        if not learner.finished:
            continue
        try:
            record_seeds(
                member,
                share,
                earlier + spent / len(cells),
                len(learner.seeds),
                device,
                capture_record(learner),
            )
            path.unlink(missing_ok=True)
        except CannotWrite:
            raise
        except InputError as error:
            failures.append(error)
    return learner.finished
