"""From a name to the class of a method or stream, with its settings. Only chosen classes are imported."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

from plasticity_bench.class_source import code_files
from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.plugins import Plugin, import_class, is_file, plugin_of, read_plugin
from plasticity_bench.registry.catalog import METHODS, STREAMS, method_names
from plasticity_bench.registry.precision import DEFAULT, PRECISION, check_precision
from plasticity_bench.registry.settings import (
    LEARNING_RATE,
    field_defaults,
    parse_value,
    setting_texts,
    settings_of_parts,
    split_parts,
    split_settings,
)
from plasticity_bench.storage.files import sha256

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream

#: Names of streams that are benchmarks of Avalanche begin with this and a colon.
AVALANCHE = "avalanche"

#: ``Chosen[Method]`` or ``Chosen[Stream]``.
MethodOrStream = TypeVar("MethodOrStream", bound="Method | Stream", covariant=True)
#: What names a method: its name and settings as on the command line, its file, its class, or an object of it.
AnyMethod = Union[str, "os.PathLike[str]", "type[Method]", "Method"]


@dataclass(frozen=True)
class Chosen(Generic[MethodOrStream]):
    """A method's or stream's class with its settings; ``make`` makes the object.

    It can be pickled. The process that unpickles it gets the same class; for a plug-in, that is the source
    that was read here.
    """

    cls: type[MethodOrStream]
    label: str  # for the user: the name, and the settings that differ from the defaults
    settings: Mapping[str, Any] = dataclass_field(hash=False)  # every setting
    plugin: Plugin | None = None  # the origin, if it is a plug-in
    parts: tuple[Chosen[Any], ...] = ()  # of a composition

    @property
    def source(self) -> str:
        """``builtin``, or a plug-in's file or module and class; several parts are joined with +."""
        if self.parts:
            return "+".join(part.source for part in self.parts) if self.digest else "builtin"
        return self.plugin.origin if self.plugin else "builtin"

    @property
    def files(self) -> set[str]:
        """The files that the code of plug-ins in it was compiled from. IPython names those of cells."""
        classes = [cls for part in self.parts or (self,) for cls in part.cls.__mro__]
        return code_files(cls for cls in classes if not cls.__module__.startswith("plasticity_bench."))

    @property
    def digest(self) -> str:
        """SHA-256 of a plug-in's source, so that another source is another cell; empty for a built-in."""
        if self.parts:
            digests = [part.digest for part in self.parts]
            return sha256("+".join(digests).encode()) if any(digests) else ""
        return self.plugin.digest if self.plugin else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes that were made in this process, or read from a plug-in, cannot be imported by name.
        importable = not (self.parts or self.plugin or hasattr(self.cls, "benchmark"))
        name = self.cls.info.name
        cls = self.cls if importable else None
        return _unpickled, (cls, name, self.label, dict(self.settings), self.plugin, self.parts)

    def with_settings(self, settings: Mapping[str, str]) -> Chosen[MethodOrStream]:
        """The same class with these settings changed. Settings of a part are written ``part.key``.

        Raises InputError as ``choose_method`` does.
        """
        if not self.parts:
            return _choose(self.cls, settings, self.plugin, self.settings)
        names = [part.cls.info.name for part in self.parts]
        given = settings_of_parts(names, [{} for _ in names], settings)
        parts = [part.with_settings(own) for part, own in zip(self.parts, given, strict=True)]
        return _together(parts)  # type: ignore[return-value]  # only methods have parts

    def make(self) -> MethodOrStream:
        """Makes the method or stream.

        Raises InputError if the settings do not fit together, or if the class raises an error.
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
        except (Exception, SystemExit) as error:  # from the code of a plug-in
            raise InputError(f"{self.label} cannot be made: {type(error).__name__}: {error}") from error


def choose_method(method: AnyMethod, settings: Mapping[str, str] | None = None) -> Chosen[Method]:
    """The method that a user named.

    Args:
        method: ``name[:key=value,...]``, ``package.module:Class[:...]`` or ``path/to/file.py:Class[:...]``;
            if the file holds one method, ``path/to/file.py[:...]``. Several are written with + between them.
            Or the class itself, or an object of it, whose fields are the settings.
        settings: Further settings, which replace those in ``method``. In a composition, the setting of a part
            begins with the part's name: ``l2.strength``.

    Raises:
        InputError: There is no such method or setting, or a value is not of the setting's type.

    >>> choose_method("l2:strength=1e-2").label
    'l2:strength=0.01'
    """
    if isinstance(method, os.PathLike):
        method = os.fspath(method)
    if not isinstance(method, str):
        return _choose_object(method).with_settings(settings or {})
    names = method_names()
    named = [split_settings(part) for part in split_parts(method, names)]
    parts = [_find(name, names) for name, _ in named]
    own_names = [part.cls.info.name for part in parts]
    given = settings_of_parts(own_names, [own for _, own in named], settings or {})
    parts = [part.with_settings(own) for part, own in zip(parts, given, strict=True)]
    return parts[0] if len(parts) == 1 else _together(parts)


def _together(parts: Sequence[Chosen[Method]]) -> Chosen[Method]:
    """The composition of several methods."""
    from plasticity_bench.agents.methods.composed import composed

    classes: list[Any] = [part.cls for part in parts]  # mypy: type[Method] is not hashable
    settings = {
        f"{part.cls.info.name}.{key}": value
        for part in parts
        for key, value in part.settings.items()
        if key != LEARNING_RATE
    }
    return Chosen(
        composed(*classes),
        "+".join(part.label for part in parts),
        {**settings, LEARNING_RATE: parts[-1].settings[LEARNING_RATE]},
        parts=tuple(parts),
    )


def _find(name: str, names: Mapping[str, str]) -> Chosen[Method]:
    """The method of this name, with its default settings."""
    from plasticity_bench.agents.methods import Method

    if name in METHODS:
        return _default(import_class(METHODS[name]), name)
    if name in names:
        if not re.fullmatch(r"[\w.]+:[\w.]+", names[name]):
            raise InputError(
                f'plug-in method "{name}" is declared as "{names[name]}", which is not package.module:Class; '
                "correct the entry point in its package"
            )
        name = names[name]
    elif not (":" in name or is_file(name)):
        raise InputError(f'unknown method "{name}": {did_you_mean(name, names)}, or path/to/file.py:Class')
    plugin = read_plugin(name, Method)
    return _default(plugin.load(), name, plugin)


def _choose_object(method: type[Method] | Method) -> Chosen[Method]:
    """The class that the caller has at hand, or the class of this object with the settings of the object."""
    if isinstance(method, type) or not is_dataclass(method):
        return _choose_class(method)
    if parts := getattr(method, "parts", ()):
        return _together([_choose_object(part) for part in parts])
    chosen = _choose_class(type(method))
    values = {f.name: getattr(method, f.name) for f in fields(method)}
    for name, value in values.items():
        if value is None and chosen.settings[name] is not None:
            raise InputError(f"{chosen.label}: {name} is None, which only a setting with this default can be")
    return chosen.with_settings(setting_texts(values))


def _choose_class(cls: type[Method]) -> Chosen[Method]:
    """The method of a class, with its default settings."""
    for name, location in METHODS.items():
        if isinstance(cls, type) and location == f"{cls.__module__}:{cls.__qualname__}":
            return _default(cls, name)
    name = getattr(cls, "__name__", repr(cls))
    return _default(cls, name, plugin_of(cls) if isinstance(cls, type) else None)


def _default(cls: Any, name: str, plugin: Plugin | None = None) -> Chosen[Method]:
    """The class with its default settings. Raises InputError if it is not a method."""
    from plasticity_bench.agents.methods import Method, MethodInfo

    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise InputError(f"{name} is not a method: derive it from plasticity_bench.agents.methods.Method")
    if not isinstance(getattr(cls, "info", None), MethodInfo):
        raise InputError(f"{name} has no info: set `info = MethodInfo(name=..., summary=..., papers=...)`")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", cls.info.name):  # it is part of a folder's name
        raise InputError(f'{name}: info.name "{cls.info.name}" may hold only letters, digits and . _ + -')
    if plugin and cls.info.name in METHODS:
        raise InputError(f'{name}: info.name "{cls.info.name}" is a built-in method; choose another name')
    return _choose(cls, {}, plugin, {LEARNING_RATE: None, **field_defaults(cls)})


def choose_stream(text: str) -> Chosen[Stream]:
    """The stream that a user named.

    Args:
        text: ``name[:key=value,...]``; or ``avalanche:`` followed by a benchmark's name or by
            ``package.module:function``, then settings as before.

    Raises:
        InputError: There is no such stream or setting, a value is not of the setting's type, or the stream
            has fewer than 2 tasks.

    >>> choose_stream("permuted-digits:tasks=20").settings["tasks"]
    20
    """
    name, settings = split_settings(text)
    kind, _, benchmark = name.partition(":")
    if kind == AVALANCHE:
        if "n_experiences" in settings:  # Avalanche's name for the number of tasks
            settings.setdefault("tasks", settings.pop("n_experiences"))
        plugin = read_plugin(benchmark) if ":" in benchmark else None
        return _choose_stream(_avalanche_stream(name, plugin), settings, plugin)
    if name not in STREAMS:
        raise InputError(f'unknown stream "{name}": {did_you_mean(name, STREAMS)}, or {AVALANCHE}:SplitMNIST')
    return _choose_stream(import_class(STREAMS[name]), settings, None)


def _avalanche_stream(name: str, plugin: Plugin | None) -> type[Stream]:
    from plasticity_bench.tasks.avalanche_stream import stream_class

    return stream_class(name.partition(":")[2], plugin)


def _choose_stream(cls: type[Stream], given: Mapping[str, str], plugin: Plugin | None) -> Chosen[Stream]:
    chosen = _choose(cls, given, plugin, {PRECISION: DEFAULT, **field_defaults(cls)})
    if chosen.settings["tasks"] < 2:
        raise InputError(f"{chosen.label}: a stream needs at least 2 tasks")
    precision = check_precision(chosen.settings[PRECISION], chosen.label, acting=cls.info.loss == "ppo")
    kept = {name: v for name, v in chosen.settings.items() if name != PRECISION or precision != DEFAULT}
    return replace(chosen, settings=kept)


def _choose(
    cls: type[MethodOrStream], given: Mapping[str, str], plugin: Plugin | None, settings: Mapping[str, Any]
) -> Chosen[MethodOrStream]:
    """The class with its ``settings``, in which those ``given`` as text replace the others."""
    from plasticity_bench.agents.methods import Method

    changed, defaults = dict(settings), {LEARNING_RATE: None, PRECISION: DEFAULT, **field_defaults(cls)}
    for key, text in given.items():
        if key not in changed:
            kind = "method" if issubclass(cls, Method) else "stream"
            raise InputError(f'{kind} "{cls.info.name}" has no setting "{key}": {did_you_mean(key, changed)}')
        changed[key] = parse_value(text, defaults[key], f"{cls.info.name}: {key}")
    differing = [
        f"{key}={value if isinstance(value, str) else _in_label(value)}"
        for key, value in sorted(changed.items())
        if value != defaults[key]
    ]
    label = f"{cls.info.name}:{','.join(differing)}" if differing else cls.info.name
    return Chosen(cls, label, changed, plugin)


def _unpickled(
    cls: Any,
    name: str,
    label: str,
    settings: Mapping[str, Any],
    plugin: Plugin | None,
    parts: tuple[Chosen[Any], ...],
) -> Chosen[Any]:
    """What unpickling a ``Chosen`` calls: see ``Chosen.__reduce__``."""
    if parts:
        cls = _together(parts).cls
    elif name.startswith(f"{AVALANCHE}:"):
        cls = _avalanche_stream(name, plugin)
    elif plugin:
        cls = plugin.load()
    return Chosen(cls, label, settings, plugin, parts)


def _in_label(value: float) -> str:
    """A number as labels show it, with at most six digits."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
