"""``report``: your own runs as a web page, finished or not."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plasticity_bench.cli import main
from plasticity_bench.page.document import is_page
from tests.support.browser import visit
from tests.support.fake_records import learning_curves, tuning_table, write_cell, write_suite

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROWS = "#ranking-table tbody tr"


def unfinished(runs: Path, method: str, stream: str = "permuted-digits") -> None:
    """A cell without a finished seed."""
    cell = write_cell(runs, method, {0: [0.5] * 20}, stream=stream)
    for path in cell.path.glob("seed-*"):
        path.unlink()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two streams with five methods each, one tuned, one with a single seed, one begun; and a stream of which
    nothing is finished."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    write_suite(folder, seeds=8, tasks=20)
    curves = learning_curves(0.72, 0.72, range(8), 20, method=9)
    write_cell(folder, "l2:lr=0.01", curves, tuning=tuning_table("l2"))
    write_cell(folder, "cbp", {0: curves[0]})
    unfinished(folder, "crelu")
    unfinished(folder, "none", "bit-flip")
    return folder


@pytest.fixture(scope="module")
def page_file(runs: Path) -> Path:
    path = runs.parent / "pages" / "mine.html"
    assert main(["report", str(runs), "--out", str(path)]) == 0
    return path


def test_it_shows_what_is_recorded(chromium: Browser, page_file: Path, runs: Path) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page
        assert page.title() == "Loss of plasticity: report of runs"
        said = page.inner_text("#runs")
        assert f"Records: {runs}: 2 streams, 7 methods, 89 trained seeds." in said
        assert "No finished seed yet: none on bit-flip-v1, crelu on permuted-digits-v1." in said
        assert "leaderboard" not in page.inner_text("body").lower()
        shown = page.locator(ROWS).evaluate_all("all => all.map((row) => row.dataset.method)")
        assert set(shown) >= {"none", "reset", "syre", "l2 (tuned)", "cbp"}, "tuned and default rows together"
        seen.expect("details.stream[open]").to_have_count(2)
        notes = seen.texts("details.stream .notes li")
        assert "no finished seed yet: crelu" in notes
        assert any(note.startswith("fewer than 6 seeds, so no rank") and "cbp" in note for note in notes)
        page.select_option("#stream", label="permuted-digits-v1")
        rank = page.locator(f"{ROWS}[data-method=cbp] td:nth-child(2) span").first
        assert rank.inner_text() == "\u2013", "one seed has no rank"
        assert rank.get_attribute("title") == "no rank: 1 of the 6 seeds that a rank needs"
        seen.expect("#chart canvas").to_have_count(1)
        assert seen.texts("#legend a")[:2] == ["none", "reset"]


def test_its_links_lead_to_the_tables(chromium: Browser, page_file: Path, runs: Path) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page

        def targets(selector: str) -> list[Path]:
            links = page.locator(selector).evaluate_all("all => all.map((a) => a.getAttribute('href'))")
            return [(page_file.parent / link).resolve() for link in links]

        assert targets("#runs a") == [runs.resolve()]
        page.evaluate("location.hash = '#method=syre'")
        page.get_by_role("dialog", name="syre").wait_for()
        cells = targets("#detail [aria-label='Results by stream'] a")
        assert [path.parent.name for path in cells] == ["permuted-digits-v1", "random-labels-v1"]
        seen.unfold(page.locator("#detail details").first)
        tables = targets("#detail details[open] a")
        assert [path.name for path in tables] == [f"seed-{seed:03d}.csv" for seed in range(8)]
        assert all(path.is_file() for path in tables)


def test_one_seed_of_one_method(chromium: Browser, tmp_path: Path) -> None:
    write_cell(tmp_path / "runs", "my-method", {3: [0.5, 0.6, 0.4]})
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    with visit(chromium, out, viewport={"width": 390, "height": 800}) as seen:
        assert seen.page.inner_text("#ranking-title") == "permuted-digits-v1"
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
        seen.expect("#stream").to_be_hidden()  # nothing to choose
        assert any("cost unknown: needs none" in t for t in seen.texts(".notes li"))
        assert any("level unknown (no fresh twins of none" in t for t in seen.texts(".notes li"))
        seen.page.locator(f"{ROWS} .method").click()
        seen.page.get_by_role("dialog", name="my-method").wait_for()


def test_streams_without_a_common_ranking(chromium: Browser, tmp_path: Path) -> None:
    """Without fresh twins of `none` there is no level: the page begins with the first stream."""
    for stream in ("bit-flip", "permuted-digits"):
        write_cell(tmp_path / "runs", "syre", {0: [0.5] * 5, 1: [0.6] * 5}, stream=stream)
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    with visit(chromium, out) as seen:
        assert seen.page.inner_text("#ranking-title") == "bit-flip-v1"
        assert seen.texts(f"{ROWS} .method") == ["syre"]
        seen.page.select_option("#stream", label="all")
        assert "Nothing to show of these streams together" in seen.page.inner_text("#ranking-table")


def test_only_one_stream(page_file: Path, runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    assert main(["report", str(runs), "--stream", "random-labels", "--out", str(out)]) == 0
    text = out.read_text()
    assert "random-labels-v1" in text
    assert "permuted-digits-v1" not in text
    assert "permuted-digits-v1" in page_file.read_text()


def test_it_overwrites_only_its_own_page(page_file: Path, runs: Path, tmp_path: Path) -> None:
    before = page_file.read_bytes()
    assert is_page(page_file)
    assert main(["report", str(runs), "--out", str(page_file)]) == 0
    assert page_file.read_bytes() == before
    other = tmp_path / "notes.html"
    other.write_text("<html>mine</html>")
    assert main(["report", str(runs), "--out", str(other)]) == 2
    assert other.read_text() == "<html>mine</html>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no records in nowhere; make some with"),
        (["begun"], "no finished seed in begun yet (1 begun)"),
        (["begun", "--out", "."], "--out . is a folder; name a file, such as report.html"),
        (["begun", "--stream", "permutd-digits"], 'no records of a stream "permutd-digits"; did you mean'),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    unfinished(Path("begun"), "none")
    assert main(["report", *arguments]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert re.fullmatch(r"plasticity_bench: [^\n]+\n", printed)
    assert os.listdir() == ["begun"]
