"""Finds the hook that makes a seed's numbers depend on the other seeds of the stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import torch

from plasticity_bench.agents.methods import Method
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.contract.results import Broken
from plasticity_bench.contract.subject import Subject, same_bits
from plasticity_bench.contract.watch import Event, Recorder, watched

#: Relative differences below this are rounding.
ROUNDING_TOLERANCE = 1e-5

RULE = "parameters are (seeds, out, in): reduce over the last dimensions"
FIX = (
    f"{RULE}, as w.square().sum((-2, -1)) or w.norm(dim=(-2, -1), keepdim=True), never over everything; "
    "draw from the rng that setup is given"
)
FIX_ROUNDING = (
    f"the last digits depend on how torch splits its work: {RULE} of whole tensors, and in place of einsum "
    "and products of flattened seeds use products of (seeds, rows, columns)"
)


def explain(subject: Subject, seeds: Sequence[int], index: int) -> NoReturn:
    """Trains the stack, and the seed at ``index`` alone, and compares them after every hook.

    Raises:
        Broken: always, with the first hook after which they differ.
    """
    recorders = Recorder(index), Recorder(0)
    methods = [watched(subject.make(), recorder) for recorder in recorders]
    stack, alone = (
        subject.learner(which, method)
        for which, method in zip((seeds, seeds[index : index + 1]), methods, strict=True)
    )
    while True:
        for ours, theirs in zip(recorders[0].events, recorders[1].events, strict=False):
            if found := _difference(ours, theirs):
                _blame(subject, ours, *found, _mixed(methods, index, len(seeds)))
        for recorder in recorders:
            recorder.events.clear()
        if stack.finished:
            break
        _one_update(stack)
        _one_update(alone)
    raise Broken("a seed ends with other weights in a stack than alone, although no hook differs", FIX)


def _one_update(learner: SupervisedLearner) -> None:
    learner.piece = 1
    learner.advance()


def _difference(ours: Event, theirs: Event) -> tuple[str, float] | None:
    """(name of what differs most, its relative difference), or None."""
    found: list[tuple[float, str]] = []
    for name, numbers in ours.numbers.items():
        other = theirs.numbers.get(name)
        if other is None or other.shape != numbers.shape:
            return name, float("inf")
        if not same_bits(numbers, other):
            size = float(torch.maximum(numbers.abs().max(), other.abs().max()))
            found.append((float((numbers - other).abs().max()) / max(size, 1e-30), name))
    return max(found)[::-1] if found else None


def _blame(subject: Subject, event: Event, name: str, size: float, mixed: list[str]) -> NoReturn:
    hook = event.hook if event.done else f"what came before {event.hook}"
    what = f"after {hook} {name} of a seed in a stack"
    kept = f"; the same holds for {', '.join(mixed)}" if mixed else ""
    place = subject.place(event.hook) if event.done else ""
    if size < ROUNDING_TOLERANCE:
        raise Broken(
            f"{what} is not that of the seed alone in its last digits ({size:.0e}){kept}",
            FIX_ROUNDING,
            place,
        )
    raise Broken(f"{what} is not that of the seed alone ({size:.0%} of its size){kept}", FIX, place)


def _mixed(methods: Sequence[Method], index: int, count: int) -> list[str]:
    """Attributes that differ between the stack and the single seed: the mistake may come from them."""
    ours, theirs = (dict(_tensors("self", vars(method))) for method in methods)
    found = []
    for name, tensor in ours.items():
        other = theirs.get(name)
        if other is None:
            continue
        if tensor.dim() and tensor.shape == (count, *other.shape[1:]) and len(other) == 1:
            tensor, other = tensor[index], other[0]
        if tensor.shape == other.shape and not same_bits(tensor, other):
            found.append(name)
    return found[:3]


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value.detach()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(f"{name}.{key}" if name == "self" else f"{name}[{key!r}]", item)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _tensors(f"{name}[{i}]", item)
