"""Writes docs/streams.md, docs/methods.md and the pages below them from the code and the leaderboard.

Also writes the tables in docs/quick-start.md and docs/statistics.md."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from docs.generate import methods, output, statistics, streams
from docs.generate.results import ROOT


def pages() -> Iterator[tuple[str, str]]:
    """Path within docs/ and text of every page that is generated."""
    yield from streams.pages()
    yield from methods.pages()
    yield output.page()
    yield statistics.page()


def stale(written: Collection[str]) -> set[str]:
    """Pages in docs/streams and docs/methods that are not among those written, such as a removed method's."""
    return {*streams.existing(), *methods.existing()} - set(written)


def main() -> None:
    """Writes all pages, and removes stale ones."""
    written = dict(pages())
    for name in stale(written):
        (ROOT / "docs" / name).unlink()
    for name, text in written.items():
        path = ROOT / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
