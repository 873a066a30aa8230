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
    """The browser's executable. Fails the test if there is none, unless the environment allows a skip."""
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
    """An open page, with its console messages and its requests."""

    def __init__(self, page: Page, url: str, wait: str) -> None:
        self.page, self.url = page, url
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(url)
        page.wait_for_selector(wait)
        # In the first frames the chart and the sticky bar learn their sizes.
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def texts(self, selector: str) -> list[str]:
        """The text of every element that matches."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def expect(self, selector: str) -> LocatorAssertions:
        """An assertion on the matching elements that waits until it holds, for delayed effects of a click."""
        from playwright.sync_api import expect

        return expect(self.page.locator(selector))

    def unfold(self, details: Locator) -> None:
        """Opens a <details> and waits for its table, which the page makes after the click."""
        details.locator("summary").click()
        details.locator("tbody tr").first.wait_for()


@contextmanager
def visit(
    browser: Browser, target: Path | str, wait: str = "#ranking-table tbody tr", **context: Any
) -> Iterator[Visit]:
    """Opens a file or address in a fresh context. At the end there must be no error and no request."""
    url = target.resolve().as_uri() if isinstance(target, Path) else target
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
