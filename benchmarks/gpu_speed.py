"""Training steps per second on a GPU: stacked seeds, captured and not, a plain loop, one process per seed.

A step is one update of one seed's network, so 64 stacked seeds do 64 at a time. Stretches hold everything
that ``run`` pays for: draws, gathering, metrics, diagnostics, evaluation. The plain loop is PyTorch as its
tutorials write it, one seed, its batches on the device; one process per seed runs it in several processes at
once. The share of the peak is that of multiplications and additions of weights, forward and backward, beside
the rate of a large matrix product in the same precision, measured here.

Exit code 1: the device's learning differs from the CPU's. Exit code 2: there is no such device.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from plasticity_bench.agents.capture import LENGTHS, CapturedUpdater, CudaGraphs, EagerUpdater, Updater
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.agents.trained_network import TrainedNetwork
from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import STREAMS
from plasticity_bench.registry.choices import choose_stream
from plasticity_bench.registry.create import create_method, create_stream
from plasticity_bench.registry.precision import PRECISIONS, set_up_device
from plasticity_bench.running.training import find_device
from plasticity_bench.specs import NetworkSpec, layer_shapes
from plasticity_bench.tasks.base import SupervisedStream

#: Largest difference between the device's and the CPU's mean performance on the first task: rounding differs,
#: and training makes more of it.
FIRST_TASK = 0.01
#: Side of the matrices that the peak is measured with.
SIDE = {"cuda": 8192, "cpu": 1024}

Row = dict[str, Any]


def supervised() -> list[str]:
    """Names of all supervised streams."""
    return [name for name in STREAMS if issubclass(choose_stream(name).cls, SupervisedStream)]


def opened(text: str) -> SupervisedStream:
    """The stream."""
    return cast(SupervisedStream, create_stream(text))


def synchronise(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def counted(once: Callable[[], int], device: torch.device, seconds: float) -> tuple[float, int]:
    """(steps per second, steps) of ``once``, which returns how many it did, over about ``seconds`` or to its
    end."""
    once()  # what is set up at the first call
    synchronise(device)
    start, done = time.perf_counter(), 0
    while True:
        new = once()
        synchronise(device)
        done, passed = done + new, time.perf_counter() - start
        if passed > seconds or not new:
            return done / passed, done


def peak(device: torch.device, precision: str, seconds: float) -> float:
    """Multiplications and additions per second of a large matrix product, the best of three measurements."""
    n = SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))

    def product() -> int:
        torch.mm(a, b)
        return 1

    return 2.0 * n**3 * max(counted(product, device, seconds)[0] for _ in range(3))


def operations(stream: SupervisedStream) -> float:
    """Multiplications and additions with weights in one update of one seed: forward, and twice backward."""
    used = sum(math.prod(shape.weight) * shape.positions for shape in layer_shapes(stream.network))
    return 2.0 * 3 * used * stream.batch


def ways(device: torch.device) -> dict[str, Callable[[TrainedNetwork], Updater]]:
    """How our learner makes its steps."""
    found: dict[str, Callable[[TrainedNetwork], Updater]] = {"eager": EagerUpdater}
    if device.type == "cuda":
        for lengths in ((1,), LENGTHS):
            name = f"captured, {lengths[0]} a graph"
            found[name] = lambda trained, lengths=lengths: CapturedUpdater(  # type: ignore[misc]
                trained, CudaGraphs(device), lengths
            )
    return found


def learner_of(text: str, seeds: int, device: torch.device, **options: Any) -> SupervisedLearner:
    """Our learner of the method ``none``, as a worker process of ``run`` makes it."""
    return SupervisedLearner(opened(text), create_method("none"), range(seeds), device=device, **options)


def ours(text: str, seeds: int, way: str, args: argparse.Namespace) -> Row:
    """One row: our learner with this many stacked seeds."""
    row: Row = {"stream": text, "seeds": seeds, "way": way}
    try:
        made = learner_of(text, seeds, args.device, precision=args.precision, updater=ways(args.device)[way])

        def piece() -> int:
            before = made.progress
            if not made.finished:
                made.advance()
            return (made.progress - before) * seeds

        rate, _ = counted(piece, args.device, args.seconds)
        row |= {"rate": rate, "replayed": made.updater.replayed / made.progress, "why": made.updater.reason}
    except torch.OutOfMemoryError:
        row["why"] = "out of memory"
    return row


class PlainLoop:
    """The stream's network and optimizer in plain PyTorch, on the first batches of one seed's first task."""

    def __init__(self, text: str, seed: int, device: torch.device) -> None:
        stream = opened(text)
        task = stream.open([seed], device, torch.float32).task(0)
        self.x, self.y = (values[:, 0] for values in task.batches(0, min(64, stream.steps)))
        self.model = plain_network(stream.network).to(device)
        spec = stream.optimizer
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(self.model.parameters(), lr=spec.lr)
            if spec.name == "adam"
            else torch.optim.SGD(self.model.parameters(), lr=spec.lr, momentum=spec.momentum)
        )
        self.regression = stream.info.loss == "mse"
        self.correct = torch.zeros((), device=device)

    def __call__(self) -> int:
        """One update on every batch."""
        for x, y in zip(self.x, self.y, strict=True):
            self.optimizer.zero_grad()
            outputs = self.model(x)
            if self.regression:
                loss = nn.functional.mse_loss(outputs, y)
            else:
                loss = nn.functional.cross_entropy(outputs, y)
                self.correct += (outputs.detach().argmax(-1) == y).sum()
            loss.backward()
            self.optimizer.step()
        return len(self.x)


def plain_network(spec: NetworkSpec) -> nn.Sequential:
    """As a user would write it."""
    layers: list[nn.Module] = []
    for shape in layer_shapes(spec):
        out, inputs = shape.weight[:2]
        if shape.kind == "conv":
            layers += [nn.Conv2d(inputs, out, shape.weight[-1]), nn.ReLU(), nn.MaxPool2d(2)]
            continue
        if spec.channels and not any(isinstance(layer, nn.Flatten) for layer in layers):
            layers.append(nn.Flatten())
        layers += [nn.Linear(inputs, out), *([nn.ReLU()] if shape.hidden else [])]
    return nn.Sequential(*layers)


def plain_process(text: str, seed: int, device: str, seconds: float, start: Any, answers: Any) -> None:
    """Runs the plain loop in a process of its own, once all are ready."""
    torch.set_num_threads(1)
    try:
        loop = PlainLoop(text, seed, torch.device(device))
        loop()
        start.wait(timeout=300)
        answers.put(counted(loop, torch.device(device), seconds)[0])
    except Exception as error:
        start.abort()
        answers.put(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def processes(text: str, count: int, args: argparse.Namespace) -> Row:
    """One row: one process per seed, all on the one device."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(count), context.Queue()
    given = (str(args.device), args.seconds, start, answers)
    running = [context.Process(target=plain_process, args=(text, seed, *given)) for seed in range(count)]
    for process in running:
        process.start()
    found = [answers.get() for _ in running]
    for process in running:
        process.join()
    row: Row = {"stream": text, "seeds": count, "way": "one process per seed"}
    failed = [answer for answer in found if isinstance(answer, str)]
    return row | ({"why": failed[0]} if failed else {"rate": sum(found)})


