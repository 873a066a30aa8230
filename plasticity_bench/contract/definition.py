"""What a method says of itself: its info, its settings, and the names of its hooks."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import fields
from typing import Any

from plasticity_bench.agents.methods import Method, MethodInfo
from plasticity_bench.contract.results import Broken, Doubtful
from plasticity_bench.contract.subject import Subject, definition
from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.registry.families import FAMILIES
from plasticity_bench.registry.settings import parse_settings, parse_value

#: Likeness above which a function's name is taken for a hook's.
TYPO = 0.8
KINDS = {"bool": bool, "int": int, "float": float, "str": str}
#: Public attributes of a method that are no hyperparameters.
RESERVED = {"info", "needs_features"}


def is_defined(subject: Subject) -> str:
    """Hyperparameters, search space, hooks and info are complete and agree."""
    doubts: list[tuple[str, str]] = []
    for part in subject.parts:
        _settings(part.cls)
        _hooks(part.cls)
        _search_space(part.cls)
        _off(part.cls)
        _acts_after(part.cls)
        doubts += _doubts(part.cls)
    if doubts:
        raise Doubtful("; ".join(what for what, _ in doubts), "; ".join(mend for _, mend in doubts))
    count = sum(len(fields(part.cls)) for part in subject.parts)
    hooks = [hook for hook in _signatures() if subject.make().uses(hook)]
    return f"{count} hyperparameter{'' if count == 1 else 's'}; hooks: {', '.join(hooks) or 'none'}"


def _settings(cls: Any) -> None:
    known = {f.name: f for f in fields(cls)}
    for name in vars(cls).get("__annotations__", {}):
        if name not in known and "ClassVar" not in str(vars(cls)["__annotations__"][name]):
            raise Broken(
                f'"{name}" is written as a hyperparameter, but {cls.__name__} is no dataclass',
                f"write @dataclass in the line above class {cls.__name__}",
            )
    for name, value in vars(cls).items():
        if isinstance(value, (bool, int, float)) and not name.startswith("_") and name not in known:
            if name in RESERVED or "ClassVar" in str(vars(cls).get("__annotations__", {}).get(name, "")):
                continue
            kind = type(value).__name__
            raise Broken(
                f'"{name} = {value}" has no type, so it is no hyperparameter and --set cannot change it',
                f"write {name}: {kind} = {value}; a constant is written {name}: ClassVar[{kind}] = {value}",
            )
    for name, f in known.items():
        annotation = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
        wanted = KINDS.get(annotation)
        if wanted is not None and type(f.default) is not wanted:
            raise Broken(
                f'"{name}: {annotation} = {f.default}": the default is of another kind than the type, '
                "and settings are read as the default's kind",
                f"write {name}: {annotation} = {_as(wanted, f.default)}",
            )


def _hooks(cls: Any) -> None:
    known = _signatures()
    for name, value in vars(cls).items():
        if name.startswith("_") or not inspect.isfunction(value):
            continue
        where = definition(value)
        if name not in known:
            near = difflib.get_close_matches(
                name, [hook for hook in known if hook not in vars(cls)], cutoff=TYPO
            )
            if near:
                raise Broken(
                    f"nothing calls {name}: it is the name of no hook",
                    f"did you mean {near[0]}? A helper's name begins with an underscore",
                    where,
                )
            continue
        wanted = known[name]
        try:
            inspect.signature(value).bind(*wanted)
        except TypeError:
            raise Broken(
                f"{name} is called with {len(wanted) - 1} arguments and takes others",
                f"write def {name}({', '.join(wanted)})",
                where,
            ) from None


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
    told = cls.on_task_end is not Method.on_task_end
    if told and not info.task_boundaries:
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
    if info.task_boundaries and not told:
        found.append(
            (
                "info says task_boundaries=True, and there is no on_task_end",
                "leave it out, or the leaderboard says that the method is told when a task ends",
            )
        )
    if fields(cls) and not info.search_space:
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


def _signatures() -> dict[str, list[str]]:
    """Hook -> its parameters."""
    functions = {name: f for name, f in vars(Method).items() if inspect.isfunction(f) and name[0] != "_"}
    return {name: list(inspect.signature(f).parameters) for name, f in functions.items()}


def _as(kind: type, value: Any) -> Any:
    try:
        return repr(kind(value))
    except (TypeError, ValueError):
        return "..."
