"""Addresses of recorded files, relative to the folder that a page lies in."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def relative_path(path: Path, start: Path) -> str:
    """``path`` as seen from the folder ``start``, with forward slashes."""
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()


def link(path: Path, out: Path) -> str:
    """The address of ``path`` for a page in the folder ``out``: ``relative_path``, percent-encoded."""
    return quote(relative_path(path, out))
