"""The source of a class that was defined in a notebook or a script, with everything there that it uses.

The digest of this source names the records of the class. So it must change if anything changes that the class
computes with: its own text, a base class, a function, or a value that its methods read.
"""

from __future__ import annotations

import ast
import dis
import inspect
import io
import linecache
import marshal
import os
import pickle
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial, reduce
from types import CodeType, FunctionType, ModuleType
from typing import Any

from plasticity_bench.storage.files import sha256

#: Values of these types are written as they are.
PLAIN = (bool, int, float, complex, str, bytes, type(None))


def source_of(cls: type) -> str:
    """The text of the class, after the text of what it uses: base classes, functions and values.

    Only what was defined in a notebook, in the running script or in a function is included. If Python has no
    text of something any more, a line with the digest of its compiled code stands for it.
    """
    return "".join(_Collected(cls).pieces)


def code_files(classes: Iterable[type]) -> set[str]:
    """The files that the functions of these classes were compiled from."""
    files = {function.__code__.co_filename for cls in classes for _, function in _functions(cls)}
    return files - {"<string>"}  # what dataclasses generate


def shown_file(path: str) -> str:
    """The name of a file; "cell" for a notebook's cell, which is in no file."""
    return os.path.basename(path) if os.path.exists(path) else "cell"


def is_importable(found: Any) -> bool:
    """Whether another process can import this class or function by its name."""
    module = sys.modules.get(found.__module__ or "")
    if module is None or found.__module__ == "__main__":
        return False
    try:
        return reduce(getattr, found.__qualname__.split("."), module) is found
    except AttributeError:
        return False


class _Collected:
    """``pieces``: the texts, each one after those that it uses."""

    def __init__(self, cls: type) -> None:
        self.pieces: list[str] = []
        self._modules = {"__main__", cls.__module__}
        self._seen: list[Any] = []  # the objects themselves, so that no id is used twice
        self.add(cls.__name__, cls)

    def add(self, name: str, value: Any) -> None:
        """Adds a class, function or value that is called ``name``, and what it uses."""
        if callable(value) and not isinstance(value, type):
            value = inspect.unwrap(value)
        if isinstance(value, ModuleType) or inspect.isbuiltin(value) or any(value is o for o in self._seen):
            return
        if _is_plain(value):
            self.pieces.append(f"{name} = {_literal(value)}\n")
            return
        self._seen.append(value)
        if isinstance(value, (type, FunctionType)):
            if not is_importable(value):
                self._add_class(value) if isinstance(value, type) else self._add_function(name, value)
        elif isinstance(value, partial):
            for part in ("func", "args", "keywords"):
                self.add(f"{name}.{part}", getattr(value, part))
        elif isinstance(value, (list, tuple, dict)):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                self.add(f"{name}[{key!r}]", item)
        else:
            self.add(type(value).__name__, type(value))
            self.pieces.append(f"# {name}: {type(value).__name__}{_pickled(value)}\n")

    def _add_class(self, cls: type) -> None:
        for base in cls.__bases__:
            self.add(base.__name__, base)
        text = text_of_class(cls)
        for name, function in _functions(cls):
            if name.startswith("__") or function.__qualname__ == f"{cls.__qualname__}.{name}":
                self._add_used(name, function)
            else:  # it was assigned: its text is not in that of the class
                self.add(f"{cls.__name__}.{name}", function)
        self.pieces.append(text or _unread(cls.__name__, _compiled_class(cls)))
        self.pieces += [f"# {cls.__name__}.{line}\n" for line in _other_values(cls, text)]

    def _add_function(self, name: str, function: FunctionType) -> None:
        self._add_used(name, function)
        text = _text_of_function(function)
        self.pieces.append(text or _unread(name, _compiled(function.__code__)))

    def _add_used(self, name: str, function: FunctionType) -> None:
        """Adds the default arguments of a function, and the variables outside of it that it reads."""
        if function.__module__ in self._modules:
            for used in _global_names(function.__code__):
                if used in function.__globals__:
                    self.add(used, function.__globals__[used])
        for used, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # it has no value yet
                self.add(used, cell.cell_contents)
        if not name.startswith("__"):  # dataclasses make some of those, with the settings as defaults
            defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
            for number, default in enumerate(defaults):
                self.add(f"# {name}, default {number}", default)


