"""Random numbers: one generator per seed and purpose, so that no draw depends on another.

A seed's data do not depend on the method, its initial weights do not depend on the data, and neither depends
on the other seeds of the stack. Numbers are drawn on the CPU, whatever device trains: those of methods and
initial weights by numpy, the noise of an agent's actions by torch (as stable-baselines3 draws it). So a CPU
and a GPU use the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from plasticity_bench.seeding import Twin, generator

#: Fills an array from a generator.
_Fill = Callable[[np.random.Generator, np.ndarray], Any]

#: What numpy draws; other types are drawn as float32.
_NUMPY = (torch.float32, torch.float64)


class PolicyRng:
    """Draws what stable-baselines3's PPO draws, in the same way, for every seed from generators of its own.

    ``noise[s]`` is torch's generator of seed s for the noise of actions; ``order[s]`` is its legacy generator
    of numpy for the order of examples.

    Args:
        seeds: The seeds of the stack, or twins of them.
    """

    def __init__(self, seeds: Sequence[int | Twin]) -> None:
        def number(seed: int | Twin, purpose: str) -> int:
            return int(generator(seed, purpose).integers(2**32))

        self.noise = [torch.Generator().manual_seed(number(seed, "actions")) for seed in seeds]
        self.order = [np.random.RandomState(number(seed, "batches")) for seed in seeds]

    def permutations(self, count: int) -> np.ndarray:
        """The numbers below ``count`` in random order, for every seed: ``(S, count)``."""
        return np.stack([order.permutation(count) for order in self.order])

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        orders: list[Any] = [order.get_state() for order in self.order]
        return {
            "noise": [noise.get_state() for noise in self.noise],
            "order": [[kind, keys.tolist(), *rest] for kind, keys, *rest in orders],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from the state in which ``state_dict`` was taken."""
        for noise, saved in zip(self.noise, state["noise"], strict=True):
            noise.set_state(saved.cpu())
        for order, (kind, keys, *rest) in zip(self.order, state["order"], strict=True):
            order.set_state((kind, np.array(keys, np.uint32), *rest))


class SeedRng:
    """The random numbers of a method: row s of every tensor is drawn by seed s's own generator.

    Args:
        seeds: The seeds of the stack, or twins of them.
        purpose: What is drawn: a key of ``PURPOSES`` (plasticity_bench/seeding.py).
        key: Further numbers that the generators depend on.
        stacked: False: for a single network, whose tensors have no leading dimension.

    Raises:
        ValueError: ``stacked`` is False and there is not exactly one seed.

    Example:
        >>> import torch
        >>> rng = SeedRng([0, 1], "method")
        >>> numbers = rng.normal(torch.empty(2, 3))
        >>> torch.equal(numbers[1:], SeedRng([1], "method").normal(torch.empty(1, 3)))
        True
    """

    def __init__(self, seeds: Sequence[int | Twin], purpose: str, *key: int, stacked: bool = True) -> None:
        if not stacked and len(seeds) != 1:
            raise ValueError("without a leading dimension there is exactly one seed")
        self.stacked = stacked
        self.generators = [generator(seed, purpose, *key) for seed in seeds]

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers.

        Args:
            like: A tensor whose shape, dtype and device the result has; its first dimension is that of the
                seeds, unless ``stacked`` is False.
        """
        return self._draw(like, _normal).to(like.device, like.dtype)

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Uniform numbers on [-1, 1).

        Args:
            like: As in ``normal``.
        """
        drawn = self._draw(like, lambda g, numbers: g.random(dtype=numbers.dtype, out=numbers))
        return drawn.mul_(2).sub_(1).to(like.device, like.dtype)

    def normal_(self, into: torch.Tensor) -> torch.Tensor:
        """Overwrites ``into`` with the numbers that ``normal(into)`` would return, and returns it."""
        if into.device.type == "cpu" and into.dtype in _NUMPY and into.is_contiguous():
            self._fill(into, _normal)
        else:
            into.copy_(self.normal(into))
        return into

    def kept(self, like: torch.Tensor, share: float) -> torch.Tensor:
        """Factors of dropout: 0 with probability ``share`` (to within 2^-17), else 1 / (1 - share).

        Each is made of 16 random bits, which are drawn in a fraction of the time of a uniform number.

        Args:
            like: As in ``normal``.
            share: Probability that a factor is 0.
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
        """Continues from the state in which ``state_dict`` was taken."""
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
