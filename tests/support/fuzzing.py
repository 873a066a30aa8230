"""Random damage to a submission's folder."""

from __future__ import annotations

import builtins
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

fuzzed = settings(
    derandomize=True,
    deadline=None,
    max_examples=80,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Values of every JSON type, and those that break naive readers.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=20),
    st.sampled_from([[], {}, [[]], {"a": {}}, "../../x", "<script>", "none", "-0.0", 2**53, 1e308, [0, 0]]),
)


@contextmanager
def copied(sound: Path) -> Iterator[Path]:
    """A copy that is restored for the next example: removing a tree takes longer than verifying it."""
    folder = sound.parent / "copy" / "submissions"
    if not folder.exists():
        shutil.copytree(sound, folder)
    try:
        yield folder
    finally:
        restore(folder, sound)


def restore(folder: Path, sound: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        wanted = sound / path.relative_to(folder)
        if path.is_symlink() or path.is_dir() != wanted.is_dir() or not wanted.exists():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for wanted in sound.rglob("*"):
        path = folder / wanted.relative_to(sound)
        if wanted.is_file() and not (path.is_file() and path.read_bytes() == wanted.read_bytes()):
            shutil.copy(wanted, path)
    assert contents(folder) == contents(sound)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """In its block, opening a data file outside ``folder`` is an error."""
    opened = os.open
    opens = builtins.open

    def check(path: Any) -> None:
        text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        if text.endswith((".csv", ".json", ".py")) and str(folder) not in os.path.abspath(text):
            assert "plasticity_bench" in text or "site-packages" in text or "/lib/python" in text, text

    def watching_os(path: Any, *rest: Any, **named: Any) -> int:
        check(path)
        return opened(path, *rest, **named)

    def watching(path: Any, *rest: Any, **named: Any) -> Any:
        check(path)
        return opens(path, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watching_os)
        patch.setattr(builtins, "open", watching)
        yield


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    found = [path] if path else []
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        found += places(inner, (*path, key))
    return found
