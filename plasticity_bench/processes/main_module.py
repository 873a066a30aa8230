"""Worker processes that leave the user's script alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_main() -> Iterator[None]:
    """A context in which spawned processes do not execute the program that runs here.

    Without it, multiprocessing would execute a user's script again in each of them, up to its last line. The
    script would need ``if __name__ == "__main__":``, and one that is read from stdin could not start any.
    Workers need nothing of it: a class of the script travels by its content (``plugins.NotebookPlugin``).
    """
    main = sys.modules["__main__"]
    missing = object()
    hidden = {name: getattr(main, name, missing) for name in ("__spec__", "__file__")}
    main.__spec__ = None
    if hidden["__file__"] is not missing:
        del main.__file__
    try:
        yield
    finally:
        for name, value in hidden.items():
            if value is not missing:
                setattr(main, name, value)
