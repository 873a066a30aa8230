"""Plug-ins: classes and functions of users, from a file, a package or a notebook.

A plug-in's source is read once, when a command or a call names it. That source is trained, in all processes,
even if the file changes later. A process executes the same source once.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from plasticity_bench.class_source import is_importable, shown_file, source_of
from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.storage.files import sha256

#: Stands for the file's name in the origin of a class that was defined in a notebook or a script.
NOTEBOOK = "notebook"


class Plugin(Protocol):
    """The origin of a class or function. It is hashable and can be pickled."""

    @property
    def origin(self) -> str:
        """The name in records: ``file.py:Class``, ``package.module:Class`` or ``notebook:Class``."""

    @property
    def digest(self) -> str:
        """SHA-256 of the source."""

    @property
    def file_name(self) -> str:
        """The name of the file in which records keep the source: ``file.py``."""

    @property
    def source(self) -> bytes:
        """The source."""

    def load(self) -> Any:
        """The class or function. A process always gets the same object."""

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class FilePlugin:
    """A class or function in a file or a package's module, with the content of the file when it was read."""

    place: str  # path of the file, or "package.module"
    name: str  # of the class or function in it
    source: bytes

    @property
    def origin(self) -> str:
        return f"{Path(self.place).name if is_file(self.place) else self.place}:{self.name}"

    @property
    def file_name(self) -> str:
        return Path(self.place).name if is_file(self.place) else f"{self.place.rpartition('.')[2]}.py"

    @property
    def digest(self) -> str:
        return sha256(self.source)

    def load(self) -> Any:
        return getattr(_module(self.place, self.source), self.name)


@dataclass(frozen=True)
class NotebookPlugin:
    """A class of a notebook or a script: its source, and the class pickled with cloudpickle."""

    name: str
    source: bytes  # with what it uses: see class_source.py
    pickled: bytes = field(compare=False, repr=False)
    cls: Any = field(compare=False, repr=False)

    @property
    def origin(self) -> str:
        return f"{NOTEBOOK}:{self.name}"

    @property
    def file_name(self) -> str:
        return f"{self.name}.py"

    @property
    def digest(self) -> str:
        return sha256(self.source)

    def load(self) -> Any:
        return self.cls

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_notebook, (self.name, self.source, self.pickled)


@cache
def _from_notebook(name: str, source: bytes, pickled: bytes) -> NotebookPlugin:
    import cloudpickle

    return NotebookPlugin(name, source, pickled, cloudpickle.loads(pickled))


def import_class(location: str) -> Any:
    """Imports "module:Class" and returns the class."""
    module, _, name = location.partition(":")
    return getattr(importlib.import_module(module), name)


def is_file(location: str) -> bool:
    """Whether this names a file, without a class in it."""
    return location.endswith(".py")


def read_plugin(location: str, base: type | None = None) -> FilePlugin:
    """The plug-in that a user named: "file.py:Name" or "package.module:Name".

    Args:
        location: The name.
        base: The class that it must derive from; "file.py" then names the only subclass in the file. None: it
            names a function.

    Raises:
        InputError: There is no such file or name, or executing the file raises an error.
    """
    place, _, name = (location, "", "") if is_file(location) else location.rpartition(":")
    source = _read(place)
    try:
        module = _module(place, source)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        line = (
            "" if isinstance(error, SyntaxError) else error_location(error, {place})
        )  # its message has the line
        raise InputError(f"cannot import {place}: {type(error).__name__}: {error}{line}") from error
    name = name or _only_class(place, module, base)
    if not hasattr(module, name):
        found = [n for n, value in vars(module).items() if isinstance(value, type) == (base is not None)]
        known = [n for n in found if callable(getattr(module, n)) and not n.startswith("_")]
        what = "function" if base is None else "class"
        raise InputError(f'{place} has no {what} "{name}": {did_you_mean(name, known)}')
    return FilePlugin(place, name, source)


def plugin_of(cls: type) -> Plugin:
    """The plug-in of a class.

    If the class can be imported from a module, it is that module's. A class that was defined in a notebook,
    in the running script or in a function is kept with its source and the source of what it uses there.
    """
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file and is_importable(cls):
        return FilePlugin(cls.__module__, cls.__qualname__, Path(file).read_bytes())
    import cloudpickle

    try:
        pickled = cloudpickle.dumps(cls)
    except Exception as error:  # from any object that the class uses
        raise InputError(
            f"{cls.__name__} cannot be sent to worker processes: {type(error).__name__}: {error}; "
            "make what cannot be pickled in a hook, such as setup"
        ) from error
    return NotebookPlugin(cls.__name__, source_of(cls).encode(), pickled, cls)


def _read(place: str) -> bytes:
    """The content of the file, or of the module's file."""
    if is_file(place):
        path = Path(place)
        if not path.is_file():
            raise InputError(
                f"no such file: {place} (a method is written path/to/file.py or path/to/file.py:Class)"
            )
    else:
        path = Path(_find(place))
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _find(module: str) -> str:
    """The file of a package's module. The packages that contain it are imported."""
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot import {module}: {type(error).__name__}: {error}") from error
    if spec is None and module == NOTEBOOK:
        raise InputError(
            "a class of a notebook has no name outside of it: write it to a file, path/to/file.py:Class"
        )
    if spec is None:
        raise InputError(
            f"cannot import {module}: there is no such module; is it installed, or on PYTHONPATH?"
        )
    if not spec.origin or not spec.has_location:
        raise InputError(f"cannot import {module}: it has no file")
    return spec.origin


@cache
def _module(place: str, source: bytes) -> ModuleType:
    """Executes the source and returns the module. A package's module that is imported already is not executed
    again."""
    if is_file(place):
        path = place
        name = f"plasticity_bench_plugin_{Path(place).stem}_{sha256(source)[:8]}"
    else:
        path, name = _find(place), place
        if name in sys.modules:
            return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)
    return module


def _only_class(place: str, module: Any, base: type | None) -> str:
    """The name of the one class derived from ``base`` that a file defines. Raises InputError if there are
    none or several."""
    if base is None:
        raise InputError(f"{place} does not say which function: write {place}:NAME")
    kind = base.__name__.lower()
    own = {  # class -> its name: a class may have two names
        value: name
        for name, value in reversed(vars(module).items())
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    }
    names = [own[cls] for cls in reversed(own)]
    # A user's own base class has no info. If no class has one, all are kept: a later message says so.
    found = [name for name in names if hasattr(getattr(module, name), "info")] or names
    if not found:
        full = f"{base.__module__.removesuffix('.base')}.{base.__name__}"
        raise InputError(f"{place} holds no {kind}: derive a class from {full}")
    if len(found) > 1:
        raise InputError(f"{place} holds several {kind}s, {', '.join(found)}: write {place}:{found[0]}")
    return found[0]


def error_location(error: BaseException, files: Collection[str]) -> str:
    """`` (file.py, line 12)``: the last line of these files in an exception's traceback; empty if there is
    none. A notebook's cell, which is in no file, is called "cell"."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
    if not frames:
        return ""
    return f" ({shown_file(frames[-1].filename)}, line {frames[-1].lineno})"
