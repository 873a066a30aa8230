"""Trains several configurations of a method in one stack: a sweep's.

Each is recorded in its own cell and has its checkpoint there, as if it trained alone: any later command goes
on from it, with whatever beside it. Each is charged an equal share of the stack's time: they are of one
method, and what each does by itself takes about as long, but where one resets more often than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plasticity_bench.checkpoints import checkpoint_path, load, position, save
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.registry import method_of, with_learning_rate
from plasticity_bench.worker import Job, Report, chosen, failed, prepare_device, record, run_job, train


def run_members(job: Job, report: Report) -> None:
    """Trains and records every cell of the job; one that fails is left out and the others go on.

    Raises the first failure in the end, which names its configuration: InputError or RunFailed.
    """
    # Those that stand at the same step go on together.
    together: dict[Any, list[Job]] = {}
    for i, member in enumerate(job.members):
        at = position(checkpoint_path(member.path, member.seeds))
        together.setdefault(i if at is None else at, []).append(member)
    failures: list[Exception] = []
    done = 0
    for members in together.values():
        before = done

        def of_all(updates: int, total: int, part: int = len(members), before: int = before) -> None:
            report(before * total + updates * part, total * len(job.members))

        try:
            if len(members) == 1:
                run_job(members[0], of_all)
            else:
                failures += _run(members, of_all)
        except (InputError, RunFailed) as error:
            failures.append(error)
        done += len(members)
    if failures:
        raise failures[0]


def _run(members: Sequence[Job], report: Report) -> list[Exception]:
    """The failures of single configurations. Raises what all of them fail at."""
    try:
        return _train(members, report)
    except InputError:
        raise
    except Exception as error:
        raise failed(members[0], error) from None


def _train(members: Sequence[Job], report: Report) -> list[Exception]:
    from plasticity_bench.agents.grouped_learner import GroupedLearner
    from plasticity_bench.tasks.base import SupervisedStream

    device = prepare_device(members[0].device)
    (stream, *_), methods = zip(*map(chosen, members), strict=True)
    assert isinstance(stream, SupervisedStream)
    made = [(method_of(method), with_learning_rate(stream, method)) for method in methods]
    learner = GroupedLearner(stream, made, members[0].seeds, device=device)
    paths = [checkpoint_path(member.path, member.seeds) for member in members]
    cells = list(zip(members, learner.shares, paths, strict=True))
    before = []
    for _, share, path in cells:
        try:
            before.append(load(path, share, device))
        except InputError as error:
            share.fail(error)
            before.append(0.0)

    def keep(spent: float) -> None:
        for (_, share, path), earlier in zip(cells, before, strict=True):
            if share.failure is None:
                try:
                    save(path, share, earlier + spent / len(cells))
                except InputError:  # a full disk is everybody's
                    raise
                except Exception as error:  # of the method's state
                    share.fail(error)

    spent = train(members[0], learner, keep, report)
    failures: list[Exception] = []
    for (member, share, path), earlier in zip(cells, before, strict=True):
        if share.failure is not None:
            own = isinstance(share.failure, InputError)
            failures.append(share.failure if own else failed(member, share.failure))
            continue
        try:
            record(member, share, earlier + spent / len(cells), len(learner.seeds), device)
            path.unlink(missing_ok=True)
        except InputError as error:
            failures.append(error)
    return failures
