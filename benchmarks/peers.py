"""Training of the streams without this package: a plain PyTorch loop, and Avalanche.

Both train one seed after the other, from our initial weights, on our batches, with the same Adam. They record
the online accuracy and, if the stream has test images, the accuracy on them at a task's end.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import TensorDataset

from benchmarks.timing import Spent, now, timed
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.registry.create import create_method
from plasticity_bench.specs import OptimizerSpec
from plasticity_bench.tasks.base import SupervisedStream


@dataclass(frozen=True)
class Trained:
    """The results of one stretch of training."""

    steps: int  # updates, summed over the seeds
    total: Spent
    ends: Spent  # the part of it that came after the tasks' last steps: evaluation, diagnostics, next draws
    accuracy: list[list[float]]  # online accuracy, [seed][task]
    final: list[list[float]]  # accuracy on test images, [seed][task]; empty without
    full: int  # steps of a task in the stream; the stretch may have shorter tasks

    @property
    def per_step(self) -> float:
        """Processor seconds per update of one seed.

        The time of a task's end is divided by the steps of a full task, even if fewer were trained.
        """
        tasks = sum(map(len, self.accuracy))
        return (self.total - self.ends).cpu / self.steps + self.ends.cpu / (tasks * self.full)


@dataclass(frozen=True)
class SeedTask:
    """One task of one seed: ``images[order]`` is the order of training."""

    images: torch.Tensor
    labels: torch.Tensor
    order: torch.Tensor
    tests: list[tuple[torch.Tensor, torch.Tensor]]  # in pieces of 1,000


@dataclass(frozen=True)
class SeedData:
    """What a loop needs to train one seed: our initial weights, our tasks, our batches."""

    weights: list[torch.Tensor]  # weight and bias of every layer
    tasks: list[SeedTask]
    batch: int
    optimizer: OptimizerSpec
    full: int  # steps of a task in the stream

    def network(self) -> torch.nn.Sequential:
        """The network as a user would write it, at our initial weights."""
        layers: list[torch.nn.Module] = []
        for weight in self.weights[::2]:
            if weight.dim() == 4:
                convolution = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1])
                layers += [convolution, torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
                continue
            if layers and isinstance(layers[-1], torch.nn.MaxPool2d):
                layers.append(torch.nn.Flatten())
            layers += [torch.nn.Linear(weight.shape[1], weight.shape[0]), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), self.weights, strict=True):
                parameter.copy_(value)
        return model

    def adam(self, model: torch.nn.Module, fused: bool = False) -> torch.optim.Optimizer:
        """The stream's Adam. Raises ValueError if the stream has another optimizer."""
        if self.optimizer.name != "adam":
            raise ValueError("the peers support only Adam")
        return torch.optim.Adam(model.parameters(), lr=self.optimizer.lr, fused=fused or None)


@dataclass
class Ends:
    """Adds up the time of the ends of tasks."""

    spent: Spent = field(default_factory=lambda: Spent(0.0, 0.0))

    def timing(self, end: Callable[..., Any]) -> Callable[..., Any]:
        """``end``, timed."""

        def wrapped(*given: Any) -> Any:
            start = now()
            result = end(*given)
            self.spent = self.spent + (now() - start)
            return result

        return wrapped


def learner_of(stream: SupervisedStream, seeds: int, method: str = "none") -> SupervisedLearner:
    """Our learner, as a worker process of ``run`` makes it."""
    return SupervisedLearner(stream, create_method(method), range(seeds))


def seed_data(stream: SupervisedStream, full: int, seeds: int, tasks: int) -> list[SeedData]:
    """Weights and batches of the first seeds, taken from our learner, as tensors on the device."""
    learner = learner_of(stream, seeds)
    drawn = [learner.source.task(t) for t in range(tasks)]
    batches = [task.batches(0, stream.steps) for task in drawn]  # (K, S, B, ...)
    tested = stream.info.name == "permuted-mnist"
    tests = [list(task.evaluation()) if tested else [] for task in drawn]  # (S, N, ...)
    result = []
    for s in range(seeds):
        weights = [p[s].detach().clone() for layer in learner.layers for p in layer.parameters()]
        own = []
        for (x, y), pieces in zip(batches, tests, strict=True):
            in_order, labels = x[:, s].flatten(0, 1), y[:, s].flatten()
            # A user's data are not in the order of training: the loop gathers each batch by its indices.
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(s))
            images, targets = torch.empty_like(in_order), torch.empty_like(labels)
            images[order], targets[order] = in_order, labels
            own.append(SeedTask(images, targets, order, [(a[s].clone(), b[s].clone()) for a, b in pieces]))
        result.append(SeedData(weights, own, stream.batch, stream.optimizer, full))
    return result


