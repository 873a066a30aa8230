"""How a name becomes a class with settings: of a method, of a stream. What is not chosen is not imported."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from dataclasses import field as dataclass_field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.plugins import digest, import_class, import_plugin, is_file
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.registry.precision import DEFAULT, PRECISION, checked
from plasticity_bench.registry.settings import (
    LEARNING_RATE,
    parse_value,
    settings_of_parts,
    split_parts,
    split_settings,
)
from plasticity_bench.storage.files import sha256

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.specs import OptimizerSpec
    from plasticity_bench.tasks.base import Stream

ENTRY_POINTS = "plasticity_bench.methods"

#: What the names of Avalanche's benchmarks begin with as streams.
AVALANCHE = "avalanche"

#: ``Chosen[Method]`` or ``Chosen[Stream]``.
MethodOrStream = TypeVar("MethodOrStream", bound="Method | Stream", covariant=True)


@dataclass(frozen=True)
class Chosen(Generic[MethodOrStream]):
    """A method's or stream's class with the settings the user gave, not yet made."""

    cls: type[MethodOrStream]
    label: str  # what identifies it to a user: name, and the settings that differ from the defaults
    settings: Mapping[str, Any] = dataclass_field(hash=False)  # every setting
    source: str = "builtin"  # or where a plug-in came from
    digest: str = ""  # SHA-256 of a plug-in's source file: another source is another cell
    parts: tuple[Chosen[Any], ...] = ()  # of a composition

    def make(self) -> MethodOrStream:
        """The method or stream itself.

        Raises InputError if the settings do not go together, or the class cannot be made.
        """
        if self.parts:
            values: dict[str, Any] = {"parts": tuple(part.make() for part in self.parts)}
        else:
            own = {f.name for f in fields(self.cls)}
            values = {name: value for name, value in self.settings.items() if name in own}
        try:
            return self.cls(**values)
        except ValueError as error:
            raise InputError(f"{self.label}: {error}") from error
        except InputError:
            raise
        except Exception as error:  # a plug-in's
            raise InputError(f"{self.label} cannot be made: {type(error).__name__}: {error}") from error


def method_names() -> dict[str, str]:
    """Name -> "module:Class" of all built-in methods and installed plug-ins, without importing them."""
    names = dict(METHODS)
    for name, value in _installed(tuple(sys.path)):
        if name in names:
            warnings.warn(f'plug-in method "{name}" ({value}) ignored: the name is taken', stacklevel=2)
        else:
            names[name] = value
    return names


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Name and "module:Class" of what packages on ``path`` (sys.path) offer: looking takes milliseconds."""
    return tuple((point.name, point.value) for point in entry_points(group=ENTRY_POINTS))


