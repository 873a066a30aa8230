"""The method that is checked, and the small runs that its checks share."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.methods.composed import Composed
from plasticity_bench.agents.methods.none import NoMethod
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.class_source import code_files, shown_file
from plasticity_bench.contract import STREAM
from plasticity_bench.contract.watch import GlobalDraws, watched
from plasticity_bench.records.configuration import configuration
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.registry.choices import Chosen, choose_method, choose_stream
from plasticity_bench.registry.create import create_stream
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.specs import OptimizerSpec
from plasticity_bench.tasks.base import SupervisedStream


class Run(NamedTuple):
    """The results of training."""

    table: np.ndarray  # (seeds, tasks, columns)
    weights: list[torch.Tensor]  # everything trainable, each (S, ...)

    def of(self, index: int) -> Run:
        """The results of one seed."""
        return Run(self.table[index : index + 1], [w[index : index + 1] for w in self.weights])

    def equals(self, other: Run) -> bool:
        """Whether both are bit-identical."""
        return np.array_equal(self.table, other.table, equal_nan=True) and all(
            map(same_bits, self.weights, other.weights)
        )


class Subject:
    """The method to check, with its settings, and the trained learners that several checks use."""

    def __init__(self, method: Chosen[Method] | str) -> None:
        """``method``: chosen, or as ``run --method`` takes it.

        Raises:
            InputError: if it names no method, or if the method refuses the settings or the stream's network.
            RunFailed: if the hook ``network`` fails.
        """
        self.chosen = choose_method(method) if isinstance(method, str) else method
        #: The composed methods, or the method itself.
        self.parts: Sequence[Chosen] = self.chosen.parts or (self.chosen,)
        configuration(choose_stream(STREAM), self.chosen)
        found = create_stream(STREAM)
        assert isinstance(found, SupervisedStream)
        self.stream = found
        self.optimizer = with_learning_rate(self.stream, self.chosen)
        self.files = {file for part in self.parts for file in _files(part.cls)}
        #: The observer of the learner of seeds 0 and 1 that ``trained`` returns.
        self.draws = GlobalDraws()
        self._learners: dict[tuple[int, ...], SupervisedLearner] = {}
        self._runs: dict[tuple[int, ...], Run] = {}

    def make(self) -> Method:
        """A new instance."""
        return self.chosen.make()

    def with_settings(self, settings: Mapping[str, str]) -> Subject:
        """The same method with these settings in addition to its own; a part's are named ``part.key``."""
        return Subject(self.chosen.with_settings(settings))

    @property
    def changes_network(self) -> bool:
        """Whether it trains another architecture than the stream's."""
        spec = self.stream.network
        return self.make().network(spec) != spec

    def learner(self, seeds: Sequence[int] = (0, 1), method: Method | None = None) -> SupervisedLearner:
        """A learner as ``run`` makes it; ``method`` is used instead of a new instance."""
        return SupervisedLearner(self.stream, method or self.make(), seeds, optimizer=self.optimizer)

    def trained(self, seeds: Sequence[int] = (0, 1)) -> SupervisedLearner:
        """A trained learner. Every call returns the same one, so do not train it further."""
        key = tuple(seeds)
        if key not in self._learners:
            made = self.learner(seeds, self._watched() if key == (0, 1) else None)
            self._runs[key] = finish(made)
            self._learners[key] = made
        return self._learners[key]

    def _watched(self) -> Method:
        self.draws = GlobalDraws()
        method = self.make()
        self.draws.constructed()
        return watched(method, self.draws)

    def run(self, seeds: Sequence[int] = (0, 1)) -> Run:
        """The results of training these seeds to the end; they are trained only once."""
        self.trained(seeds)
        return self._runs[tuple(seeds)]

    def plain_run(self) -> Run:
        """The results of ``none`` on seeds 0 and 1 at the same learning rate."""
        return plain_run(self.stream, self.optimizer)

    def where(self, error: BaseException) -> str:
        """file:line of the method's code that an exception passed through last."""
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in self.files]
        return f"{shown_file(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""

    def line(self, error: BaseException) -> str:
        """The text of that line."""
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in self.files]
        return (frames[-1].line or "") if frames else ""

    def place(self, hook: str) -> str:
        """file:line of a hook's first line; ``hook`` is ``Call.name``."""
        name, _, last = hook.rpartition(" ")
        for part in self.parts:
            if not name or part.cls.info.name == name:
                return definition(getattr(part.cls, last))
        return ""


@lru_cache(maxsize=2)
def plain_run(stream: SupervisedStream, optimizer: OptimizerSpec) -> Run:
    """The results of ``none`` on seeds 0 and 1, trained once per process."""
    return finish(SupervisedLearner(stream, NoMethod(), (0, 1), optimizer=optimizer))


def finish(learner: SupervisedLearner) -> Run:
    """Trains to the end and returns the results."""
    while not learner.finished:
        learner.advance()
    rows = [[[row.get(name, np.nan) for name in COLUMNS] for row in rows] for rows in learner.rows]
    return Run(np.array(rows), [p.detach().clone() for p in trainable(learner.layers)])


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors are bit-identical, not-a-numbers included."""
    return (
        left.shape == right.shape
        and torch.equal(left.isnan(), right.isnan())
        and torch.equal(left.nan_to_num(), right.nan_to_num())
    )


def definition(function: Any) -> str:
    """file:line of a function's first line."""
    code = inspect.unwrap(function).__code__
    return f"{shown_file(code.co_filename)}:{code.co_firstlineno}"


def _files(cls: type) -> set[str]:
    """The files that the class, and its base classes apart from the API's, were compiled from."""
    return code_files(base for base in cls.__mro__ if base not in (Method, Composed))
