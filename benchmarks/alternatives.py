"""Compares the operations that training uses with alternatives that were tried.

    python -m benchmarks.alternatives [--repeats 9] [--compile]

Processor time on one core, measured in turns; a ratio above 1 says how many times as long the alternative
takes. "bit-identical" says whether it gives the same results as the operation in use. Recorded results rule
out any other alternative.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.optim.adam import adam

from benchmarks.peers import learner_of
from benchmarks.timing import interleave, machine, one_thread, spread, timed
from benchmarks.training_speed import chosen
from plasticity_bench.agents import diagnostics
from plasticity_bench.agents.forward import halve
from plasticity_bench.agents.gradients import AutogradStep
from plasticity_bench.agents.networks import cross_entropy_gradient
from plasticity_bench.agents.optim import FlatOptimizer
from plasticity_bench.specs import OptimizerSpec

Work = Callable[[], torch.Tensor | list[torch.Tensor]]
#: Calls per timed stretch: enough to be long compared with the clock's resolution.
CALLS = 10


def pooling(seeds: int) -> dict[str, Work]:
    """Forward and backward of 2x2 pooling after the first convolution of permuted-mnist."""
    x = torch.rand(64, 8 * seeds, 24, 24, generator=torch.Generator().manual_seed(0)).requires_grad_()
    upstream = torch.ones(64, 8 * seeds, 12, 12)

    def work(pool: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        pooled = pool(x)
        return [pooled.detach(), *torch.autograd.grad(pooled, x, upstream)]

    last = torch.channels_last
    return {
        "in use": partial(work, halve),
        "max_pool2d": partial(work, lambda x: functional.max_pool2d(x, 2)),
        "max_pool2d, channels-last": partial(
            work, lambda x: functional.max_pool2d(x.contiguous(memory_format=last), 2).contiguous()
        ),
    }


def convolution() -> dict[str, Work]:
    """Forward and backward of the second convolution of permuted-mnist, one seed."""
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(64, 8, 12, 12, generator=rng).requires_grad_()
    weight = torch.randn(16, 8, 5, 5, generator=rng).requires_grad_()
    upstream = torch.randn(64, 16, 8, 8, generator=rng)

    def plain(memory: torch.memory_format) -> list[torch.Tensor]:
        out = functional.conv2d(x.contiguous(memory_format=memory), weight.contiguous(memory_format=memory))
        return [out.detach(), *torch.autograd.grad(out, (x, weight), upstream)]

    def unfolded() -> list[torch.Tensor]:
        columns = functional.unfold(x, 5)  # (B, C*k*k, positions)
        out = (weight.flatten(1) @ columns).view(64, 16, 8, 8)
        return [out.detach(), *torch.autograd.grad(out, (x, weight), upstream)]

    return {
        "in use": partial(plain, torch.contiguous_format),
        "channels-last": partial(plain, torch.channels_last),
        "unfolded inputs, batched product": unfolded,
    }


def fused_adam(count: int) -> dict[str, Work]:
    """An update of ``count`` parameters."""
    rng = torch.Generator().manual_seed(0)
    gradient = torch.randn(count, generator=rng)

    def optimizer(fused: bool) -> FlatOptimizer:
        return FlatOptimizer(torch.ones(count), gradient, OptimizerSpec("adam", 1e-3, fused=fused))

    def step(one: FlatOptimizer) -> torch.Tensor:
        one.step()
        return one.flat

    def wrapped(one: FlatOptimizer) -> torch.Tensor:
        adam(
            [one.flat],
            [one.gradient],
            [one.state["exp_avg"]],
            [one.state["exp_avg_sq"]],
            [],
            [one.step_count],
            fused=True,
            foreach=False,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=1e-3,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        return one.flat

    return {
        "in use": partial(step, optimizer(True)),
        "torch.optim's fused function": partial(wrapped, optimizer(True)),
        "unfused": partial(step, optimizer(False)),
    }


def gradients(compiled: bool) -> dict[str, Work]:
    """The gradients of 16 seeds of permuted-digits."""
    learner = learner_of(chosen("permuted-digits", 0)[0], 16)
    x, y = learner.current.batches(0, 1)
    inputs, target = x[0], learner._target(y[0], x.dtype)
    network = learner.network
    ways = {
        "in use, by hand": learner.trained.gradients,
        "autograd": AutogradStep(network, cross_entropy_gradient),
    }

    def work(step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        with torch.no_grad():
            return [step(inputs, target), network.gradient]

    found: dict[str, Work] = {name: partial(work, step) for name, step in ways.items()}
    if compiled:
        found["torch.compile"] = partial(work, torch.compile(learner.trained.gradients.__call__))
    return found


def gathering() -> dict[str, Work]:
    """Permuting the pixels of 3,000 images of MNIST's size."""
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 256, (3000, 784), dtype=torch.uint8, generator=rng)
    pixels = torch.randperm(784, generator=rng)
    return {
        "in use": lambda: rows.gather(1, pixels.expand(3000, 784)),
        "index_select": lambda: rows.index_select(1, pixels),
        "advanced indexing": lambda: rows[:, pixels],
    }


