"""A griffe extension: examples in docstrings are shown as code.

The project writes ``Example:`` above an example, or nothing if it is the docstring's last paragraph. griffe
reads ``Examples:`` only.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

HEAD = re.compile(r"^Example:$", re.MULTILINE)
BARE = re.compile(r"(?:(?<=\n\n)|\A)(?:>>> .*(?:\n.+)*)")


def with_examples(docstring: str) -> str:
    """The docstring with its examples under ``Examples:``."""
    text = HEAD.sub("Examples:", docstring)
    return BARE.sub(lambda match: "Examples:\n    " + match[0].replace("\n", "\n    "), text)


class Examples(griffe.Extension):
    """Applies ``with_examples`` to every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for every object that it has loaded."""
        if obj.docstring:
            obj.docstring.value = with_examples(obj.docstring.value)