def check(text: str, args: argparse.Namespace) -> tuple[float, float]:
    """Largest difference of a seed's mean performance on the first task (online, final) from the CPU's."""
    tables = []
    for device in (args.device, torch.device("cpu")):
        made = learner_of(text, args.check_seeds, device, precision=args.precision)
        while made.task == 0:
            made.advance()
        tables.append([rows[0] for rows in made.rows])
    pairs = list(zip(*tables, strict=True))
    online = max(abs(a["online_performance"] - b["online_performance"]) for a, b in pairs)
    final = [
        abs(a["final_performance"] - b["final_performance"]) for a, b in pairs if "final_performance" in a
    ]
    return online, max(final, default=0.0)


def print_table(rows: list[Row], text: str, top: float) -> None:
    """One stream's rows in Markdown."""
    base = next((row["rate"] for row in rows if row["way"] == "plain loop"), math.nan)
    work = operations(opened(text))
    print(f"\n{text}: {work / 1e6:.2f} million operations a step")
    print("| way | seeds | steps/s | against the plain loop | of the peak | replayed |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        if "rate" not in row:
            print(f"| {row['way']} | {row['seeds']} | {row['why']} | | | |")
            continue
        rate = row["rate"]
        replayed = f"{row['replayed']:.0%}" if "replayed" in row else ""
        shares = f"{rate / base:.1f}x | {rate * work / top:.2%}"
        print(f"| {row['way']} | {row['seeds']} | {rate:,.0f} | {shares} | {replayed} |", flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:0, or cpu to try the script (cuda)")
    parser.add_argument("--stream", nargs="+", default=supervised(), help="default: all supervised streams")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 16, 64, 256], help="1 16 64 256")
    parser.add_argument("--processes", nargs="*", type=int, default=[1, 4, 16], help="at once (1 4 16)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each stretch, at least (3)")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="float32")
    parser.add_argument("--check-seeds", type=int, default=4, help="compared with the CPU (4); 0: none")
    parser.add_argument("--json", type=Path, metavar="PATH", help="save all numbers here")
    return parser.parse_args()


def main() -> int:
    """Measures, prints the tables, compares with the CPU."""
    args = arguments()
    try:
        args.device = find_device(args.device)
        set_up_device(args.device, args.precision)
    except InputError as error:
        print(f"gpu_speed: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else "one core"
    top = peak(args.device, args.precision, min(1.0, args.seconds))
    print(f"{name}, torch {torch.__version__}, {args.precision}: peak {top / 1e12:.2f} TFLOP/s", flush=True)
    every: list[Row] = []
    wrong = []
    for text in args.stream:
        loop = PlainLoop(text, 0, args.device)
        rows: list[Row] = [
            {"stream": text, "seeds": 1, "way": "plain loop"}
            | {"rate": counted(loop, args.device, args.seconds)[0]}
        ]
        rows += [processes(text, count, args) for count in args.processes]
        rows += [ours(text, seeds, way, args) for way in ways(args.device) for seeds in args.seeds]
        print_table(rows, text, top)
        if args.check_seeds:
            online, final = check(text, args)
            differences = f"online {online:.2g}, at its end {final:.2g}"
            print(f"first task of {args.check_seeds} seeds, from the CPU's: {differences}", flush=True)
            rows[0] |= {"online_difference": online, "final_difference": final}
            if not max(online, final) <= FIRST_TASK:
                wrong.append(text)
        every += rows
    if args.json:
        facts = {"device": name, "torch": torch.__version__, "peak": top, "precision": args.precision}
        args.json.write_text(json.dumps({**facts, "rows": every}, indent=1) + "\n")
    for text in wrong:
        print(f"gpu_speed: {text}: the first task is learned otherwise than on the CPU", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
