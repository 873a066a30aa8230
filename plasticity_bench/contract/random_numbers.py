"""That a method draws from no generator which others share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plasticity_bench.agents.layers import Layer
from plasticity_bench.contract.results import Broken

if TYPE_CHECKING:
    from plasticity_bench.contract.subject import Subject

#: Stands for a hook's name.
MAKING = "making the method"
INSTEAD = {
    "torch": "torch's global generator (torch.randn, rand, randperm, tensor.normal_, dropout ...)",
    "numpy": "numpy's global generator (np.random.*)",
    "random": "Python's global generator (random.*)",
}


class Draws:
    """Told around every hook: the first that draws from a global generator, and from which."""

    def __init__(self) -> None:
        self.found: tuple[str, str] | None = None  # what draws, the name of the generator
        self.states = _states()

    def __call__(self, hook: str, done: bool, layers: Sequence[Layer], result: Any) -> None:
        now = _states()
        if done:
            self.compare(hook, now)
        self.states = now

    def compare(self, what: str, now: dict[str, bytes]) -> None:
        for name, state in self.states.items():
            if now[name] != state and self.found is None:
                self.found = what, name


def draws_its_own(subject: Subject) -> str:
    """torch's, numpy's and Python's global generators are as they were after every hook."""
    try:
        subject.trained()
    except Exception:
        if not subject.draws.found:
            raise
    if subject.draws.found:
        what, name = subject.draws.found
        raise Broken(
            f"{what} draws from {INSTEAD[name]}",
            "a seed's draws would depend on what else is trained: keep the rng that setup is given "
            "(self.rng = rng) and draw with self.rng.normal(like) or self.rng.uniform(like), numbers of "
            "the shape of a tensor",
            "" if what == MAKING else subject.place(what),
        )
    return "no hook draws from torch's, numpy's or Python's global generator"


def _states() -> dict[str, bytes]:
    legacy: Any = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": legacy[1].tobytes() + bytes(str(legacy[2:]), "ascii"),
        "random": bytes(str(hash(random.getstate())), "ascii"),
    }
