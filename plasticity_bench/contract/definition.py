"""What a method declares: its info, its settings, its class variables, and the names of its hooks."""

from __future__ import annotations

import difflib
import inspect
import math
from dataclasses import fields
from typing import Any

from plasticity_bench.agents.methods.base import CLASS_VARIABLES, HOOKS, Method, MethodInfo
from plasticity_bench.contract.results import Broken, Doubtful
from plasticity_bench.contract.subject import Subject, definition
from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.registry.families import FAMILIES
from plasticity_bench.registry.settings import parse_settings, parse_value

#: Similarity above which a function's name is taken for a misspelt hook.
TYPO = 0.8
#: Annotation -> type of a hyperparameter.
SETTING_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


def is_defined(subject: Subject) -> str:
    """Checks that hyperparameters, search space, hooks and info are complete and agree."""
    doubts: list[tuple[str, str]] = []
    for part in subject.parts:
        _class_variables(part.cls)
        _settings(part.cls)
        _hooks(part.cls)
        _ranges(part.cls)
        _search_space(part.cls)
        _later(part.cls)
        _off(part.cls)
        _acts_after(part.cls)
        doubts += _doubts(part.cls)
    if doubts:
        raise Doubtful("; ".join(what for what, _ in doubts), "; ".join(fix for _, fix in doubts))
    count = sum(len(fields(part.cls)) for part in subject.parts)
    hooks = [hook.name for hook in HOOKS if subject.make().uses(hook.name)]
    return f"{count} hyperparameter{'' if count == 1 else 's'}; hooks: {', '.join(hooks) or 'none'}"


def _class_variables(cls: Any) -> None:
    """Checks that the class variables of ``Method`` are class variables here too, of the right type."""
    for name in CLASS_VARIABLES:
        value, default = vars(cls).get(name), getattr(Method, name, None)
        kind = str(Method.__annotations__[name]).removeprefix("ClassVar[").removesuffix("]")
        advice = f"write {name}: ClassVar[{kind}] = {_example(value, default)}"
        if name in {f.name for f in fields(cls)}:
            raise Broken(f'"{name}" is written as a hyperparameter, but is a class variable', advice)
        if value is not None and default is not None and type(value) is not type(default):
            raise Broken(f'"{name} = {value!r}" is a {type(value).__name__}, not a {kind}', advice)


def _example(value: Any, default: Any) -> str:
    """How to write a class variable, with the value that was meant if that can be guessed."""
    if isinstance(default, tuple):
        meant = (value,) if isinstance(value, str) else value
        return repr(tuple(meant) if isinstance(meant, (list, tuple)) else ("updates",))
    return repr(bool(value)) if isinstance(default, bool) else "MethodInfo(...)"


def _settings(cls: Any) -> None:
    known = {f.name: f for f in fields(cls)}
    for hook in HOOKS:
        if hook.name in known:
            raise Broken(
                f'"{hook.name}" is the name of a hook, not of a hyperparameter', "choose another name"
            )
    for name in vars(cls).get("__annotations__", {}):
        if name not in known and "ClassVar" not in str(vars(cls)["__annotations__"][name]):
            raise Broken(
                f'"{name}" is written as a hyperparameter, but {cls.__name__} is no dataclass',
                f"write @dataclass in the line above class {cls.__name__}",
            )
    for name, value in vars(cls).items():
        if isinstance(value, (bool, int, float)) and not name.startswith("_") and name not in known:
            annotation = str(vars(cls).get("__annotations__", {}).get(name, ""))
            if name in CLASS_VARIABLES or "ClassVar" in annotation:
                continue
            kind = type(value).__name__
            raise Broken(
                f'"{name} = {value}" has no type, so it is no hyperparameter and --set cannot change it',
                f"write {name}: {kind} = {value}; a constant is written {name}: ClassVar[{kind}] = {value}",
            )
    for name, f in known.items():
        annotation = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
        declared = SETTING_TYPES.get(annotation)
        if declared is not None and type(f.default) is not declared:
            raise Broken(
                f'"{name}: {annotation} = {f.default}": the default has another type than the annotation, '
                "and settings are read with the default's type",
                f"write {name}: {annotation} = {_as(declared, f.default)}",
            )


def _hooks(cls: Any) -> None:
    known = {hook.name: hook.parameters for hook in HOOKS}
    for name, value in vars(cls).items():
        if name.startswith("_") or not inspect.isfunction(value):
            continue
        location = definition(value)
        if name not in known:
            near = difflib.get_close_matches(
                name, [hook for hook in known if hook not in vars(cls)], cutoff=TYPO
            )
            if near:
                raise Broken(
                    f"nothing calls {name}: it is the name of no hook",
                    f"did you mean {near[0]}? A helper's name begins with an underscore",
                    location,
                )
            continue
        parameters = known[name]
        try:
            inspect.signature(value).bind(*parameters)
        except TypeError:
            raise Broken(
                f"{name} is called with {len(parameters) - 1} arguments and takes others",
                f"write def {name}({', '.join(parameters)})",
                location,
            ) from None


