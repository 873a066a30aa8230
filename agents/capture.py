"""Updates on CUDA: one is captured as a CUDA graph and replayed. For a small network the Python calls of an
update take longer than its arithmetic on the GPU; a replay makes none of them.

A graph repeats what was done while it was captured: the same operations on the same memory with the same
Python-side values. So the first updates run one by one and are observed. A method whose update draws random
numbers on the host, changes a Python number of its own, binds an attribute to a new tensor or waits for the
device is never captured; ``CapturedUpdater.reason`` says why. A method that acts every few updates says so
(``Method.repeats``), and those updates run without the graph. Before every stretch of replays, all memory and
values that the graph depends on are compared with what they were when it was captured.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from plasticity_bench.agents.host_state import (
    Watch,
    changed_paths,
    host_state,
    schedules_of,
    set_schedules,
    state_of,
)

if TYPE_CHECKING:
    from plasticity_bench.agents.trained_network import TrainedNetwork

#: Environment variable: 0 turns capturing off.
CAPTURE = "PLASTICITY_BENCH_CAPTURE"
#: Updates in one graph, longest first: one copy into the buffers serves all updates of a graph.
LENGTHS = (16, 1)
#: Updates that are run and observed before a capture.
WATCHED = 3
#: A capture that serves fewer updates than SHORT costs more than it saves; WASTED of them end capturing.
SHORT, WASTED = 64, 4

T = TypeVar("T")


class Graphs(Protocol):
    """Where graphs come from: CUDA, or a replacement for tests on a CPU."""

    def run_eagerly(self, run: Callable[[], T]) -> T:
        """Calls ``run`` on the CUDA stream that captures use."""

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Records what ``run`` does to tensors, without doing it. Returns a function that does it."""


