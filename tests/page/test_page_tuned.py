"""The web page with tuned rows: which rows are ranked together, and how they are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plasticity_bench.page.document import page_data, write_page
from plasticity_bench.scoring.scores import Scores
from plasticity_bench.scoring.scoring import aggregate_streams
from plasticity_bench.scoring.suites import suite_scores
from tests.support.browser import Visit, visit
from tests.support.documents import made_sweep
from tests.support.fake_scores import fake_scores, sweep_table

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROWS = "#ranking-table tbody tr"


@pytest.fixture(scope="module")
def scores() -> Scores:
    """none, l2, l2-init and reset also have tuned rows; the last of three streams has none."""
    made = fake_scores(methods=6, streams=3, tuned=4)
    last = made.streams[-1]
    streams = (*made.streams[:-1], replace(last, rows=tuple(row for row in last.rows if not row.cell.tuning)))
    return Scores(streams, *aggregate_streams(streams))


def methods(seen: Visit) -> list[str]:
    found: list[str] = seen.page.locator(ROWS).evaluate_all("all => all.map((row) => row.dataset.method)")
    return found


def test_data_of_tuned_rows(scores: Scores) -> None:
    data = page_data(scores)
    (index,) = (i for i, method in enumerate(data["methods"]) if method["label"] == "l2 (tuned)")
    assert data["methods"][index]["base"] == "l2"
    assert [method["tuned"] for method in data["methods"]].count(True) == 4
    for stream, found in zip(scores.streams[:2], data["streams"], strict=False):
        row = next(row for row in found["rows"] if row["method"] == index)
        table = sweep_table("l2", stream.name)
        tuning = row["tuning"]
        assert tuning["chosen"] == table["chosen"]
        assert tuning["names"] == ["lr", "strength"]
        tried = table["configurations"]
        assert tuning["scores"] == pytest.approx([entry["score"] for entry in tried])
        assert tuning["per_seed"] == [pytest.approx(entry["per_seed"]) for entry in tried]
        assert tuning["seconds"] == [entry["seconds"] for entry in tried]
        assert tuning["settings"][0] == [None, None]
        assert tuning["settings"][3] == [tried[3]["settings"][name] for name in tuning["names"]]
    assert not any("tuning" in row for row in data["streams"][2]["rows"])


def test_settings_filter(chromium: Browser, page_file: Path, scores: Scores) -> None:
    # The page begins with the suite whose streams have tuned rows.
    tuned, default = suite_scores(scores)["quick"].groups
    with visit(chromium, page_file) as seen:
        page = seen.page
        assert page.inner_text("#ranking-title") == "Suite quick"
        shown = page.locator("#settings")
        assert shown.input_value() == "tuned"
        assert methods(seen) == [row.method for row in tuned.rows]
        assert seen.texts("#legend a")[:2] == ["none (tuned)", "reset (tuned)"]
        assert set(seen.texts(f"{ROWS} .badge")) == {"tuned"}
        assert page.inner_text("#count") == "4 of 4 methods"
        page.select_option("#settings", "default")
        assert methods(seen) == [row.method for row in default.rows]
        assert seen.texts(f"{ROWS} td:nth-child(2)") == [
            f"{place.text} {place.range_text}".strip().replace("-", "\u2013") for place in default.places
        ]
        assert seen.texts("#legend a")[:2] == ["none", "reset"]
        page.select_option("#settings", "all")
        assert len(methods(seen)) == 10
        assert "Tuned and default rows are ranked apart" in page.inner_text("#ranking-about")
        # Rows of both kinds are ordered by their scores.
        points = [float(text.split()[0]) for text in seen.texts(f"{ROWS} .scored")[:6]]
        assert points == sorted(points, reverse=True)
        page.select_option("#family", "architecture")
        assert methods(seen) == ["layer-norm"]
        page.get_by_role("button", name="Clear").click()
        assert shown.input_value() == "tuned"
        page.select_option("#stream", label=scores.streams[2].name)
        assert shown.input_value() == "default", "nothing is tuned on this stream"
        assert len(methods(seen)) == 6


def test_a_reference_that_nobody_tuned_stands_by(chromium: Browser, tmp_path: Path) -> None:
    made = fake_scores(methods=4, streams=1, tuned=4)
    (stream,) = made.streams
    rows = tuple(row for row in stream.rows if row.method != "reset (tuned)")
    write_page(page_data(Scores((replace(stream, rows=rows),), (), ())), tmp_path / "a.html")
    with visit(chromium, tmp_path / "a.html") as seen:
        assert set(methods(seen)) == {"none (tuned)", "l2 (tuned)", "l2-init (tuned)", "reset"}
        rank = seen.page.locator(f"{ROWS}[data-method=reset] td:nth-child(2) span").first
        assert rank.inner_text() == "\u2013"
        assert rank.get_attribute("title") == "no rank: ranked among the default rows"


def test_without_tuned_rows_there_is_no_such_filter(chromium: Browser, tmp_path: Path) -> None:
    write_page(page_data(fake_scores(methods=3)), tmp_path / "a.html")
    with visit(chromium, tmp_path / "a.html") as seen:
        seen.expect("#settings").to_be_hidden()
        seen.expect(".badge").to_have_count(0)


def test_the_panel_shows_the_sweep(chromium: Browser, page_file: Path, scores: Scores) -> None:
    with visit(chromium, page_file) as seen:
        page = seen.page
        page.locator(f"{ROWS}[data-method='l2 (tuned)'] .method").click()
        dialog = page.get_by_role("dialog", name="l2 (tuned)")
        dialog.wait_for()

        def table(name: str) -> list[list[str]]:
            rows = page.locator(f"#detail [aria-label='{name}'] tbody tr").all()
            return [[cell.strip() for cell in row.locator("th, td").all_inner_texts()] for row in rows]

        names = [stream.name for stream in scores.streams[:2]]
        assert table("Hyperparameters by stream") == [[names[0], "0.003"], [names[1], "0.004"]]
        assert "lr\n0.0004" in dialog.inner_text(), "the same on both"
        assert table("Sweeps by stream") == [
            [name, "8", "2", "1.7 min", "lr=0.0004, strength=0.003", "0.700", "0.670"] for name in names
        ]
        assert "Training took 3.3 min in all" in dialog.inner_text()
        seen.unfold(page.locator("#detail details", has_text="All configurations").first)
        tried = table(f"Sweep on {names[0]}")
        assert tried[0] == ["", "default", "default", "0.670", "0.660\u20020.680", "13 s"]
        assert [line[0] for line in tried] == ["chosen" if i == 3 else "" for i in range(8)]
        page.get_by_role("link", name="default", exact=True).click()
        page.get_by_role("dialog", name="l2", exact=True).wait_for()
        assert table("Sweeps by stream") == []
        page.get_by_role("link", name="tuned", exact=True).click()
        dialog.wait_for()


def test_nothing_in_a_sweeps_table_can_act(chromium: Browser, tmp_path: Path) -> None:
    """A sweep's table comes from a stranger: names, values and texts."""
    attack = "</script><img src=x onerror='window.hacked = 1'>"
    made = fake_scores(methods=2, streams=1, tuned=2)
    (stream,) = made.streams
    first, *others = stream.rows
    table = sweep_table(attack, attack) | {"objective": attack}
    table["configurations"][3]["settings"] = {attack: attack}
    row = replace(first, cell=replace(first.cell, tuning=made_sweep(table)))
    write_page(page_data(Scores((replace(stream, rows=(row, *others)),), (), ())), tmp_path / "a.html")
    with visit(chromium, tmp_path / "a.html") as seen:
        seen.page.locator(f"{ROWS} .method", has_text="</script>").click()
        seen.page.get_by_role("dialog").wait_for()
        seen.unfold(seen.page.locator("#detail details").first)
        text = seen.page.inner_text("#detail")
        assert text.count(attack) > 5
        assert f"{attack}={attack}" in text
        assert seen.page.locator("img").count() == 0
        assert seen.page.evaluate("window.hacked") is None