def _later(cls: Any) -> None:
    for name in cls.info.later:
        if name not in {f.name for f in fields(cls)}:
            raise Broken(f'later names "{name}", which is no hyperparameter', "name fields of the class")
        if name in cls.info.search_space:
            raise Broken(f'"{name}" is in later and in search_space', "a searched setting is always recorded")


def _ranges(cls: Any) -> None:
    known = {f.name for f in fields(cls)}
    for name, allowed in cls.info.ranges.items():
        if name not in known:
            raise Broken(f'ranges names "{name}", which is no hyperparameter', "name fields of the class")
        outside = math.nextafter(allowed.low, -math.inf) if allowed.low > -math.inf else math.nan
        try:
            cls(**{name: outside})
        except ValueError:
            continue
        raise Broken(
            f"{name}={outside:g} is not refused, although ranges says that it must be {allowed}",
            "begin __post_init__ with super().__post_init__()",
        )


def _search_space(cls: Any) -> None:
    defaults = {f.name: f.default for f in fields(cls)}
    for name, values in cls.info.search_space.items():
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1)
            raise Broken(
                f'search_space names "{name}", which is no hyperparameter',
                f'did you mean "{near[0]}"?' if near else f"hyperparameters: {', '.join(defaults) or 'none'}",
            )
        if isinstance(values, (str, int, float)) or not len(values):
            raise Broken(f'search_space["{name}"] holds no values', "give 3 to 5, such as (1e-4, 1e-3, 1e-2)")
        for value in values:
            try:
                parse_value(str(value), defaults[name], name)
                cls(**{name: value})
            except (InputError, ValueError) as error:
                raise Broken(
                    f"search_space tries {name}={value}, which cannot be set: {error}",
                    f"leave {value} out of search_space, or let the class take it",
                ) from error


def _off(cls: Any) -> None:
    if not cls.info.off:
        return
    try:
        unknown = set(parse_settings(cls.info.off.split(","))) - {f.name for f in fields(cls)}
    except InputError as error:
        raise Broken(
            f'info.off="{cls.info.off}": {error}', 'write settings, such as off="strength=0"'
        ) from None
    if unknown:
        raise Broken(
            f'info.off="{cls.info.off}" names "{min(unknown)}", which is no hyperparameter',
            f"hyperparameters: {', '.join(f.name for f in fields(cls)) or 'none'}",
        )


def _acts_after(cls: Any) -> None:
    name = cls.info.acts_after
    if name and not any(f.name == name and type(f.default) is int for f in fields(cls)):
        raise Broken(
            f'info.acts_after="{name}" is no hyperparameter that is a whole number',
            "name the one that counts the tasks before the method acts, or leave it out",
        )


def _doubts(cls: Any) -> list[tuple[str, str]]:
    info: MethodInfo = cls.info
    acts_at_boundaries = cls.on_task_end is not Method.on_task_end
    if acts_at_boundaries and not info.task_boundaries:
        raise Broken(
            "on_task_end is never called: info does not say task_boundaries=True",
            "write MethodInfo(..., task_boundaries=True)",
            definition(cls.on_task_end),
        )
    found = []
    if not info.summary.strip() or "\n" in info.summary or "TODO" in info.summary:
        found.append(("info.summary is not one line that says what the method does", "write one line"))
    found += _doubts_of_papers(info)
    if info.family not in FAMILIES:
        found.append(
            (f'info.family is "{info.family}", which is no family', did_you_mean(info.family, FAMILIES))
        )
    if info.task_boundaries and not acts_at_boundaries:
        found.append(
            (
                "info says task_boundaries=True, and there is no on_task_end",
                "leave it out, or the leaderboard says that the method uses task boundaries",
            )
        )
    if not info.search_space and not all(isinstance(f.default, bool) for f in fields(cls)):
        found.append(
            ("info.search_space is empty: a sweep tunes nothing", 'write {"strength": (1e-4, 1e-3, 1e-2)}')
        )
    return found


def _doubts_of_papers(info: MethodInfo) -> list[tuple[str, str]]:
    example = 'Paper(authors="Lovelace, Ada", title="...", year=2026, arxiv="2408.15495")'
    if not info.papers:
        return [("info.papers is empty: nothing can be cited", f"write papers=({example},)")]
    flaws = list(dict.fromkeys(flaw for paper in info.papers for flaw in paper.flaws()))
    if not any(paper.arxiv or paper.doi for paper in info.papers):
        flaws.append("no arXiv id or DOI")
    return [(f"info.papers cannot be cited yet: {', '.join(flaws)}", f"write {example}")] if flaws else []


def _as(kind: type, value: Any) -> Any:
    try:
        return repr(kind(value))
    except (TypeError, ValueError):
        return "..."
