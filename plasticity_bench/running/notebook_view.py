"""Something of rich shown in a notebook, and replaced in place. Needs no widgets."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Least seconds between two updates.
INTERVAL = 0.5
#: Columns.
WIDTH = 110
STYLE = "white-space: pre; overflow-x: auto; line-height: normal; font-family: monospace"


class NotebookView:
    """A place in the output of a notebook's cell. Made in the cell's own thread."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(""), display_id=True)
        self._shown = float("-inf")

    def show(self, renderable: RenderableType) -> None:
        """Shows it in place of what was shown before; nothing happens if that is only moments ago."""
        now = time.monotonic()
        if now - self._shown >= INTERVAL:
            self._shown = now
            self._handle.update(self._html(as_html(renderable)))

    def clear(self) -> None:
        """Shows nothing."""
        self._handle.update(self._html(""))


def as_html(renderable: RenderableType) -> str:
    """One HTML element."""
    from plasticity_bench.consoles import plain_console

    console = plain_console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_jupyter=False,
        force_terminal=True,
        highlight=False,
    )
    console.print(renderable)
    return console.export_html(inline_styles=True, code_format=f'<pre style="{STYLE}">{{code}}</pre>')
