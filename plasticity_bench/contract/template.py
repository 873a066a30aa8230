"""The file that a newcomer's method begins with."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import method_names

#: What the template imports or Python reserves: a class of this name would hide it.
TAKEN = {"Method", "MethodInfo", "Paper", "Sequence", "ClassVar", "Any", "None", "True", "False"}
LONGEST = 40  # characters of a name

TEMPLATE = '''"""NAME: what it does, in one line.

Check it: python -m plasticity_bench check FILE
Run it: python -m plasticity_bench run --method FILE l2
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from plasticity_bench.agents.methods import Method, MethodInfo, Paper


@dataclass
class CLASS(Method):
    """Loss + strength / 2 * sum over units of (|w| - |w at the start|)^2: a working example to replace."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="NAME",  # as the leaderboard shows it
        summary="keeps the length of every unit's weights near where it started",
        papers=(Paper(authors="TODO", title="TODO", year=2026, arxiv="NNNN.NNNNN"),),  # or doi="10...."
        off="strength=0",  # settings under which it is plain training, bit for bit
        search_space={"strength": (1e-4, 1e-3, 1e-2)},  # 3 to 5 values of what is worth tuning
    )
    strength: float = 1e-3  # a hyperparameter: a field with a type and a default

    # Weights are (..., out, in), in convolutions (..., out, in, kh, kw), biases (..., out). The seeds that
    # train side by side are in front: name the last dimensions to reduce over, never reduce over everything.

    def setup(self, layers: Sequence[Any], rng: Any) -> None:
        """Once, before training. Attributes are the state: checkpoints hold them."""
        self.start = [self._lengths(layer).detach() for layer in layers]

    def penalty(self, layers: Sequence[Any]) -> Any:
        """Added to the loss, with a gradient: one value per seed."""
        pairs = zip(layers, self.start, strict=True)
        terms = [(self._lengths(layer) - start).square().sum(-1) for layer, start in pairs]
        return self.strength / 2 * sum(terms)

    # Other hooks: network, before_update, after_update, on_task_end (docs/your-own-method.md).

    def _lengths(self, layer: Any) -> Any:
        """Of every unit's incoming weights: (..., out), for linear layers and convolutions alike."""
        return layer.weight.flatten(layer.bias.dim()).norm(dim=-1)
'''


def class_name(name: str) -> str:
    """``my-method`` -> ``MyMethod``"""
    return "".join(word.capitalize() for word in name.split("-"))


def check_name(name: str) -> None:
    """Raises InputError if a method cannot have this name."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name, re.ASCII) or len(name) > LONGEST:
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
        better = "-".join(words).lower()[:LONGEST].strip("-").lstrip("0123456789-") or "my-method"
        raise InputError(
            f'"{name}" is no name for a method: lower-case letters, digits and hyphens, such as {better}'
        )
    if name in method_names():
        raise InputError(f'"{name}" is a method already (plasticity_bench list methods): choose another name')
    if class_name(name) in TAKEN:
        raise InputError(
            f'"{name}" would make a class {class_name(name)}, which there is: choose another name'
        )


def source(name: str, path: Path) -> str:
    """The file's text. Raises InputError for a bad name, and for a file that is there or hides a module."""
    check_name(name)
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise InputError(f"--out {path}: write the path of a Python file, such as {class_file(name)}")
    if path.is_symlink() or path.exists():
        raise InputError(f"{path} is there already and stays as it is: choose another name, or another --out")
    if _hides_a_module(path) or keyword.iskeyword(path.stem):
        raise InputError(
            f"{path} would hide the module {path.stem} from Python: choose another name, or another --out"
        )
    return TEMPLATE.replace("NAME", name).replace("CLASS", class_name(name)).replace("FILE", path.name)


def class_file(name: str) -> str:
    """``my-method`` -> ``my_method.py``"""
    return name.replace("-", "_") + ".py"


def _hides_a_module(path: Path) -> bool:
    """``python -m`` looks into the working directory first."""
    if path.stem in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        return False
    origin = spec and spec.origin
    return bool(origin) and Path(str(origin)).resolve().parent != Path.cwd()
