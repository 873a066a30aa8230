"""Checks that a method draws from no global random generator."""

from __future__ import annotations

from plasticity_bench.contract.hooks import call_remaining_hooks
from plasticity_bench.contract.results import Broken
from plasticity_bench.contract.subject import Subject
from plasticity_bench.contract.watch import CONSTRUCTION

#: Name of a generator -> how a message names it.
GLOBAL_GENERATORS = {
    "torch": "torch's global generator (torch.randn, rand, randperm, tensor.normal_, dropout ...)",
    "numpy": "numpy's global generator (np.random.*)",
    "random": "Python's global generator (random.*)",
}


def draws_its_own(subject: Subject) -> str:
    """No hook changes the state of torch's, numpy's or Python's global generator."""
    try:
        call_remaining_hooks(subject.trained())
    except Exception:
        if not subject.draws.found:
            raise
    if subject.draws.found:
        what, name = subject.draws.found
        raise Broken(
            f"{what} draws from {GLOBAL_GENERATORS[name]}",
            "a seed's draws would depend on what else is trained: keep the rng that setup is given "
            "(self.rng = rng) and draw with self.rng.normal(like) or self.rng.uniform(like), numbers of "
            "the shape of a tensor",
            "" if what == CONSTRUCTION else subject.place(what),
        )
    return "no hook draws from torch's, numpy's or Python's global generator"
