"""The web page of a large leaderboard: it is small enough, and everything works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plasticity_bench.page.document import page_data, write_page
from tests.support.browser import visit
from tests.support.fake_scores import fake_scores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROWS = "#ranking-table tbody tr"
METHODS, STREAMS, MEASURED = 40, 12, 2


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 methods, tuned and default, x 12 streams x 50 seeds x 360 tasks: the streams' numbers repeat after
    the second."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    made = fake_scores(methods=METHODS, streams=MEASURED, seeds=50, tasks=360, tuned=METHODS)
    data = page_data(made, path.parent)
    data["streams"] = [{**data["streams"][i % MEASURED], "name": f"stream-{i}-v1"} for i in range(STREAMS)]
    write_page(data, path)
    return path


def test_it_stays_small(page_file: Path) -> None:
    size = page_file.stat().st_size
    assert 2_000_000 < size < 5_000_000, "less would mean that something is missing"


def test_it_works(chromium: Browser, page_file: Path) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page
        seen.expect(ROWS).to_have_count(METHODS)
        page.select_option("#settings", "all")
        seen.expect(ROWS).to_have_count(2 * METHODS)
        assert len(seen.texts("details.stream")) == STREAMS
        for label in page.locator(ROWS).evaluate_all("all => all.map((row) => row.dataset.method)")[:20]:
            page.locator(f"[data-show='{label}']").first.check()
        page.wait_for_selector("#legend li:nth-child(20)")
        page.select_option("#stream", label="stream-11-v1")
        seen.expect("details.stream[open] tbody tr").to_have_count(2 * METHODS)
        page.locator(f"{ROWS} .method").first.click()
        page.get_by_role("dialog").wait_for()
        seen.unfold(page.locator("#detail details", has_text="stream-11-v1").last)
        seen.expect("#detail details[open] tbody tr").to_have_count(50)