def ours(stream: SupervisedStream, full: int, seeds: int, tasks: int, method: str = "none") -> Trained:
    """Our learner with everything that ``run`` does: draws, gathering, metrics, diagnostics."""
    learner, ends = learner_of(stream, seeds, method), Ends()
    learner._end_task = ends.timing(learner._end_task)  # type: ignore[method-assign]

    def train() -> None:
        while learner.task < tasks:
            learner.advance()

    total, _ = timed(train)
    online = [[row["online_performance"] for row in rows] for rows in learner.rows]
    final = [
        [row["final_performance"] for row in rows if "final_performance" in row] for rows in learner.rows
    ]
    return Trained(learner.progress * seeds, total, ends.spent, online, final, full)


def plain(data: list[SeedData], fused: bool = False) -> Trained:
    """Seed by seed, as PyTorch's tutorials write it; the accuracy is summed on the device."""
    models, ends = [seed.network() for seed in data], Ends()

    @torch.no_grad()
    def evaluate(model: torch.nn.Module, task: SeedTask) -> float:
        hits = [(model(x).argmax(1) == y).sum() for x, y in task.tests]
        return torch.stack(hits).sum().item() / sum(len(y) for _, y in task.tests)

    timed_evaluate = ends.timing(evaluate)

    def train_one(seed: SeedData, model: torch.nn.Module) -> tuple[list[float], list[float]]:
        optimizer = seed.adam(model, fused)
        online, final = [], []
        for task in seed.tasks:
            correct = torch.zeros((), dtype=torch.long)
            for index in task.order.split(seed.batch):
                x, y = task.images[index], task.labels[index]
                optimizer.zero_grad()
                logits = model(x)
                loss = functional.cross_entropy(logits, y)
                loss.backward()
                optimizer.step()
                correct += (logits.detach().argmax(1) == y).sum()
            online.append(correct.item() / len(task.order))
            if task.tests:
                final.append(timed_evaluate(model, task))
        return online, final

    total, found = timed(lambda: [train_one(seed, model) for seed, model in zip(data, models, strict=True)])
    return _trained(data, total, ends, found)


def avalanche(data: list[SeedData]) -> Trained:
    """Avalanche's Naive, seed by seed, without loggers and with epoch accuracy as its only metric.

    If there are test images, ``eval`` uses the same metric at a task's end.
    """
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training import Naive
    from avalanche.training.plugins import EvaluationPlugin

    warnings.filterwarnings("ignore", "No loggers specified")
    ends = Ends()

    def dataset(images: torch.Tensor, labels: torch.Tensor) -> Any:
        targets = DataAttribute(labels.tolist(), "targets")
        task_labels = DataAttribute([0] * len(labels), "targets_task_labels", use_in_getitem=True)
        return AvalancheDataset([TensorDataset(images, labels)], data_attributes=[targets, task_labels])

    def prepare(seed: SeedData) -> tuple[Any, list[Any], list[Any]]:
        training = [dataset(task.images[task.order], task.labels[task.order]) for task in seed.tasks]
        tests = [
            dataset(torch.cat([x for x, _ in task.tests]), torch.cat([y for _, y in task.tests]))
            for task in seed.tasks
            if task.tests
        ]
        given = {"train": training, "test": tests} if tests else {"train": training}
        benchmark = benchmark_from_datasets(**given)
        model = seed.network()
        metrics = accuracy_metrics(epoch=True, experience=bool(tests))
        strategy = Naive(
            model=model,
            optimizer=seed.adam(model),
            train_mb_size=seed.batch,
            eval_mb_size=1000,
            evaluator=EvaluationPlugin(metrics, loggers=[]),
        )
        return strategy, list(benchmark.train_stream), list(benchmark.test_stream) if tests else []

    def evaluate(strategy: Any, experience: Any) -> float:
        found = strategy.eval([experience], num_workers=0)
        return next(v for k, v in found.items() if k.startswith("Top1_Acc_Exp"))

    timed_evaluate = ends.timing(evaluate)
    prepared = [prepare(seed) for seed in data]

    def train_one(strategy: Any, experiences: list[Any], tests: list[Any]) -> tuple[list[float], list[float]]:
        online, final = [], []
        for i, experience in enumerate(experiences):
            # The data are already in our order.
            found = strategy.train(experience, num_workers=0, shuffle=False)
            online.append(next(v for k, v in found.items() if k.startswith("Top1_Acc_Epoch")))
            if tests:
                final.append(timed_evaluate(strategy, tests[i]))
        return online, final

    total, found = timed(lambda: [train_one(*one) for one in prepared])
    return _trained(data, total, ends, found)


def _trained(
    data: list[SeedData], total: Spent, ends: Ends, found: list[tuple[list[float], list[float]]]
) -> Trained:
    steps = sum(len(task.order) // seed.batch for seed in data for task in seed.tasks)
    return Trained(
        steps, total, ends.spent, [online for online, _ in found], [final for _, final in found], data[0].full
    )