@torch.no_grad()
def ranks() -> dict[str, Work]:
    """Spectra of 16 seeds' features of permuted-digits."""
    learner = learner_of(chosen("permuted-digits", 0)[0], 16)
    learner.network.forward(learner.current.probe()[0])
    features = [diagnostics.unit_features(layer) for layer in learner.layers if layer.hidden]

    def spectra(products: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        found = []
        for f in features:
            gram = products(f)
            found += [
                diagnostics.singular_values(g) for g in (gram, diagnostics.centred_gram(gram, f).to(gram))
            ]
        return found

    return {
        "in use": partial(spectra, diagnostics.gram),
        "in float32": partial(spectra, lambda f: f.mT @ f),
        "singular values of the features": lambda: [
            torch.linalg.svdvals(g.double()) for f in features for g in (f, f - f.mean(1, keepdim=True))
        ],
    }


def results(work: Work) -> list[torch.Tensor]:
    """The results of a later call: an optimizer's first step shows no difference in rounding."""
    for _ in range(CALLS - 1):
        work()
    found = work()
    return [t.detach().clone() for t in ([found] if isinstance(found, torch.Tensor) else found)]


def compare(ways: dict[str, Work], repeats: int) -> dict[str, dict[str, Any]]:
    """Microseconds, ratios to the first alternative, and whether the results are bit-identical to its."""
    kept = {name: results(work) for name, work in ways.items()}
    base = next(iter(ways))

    def stretch(work: Work) -> float:
        return timed(lambda: [work() for _ in range(CALLS)])[0].cpu / CALLS

    found = interleave({name: partial(stretch, work) for name, work in ways.items()}, repeats)
    return {
        name: {
            "microseconds": 1e6 * statistics.median(seconds),
            "ratios": [own / mine for own, mine in zip(seconds, found[base], strict=True)],
            "same": all(torch.equal(a, b) for a, b in zip(kept[base], kept[name], strict=True)),
        }
        for name, seconds in found.items()
    }


def main(given: list[str] | None = None) -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9, help="counted repeats (9)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; it needs a C++ compiler")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args(given)
    if args.repeats < 1:
        parser.error("--repeats is at least 1")
    facts = machine()
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    contests = {
        "2x2 pooling and its gradient, 1 seed": pooling(1),
        "the same, 16 seeds": pooling(16),
        "second convolution and its gradients": convolution(),
        "Adam, 17,610 parameters": fused_adam(17_610),
        "Adam, 281,760 parameters": fused_adam(281_760),
        "gradients of permuted-digits, 16 seeds": gradients(args.compile),
        "permuting pixels": gathering(),
        "spectra of permuted-digits, 16 seeds": ranks(),
    }
    print("\n| what | how | µs | times as long | bit-identical |\n|---|---|---:|---:|---|")
    rows: dict[str, Any] = {}
    for what, ways in contests.items():
        rows[what] = compare(ways, args.repeats)
        base = next(iter(ways))
        for how, row in rows[what].items():
            ratio, bits = ("", "") if how == base else (spread(row["ratios"]), "yes" if row["same"] else "no")
            print(f"| {what} | {how} | {row['microseconds']:,.0f} | {ratio} | {bits} |", flush=True)
    if args.json:
        numbers = {"machine": facts, "settings": vars(args), "rows": rows}
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
