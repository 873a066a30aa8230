"""A real headless Chromium for tests of the web page."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, LocatorAssertions, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM, SKIP = "PLASTICITY_BENCH_CHROMIUM", "PLASTICITY_BENCH_SKIP_BROWSER"


def chromium_path() -> str:
    """The browser's executable. Fails the test where there is none, unless the environment allows to skip."""
    given = os.environ.get(CHROMIUM, "")
    found = shutil.which(given) if given else next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    text = f"{given} is not there" if given else "no Chromium found"
    text += (
        f": install one (Debian: apt-get install -y chromium), set {CHROMIUM} to its path, or set {SKIP}=1 "
        "to go without the tests of the web page"
    )
    if os.environ.get(SKIP) == "1":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path)
        yield found
        found.close()


class Visit:
    """A page that is open, with what it said and asked for."""

    def __init__(self, page: Page, url: str, wait: str) -> None:
        self.page, self.url = page, url
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)
        page.wait_for_selector(wait)
        # With the first frames it is told of sizes: the chart, and the bar that headings stick to.
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def texts(self, selector: str) -> list[str]:
        """The text of every element that fits."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def expect(self, selector: str) -> LocatorAssertions:
        """What the elements that fit are or become: for what an event does after the click."""
        from playwright.sync_api import expect

        return expect(self.page.locator(selector))

    def unfold(self, details: Locator) -> None:
        """Opens a <details>. Its table is made when the browser says that it was opened: after the click."""
        details.locator("summary").click()
        details.locator("tbody tr").first.wait_for()


@contextmanager
def visit(
    browser: Browser, where: Path | str, wait: str = "#ranking-table tbody tr", **context: Any
) -> Iterator[Visit]:
    """Opens a file or address in a fresh context; at the end nothing may have gone wrong or left the page."""
    url = where.resolve().as_uri() if isinstance(where, Path) else where
    made = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    try:
        found = Visit(made.new_page(), url, wait)
        yield found
        assert found.problems == []
        assert {request.partition("#")[0] for request in found.requests} == {url.partition("#")[0]}
    finally:
        made.close()


@contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
