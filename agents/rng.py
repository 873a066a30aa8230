"""Random numbers: one generator per seed and purpose, so that no draw depends on another.

A seed's data do not depend on the method, its initial weights not on the stream of data, and neither on
the seeds that train beside it. All numbers come from numpy on the host, so a CPU and a GPU see the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from plasticity_bench.seeding import generator

#: Fills an array from a generator.
_Fill = Callable[[np.random.Generator, np.ndarray], Any]

#: What numpy draws; other types are drawn as float32.
_NUMPY = (torch.float32, torch.float64)


class PolicyRng:
    """What stable-baselines3's PPO draws, as it draws it, but for every seed from generators of its own:
    the noise of actions from ``noise[s]``, the order of examples from a legacy generator of numpy."""

    def __init__(self, seeds: Sequence[int]) -> None:
        def number(seed: int, purpose: str) -> int:
            return int(generator(seed, purpose).integers(2**32))

        self.noise = [torch.Generator().manual_seed(number(seed, "actions")) for seed in seeds]
        self.order = [np.random.RandomState(number(seed, "batches")) for seed in seeds]

    def permutations(self, count: int) -> np.ndarray:
        """``(S, count)``: for every seed the numbers below ``count`` in random order."""
        return np.stack([order.permutation(count) for order in self.order])

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        orders: list[Any] = [order.get_state() for order in self.order]
        return {
            "noise": [noise.get_state() for noise in self.noise],
            "order": [[kind, keys.tolist(), *rest] for kind, keys, *rest in orders],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where ``state_dict`` was taken."""
        for noise, saved in zip(self.noise, state["noise"], strict=True):
            noise.set_state(saved.cpu())
        for order, (kind, keys, *rest) in zip(self.order, state["order"], strict=True):
            order.set_state((kind, np.array(keys, np.uint32), *rest))


class SeedRng:
    """Draws for a stack of seeds: row s of every tensor comes from seed s's own generator.

    ``stacked=False`` is for plain networks without a leading dimension: one seed, no extra dimension.
    """

    def __init__(self, seeds: Sequence[int], purpose: str, *key: int, stacked: bool = True) -> None:
        if not stacked and len(seeds) != 1:
            raise ValueError("without a leading dimension there is exactly one seed")
        self.stacked = stacked
        self.generators = [generator(seed, purpose, *key) for seed in seeds]

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers with the shape, dtype and device of ``like``."""
        return self._draw(like, _normal).to(like.device, like.dtype)

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Uniform numbers on [-1, 1) with the shape, dtype and device of ``like``."""
        drawn = self._draw(like, lambda g, numbers: g.random(dtype=numbers.dtype, out=numbers))
        return drawn.mul_(2).sub_(1).to(like.device, like.dtype)

    def normal_(self, into: torch.Tensor) -> torch.Tensor:
        """Overwrites ``into`` with what ``normal`` would have drawn."""
        if into.device.type == "cpu" and into.dtype in _NUMPY and into.is_contiguous():
            self._fill(into, _normal)
        else:
            into.copy_(self.normal(into))
        return into

    def kept(self, like: torch.Tensor, share: float) -> torch.Tensor:
        """Dropout's factors, shaped as ``like``: 0 with probability ``share`` (to 2^-17), else 1/(1 - share).

        From 16 raw bits each, which are drawn in a fraction of a uniform number's time.
        """
        count = like[0].numel() if self.stacked else like.numel()
        words = -(-count // 4)
        rows = np.concatenate([g.bit_generator.random_raw(words) for g in self.generators])
        bits = rows.view(np.uint16).reshape(-1, 4 * words)[:, :count]
        dtype = np.float64 if like.dtype == torch.float64 else np.float32
        factors = np.multiply(bits >= round(share * 2**16), 1 / (1 - share), dtype=dtype)
        return torch.from_numpy(factors).view(like.shape).to(like.device, like.dtype)

    def state_dict(self) -> list[dict[str, Any]]:
        """Plain Python values, readable with ``torch.load(weights_only=True)``."""
        return [dict(g.bit_generator.state) for g in self.generators]

    def load_state_dict(self, state: Sequence[dict[str, Any]]) -> None:
        """Continues where ``state_dict`` was taken."""
        for g, saved in zip(self.generators, state, strict=True):
            g.bit_generator.state = saved

    def _draw(self, like: torch.Tensor, draw: _Fill) -> torch.Tensor:
        drawn = torch.empty(like.shape, dtype=like.dtype if like.dtype in _NUMPY else torch.float32)
        self._fill(drawn, draw)
        return drawn

    def _fill(self, into: torch.Tensor, draw: _Fill) -> None:
        numbers = into.detach().numpy()
        for own, row in zip(self.generators, numbers if self.stacked else [numbers], strict=True):
            draw(own, row)


def _normal(generator: np.random.Generator, numbers: np.ndarray) -> None:
    generator.standard_normal(dtype=numbers.dtype, out=numbers)
