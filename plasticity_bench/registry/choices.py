"""Names of methods, streams and suites, and how a name becomes a class. Listing imports no torch."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from dataclasses import field as dataclass_field
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.plugins import digest, import_class, import_plugin, is_file
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.registry.precision import DEFAULT, PRECISION, checked
from plasticity_bench.registry.settings import (
    LEARNING_RATE,
    parse_value,
    settings_of_parts,
    short,
    split_parts,
    split_settings,
)
from plasticity_bench.storage.files import sha256

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream

ENTRY_POINTS = "plasticity_bench.methods"

#: What the names of Avalanche's benchmarks begin with as streams.
AVALANCHE = "avalanche"


@dataclass(frozen=True)
class Chosen:
    """A class with the settings the user gave, not yet made."""

    cls: Any
    label: str  # what identifies it to a user: name, and the settings that differ from the defaults
    settings: Mapping[str, Any] = dataclass_field(hash=False)  # every setting
    source: str = "builtin"  # or where a plug-in came from
    digest: str = ""  # SHA-256 of a plug-in's source file: another source is another cell
    parts: tuple[Chosen, ...] = ()  # of a composition

    def make(self) -> Any:
        """The method or stream itself. Raises InputError where the settings do not go together."""
        if self.parts:
            return self.cls(tuple(part.make() for part in self.parts))
        own = {f.name for f in fields(self.cls)}
        try:
            return self.cls(**{name: value for name, value in self.settings.items() if name in own})
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


def choose_method(text: str, settings: Mapping[str, str] | None = None) -> Chosen:
    """``name[:key=value,...]``, ``package.module:Class[:...]``, ``path/to/file.py:Class[:...]``, or where the
    file holds one method ``path/to/file.py[:...]``; several have + between them. In ``settings`` those of a
    part have its name in front: ``l2.strength``."""
    names = method_names()
    named = [split_settings(part) for part in split_parts(text, names)]
    found = [_find(name, names) for name, _ in named]
    given = settings_of_parts([cls.info.name for cls, *_ in found], [own for _, own in named], settings or {})
    parts = [
        _choose(cls, own, "method", source, sha, extra={LEARNING_RATE: None})
        for (cls, source, sha), own in zip(found, given, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    from plasticity_bench.agents.methods.composed import composed

    every = {f"{p.cls.info.name}.{k}": v for p in parts for k, v in p.settings.items() if k != LEARNING_RATE}
    plugins = any(part.digest for part in parts)
    return Chosen(
        composed(*(part.cls for part in parts)),
        "+".join(part.label for part in parts),
        {**every, LEARNING_RATE: parts[-1].settings[LEARNING_RATE]},
        "+".join(part.source for part in parts) if plugins else "builtin",
        sha256("+".join(part.digest for part in parts).encode()) if plugins else "",
        tuple(parts),
    )


def _find(name: str, names: Mapping[str, str]) -> tuple[Any, str, str]:
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
        raise InputError(f"{name} has no info: set `info = MethodInfo(name=..., summary=..., paper=...)`")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", cls.info.name):  # it is part of a folder's name
        raise InputError(f'{name}: info.name "{cls.info.name}" may hold only letters, digits and . _ + -')
    if source != "builtin" and cls.info.name in METHODS:
        raise InputError(f'{name}: info.name "{cls.info.name}" is a built-in method; choose another name')
    return cls, source, sha


def choose_stream(text: str) -> Chosen:
    """``name[:key=value,...]``, or ``avalanche:`` with a benchmark's name or ``package.module:function``."""
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


def _choose_stream(cls: Any, given: Mapping[str, str], source: str, digest: str) -> Chosen:
    chosen = _choose(cls, given, "stream", source, digest, extra={PRECISION: DEFAULT})
    precision = checked(chosen.settings[PRECISION], chosen.label, acting=cls.info.loss == "ppo")
    kept = {name: v for name, v in chosen.settings.items() if name != PRECISION or precision != DEFAULT}
    return replace(chosen, settings=kept)


def _choose(
    cls: Any, given: Mapping[str, str], what: str, source: str, digest: str, extra: Mapping[str, Any]
) -> Chosen:
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
            changed.append(f"{key}={text if isinstance(value, str) else short(value)}")
    label = cls.info.name + (":" + ",".join(sorted(changed)) if changed else "")
    return Chosen(cls, label, settings, source, digest)


def method_of(chosen: Chosen) -> Method:
    """The method itself."""
    method: Method = chosen.make()
    return method


def stream_of(chosen: Chosen) -> Stream:
    """The stream itself."""
    stream: Stream = chosen.make()
    if stream.tasks < 2:
        raise InputError(f"{chosen.label}: a stream needs at least 2 tasks")
    return stream


def with_learning_rate(stream: Stream, chosen: Chosen) -> Any:
    """The stream's optimizer, at the method's learning rate where one was set."""
    optimizer, lr = stream.optimizer, chosen.settings[LEARNING_RATE]
    if lr is not None and lr <= 0:
        raise InputError(f"{chosen.label}: lr must be positive")
    return optimizer if lr is None else replace(optimizer, lr=lr)
