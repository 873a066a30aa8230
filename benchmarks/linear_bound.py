"""How much of a task of bit-flip a linear function can learn: the R2 of the best one on the fast bits.

    python -m benchmarks.linear_bound [--seeds 16] [--tasks 20]

Within a task the slow bits are fixed, so the target is a function of the 5 fast bits, which take 32 values,
all equally often. The best linear function of them is the least-squares fit on these 32 values.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
import torch

from plasticity_bench.tasks.bit_flip import BitFlip
from plasticity_bench.tasks.threshold_units import BITS, SLOW


def bound(seeds: int, tasks: int) -> tuple[float, float]:
    """R2 of the best linear functions, pooled over seeds and tasks, and the share of targets that vary."""
    source = BitFlip().open(range(seeds), torch.device("cpu"), torch.float32)
    fast = np.array(list(product((0.0, 1.0), repeat=BITS - SLOW)), np.float32)
    inputs = np.column_stack([fast, np.ones(len(fast))])
    left = total = 0.0
    varying = []
    for seed in range(seeds):
        for task in range(tasks):
            slow = np.broadcast_to(source.slow_bits(seed, task).astype(np.float32), (len(fast), SLOW))
            y = source.targets[seed](np.concatenate([slow, fast], axis=1)).astype(float)
            weights, *_ = np.linalg.lstsq(inputs, y, rcond=None)
            left += float(np.square(y - inputs @ weights).sum())
            total += float(np.square(y - y.mean()).sum())
            varying.append(y.var() > 0)
    return 1 - left / total, float(np.mean(varying))


def main() -> None:
    """Prints the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=20)
    args = parser.parse_args()
    r2, varying = bound(args.seeds, args.tasks)
    print(f"best linear function of the fast bits: R2 {r2:.3f}; the target varies in {varying:.1%} of tasks")


if __name__ == "__main__":
    main()
