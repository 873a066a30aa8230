"""The web page in a real headless Chromium: what a reader does with it."""

from __future__ import annotations

import functools
import http.server
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from plasticity_bench.page.document import page_data, write_page
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.scoring.metrics import METRICS
from plasticity_bench.scoring.scores import RANKED_BY, CellScores, Scores
from plasticity_bench.scoring.scoring import aggregate_streams
from plasticity_bench.terminal import interval_text, metric_text
from tests.support.browser import Visit, serving, visit
from tests.support.fake_scores import fake_scores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROWS = "#ranking-table tbody tr"


@pytest.fixture(scope="module")
def scores() -> Scores:
    return fake_scores(methods=9, streams=3)


def labels(seen: Visit) -> list[str]:
    return seen.texts(f"{ROWS} .method")


def minus(text: str) -> str:
    """Numbers as Python writes them, with the page's minus sign and no line breaks."""
    return re.sub(r"\s+", " ", text.replace("-", "\u2212"))


def test_it_shows_the_ranking(chromium: Browser, page_file: Path, scores: Scores) -> None:
    with visit(chromium, page_file) as seen:
        assert labels(seen) == [row.method for row in scores.aggregate]
        intervals = [re.sub(r"\s+", " ", text) for text in seen.texts(f"{ROWS} .scored")]
        assert intervals == [minus(interval_text(row.score)) for row in scores.aggregate]
        assert seen.page.locator(f"{ROWS} svg .dot").count() == 9
        assert seen.texts("#ranking-notes li") == list(scores.notes)
        assert seen.texts("details.stream summary b") == [stream.name for stream in scores.streams]
        # reset is best, and has no rank: the row below it.
        cells = seen.texts("details.stream[open] tbody tr:nth-child(2) td.number")
        best = scores.streams[0].rows[1]
        metrics = [minus(metric_text(best, name)).replace("x", "\u00d7") for name in list(METRICS)[1:]]
        place = scores.streams[0].groups[0].places[1]
        assert place.none is not None
        assert place.reset is not None
        assert cells[0] == f"{place.text} {place.range_text}".replace("-", "\u2013")
        assert cells[3] == f"+{place.none.difference.point:.3f}*"
        star = "*" * place.reset.significant
        assert cells[4] == minus(f"{place.reset.difference.point:+.3f}{star}")
        assert cells[5:] == metrics
        ranks = [f"{place.text} {place.range_text}".strip() for place in scores.groups[0].places]
        assert seen.texts(f"{ROWS} td:nth-child(2)") == [text.replace("-", "\u2013") for text in ranks]
        seen.unfold(seen.page.locator("details.stream").nth(1))
        assert len(seen.texts("details.stream:nth-child(2) tbody tr")) == 9
        assert "a note on bit-flip-v1" in seen.texts("details.stream:nth-child(2) .notes li")


def test_it_works_from_a_static_host(chromium: Browser, page_file: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(page_file.parent))
    with serving(handler) as address, visit(chromium, f"{address}/index.html") as seen:
        assert len(labels(seen)) == 9


def test_sorting(chromium: Browser, page_file: Path) -> None:
    with visit(chromium, page_file) as seen:
        ranked = labels(seen)
        heading = seen.page.get_by_role("columnheader", name="method").first
        heading.get_by_role("button").click()
        assert labels(seen) == sorted(ranked)
        assert heading.get_attribute("aria-sort") == "ascending"
        # The heading keeps the focus, so that it can be pressed again.
        seen.page.keyboard.press("Enter")
        assert labels(seen) == sorted(ranked, reverse=True)
        assert heading.get_attribute("aria-sort") == "descending"
        seen.page.keyboard.press("Enter")
        assert labels(seen) == ranked
        assert heading.get_attribute("aria-sort") is None
        cost = seen.page.get_by_role("columnheader", name="cost").first
        cost.get_by_role("button").click()
        costs = [
            float(text.rstrip("\u00d7").replace("\u2212", "-"))
            for text in seen.texts(f"{ROWS} td:last-child")
        ]
        assert costs == sorted(costs)


