"""Checks of training: a method learns, and its results depend only on the seed and the stream."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.methods.none import NoMethod
from plasticity_bench.agents.supervised import SupervisedLearner
from plasticity_bench.contract.results import Broken, DoesNotApply, Doubtful
from plasticity_bench.contract.stacking import explain
from plasticity_bench.contract.subject import Subject, finish, same_bits
from plasticity_bench.contract.watch import named, weights_and_gradients
from plasticity_bench.errors import InputError
from plasticity_bench.records.checkpoints import is_plain
from plasticity_bench.registry.settings import parse_settings

#: Seeds of the stack, and of the smaller stacks in which some of them train again.
STACK, AGAIN = (0, 1, 2, 3, 4), ((0, 1), (3,))
#: A seed that trains alone.
ONE = (3,)


def learns(subject: Subject) -> str:
    """The loss falls within the first task by a fifth, and all numbers stay finite past its end."""
    made = subject.learner()
    made.piece = 5
    losses = [_loss(made)]
    for _ in range(20):
        made.advance()
        losses.append(_loss(made))
        _check_finite(made, f"after {5 * len(losses) - 5} updates")
    while made.task == 0:
        made.advance()
    _check_finite(made, "after the end of the first task")
    if not losses[-1] < 0.8 * losses[0]:
        raise Broken(
            f"the loss does not fall: {losses[0]:.2f} at the start of the first task, {losses[-1]:.2f} after "
            "100 updates",
            "choose a default that leaves room to learn (ten times less?), and look at the sign of what is "
            "added to the gradient",
        )
    return f"loss {losses[0]:.2f} -> {losses[-1]:.2f} within the first task"


def _check_finite(made: SupervisedLearner, when: str) -> None:
    for what, numbers in weights_and_gradients(made.layers).items():
        if not numbers.isfinite().all():
            raise Broken(
                f"{what} is not finite {when}",
                "look for a division by zero, the root or logarithm of 0, or a far too large step",
            )


@torch.no_grad()
def _loss(made: SupervisedLearner) -> float:
    """Loss of the trained network (a method may predict with another one) on the task's probe sample."""
    x, y = made.current.probe()
    kept = [layer.features for layer in made.layers]
    outputs = made.network.forward(x)
    for layer, features in zip(made.layers, kept, strict=True):
        layer.features = features  # restored, so that the measurement changes nothing
    return float(torch.nn.functional.cross_entropy(outputs.flatten(0, 1), y.flatten()))


def repeats(subject: Subject) -> str:
    """The same seed, trained twice, gives bit-identical results."""
    if not finish(subject.learner(ONE)).equals(subject.run(ONE)):
        raise Broken(
            "the same seeds trained twice give different results",
            "draw every random number from the rng that setup is given (self.rng = rng; "
            "self.rng.normal(like), self.rng.uniform(like)), and keep nothing between two instances",
        )
    return "trained twice, bit-identical"


def stacks(subject: Subject) -> str:
    """A seed's results are bit-identical whether it trains alone or together with other seeds."""
    together = subject.run(STACK)
    for seeds in AGAIN:
        again = subject.run(seeds)
        for i, seed in enumerate(seeds):
            index = STACK.index(seed)
            if not again.of(i).equals(together.of(index)):
                explain(subject, STACK, index)
    return f"{len(STACK)} seeds in a stack, two, and one alone: bit-identical"


def starts_as_none(subject: Subject) -> str:
    """Initial weights and first batches are those of plain training, which makes comparisons paired."""
    plain = subject.learner(method=NoMethod())
    batches = plain.current.batches(0, 3)
    made = subject.learner()
    for ours, theirs in zip(made.current.batches(0, 3), batches, strict=True):
        if not torch.equal(ours, theirs):
            raise Broken(
                "the data are not those of plain training",
                "a method draws from the rng that setup is given, and changes nothing of the stream",
            )
    names = {id(parameter): name for name, parameter in named(made.layers).items()}
    pairs = list(zip(parameters(made.layers), parameters(plain.layers), strict=True))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        return "the same batches; the weights have other shapes"
    for ours, theirs in pairs:
        if not torch.equal(ours, theirs):
            largest = float((ours - theirs).detach().abs().max())
            raise Doubtful(
                f"setup moves the initial weights ({names[id(ours)]} by up to {largest:.2g})",
                "right only if that is the method's idea: other methods start with the weights of none",
                subject.place("setup") if len(subject.parts) == 1 else "",
            )
    return "the weights and batches that none starts with"


