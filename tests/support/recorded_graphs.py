"""A stand-in for CUDA graphs on a CPU: it records the operations of a step and replays only these.

Like a graph, a replay runs none of the step's Python code: it runs the same operations on the same memory
with the same Python-side values, even if those have changed since. Recording leaves all tensors unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")

#: Operations that change their arguments (running statistics) without declaring it.
UNDECLARED = {"native_batch_norm"}


def tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


class Recorder(TorchDispatchMode):
    """Runs and records every operation; ``restore`` undoes changes to tensors that existed before."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []
        self.made: dict[int, torch.Tensor] = {}
        self.spoiled: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        mutable = func._schema.is_mutable or func.overloadpacket.__name__ in UNDECLARED
        if mutable:
            for tensor in tensors((args, kwargs)):
                self._keep(tensor)
        known = {id(tensor) for tensor in tensors((args, kwargs))}
        own = {tensor.untyped_storage()._cdata for tensor in tensors((args, kwargs))}
        result = func(*args, **kwargs)
        # Views need no replay, and in-place results must not be written twice.
        fresh = [t for t in tensors(result) if id(t) not in known and t.untyped_storage()._cdata not in own]
        for tensor in fresh:
            self.made[tensor.untyped_storage()._cdata] = tensor
        if fresh or mutable:
            self.operations.append((func, args, kwargs, fresh))
        return result

    def _keep(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.made and storage._cdata not in self.spoiled:
            size = storage.nbytes() // tensor.itemsize
            whole = torch.empty(0, dtype=tensor.dtype).set_(storage, 0, (size,), (1,))
            self.spoiled[storage._cdata] = (whole, whole.clone())

    def restore(self) -> None:
        for whole, before in self.spoiled.values():
            whole.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, fresh in self.operations:
            result = func(*args, **kwargs)
            if fresh:
                for tensor, again in zip(fresh, tensors(result), strict=True):
                    tensor.copy_(again)


class RecordedGraphs:
    """``Graphs`` on a CPU."""

    def __init__(self) -> None:
        self.captured = 0

    def run_eagerly(self, run: Callable[[], T]) -> T:
        return run()

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        recorder = Recorder()
        with recorder:
            run()
        recorder.restore()
        self.captured += 1
        return recorder.replay