def choose_method(text: str, settings: Mapping[str, str] | None = None) -> Chosen[Method]:
    """The method that a user named.

    Args:
        text: ``name[:key=value,...]``, ``package.module:Class[:...]`` or ``path/to/file.py:Class[:...]``; if
            the file holds one method, ``path/to/file.py[:...]``. Several are written with + between them.
        settings: more settings, which win over those in ``text``. In a composition the setting of a part has
            the part's name in front: ``l2.strength``.

    Raises InputError if there is no such method or setting, or a value is not of the setting's kind.

    >>> choose_method("l2:strength=1e-2").label
    'l2:strength=0.01'
    """
    names = method_names()
    named = [split_settings(part) for part in split_parts(text, names)]
    found = [_find(name, names) for name, _ in named]
    given = settings_of_parts([cls.info.name for cls, *_ in found], [own for _, own in named], settings or {})
    parts: list[Chosen[Method]] = [
        _choose(cls, own, "method", source, sha, extra={LEARNING_RATE: None})
        for (cls, source, sha), own in zip(found, given, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    from plasticity_bench.agents.methods.composed import composed

    classes: list[Any] = [part.cls for part in parts]  # mypy: type[Method] is not hashable
    every = {f"{p.cls.info.name}.{k}": v for p in parts for k, v in p.settings.items() if k != LEARNING_RATE}
    plugins = any(part.digest for part in parts)
    return Chosen(
        composed(*classes),
        "+".join(part.label for part in parts),
        {**every, LEARNING_RATE: parts[-1].settings[LEARNING_RATE]},
        "+".join(part.source for part in parts) if plugins else "builtin",
        sha256("+".join(part.digest for part in parts).encode()) if plugins else "",
        tuple(parts),
    )


def _find(name: str, names: Mapping[str, str]) -> tuple[type[Method], str, str]:
    """(class, where it came from, digest of its file) of one method."""
    from plasticity_bench.agents.methods import Method, MethodInfo

    source, sha = "builtin", ""
    if ":" in name or is_file(name):
        cls, source, sha = import_plugin(name, Method)
    elif name in names:
        cls = import_class(names[name])
        if name not in METHODS:
            source, sha = names[name], digest(cls)
    else:
        raise InputError(f'unknown method "{name}": {did_you_mean(name, names)}, or path/to/file.py:Class')
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise InputError(f"{name} is not a method: derive it from plasticity_bench.agents.methods.Method")
    if not isinstance(getattr(cls, "info", None), MethodInfo):
        raise InputError(f"{name} has no info: set `info = MethodInfo(name=..., summary=..., papers=...)`")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", cls.info.name):  # it is part of a folder's name
        raise InputError(f'{name}: info.name "{cls.info.name}" may hold only letters, digits and . _ + -')
    if source != "builtin" and cls.info.name in METHODS:
        raise InputError(f'{name}: info.name "{cls.info.name}" is a built-in method; choose another name')
    return cls, source, sha


def choose_stream(text: str) -> Chosen[Stream]:
    """The stream that a user named.

    Args:
        text: ``name[:key=value,...]``; or ``avalanche:`` followed by a benchmark's name or by
            ``package.module:function``, then settings as before.

    Raises InputError if there is no such stream or setting, a value is not of the setting's kind, or the
    stream has fewer than 2 tasks.

    >>> choose_stream("permuted-digits:tasks=20").settings["tasks"]
    20
    """
    name, settings = split_settings(text)
    kind, _, benchmark = name.partition(":")
    if kind == AVALANCHE:
        from plasticity_bench.tasks.avalanche_stream import stream_class

        if "n_experiences" in settings:  # Avalanche's name of it
            settings.setdefault("tasks", settings.pop("n_experiences"))
        cls = stream_class(benchmark)
        return _choose_stream(cls, settings, name, cls.benchmark.digest)
    if name not in STREAMS:
        raise InputError(f'unknown stream "{name}": {did_you_mean(name, STREAMS)}, or {AVALANCHE}:SplitMNIST')
    return _choose_stream(import_class(STREAMS[name]), settings, "builtin", "")


def _choose_stream(cls: type[Stream], given: Mapping[str, str], source: str, sha: str) -> Chosen[Stream]:
    chosen = _choose(cls, given, "stream", source, sha, extra={PRECISION: DEFAULT})
    if chosen.settings["tasks"] < 2:
        raise InputError(f"{chosen.label}: a stream needs at least 2 tasks")
    precision = checked(chosen.settings[PRECISION], chosen.label, acting=cls.info.loss == "ppo")
    kept = {name: v for name, v in chosen.settings.items() if name != PRECISION or precision != DEFAULT}
    return replace(chosen, settings=kept)


def _choose(
    cls: type[MethodOrStream],
    given: Mapping[str, str],
    what: str,
    source: str,
    sha: str,
    extra: Mapping[str, Any],
) -> Chosen[MethodOrStream]:
    settings: dict[str, Any] = dict(extra)
    for f in fields(cls):
        if f.default is MISSING:
            raise InputError(
                f'{cls.info.name}: field "{f.name}" has no default; every hyperparameter needs one'
            )
        if not isinstance(f.default, (bool, int, float, str, type(None))):
            kind = type(f.default).__name__
            raise InputError(
                f'{cls.info.name}: field "{f.name}" is a {kind}; settings are numbers, true or false, or text'
            )
        settings[f.name] = f.default
    changed = []
    for key, text in given.items():
        if key not in settings:
            raise InputError(
                f'{what} "{cls.info.name}" has no setting "{key}": {did_you_mean(key, settings)}'
            )
        value = parse_value(text, settings[key], f"{cls.info.name}: {key}")
        if value != settings[key]:
            settings[key] = value
            changed.append(f"{key}={text if isinstance(value, str) else _in_label(value)}")
    label = cls.info.name + (":" + ",".join(sorted(changed)) if changed else "")
    return Chosen(cls, label, settings, source, sha)


def _in_label(value: float) -> str:
    """A number as labels show it, with at most six digits."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def with_learning_rate(stream: Stream, method: Chosen[Method]) -> OptimizerSpec:
    """The stream's optimizer, at the method's learning rate if one was set.

    Raises InputError if that is not positive.
    """
    optimizer, lr = stream.optimizer, method.settings[LEARNING_RATE]
    if lr is not None and lr <= 0:
        raise InputError(f"{method.label}: lr must be positive")
    return optimizer if lr is None else replace(optimizer, lr=lr)