def resumes(subject: Subject) -> str:
    """Training that is saved, loaded into a new learner and continued is bit-identical to an unbroken run."""
    whole = subject.run()
    first = subject.learner()
    first.piece = 40
    for _ in range(4):
        first.advance()
    assert (first.task, first.step) == (1, 40)
    state = first.state_dict()
    for trained in state["trained"]:
        for name, value in trained["method"].items():
            if not is_plain(value):
                raise Broken(
                    f"self.{name} ({_kind(value)}) cannot be saved in a checkpoint",
                    "keep tensors, numbers, text, lists and dicts of them, and the rng that setup is given; "
                    "leave anything else out of state_dict, and make it again in load_state_dict",
                )
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    second = subject.learner()
    second.load_state_dict(torch.load(file, weights_only=True))
    resumed = finish(second)
    # Pieces differ between the two runs, so sums of losses may differ in their last digit; nothing else may.
    losses = np.allclose(resumed.table[..., 2], whole.table[..., 2], rtol=1e-12, atol=0, equal_nan=True)
    tables = np.delete(resumed.table, 2, 2), np.delete(whole.table, 2, 2)
    same = all(map(same_bits, resumed.weights, whole.weights))
    if not (losses and same and np.array_equal(tables[0], tables[1], equal_nan=True)):
        raise Broken(
            "a run that was interrupted and resumed from its checkpoint gives different results",
            "keep all state in attributes of self, not in globals, class attributes or closures. "
            "A state_dict of your own must hold all of it",
        )
    return "saved in mid-task, loaded and continued: bit-identical to an uninterrupted run"


def turns_off(subject: Subject) -> str:
    """With the settings of info.off the results are bit-identical to plain training."""
    silent = [part for part in subject.parts if not part.cls.info.off]
    if silent:
        name = silent[0].cls.info.name
        if subject.changes_network:
            raise DoesNotApply(f"{name} trains another network, and no settings make it that of none")
        if len(subject.parts) > 1 or not fields(silent[0].cls):
            raise DoesNotApply(f"{name} has no settings that turn it off")
        raise Doubtful(
            "info.off names no settings that make it plain training",
            'if there are some, write MethodInfo(..., off="strength=0"): a method that is off and still '
            "changes something has a defect",
        )
    several = len(subject.parts) > 1
    settings = {
        f"{part.cls.info.name}.{key}" if several else key: value
        for part in subject.parts
        for key, value in parse_settings(part.cls.info.off.split(",")).items()
    }
    text = ",".join(f"{key}={value}" for key, value in settings.items())
    try:
        off = subject.with_settings(settings)
    except InputError as error:
        raise Broken(f"info.off cannot be set: {error}", "name settings that the class takes") from error
    if not off.run().equals(subject.plain_run()):
        raise Broken(
            f"with {text} it is still not plain training",
            "look for what it does at all settings: decay in setup, noise, its own network, "
            "a gradient that is replaced by an equal one rounded differently",
        )
    return f"{text}: none, bit for bit"


def acts(subject: Subject) -> str:
    """With these settings the results differ from plain training."""
    if subject.run().equals(subject.plain_run()):
        raise Doubtful(
            "with these settings it changed nothing in 336 updates",
            "if it acts rarely, check it with settings with which it acts within these updates "
            "(redo:period=100); otherwise check that its hooks are called",
        )
    return "trains other weights than none"


def keeps_parameters(subject: Subject) -> str:
    """Every parameter and its gradient are still views of the optimizer's memory."""
    made = subject.trained()
    optimizer = made.trained.optimizer
    for name, parameter in named(made.layers).items():
        gradient = parameter.grad
        if not _is_view_of(parameter, optimizer.flat):
            raise Broken(
                f"{name} is no longer the tensor that the optimizer updates",
                "change weights in place: parameter.copy_(...), .mul_(...), .add_(...), never "
                "layer.weight = ... or parameter.data = ...",
            )
        if gradient is None or not _is_view_of(gradient, optimizer.gradient):
            raise Broken(
                f"the gradient of {name} is no longer what the optimizer reads",
                "change gradients in place: parameter.grad.add_(...), never parameter.grad = ...",
            )
    return "every parameter and its gradient"


def _is_view_of(tensor: torch.Tensor, flat: torch.Tensor) -> bool:
    if tensor.untyped_storage().data_ptr() != flat.untyped_storage().data_ptr():
        return False
    start = tensor.storage_offset()
    return torch.equal(flat[start : start + tensor.numel()], tensor.detach().flatten())


def _kind(value: Any) -> str:
    """The type of a value, and of the first entry that no checkpoint holds: ``list with a object``."""
    if isinstance(value, (list, tuple, dict)):
        inner = value.values() if isinstance(value, dict) else value
        odd = [item for item in inner if not is_plain(item)]
        return f"{type(value).__name__} with a {_kind(odd[0])}" if odd else type(value).__name__
    return type(value).__name__
