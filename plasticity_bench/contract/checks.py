"""The contract of a method: the checks in order, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch

from plasticity_bench.contract import definition, hooks, networks, other_trainers, random_numbers, training
from plasticity_bench.contract.results import NotPassed, Result, Verdict
from plasticity_bench.contract.subject import Subject
from plasticity_bench.errors import InputError


class Check(NamedTuple):
    """One check: ``run`` returns what it found, or raises NotPassed."""

    name: str
    question: str
    run: Callable[[Subject], str]


CHECKS = (
    Check("definition", "info, hyperparameters and hooks agree", definition.is_defined),
    Check("hooks", "every hook changes and returns only what it may", hooks.behave),
    Check("learning", "the loss falls and all numbers are finite", training.learns),
    Check("random", "draws from no global generator", random_numbers.draws_its_own),
    Check("repeat", "the same seed gives bit-identical results", training.repeats),
    Check("stack", "a seed in a stack and alone: bit-identical", training.stacks),
    Check("start", "starts with the weights and batches of none", training.starts_as_none),
    Check("checkpoint", "resumes from a checkpoint bit for bit", training.resumes),
    Check("off", "the settings of info.off are none, bit for bit", training.turns_off),
    Check("acts", "by default it is not none", training.acts),
    Check("optimizer", "all parameters stay in the optimizer", training.keeps_parameters),
    Check("plain", "serves a network without a seed dimension", networks.serves_a_plain_network),
    Check("convolution", "serves convolutions", networks.serves_convolutions),
    Check("ppo", "works in PPO", other_trainers.serves_ppo),
    Check("torch", "works in a torch loop", other_trainers.serves_torch),
    Check("sb3", "works in stable-baselines3", other_trainers.serves_sb3),
    Check("cost", "time per update, relative to none", other_trainers.costs),
)


#: Exceptions that torch raises if shapes do not fit.
SHAPE_ERRORS = (RuntimeError, IndexError, ValueError)


def examine(check: Check, subject: Subject) -> Result:
    """Runs one check, on one thread: more threads would change the last digits.

    Never raises an Exception: what a method raises is a failure of the check.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.perf_counter()
    try:
        result = Result(check.name, Verdict.PASSED, check.run(subject))
    except NotPassed as end:
        result = Result(check.name, end.state, end.detail, end.fix, end.where)
    except (Exception, SystemExit) as error:
        result = _raised(check, subject, error)
    finally:
        torch.set_num_threads(threads)
    return replace(result, seconds=time.perf_counter() - began)


def examine_all(subject: Subject) -> Iterator[Result]:
    """Runs all checks and yields each result as soon as it is known."""
    for check in CHECKS:
        yield examine(check, subject)


def _raised(check: Check, subject: Subject, error: BaseException) -> Result:
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return Result(check.name, Verdict.FAILED, text, "", subject.where(error))
    return Result(
        check.name,
        Verdict.FAILED,
        f"{type(error).__name__}: {text}",
        _hint(subject, error),
        subject.where(error),
    )


def _hint(subject: Subject, error: BaseException) -> str:
    line = subject.line(error)
    if "features" in line and not subject.make().needs_features:
        return "layer.features is filled only if the class says needs_features: ClassVar[bool] = True"
    if "optimizer" in line:
        return "the optimizer has only lr, moments(parameter), counts(parameter) and reset()"
    if not line:
        return "the method's own code is not in the traceback: look at what its hooks return and change"
    shapes = (
        " (weights are (..., out, in) or (..., out, in, kh, kw), biases (..., out); gradients are in "
        "parameter.grad)"
    )
    return f"in this line: {line.strip()}{shapes if isinstance(error, SHAPE_ERRORS) else ''}"
