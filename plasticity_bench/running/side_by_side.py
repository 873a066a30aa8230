"""Trains several configurations of a method in one stack, as a sweep does.

Each configuration is recorded in its own cell and has its checkpoint there, as if it trained alone. So any
later command resumes from it, in whatever stack. The time of the stack is divided equally. The
configurations are of one method, so they take about as long, unless one resets more often than another.
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
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.running.job import Job, OnProgress, ShouldStop
from plasticity_bench.running.training import (
    capture_record,
    is_recorded,
    prepare_device,
    run_error,
    stream_and_method,
    train_cell,
    train_to_end,
    write_seeds,
)


def run_members(job: Job, report: OnProgress, should_stop: ShouldStop) -> bool:
    """Trains and records every cell of the job; if one fails, the others go on.

    Returns False if it saved and stopped early because of ``should_stop``.

    Raises:
        CannotWrite, OutOfMemory: At once.
        RunFailed: At the end, with a line for each failure, which names its configuration.
        InputError: The same, if the user can fix all of them.
    """
    # Configurations whose checkpoints are at the same step train together.
    groups: dict[Any, list[Job]] = {}
    for i, member in enumerate(job.members):
        if is_recorded(member):  # by a worker that was killed before the others were recorded
            checkpoint_path(member.path, member.seeds).unlink(missing_ok=True)
            continue
        position = checkpoint_position(checkpoint_path(member.path, member.seeds))
        groups.setdefault(i if position is None else position, []).append(member)
    failures: list[Exception] = []
    done = len(job.members) - sum(map(len, groups.values()))
    for members in groups.values():
        before = done

        def report_group(updates: int, total: int, size: int = len(members), before: int = before) -> None:
            report(before * total + updates * size, total * len(job.members))

        try:
            if len(members) == 1:
                finished = train_cell(members[0], report_group, should_stop)
            else:
                finished = _train_group(members, report_group, should_stop, failures)
            if not finished:
                return False
        except (CannotWrite, OutOfMemory):
            raise
        except (InputError, RunFailed) as error:
            failures.append(error)
        done += len(members)
    if failures:
        lines = [str(error) for error in failures]
        fixable = all(isinstance(error, InputError) for error in failures)
        raise InputError(*lines) if fixable else RunFailed(*lines)
    return True


def _train_group(
    members: Sequence[Job], report: OnProgress, should_stop: ShouldStop, failures: list[Exception]
) -> bool:
    """Adds the failures of single configurations to ``failures``. Raises an error that concerns all."""
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
    configurations = [(method.make(), with_learning_rate(stream, method)) for method in methods]
    learner = GroupedLearner(stream, configurations, members[0].seeds, device=device, precision=precision)
    paths = [checkpoint_path(member.path, member.seeds) for member in members]
    cells = list(zip(members, learner.shares, paths, strict=True))
    seconds_before = []
    for _, share, path in cells:
        try:
            seconds_before.append(load_checkpoint(path, share, device))
        except InputError as error:
            share.fail(error)
            seconds_before.append(0.0)

    def save(spent: float) -> None:
        for (_, share, path), earlier in zip(cells, seconds_before, strict=True):
            if share.failure is None:
                try:
                    save_checkpoint(path, share, earlier + spent / len(cells))
                except InputError:  # a full disk concerns all configurations
                    raise
                except Exception as error:  # the method's state cannot be saved
                    share.fail(error)

    spent = train_to_end(members[0], learner, save, report, should_stop)
    for (member, share, path), earlier in zip(cells, seconds_before, strict=True):
        if share.failure is not None:
            fixable = isinstance(share.failure, InputError)
            failures.append(share.failure if fixable else run_error(member, share.failure))
            continue
        if not learner.finished:
            continue
        try:
            write_seeds(
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