def _functions(cls: type) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(cls).items():
        for found in (value, *(getattr(value, part, None) for part in ("fget", "fset", "__func__", "func"))):
            function = inspect.unwrap(found) if callable(found) else None
            if isinstance(function, FunctionType):
                yield name, function


def _global_names(code: CodeType) -> Iterator[str]:
    """The global names that code reads, inner functions included."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple, set, frozenset):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, (*value.keys(), *value.values())))
    return type(value) in PLAIN


def _literal(value: Any) -> str:
    """A plain value as text. The order of a set differs from process to process, so it is sorted."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}([{', '.join(sorted(map(_literal, value)))}])"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        items = "".join(f"{_literal(item)}, " for item in value)
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    return repr(value)


def _pickled(value: Any) -> str:
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, 4).dump(value)
    except Exception:  # an object of any kind
        return ""
    return f" with the SHA-256 {sha256(buffer.getvalue())}"


class _Pickler(pickle.Pickler):
    """Pickles tensors by their content: torch adds the address of the memory."""

    def reducer_override(self, value: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(value, torch.Tensor):
            return NotImplemented
        content = value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        return tuple, ((tuple(value.shape), str(value.dtype), content),)


def _other_values(cls: type, text: str) -> list[str]:
    """Plain attributes of a class whose value is not written in its text: ``factor = 2.0``."""
    if not text:
        return []  # they are part of the compiled class
    written: dict[str, Any] = {}
    for node in ast.walk(ast.parse(f"if True:\n{text}" if text[0].isspace() else text)):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                with suppress(ValueError):  # it is computed
                    written[ast.unparse(target)] = ast.literal_eval(node.value)
    return [
        f"{name} = {_literal(value)}"
        for name, value in sorted(vars(cls).items())
        if not name.startswith("__") and _is_plain(value) and written.get(name, ...) != value
    ]


def _text_of_function(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError, SyntaxError):
        return ""


def text_of_class(cls: type) -> str:
    """The text of a class; empty if Python does not have it any more."""
    # The lines of its functions say which one it is if several classes have this name. IPython keeps the text
    # of each cell under the name that the cell's functions were compiled with.
    for _, function in _functions(cls):
        code = function.__code__
        lines = linecache.getlines(code.co_filename)
        for first, last in _definitions(lines, cls.__name__):
            if first <= code.co_firstlineno <= last:
                return "".join(lines[first - 1 : last])
    try:
        lines = inspect.findsource(cls)[0]
    except (OSError, TypeError):
        return ""
    found = _definitions(lines, cls.__name__)
    return "".join(lines[found[0][0] - 1 : found[0][1]]) if len(found) == 1 else ""


def _definitions(lines: list[str], name: str) -> list[tuple[int, int]]:
    """The first and the last line of every class of this name, innermost first."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:  # a cell with commands of IPython
        return []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return [
        (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno or 0)
        for node in reversed(found)
    ]


def _unread(name: str, compiled: bytes) -> str:
    return f"# The source of {name} could not be read. SHA-256 of its compiled code: {sha256(compiled)}\n"


def _compiled_class(cls: type) -> bytes:
    """A class as its plain values and compiled functions.

    It is the same in another session with the same version of Python.
    """
    found = [repr([base.__qualname__ for base in cls.__mro__])]
    values = [
        f"{name} = {_literal(value)}"
        for name, value in vars(cls).items()
        if name[:2] != "__" and _is_plain(value)
    ]
    functions = [(name, _compiled(function.__code__)) for name, function in _functions(cls)]
    return marshal.dumps((found, sorted(values), sorted(functions)), 2)


def _compiled(code: CodeType) -> bytes:
    return marshal.dumps(_without_places(code), 2)


def _without_places(code: CodeType) -> CodeType:
    """The same code without names of files and line numbers."""
    inner = tuple(_without_places(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename="", co_firstlineno=1, co_consts=inner)
