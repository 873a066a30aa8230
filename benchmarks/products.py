"""The limit of training speed on a core: the network's matrix products and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.timing import Spent, timed
from plasticity_bench.specs import NetworkSpec, layer_shapes

#: Side of the square product whose rate is the core's peak.
SQUARE = 1024


@dataclass(frozen=True)
class Product:
    """``(rows, inner) @ (inner, columns)``, once for every seed."""

    rows: int
    inner: int
    columns: int
    transposed: str = ""  # the operand that lies transposed in memory, as in the network: "left" or "right"

    @property
    def operations(self) -> int:
        """Multiplications and additions of one seed."""
        return 2 * self.rows * self.inner * self.columns


def products(spec: NetworkSpec, batch: int, training: bool = True) -> list[Product]:
    """The products of one step with ``batch`` examples.

    They are forward, backward to the weights, and backward to the inputs of all layers but the first;
    ``training=False``: only forward. A convolution is the product of its unfolded inputs: every position of
    every example is a row."""
    found = []
    for i, (_, weight, positions, _, _) in enumerate(layer_shapes(spec)):
        rows, inner, columns = batch * positions, math.prod(weight[1:]), weight[0]
        found.append(Product(rows, inner, columns, "right"))
        if training:
            found.append(Product(columns, rows, inner, "left"))
            if i:
                found.append(Product(rows, columns, inner))
    return found


def operations(wanted: list[Product]) -> int:
    """Multiplications and additions of all products, for one seed."""
    return sum(product.operations for product in wanted)


class Limit:
    """Computes the products; their operands and results are in memory that is reused."""

    def __init__(self, wanted: list[Product], seeds: int, batched: bool) -> None:
        rng = torch.Generator().manual_seed(0)
        self.seeds = seeds
        self.work: list[Callable[[], object]] = []
        for product in wanted:
            left = torch.randn(seeds, product.rows, product.inner, generator=rng)
            right = torch.randn(seeds, product.inner, product.columns, generator=rng)
            if product.transposed == "left":
                left = left.mT.contiguous().mT
            elif product.transposed == "right":
                right = right.mT.contiguous().mT
            out = torch.empty(seeds, product.rows, product.columns)
            if batched:
                self.work.append(_call(torch.bmm, left, right, out))
            else:
                self.work += [_call(torch.mm, *one) for one in zip(left, right, out, strict=True)]

    @torch.no_grad()
    def __call__(self, steps: int) -> Spent:
        """Time of ``steps`` steps of all seeds, after one step that fills the caches."""

        def run(steps: int) -> None:
            for _ in range(steps):
                for call in self.work:
                    call()

        run(1)
        return timed(lambda: run(steps))[0]


def _call(
    function: Callable[..., torch.Tensor], left: torch.Tensor, right: torch.Tensor, out: torch.Tensor
) -> Callable[[], object]:
    return lambda: function(left, right, out=out)


def square_rate(repeats: int = 10) -> float:
    """Operations per second of a large square product, the best of ``repeats``."""
    left, right = torch.ones(SQUARE, SQUARE), torch.ones(SQUARE, SQUARE)
    out = torch.empty(SQUARE, SQUARE)
    best = min(timed(lambda: torch.mm(left, right, out=out))[0].cpu for _ in range(repeats + 1))
    return Product(SQUARE, SQUARE, SQUARE).operations / best