def test_filters(chromium: Browser, page_file: Path, scores: Scores) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page
        page.select_option("#family", "resets of units")
        assert set(labels(seen)) == {"cbp"}
        assert page.inner_text("#count") == "1 of 9 methods"
        page.select_option("#family", "")
        page.fill("#search", "abbas REINFORCEMENT")  # its paper
        assert labels(seen) == ["crelu"]
        page.fill("#search", "nobody has this")
        assert labels(seen) == []
        assert "No method fits" in page.inner_text("#ranking-table")
        page.get_by_role("button", name="Clear").click()
        assert len(labels(seen)) == 9
        page.select_option("#suite", "quick")
        assert page.inner_text("#ranking-title") == "Suite quick"
        assert seen.texts("details.stream summary b") == ["permuted-digits-v1", "bit-flip-v1"]
        quick = page_data(scores)["by_suite"]["quick"]["rows"]
        shown = [text.split()[0] for text in seen.texts(f"{ROWS} .scored")]
        assert shown == [minus(f"{row['summary'][RANKED_BY][0]:.3f}") for row in quick]
        assert "permuted-mnist-v1" not in page.inner_text("#stream")
        page.select_option("#stream", label="bit-flip-v1")
        assert labels(seen) == [row.method for row in scores.streams[1].rows]
        assert seen.texts("details.stream summary b") == ["bit-flip-v1"]
        assert page.locator("#chart-stream option:checked").inner_text() == "bit-flip-v1"


def test_learning_curves(chromium: Browser, page_file: Path, scores: Scores) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page
        best = [row.method for row in scores.aggregate if row.method not in ("none", "reset")]
        assert seen.texts("#legend a") == ["none", "reset", *best[:3]]
        before = page.locator("#chart canvas").screenshot()
        page.get_by_label(f"Show {best[4]} in the chart").first.check()
        assert seen.texts("#legend a")[-1] == best[4]
        assert page.locator(f"[data-show='{best[4]}']:checked").count() == 2, "in the stream's table, too"
        assert page.locator("#chart canvas").screenshot() != before
        page.get_by_role("button", name=f"Take {best[4]} out").click()
        assert page.locator("#chart canvas").screenshot() == before
        page.select_option("#add", best[5])
        assert seen.texts("#legend a")[-1] == best[5]
        box = page.locator("#chart .u-over").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
        seen.expect("#at").to_have_text(re.compile(r"^task (2[89]|3[0-3]) of 60$"))
        task = int(page.inner_text("#at").split()[1])
        for name, text in zip(seen.texts("#legend a"), seen.texts("#legend .value"), strict=True):
            row = scores.streams[0].row(name)
            assert row is not None
            mean = row.curves["performance"][:, task - 1].mean()
            numbers = [float(number) for number in re.findall(r"[\d.]+", text)]
            assert numbers[0] == pytest.approx(mean, abs=2e-3)
            assert numbers[1] < numbers[0] < numbers[2]
        page.focus("#chart")
        page.keyboard.press("ArrowLeft")
        seen.expect("#at").to_have_text(f"task {task - 1} of 60")
        page.keyboard.press("Home")
        seen.expect("#chart").to_have_attribute("aria-valuenow", "0")
        assert "none 0." in str(page.get_attribute("#chart", "aria-valuetext"))
        page.get_by_label("effective rank").check()
        assert float(seen.texts("#legend .value")[0].split()[0]) > 10


def test_a_row_opens_its_method(chromium: Browser, page_file: Path, scores: Scores) -> None:
    row = scores.streams[0].row("l2")
    assert row is not None
    context: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
    with visit(chromium, page_file, **context) as seen:
        page = seen.page
        page.locator(f"{ROWS}[data-method=l2] .method").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="l2")
        dialog.wait_for()
        page.wait_for_url(lambda url: urlsplit(url).fragment == "method=l2")
        text = dialog.inner_text()
        assert "what l2 does" in text
        assert "strength\n0.02" in text
        assert "lr" not in seen.texts("#detail dt"), "the stream's own learning rate"
        links = page.locator("#detail tbody a").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
        assert len(links) == 3
        assert all(link.endswith(row.cell.path.name) for link in links)
        seen.unfold(page.locator("#detail details").first)
        first = seen.texts("#detail details[open] tbody tr:first-child td")
        assert first[0] == f"{row.values['level'][0]:.3f}"
        assert len(seen.texts("#detail details[open] tbody tr")) == len(row.seeds)
        papers = choose_method("l2").cls.info.papers
        assert page.locator("#detail pre").all_text_contents() == [paper.bibtex for paper in papers]
        page.get_by_role("button", name="Copy BibTeX").first.click()
        page.wait_for_selector("text=Copied")
        assert page.evaluate("navigator.clipboard.readText()") == papers[0].bibtex
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        page.wait_for_url(lambda url: not urlsplit(url).fragment)
        assert page.evaluate("document.activeElement.textContent") == "l2"
        page.locator(f"{ROWS}[data-method=crelu] td.number").first.click()
        page.get_by_role("dialog", name="crelu").wait_for()
        page.get_by_role("button", name="Close").click()
        page.wait_for_url(lambda url: not urlsplit(url).fragment)
        page.locator(f"{ROWS}[data-method=crelu] input").click()
        assert page.evaluate("location.hash") == ""
        assert not page.locator("#detail").evaluate("(dialog) => dialog.open")