class CudaGraphs:
    """torch's CUDA graphs on one device, each with a memory pool of its own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def run_eagerly(self, run: Callable[[], T]) -> T:
        """See Graphs. Libraries allocate memory at their first call on a CUDA stream; a capture must not."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = run()
        current.wait_stream(self.stream)
        return result

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """See Graphs."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
            run()
        replay: Callable[[], None] = graph.replay
        return replay


class Updater(Protocol):
    """Makes a learner's updates."""

    replayed: int  # number of updates that were replayed from a graph
    reason: str  # why updates are not captured; empty: they are

    def learn(self, x: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        """K updates, one per batch.

        Args:
            x: Inputs ``(K, S, B, ...)``: updates, seeds, examples of a batch.
            target: Targets ``(K, S, B, ...)``.

        Returns:
            What ``TrainedNetwork.learn`` returns, for each of the K updates, in memory of its own.
        """


class Learning(Protocol):
    """What an updater drives: see ``TrainedNetwork.learn``."""

    def learn(self, x: torch.Tensor, target: Any) -> torch.Tensor:
        """One update on a batch; returns what was predicted before it."""


class EagerUpdater:
    """Runs every update's Python code."""

    def __init__(self, trained: Learning, reason: str = "not asked for") -> None:
        self.trained, self.reason, self.replayed = trained, reason, 0

    def learn(self, x: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        """See Updater."""
        return [self.trained.learn(*batch) for batch in zip(x.unbind(0), target.unbind(0), strict=True)]


def make_updater(trained: TrainedNetwork, device: torch.device) -> Updater:
    """A CapturedUpdater on CUDA unless the environment variable ``CAPTURE`` is 0, else an EagerUpdater."""
    if device.type != "cuda":
        return EagerUpdater(trained, f"no graphs on {device.type}")
    if os.environ.get(CAPTURE) == "0":
        return EagerUpdater(trained, f"{CAPTURE}=0")
    return CapturedUpdater(trained, CudaGraphs(device))


class _Graph:
    """A captured graph of ``length`` updates, with the buffers that they read and write."""

    def __init__(
        self,
        trained: TrainedNetwork,
        graphs: Graphs,
        length: int,
        x: torch.Tensor,
        target: torch.Tensor,
        output: torch.Tensor,
    ) -> None:
        self.x, self.target = (t.new_zeros((length, *t.shape[1:])) for t in (x, target))
        self.outputs = output.new_zeros((length, *output.shape))
        # Keeps alive what the captured code used, in case it is replaced while the graph is in use.
        self.held = (trained.gradients, trained._predict)

        def run() -> None:
            for i in range(length):
                self.outputs[i].copy_(trained.learn(self.x[i], self.target[i]))

        self.replay = graphs.capture(run)

    def learn(self, x: torch.Tensor, target: torch.Tensor) -> Sequence[torch.Tensor]:
        self.x.copy_(x)
        self.target.copy_(target)
        self.replay()
        return self.outputs.clone().unbind(0)


class CapturedUpdater:
    """Replays updates from a graph if that is safe, and runs them otherwise; the results are the same.

    It raises nothing of its own: what cannot be captured runs without a graph, and ``reason`` says why.
    """

    def __init__(self, trained: TrainedNetwork, graphs: Graphs, lengths: Sequence[int] = LENGTHS) -> None:
        self.trained, self.source, self.lengths = trained, graphs, lengths
        self.reason = ""
        self.replayed = self.captures = 0
        self._wasted = 0
        self._drop()

    def learn(self, x: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
        """See Updater."""
        method, outputs = self.trained.method, list[torch.Tensor]()
        while (i := len(outputs)) < len(x):
            ahead = 0 if self.reason else min(method.repeats(x.shape[2]), len(x) - i)
            if ahead < 1:
                outputs.append(self.trained.learn(x[i], target[i]))
            elif self._watched < WATCHED or not self._fits(x, target):
                outputs.append(self._watch(x[i], target[i]))
            else:
                length = next(length for length in self.lengths if length <= ahead)
                graph = self._graphs.get(length) or self._capture(length, x, target)
                if graph is not None:
                    for start in range(i, i + ahead - length + 1, length):
                        outputs += graph.learn(x[start : start + length], target[start : start + length])
                    done = len(outputs) - i
                    method.skip(done)
                    self.replayed += done
                    self._served += done
        return outputs

    def _drop(self) -> None:
        """Forgets all graphs; updates have to be observed again before the next capture."""
        self._graphs: dict[int, _Graph] = {}
        self._watched = self._served = 0
        self._depends: dict[str, Any] = {}
        self._external: list[torch.Tensor] = []

    def _fits(self, x: torch.Tensor, target: torch.Tensor) -> bool:
        """Whether memory and values are those of the last observed update; if not, forgets all graphs."""
        if self._depends == self._dependencies(x, target):
            return True
        if self._graphs and self._served < SHORT:
            self._wasted += 1
            if self._wasted >= WASTED:
                self.reason = "what a captured step depends on changes too often"
        self._drop()
        return False

    def _dependencies(self, x: torch.Tensor, target: torch.Tensor) -> dict[str, Any]:
        batches = {"x": (x.shape[1:], x.dtype), "target": (target.shape[1:], target.dtype)}
        return batches | host_state(self.trained)

    def _watch(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """One observed update; sets ``reason`` if it cannot be captured."""
        trained, method = self.trained, self.trained.method
        before, schedules = host_state(trained, draws=True), schedules_of(method)
        with Watch(x.device) as watch:
            output = self.source.run_eagerly(lambda: trained.learn(x, target))
        after, moved = host_state(trained, draws=True), schedules_of(method)
        set_schedules(schedules)
        method.skip(1)
        expected = schedules_of(method)
        set_schedules(moved)
        if watch.found:
            self.reason = f"an update {watch.found}"
        elif changed := changed_paths(before, after):
            self.reason = f"an update changes {', '.join(changed[:4])}"
        elif changed := changed_paths(state_of(expected), state_of(moved)):
            self.reason = f"an update changes {', '.join(changed[:4])} otherwise than Method.skip says"
        self._watched += 1
        self._external = watch.external
        self._output = output
        # With a leading dimension of 1: only the other dimensions are compared.
        self._depends = self._dependencies(x.unsqueeze(0), target.unsqueeze(0))
        return output

    def _capture(self, length: int, x: torch.Tensor, target: torch.Tensor) -> _Graph | None:
        """A graph of ``length`` updates; None, with ``reason`` set and nothing changed, if that fails."""
        trained, made = self.trained, None
        saved = copy.deepcopy(trained.state_dict())
        schedules, features = schedules_of(trained.method), [layer.features for layer in trained.layers]
        try:
            made = _Graph(trained, self.source, length, x, target, self._output)
        except Exception as error:  # out of memory, or an operation that cannot be captured
            text = str(error).splitlines()
            self.reason = f"capture failed: {type(error).__name__}: {text[0] if text else ''}"[:200]
        set_schedules(schedules)
        for layer, kept in zip(trained.layers, features, strict=True):
            layer.features = kept
        if made is not None and (changed := changed_paths(self._depends, self._dependencies(x, target))):
            self.reason, made = f"a capture changes {', '.join(changed[:4])}", None
        if made is None:
            self._drop()
            trained.load_state_dict(saved)
            return None
        self.captures += 1
        self._graphs[length] = made
        return made
