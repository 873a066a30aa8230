"""Methods that break the contract, each in one way: files as a user would write them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import NamedTuple

from plasticity_bench.contract.checks import CHECKS, examine
from plasticity_bench.contract.results import Result, Verdict
from plasticity_bench.contract.subject import Subject

HEAD = """import random
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from plasticity_bench.agents.layers import parameters
from plasticity_bench.agents.methods import Method, MethodInfo, Paper
from plasticity_bench.errors import InputError

"""

#: A method that keeps the whole contract; a case replaces its body, its info or lines of it.
PAPERS = '(Paper("Lovelace, Ada", "On Notes", 2025, arxiv="2408.15495"),)'
INFO = (
    f'name="tried", summary="one line", papers={PAPERS}, off="strength=0", '
    'search_space={"strength": (1e-4, 1e-3)}'
)
GOOD = """
def before_update(self, layers, optimizer):
    for p in parameters(layers):
        p.grad.add_(p, alpha=self.strength)
"""


class Case(NamedTuple):
    """A change of ``GOOD``. ``# here`` marks the line that the result must name."""

    check: str
    body: str
    says: tuple[str, ...]  # in detail or fix
    state: str = Verdict.FAILED
    info: str = INFO
    settings: str = "strength: float = 1e-3"
    decorator: str = "@dataclass"


def each(lines: str, hook: str = "before_update") -> str:
    """A hook that runs this line for every parameter p."""
    inner = textwrap.indent(lines, 8 * " ")
    return f"def {hook}(self, layers, optimizer):\n    for p in parameters(layers):\n{inner}\n"


def info(**changes: str) -> str:
    found = {
        "name": '"tried"',
        "summary": '"one line"',
        "papers": PAPERS,
        "off": '"strength=0"',
        "search_space": '{"strength": (1e-4, 1e-3)}',
        **changes,
    }
    return ", ".join(f"{key}={value}" for key, value in found.items())


def write(folder: Path, case: Case) -> Path:
    body = textwrap.indent(case.body.strip("\n"), "    ")
    settings = f"    {case.settings}\n" if case.settings else ""
    if not case.settings:
        body = body.replace("self.strength", "1e-3")
    given = case.info if case.settings else case.info.replace('{"strength": (1e-4, 1e-3)}', "{}")
    text = (
        f"{HEAD}{case.decorator}\nclass Tried(Method):\n    info = MethodInfo({given})\n{settings}\n{body}\n"
    )
    path = folder / "tried.py"
    path.write_text(text)
    return path


#: Mistakes in what a method declares.
DEFINITION = {
    "no dataclass": Case("definition", GOOD, ('"strength"', "@dataclass"), decorator=""),
    "no type": Case(
        "definition", GOOD, ('"strength = 0.001" has no type', "strength: float"), settings="strength = 1e-3"
    ),
    "whole default": Case(
        "definition",
        GOOD,
        ("another type than the annotation", "strength: float = 1.0"),
        settings="strength: float = 1",
    ),
    "unknown in space": Case(
        "definition",
        GOOD,
        ('"strenth", which is no hyperparameter', 'did you mean "strength"?'),
        info=info(search_space='{"strenth": (1e-4,)}'),
    ),
    "empty space": Case(
        "definition", GOOD, ("holds no values", "3 to 5"), info=info(search_space='{"strength": ()}')
    ),
    "value of a kind": Case(
        "definition",
        GOOD,
        ("tries strength=strong", "not a finite number"),
        info=info(search_space='{"strength": ("strong",)}'),
    ),
    "value refused": Case(
        "definition",
        GOOD + "def __post_init__(self):\n    if self.strength < 5e-4: raise ValueError('too small')\n",
        ("tries strength=0.0001", "too small"),
    ),
    "misspelt hook": Case(
        "definition",
        "def after_updates(self, layers, optimizer):  # here\n    pass\n",
        ("nothing calls after_updates", "did you mean after_update?"),
    ),
    "arguments": Case(
        "definition",
        "def penalty(self, layers, optimizer):  # here\n    return None\n",
        ("penalty is called with 1 arguments", "def penalty(self, layers)"),
    ),
    "boundary hook without task_boundaries": Case(
        "definition",
        "def on_task_end(self, layers, optimizer):  # here\n    pass\n",
        ("on_task_end is never called", "task_boundaries=True"),
    ),
    "off unknown": Case("definition", GOOD, ('names "size"', "strength"), info=info(off='"size=0"')),
    "acts after unknown": Case(
        "definition", GOOD, ('acts_after="size"', "whole number"), info=info(acts_after='"size"')
    ),
    "off no setting": Case("definition", GOOD, ('"strength" is not a setting',), info=info(off='"strength"')),
    "no paper": Case(
        "definition",
        GOOD,
        ("info.papers is empty", "papers=(Paper(authors="),
        Verdict.WARNING,
        info(papers="()"),
    ),
    "no identifier": Case(
        "definition",
        GOOD,
        ("info.papers cannot be cited yet: no arXiv id or DOI", "arxiv="),
        Verdict.WARNING,
        info(papers='(Paper("Lovelace, Ada", "On Notes", 1843),)'),
    ),
    "malformed paper": Case(
        "definition",
        GOOD,
        (
            'title is missing, arxiv is "NNNN.NNNNN", not like 2408.15495, doi is "Nature", not like 10.',
            'Paper(authors="Lovelace, Ada"',
        ),
        Verdict.WARNING,
        info(papers='(Paper("Lovelace, Ada", "TODO", 2025, arxiv="NNNN.NNNNN", doi="Nature"),)'),
    ),
    "unknown family": Case(
        "definition",
        GOOD,
        ('info.family is "optimizer", which is no family', 'did you mean "optimizers"?'),
        Verdict.WARNING,
        info(family='"optimizer"'),
    ),
    "no summary": Case("definition", GOOD, ("info.summary",), Verdict.WARNING, info(summary='"a\\nb"')),
    "task_boundaries without boundary hook": Case(
        "definition", GOOD, ("there is no on_task_end",), Verdict.WARNING, INFO + ", task_boundaries=True"
    ),
    "nothing to tune": Case(
        "definition", GOOD, ("search_space is empty",), Verdict.WARNING, info(search_space="{}")
    ),
}


def result_of(name: str, subject: Subject) -> Result:
    """The result of the check of this name."""
    (check,) = [check for check in CHECKS if check.name == name]
    return examine(check, subject)