def test_differences_to_none_and_to_reset(chromium: Browser, page_file: Path, scores: Scores) -> None:
    """The tooltips and the panel's table show the ranking's numbers."""
    tuned = scores.streams[0].groups[0]
    at = next(i for i, row in enumerate(tuned.rows) if row.method == "l2 (tuned)")
    place = tuned.places[at]
    assert place.none is not None
    assert place.reset is not None
    size = place.none.difference
    exact = f"difference to none (tuned) +{size.point:.3f} [{size.low:.3f}, {size.high:.3f}]"
    with visit(chromium, page_file) as seen:
        page = seen.page
        page.select_option("#stream", label=scores.streams[0].name)
        cell = page.locator(f"{ROWS}[data-method='l2 (tuned)'] span[title^='difference to none']")
        said = str(cell.get_attribute("title"))
        assert said.startswith(exact)
        assert f"p {place.none.p:.3f} for all pairs at once" in said
        assert said.endswith("; 8 seeds")
        assert place.none.significant
        assert cell.inner_text() == f"+{size.point:.3f}*"
        page.evaluate("location.hash = '#method=l2%20(tuned)'")
        page.get_by_role("dialog").wait_for()
        lines = page.locator("#detail [aria-label=Comparisons] tbody tr").all()
        found = [line.locator("th, td").all_inner_texts() for line in lines]
        found = [[" ".join(text.split()) for text in line] for line in found]
        here = [line for line in found if line[0] == scores.streams[0].name]
        for line, entry in zip(here, (place.none, place.reset), strict=True):
            assert line[1] == entry.other
            assert line[2].startswith(f"{entry.difference.point:+.3f}".replace("-", "\u2212"))
            assert ("*" in line[2]) == entry.significant
            assert line[3:5] == [f"{entry.p:.3f}", f"{entry.holm:.3f}"]
            assert line[5].startswith(f"{entry.improvement.point:.3f}")
            assert line[6] == "8"
