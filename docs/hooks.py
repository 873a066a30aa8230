"""MkDocs hooks: what lies outside of docs/ becomes part of the site, so that all links work on disk.

Pages link to files of the repository by relative paths, as GitHub reads them. Each such file gets a place in
the site: Markdown becomes a page, code a page that shows it, and anything else is copied. Links to folders
become plain text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
#: File of the repository -> its place in the site. Other pages keep their path, other code is under source/.
PLACES = {
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "leaderboard/README.md": "leaderboard/tables.md",
    "leaderboard/SUBMITTING.md": "leaderboard/submitting.md",
}
LANGUAGES = {".py": "python", ".yml": "yaml", ".toml": "toml", ".sh": "bash"}
LINK = re.compile(r"(?<!\\)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
#: Beginnings of pages that the search shows before others, with the factor of their scores.
SEARCHED_FIRST = {"concepts.md": 4.0, "quick-start.md": 2.0, "methods/": 3.0, "streams/": 3.0}
#: Overview page -> title of its section. The pages that it links to are listed below it.
SECTIONS = {"streams.md": "streams/", "methods.md": "methods/"}


def place(path: Path) -> str:
    """Where a file of the repository lies in the site, as a path of MkDocs' sources."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    if name in PLACES:
        return PLACES[name]
    return f"source/{name}.md" if path.suffix in LANGUAGES else name


def target(link: str, page: Path) -> Path | None:
    """The file or folder of the repository that a link in the file ``page`` leads to; None: another link."""
    if re.match(r"[a-z]+:|#", link):
        return None
    path = Path(os.path.normpath(page.parent / unquote(link.partition("#")[0])))
    return path if path.is_relative_to(ROOT) and path.exists() else None


def outside_files() -> Iterator[Path]:
    """Every file outside of docs/ that belongs to the site: ``PLACES``, and what pages link to."""
    pages = [*DOCS.rglob("*.md"), *(ROOT / name for name in PLACES)]
    seen = set(pages)
    yield from pages[-len(PLACES) :]
    while pages:
        page = pages.pop()
        for _, link in LINK.findall(page.read_text()):
            path = target(link, page)
            if path and path.is_file() and not path.is_relative_to(DOCS) and path not in seen:
                seen.add(path)
                yield path
                if path.suffix == ".md":
                    pages.append(path)


def listed(overview: str) -> list[Any]:
    """The entries of the navigation below an overview page: the pages it links to, by its headings."""
    found: list[Any] = [{"Overview": overview}]
    inside: list[Any] = found
    for line in (DOCS / overview).read_text().splitlines():
        if line.startswith("## "):
            inside = []
            found.append({line[3:].capitalize(): inside})
        for text, link in LINK.findall(line):
            if link.startswith(SECTIONS[overview]):
                inside.append({text.strip("`"): link})
    sections = [entry for entry in found[1:] if any(entry.values())]
    return [found[0], *sections]


def on_config(config: MkDocsConfig) -> None:
    """Lists the pages of streams and methods in the navigation."""
    for entry in config.nav or ():
        for title, page in entry.items():
            if isinstance(page, str) and page in SECTIONS:
                entry[title] = listed(page)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the files outside of docs/ that the pages link to."""
    for path in outside_files():
        files.append(_file(path, config))


def _file(path: Path, config: MkDocsConfig) -> File:
    from mkdocs.structure.files import File

    if path.suffix in LANGUAGES:
        name = path.relative_to(ROOT).as_posix()
        head = f"---\ntitle: {name}\nsearch: {{exclude: true}}\n---\n\n# {name}\n\n"
        text = f"{head}````{LANGUAGES[path.suffix]}\n{path.read_text()}\n````\n"
        return File.generated(config, place(path), content=text)
    if path == ROOT / "leaderboard" / "index.html":
        return File.generated(config, place(path), content=_without_records(path.read_text()))
    return File.generated(config, place(path), abs_src_path=str(path))


def _without_records(page: str) -> str:
    """The leaderboard's page without its links to the raw tables, which are not part of the site."""
    page = re.sub(r'"records":"[^"]*"', '"records":""', page)
    return page.replace('href="README.md">README.md<', 'href="tables.html">tables<')


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites links between files of the repository as links between their places in the site."""
    for beginning, factor in SEARCHED_FIRST.items():
        if page.file.src_uri.startswith(beginning):
            page.meta["search"] = {"boost": factor}
    source, start = source_of(page.file.src_uri), Path(page.file.src_uri).parent

    def rewritten(match: re.Match[str]) -> str:
        text, link = match.groups()
        path = target(link, source)
        if path is None:
            return match[0]
        if path.is_dir():
            return text
        return f"[{text}]({os.path.relpath(place(path), start)}{''.join(link.partition('#')[1:])})"

    return markdown if page.file.src_uri.startswith("source/") else LINK.sub(rewritten, markdown)


def source_of(uri: str) -> Path:
    """The file of the repository that a page of the site comes from."""
    names = {moved: name for name, moved in PLACES.items()}
    if uri in names:
        return ROOT / names[uri]
    return DOCS / uri if (DOCS / uri).exists() else ROOT / uri
