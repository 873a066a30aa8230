"""Markdown that GitHub and MkDocs read alike: tables, and text of docstrings and citations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from plasticity_bench.stats.bootstrap import Interval
from plasticity_bench.terminal import interval_text

COMMENT = "<!-- Written by `python -m docs.generate`; do not edit. -->\n"
#: Characters with a meaning in Markdown, each with the reference that shows it.
REFERENCES = {char: f"&#{ord(char)};" for char in "\\*_<>|[]~$#^"}


def inert(text: str) -> str:
    """Text that Markdown only shows, such as a formula. What stands between backquotes becomes code."""
    parts = re.split(r"``(.+?)``|`(.+?)`", text.replace("\n", " "))
    shown = []
    for plain, double, single in zip(parts[::3], [*parts[1::3], None], [*parts[2::3], None], strict=True):
        shown.append(re.sub(r"[\\*_<>|\[\]~$#^]", lambda match: REFERENCES[match[0]], plain))
        if double or single:
            shown.append(code(double or single or ""))
    return "".join(shown)


def code(text: str) -> str:
    """Code within a line; | would end a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def paragraphs(docstring: str) -> str:
    """The paragraphs of a docstring as Markdown, one a line."""
    return "\n\n".join(inert(" ".join(part.split())) for part in docstring.split("\n\n"))


def sentence(text: str) -> str:
    """Text with a full stop, and a capital letter at the start unless its first word is a name."""
    first = text.split(" ")[0]
    capital = text if re.search(r"[_`A-Z0-9]", first) else text[:1].upper() + text[1:]
    return capital if capital.endswith((".", ":", "!", "?")) else f"{capital}."


def linked(text: str) -> str:
    """A citation whose arXiv numbers and DOIs are links."""
    text = inert(text)
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"doi:(10\.\d+/[\w.-]*\w)", r"[doi:\1](https://doi.org/\1)", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with the titles ``head``."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and what they are; rows without text are left out."""
    return table(("", ""), ((f"**{name}**", text) for name, text in rows if text))


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "".join(f"- {line}\n" for line in lines)


def shell(*commands: str) -> str:
    """A block of commands."""
    return "```sh\n" + "".join(f"{command}\n" for command in commands) + "```\n"


def estimate(interval: Interval) -> str:
    """A number with its interval, as the leaderboard writes them; empty if it was not measured.

    A narrow column breaks the line before the bracket only.
    """
    return "" if interval.point != interval.point else interval_text(interval).replace(", ", ",&nbsp;")
