"""CUDA without a GPU: tensors that have a device, a shape and a number type, but no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from plasticity_bench.agents.host_state import Watch
from plasticity_bench.agents.rng import SeedRng

CUDA = torch.device("cuda")


class Listing(Watch):
    """Also records the names of all operations, and the copies between host and device."""

    def __init__(self, device: torch.device = CUDA) -> None:
        super().__init__(device)
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def fake_cuda(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """In its block, tensors on ``CUDA`` can be made. numpy's draws are left out, as nothing reads them."""

    def fill(self: SeedRng, into: torch.Tensor, draw: Any) -> None:
        """Changes the generator's state, so that a draw is noticed."""
        for generator in self.generators:
            generator.random()

    patch.setattr(SeedRng, "_fill", fill)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield
