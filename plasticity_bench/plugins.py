"""Classes from a user's file or package: imported only where they are selected."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.storage.files import sha256


def import_class(where: str) -> Any:
    """Imports "module:Class"."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def is_file(where: str) -> bool:
    """Whether this names a file without a class."""
    return where.endswith(".py")


def import_plugin(where: str, base: type | None = None) -> tuple[Any, str, str]:
    """(class or function, where it came from, digest of its file) of "file.py:Name" or "package.module:Name".

    ``base``: the class that is derived from; "file.py" then names its only subclass there. A function is
    wanted where it is None.
    """
    place, _, name = (where, "", "") if is_file(where) else where.rpartition(":")
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise InputError(
                    f"no such file: {place} (a method is written path/to/file.py or path/to/file.py:Class)"
                )
            module_name = f"plasticity_bench_plugin_{path.stem}"
            spec = importlib.util.spec_from_file_location(module_name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module  # dataclasses look their module up
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's file raises is theirs to read in one line
        line = "" if isinstance(error, SyntaxError) else line_of(error, place)  # which says it itself
        raise InputError(f"cannot import {place}: {type(error).__name__}: {error}{line}") from error
    if not name:
        name = _only_class(place, module, base)
    if not hasattr(module, name):
        found = [n for n, value in vars(module).items() if isinstance(value, type) == (base is not None)]
        known = [n for n in found if callable(getattr(module, n)) and not n.startswith("_")]
        what = "function" if base is None else "class"
        raise InputError(f'{place} has no {what} "{name}": {did_you_mean(name, known)}')
    cls = getattr(module, name)
    return cls, f"{Path(place).name if place.endswith('.py') else place}:{name}", digest(cls)


def _only_class(place: str, module: Any, base: type | None) -> str:
    """The name of the one class derived from ``base`` that a file defines. Raises InputError where there are
    none or several."""
    if base is None:
        raise InputError(f"{place} does not say which function: write {place}:NAME")
    kind = base.__name__.lower()
    own = {  # class -> its name; a second name for one class is no second class
        value: name
        for name, value in reversed(vars(module).items())
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    }
    names = [own[cls] for cls in reversed(own)]
    # A base class of the user's own has no info; where nothing has, the message is about that.
    found = [name for name in names if hasattr(getattr(module, name), "info")] or names
    if not found:
        full = f"{base.__module__.removesuffix('.base')}.{base.__name__}"
        raise InputError(f"{place} holds no {kind}: derive a class from {full}")
    if len(found) > 1:
        raise InputError(f"{place} holds several {kind}s, {', '.join(found)}: write {place}:{found[0]}")
    return found[0]


def line_of(error: BaseException, path: str) -> str:
    """`` (file.py, line 12)``: where an exception passed through this file last; empty where it did not."""
    name = Path(path).name
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == name]
    return f" ({name}, line {lines[-1]})" if lines else ""


def digest(cls: Any) -> str:
    """SHA-256 of the file that holds the class."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return sha256(Path(file).read_bytes()) if file else ""
