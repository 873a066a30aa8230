"""Writes docs/streams.md, docs/methods.md and the pages below them from the code and the leaderboard.

Also writes the tables in docs/quick-start.md."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate import methods, output, streams
from docs.generate.results import ROOT


def pages() -> Iterator[tuple[str, str]]:
    """Path within docs/ and text of every page that is generated."""
    yield from streams.pages()
    yield from methods.pages()
    yield output.page()


def stale() -> set[str]:
    """Pages of docs/streams and docs/methods that are not generated, such as one of a method that is gone."""
    return {*streams.existing(), *methods.existing()} - {name for name, _ in pages()}


def main() -> None:
    """Writes all pages, and removes those of what there is no more."""
    for name in stale():
        (ROOT / "docs" / name).unlink()
    for name, text in pages():
        path = ROOT / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
