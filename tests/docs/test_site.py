"""The documentation site builds without warnings, works from disk, and every link in it leads somewhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from filelock import FileLock

import plasticity_bench as pb
from docs.examples import with_examples
from docs.hooks import place, target
from tests.support.command_line import run
from tests.support.paths import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = REPOSITORY / "docs"


class Page(HTMLParser):
    """What a built page links to, loads, and can be linked to at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif tag == "link" and "canonical" not in given.get("rel", ""):
            self.loaded.add(given["href"])
        elif given.get("src"):
            self.loaded.add(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. It takes ten seconds or more, so the workers of pytest-xdist share one."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, built = shared / "docs-site", shared / "docs-site-built"
    with FileLock(shared / "docs-site.lock"):
        if not built.exists():
            build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
            run(*build, NO_MKDOCS_2_WARNING="1")
            built.touch()
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site that MkDocs wrote."""
    paths = [path for path in site.rglob("*.html") if path != site / "leaderboard" / "index.html"]
    return {path: Page(path) for path in paths}


def test_every_page_is_there_and_in_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    names = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert {"index.html", "tracking.html", "streams/bit-flip.html", "methods/syre.html"} <= names
    home = (site / "index.html").read_text()
    (navigation,) = re.findall(r'<nav class="md-nav md-nav--primary".*?</nav>\s*</div>', home, re.DOTALL)
    listed = set(re.findall(r'href="([^"#]+)"', navigation))
    assert names <= listed | {"index.html"}
    assert {"contributing.html", "leaderboard/tables.html", "leaderboard/submitting.html"} <= listed


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path == site / "404.html":  # its links begin at the root of a server
            continue
        for link in page.links:
            if re.match(r"(https?|mailto):", link):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / unquote(file)).resolve() if file else path
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_nothing_is_loaded_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not [name for name in page.loaded if re.match(r"(https?:)?//", name)], path
    for path in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", path.read_text()), path


def test_it_works_from_disk(site: Path, chromium: Browser) -> None:
    """The search too, which needs a worker."""
    page = chromium.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((site / "quick-start.html").as_uri())
    page.fill("input[name=query]", "retention")
    page.wait_for_selector(".md-search-result__link")
    links = page.locator(".md-search-result__link").evaluate_all("found => found.map((each) => each.href)")
    assert any(re.search(r"/concepts\.html(\?[^#]*)?#retention", link) for link in links[:3])
    assert not problems
    assert {url.partition(":")[0] for url in asked} == {"file"}
    page.close()


def test_links_to_files_outside_of_the_pages() -> None:
    page = DOCS / "streams" / "bit-flip.md"
    assert target("../../leaderboard/README.md#columns", page) == REPOSITORY / "leaderboard" / "README.md"
    assert target("../../leaderboard/%52EADME.md", page) == REPOSITORY / "leaderboard" / "README.md"
    for link in ("https://arxiv.org/abs/2408.15495", "#results", "../../../elsewhere.md", "missing.md"):
        assert target(link, page) is None
    assert place(page) == "streams/bit-flip.md"
    assert place(REPOSITORY / "leaderboard" / "README.md") == "leaderboard/tables.md"
    assert place(REPOSITORY / "tasks" / "bit_flip.py") == "source/tasks/bit_flip.py.md"


def test_examples_of_docstrings_are_code(site: Path) -> None:
    text = "What it is.\n\n>>> f(1)\n2"
    assert with_examples(text) == "What it is.\n\nExamples:\n    >>> f(1)\n    2"
    assert (
        with_examples("What.\n\nExample:\n    >>> f(1)\n    2") == "What.\n\nExamples:\n    >>> f(1)\n    2"
    )
    api = re.sub(r"<[^>]+>", "", (site / "api.html").read_text())
    assert "&gt;&gt;&gt; create_method(" in api
    assert "Example:" not in api
    assert re.search(r"For example:\s+plugin = PlasticityPlugin\(", api)


def test_every_public_name_is_in_the_reference(site: Path, pages: dict[Path, Page]) -> None:
    anchors = pages[site / "api.html"].anchors
    for name in pb.__all__:
        found = getattr(pb, name)
        assert f"{found.__module__}.{found.__qualname__}" in anchors, name


def paths_in(text: str) -> Iterator[str]:
    """Paths of files of the repository that a text names as code: those with a slash."""
    for path in re.findall(r"`([\w.-]+(?:/[\w.+-]+)+\.(?:py|md|yml|toml))`", text):
        if not path.startswith(("path/to/", "runs/", "leaderboard/submissions/my-method/")):
            yield path


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    missing = [name for name in paths_in(page.read_text()) if not (REPOSITORY / name).is_file()]
    assert not missing


def test_a_file_that_moved_would_be_seen() -> None:
    named = list(paths_in("`plasticity_bench/records.py` and `path/to/file.py`, `file.py` or [a](b/c.md)"))
    assert named == ["plasticity_bench/records.py"]
    assert not (REPOSITORY / named[0]).exists()
