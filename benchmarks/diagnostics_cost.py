"""What diagnostics cost: a run with them beside the same run without, and what their parts take.

    python -m benchmarks.diagnostics_cost [--streams permuted-digits permuted-mnist:architecture=mlp]

Training goes on task by task; the time of every measurement of diagnostics is taken apart from the rest. A
run measures at about 50 of its tasks, so the cost of a run follows from one measurement, one task without,
and the stream's number of tasks. Time is the processor's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers import learner_of
from benchmarks.timing import machine, now, one_thread, spread, timed
from benchmarks.training_speed import chosen
from plasticity_bench.agents import diagnostics
from plasticity_bench.agents.layers import trainable
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.errors import InputError
from plasticity_bench.specs import is_measured

#: Stream -> sizes of the stack that are measured by default.
STACKS = {"permuted-digits": (16, 1), "permuted-mnist:architecture=mlp": (1,), "permuted-mnist": (1,)}


def measured_tasks(tasks: int) -> int:
    """Of a run: how often diagnostics are taken."""
    return sum(is_measured(task, tasks) for task in range(tasks))


def task_seconds(learner: SupervisedLearner, full: int) -> float:
    """Processor seconds of the learner's next task without diagnostics, with ``full`` steps. Its steps may
    be fewer: then its end counts whole and its steps as often as ``full`` holds them."""
    ends = 0.0
    end: Callable[[list[torch.Tensor]], None] = learner._end_task

    def without(before: list[torch.Tensor]) -> None:
        nonlocal ends
        start = now()
        end([])
        ends = (now() - start).cpu

    learner._end_task = without  # type: ignore[method-assign]
    task = learner.task

    def train() -> None:
        while learner.task == task:
            learner.advance()

    total, _ = timed(train)
    learner._end_task = end  # type: ignore[method-assign, assignment]
    return (total.cpu - ends) * full / learner.stream.steps + ends


@torch.no_grad()
def diagnostics_seconds(learner: SupervisedLearner) -> float:
    """Processor seconds of one measurement, with the copy of the weights that it begins with."""

    def measure() -> None:
        before = [p.detach().clone() for p in trainable(learner.layers)]
        columns = learner._diagnostics(before)
        torch.stack([value.double() for value in columns.values()]).tolist()

    return timed(measure)[0].cpu


@torch.no_grad()
def parts(learner: SupervisedLearner, repeats: int) -> dict[str, float]:
    """Median milliseconds of the expensive parts, each by itself."""
    x, y = learner.current.probe()
    target = learner._target(y, x.dtype)
    learner.trained.predictor.forward(x)
    features = [
        diagnostics.unit_features(layer) for layer in learner.trained.predictor.layers if layer.hidden
    ]
    grams = [diagnostics.gram(f) for f in features]
    work: dict[str, Callable[[], Any]] = {
        "probe": learner.current.probe,
        "forward": lambda: learner.trained.predictor.forward(x),
        "gradient": lambda: learner.trained.gradients(x, target, training=False),
        "Gram matrices": lambda: [diagnostics.gram(f) for f in features],
        "spectra, one of two": lambda: [diagnostics.singular_values(g) for g in grams],
    }
    return {
        name: 1e3 * statistics.median(timed(call)[0].cpu for _ in range(repeats))
        for name, call in work.items()
    }


def measure(name: str, seeds: int, repeats: int) -> dict[str, Any]:
    """One stream's numbers."""
    full, stream = chosen(name, 32)
    learner = learner_of(stream, seeds)
    steps = full.steps if stream is not full else stream.steps
    diagnosed = measured_tasks(full.tasks)
    task_seconds(learner, steps)
    diagnostics_seconds(learner)
    shares, tasks, once = [], [], []
    for _ in range(min(repeats, stream.tasks - 2)):
        tasks.append(task_seconds(learner, steps))
        once.append(diagnostics_seconds(learner))
        shares.append(once[-1] * diagnosed / (once[-1] * diagnosed + tasks[-1] * full.tasks))
    return {
        "seeds": seeds,
        "tasks": full.tasks,
        "diagnosed": diagnosed,
        "task_seconds": tasks,
        "diagnostics_seconds": once,
        "shares": shares,
        "parts": parts(learner, repeats),
    }


def main(given: list[str] | None = None) -> int:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", nargs="+", default=list(STACKS), help="supervised, with classes")
    parser.add_argument("--seeds", type=int, nargs="+", help="stacks (1; of permuted-digits 16 too)")
    parser.add_argument("--repeats", type=int, default=7, help="counted repeats (7)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    args = parser.parse_args(given)
    if min(*(args.seeds or [1]), args.repeats) < 1:
        parser.error("all counts are at least 1")
    facts = machine()
    one_thread()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    rows: dict[str, dict[str, Any]] = {}
    try:
        for name in args.streams:
            for seeds in args.seeds or STACKS.get(name, (1,)):
                rows[f"{name}, {seeds} seed{'s' if seeds > 1 else ''}"] = measure(name, seeds, args.repeats)
    except InputError as error:
        print(f"diagnostics_cost: {error}", file=sys.stderr)
        return 2
    names = list(next(iter(rows.values()))["parts"])
    print("\n| stream | share of a run | measured at | a task, ms | diagnostics, ms | of which ", end="")
    print(" | ".join(names) + " |\n|---|" + "---:|" * (4 + len(names)))
    for label, row in rows.items():
        cells = [spread([100 * share for share in row["shares"]], "{:.1f} %")]
        cells.append(f"{row['diagnosed']} of {row['tasks']} tasks")
        cells += [
            f"{1e3 * statistics.median(row[key]):,.1f}" for key in ("task_seconds", "diagnostics_seconds")
        ]
        cells += [f"{row['parts'][name]:.1f}" for name in names]
        print(f"| {label} | " + " | ".join(cells) + " |")
    if args.json:
        numbers = {"machine": facts, "settings": vars(args), "rows": rows}
        args.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