def test_a_method_has_its_own_address(chromium: Browser, page_file: Path) -> None:
    with visit(chromium, page_file.resolve().as_uri() + "#method=crelu") as seen:
        seen.page.get_by_role("dialog", name="crelu").wait_for()
        seen.page.evaluate("location.hash = '#method=%E0%A4'")
        seen.page.locator("#detail").wait_for(state="hidden")


def test_one_stream_with_one_seed(chromium: Browser, tmp_path: Path) -> None:
    write_page(page_data(fake_scores(methods=2, streams=1, seeds=1, tasks=3)), tmp_path / "index.html")
    with visit(chromium, tmp_path / "index.html") as seen:
        assert seen.page.inner_text("#ranking-title") == "permuted-digits-v1"
        assert len(labels(seen)) == 2
        assert seen.page.locator(f"{ROWS} svg .hole").count() == 2


def test_it_opens_on_a_ranking_with_ranks(chromium: Browser, scores: Scores, tmp_path: Path) -> None:
    """The third stream has too few seeds for ranks, so the page opens on the suite of the other two."""

    def cut(row: CellScores) -> CellScores:
        values, defined, curves = (
            {name: column[:4] for name, column in part.items()}
            for part in (row.values, row.defined, row.curves)
        )
        ratios = {name: ratio.of(row.seeds[:4]) for name, ratio in row.plasticity.ratios.items()}
        kept = replace(row.plasticity, ratios=ratios)
        return replace(
            row, seeds=row.seeds[:4], values=values, defined=defined, curves=curves, plasticity=kept
        )

    last = scores.streams[2]
    streams = (*scores.streams[:2], replace(last, rows=tuple(map(cut, last.rows))))
    write_page(page_data(Scores(streams, *aggregate_streams(streams))), tmp_path / "index.html")
    with visit(chromium, tmp_path / "index.html") as seen:
        assert seen.page.input_value("#suite") == "quick"
        assert seen.page.inner_text("#ranking-title") == "Suite quick"
        assert "1 1" in seen.texts(f"{ROWS} td:nth-child(2)")
        seen.page.get_by_role("button", name="Clear").click()
        assert set(seen.texts(f"{ROWS} td:nth-child(2)")) == {"\u2013"}
        assert "no rank for 9 methods: 4 of the 6 seeds that a rank needs" in seen.texts("#ranking-notes li")


def test_no_records(chromium: Browser, tmp_path: Path) -> None:
    write_page(page_data(Scores((), (), ())), tmp_path / "index.html")
    with visit(chromium, tmp_path / "index.html", wait="#ranking-table .nothing") as seen:
        assert seen.page.inner_text("#ranking-title") == "No records yet"


def test_everything_by_keyboard(chromium: Browser, page_file: Path, scores: Scores) -> None:
    """Filter, sort, show in the chart, move along it, open a row, copy its BibTeX, close: without a mouse."""
    context: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
    with visit(chromium, page_file, **context) as seen:
        page = seen.page
        name_of = "(({id, ariaLabel, textContent}) => id || ariaLabel || textContent)(document.activeElement)"

        def tab_to(name: str, most: int = 60) -> None:
            """Presses Tab until the element of this name has the focus."""
            for _ in range(most):
                page.keyboard.press("Tab")
                if page.evaluate(name_of) == name:
                    return
            raise AssertionError(f"{name} cannot be reached by Tab")

        tab_to("family")
        page.keyboard.type("architecture")
        seen.expect(ROWS).to_have_count(3)
        assert sorted(labels(seen)) == ["crelu", "deep-fourier", "layer-norm"]
        page.keyboard.press("Home")
        tab_to("search")
        page.keyboard.type("l2")
        seen.expect(ROWS).to_have_count(2)
        assert sorted(labels(seen)) == ["l2", "l2-init"]
        tab_to("cost")
        page.keyboard.press("Enter")
        seen.expect("#ranking-table th[aria-sort=ascending]").to_contain_text("cost")
        chosen = seen.texts("#legend a")
        tab_to(f"Show {labels(seen)[0]} in the chart")
        page.keyboard.press("Space")
        seen.expect("#legend a").to_have_count(len(chosen) - 1)  # it was among the best three
        tab_to("l2")
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name="l2").wait_for()
        tab_to("Copy BibTeX")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Copied")
        papers = choose_method("l2").cls.info.papers
        assert page.evaluate("navigator.clipboard.readText()") in [paper.bibtex for paper in papers]
        page.keyboard.press("Escape")
        page.wait_for_url(lambda url: not urlsplit(url).fragment)
        tab_to("chart")
        before = page.inner_text("#at")
        page.keyboard.press("Home")
        seen.expect("#at").to_have_text("task 1 of 60")
        assert before != "task 1 of 60"
