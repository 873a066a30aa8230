"""A griffe extension: examples in docstrings are shown as code.

The project writes ``Example:`` above an example, ``Example::`` above one that is not run, or nothing. griffe
reads ``Examples:`` only.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

HEAD = re.compile(r"^Example:$", re.MULTILINE)
NOT_RUN = re.compile(r"^Example::\n\n((?: {4}.*\n|\n)*(?: {4}.*))", re.MULTILINE)
BARE = re.compile(r"(?:(?<=\n\n)|\A)(?:>>> .*(?:\n.+)*)")


def with_examples(docstring: str) -> str:
    """The docstring with its examples under ``Examples:``; one that is not run is a block of code."""
    text = NOT_RUN.sub(lambda match: f"For example:\n\n```python\n{dedent(match[1])}\n```", docstring)
    text = HEAD.sub("Examples:", text)
    return BARE.sub(lambda match: "Examples:\n    " + match[0].replace("\n", "\n    "), text)


class Examples(griffe.Extension):
    """Applies ``with_examples`` to every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for every object that it has loaded."""
        if obj.docstring:
            obj.docstring.value = with_examples(obj.docstring.value)
