"""The web page's data and text: they equal the scores, are safe with any content, and are readable."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticity_bench.page.document import (
    CHART_LIBRARY,
    SCRIPTS,
    asset,
    page_data,
    page_text,
    script_json,
    write_page,
)
from plasticity_bench.records.cells import find_cells
from plasticity_bench.registry.catalog import SUITES
from plasticity_bench.scoring.scores import Scores
from plasticity_bench.scoring.scoring import aggregate_streams, score
from plasticity_bench.stats.bootstrap import mean_band
from plasticity_bench.stats.ratios import Ratio
from plasticity_bench.terminal import to_json
from tests.support.boards import board_of_runs
from tests.support.fake_records import write_cell, write_suite
from tests.support.fake_scores import fake_scores
from tests.support.packed_text import seed_values, unpacked

HOSTILE = ["</script><script>alert(1)</script>", "<!--", "]]>", "&lt;", "\u2028\u2029", "\ud800", '"\\', "é"]


@pytest.fixture(scope="module")
def scores() -> Scores:
    return fake_scores()


@pytest.fixture(scope="module")
def data(scores: Scores) -> dict[str, Any]:
    return page_data(scores, Path())


def test_numbers_are_the_scores(scores: Scores, data: dict[str, Any]) -> None:
    expected = to_json(scores)
    assert [stream["name"] for stream in data["streams"]] == [s["stream"] for s in expected["streams"]]
    for stream, other in zip(data["streams"], expected["streams"], strict=True):
        labels = [data["methods"][row["method"]]["label"] for row in stream["rows"]]
        assert labels == [row["method"] for row in other["methods"]]
        assert stream["notes"] == other["notes"]
        assert stream["loses"] is other["none_loses_plasticity"]
        assert [row["rank"] for row in stream["rows"]] == [row["rank"] for row in other["methods"]]
        for row, entry in zip(stream["rows"], other["methods"], strict=True):
            assert unpacked(row["seeds"]) == entry["seeds"]
            assert row["p_loss"] == pytest.approx(entry["p_loss"], rel=1e-3)
            for index, metric in enumerate(entry["metrics"].values()):
                found = dict(zip(("point", "low", "high"), row["summary"][index], strict=True))
                for bound, value in found.items():
                    assert value == (
                        None if metric[bound] is None else pytest.approx(metric[bound], rel=1e-5)
                    )
                per_seed = list(metric["per_seed"].values())
                found_values = np.array(seed_values(row["values"][index]), dtype=float)
                np.testing.assert_allclose(found_values, per_seed, atol=5.1e-4)
    for row, entry in zip(data["overall"]["rows"], expected["aggregate"], strict=True):
        assert data["methods"][row["method"]]["label"] == entry["method"]
        assert row["summary"]["level"][0] == pytest.approx(entry["score"]["point"], rel=1e-5)
        assert row["summary"]["retention"][0] == pytest.approx(entry["retention"]["point"], rel=1e-5)
        assert row["uncapped"][0] == pytest.approx(entry["uncapped"]["point"], rel=1e-5)
        assert row["seeds"] == min(map(len, entry["seeds"].values()))


def test_ties_and_what_is_unknown(tmp_path: Path) -> None:
    stream = fake_scores(methods=5, streams=1).streams[0]
    one, two, three = (row for row in stream.rows if row.method not in ("none", "reset"))
    same = replace(two, values={**two.values, "level": one.values["level"]}, plasticity=one.plasticity)
    no_level = Ratio(tuple(range(8)), np.full(8, np.nan), np.ones(8))
    ratios = {**three.plasticity.ratios, "level": no_level}
    unknown = replace(
        three,
        values={**three.values, "level": np.full(8, np.nan)},
        plasticity=replace(three.plasticity, ratios=ratios),
    )
    (found,) = page_data(Scores((replace(stream, rows=(one, same, unknown)),), (), ()))["streams"]
    assert [row.get("range") for row in found["rows"]] == [[1, 1], [1, 1], None]
    assert [row["rank"] for row in found["rows"]] == [1, 1, None]
    assert found["rows"][2]["why"] == "its level is unknown"
    assert found["rows"][2]["summary"][0] == [None, None, None]
    assert seed_values(found["rows"][2]["values"][0]) == [None] * 8
    assert "records" not in found["rows"][0]


@pytest.mark.parametrize("tasks", [60, 121, 360])
def test_curves_are_bands_of_means_over_neighbouring_tasks(tasks: int) -> None:
    made = fake_scores(methods=2, streams=1, tasks=tasks)
    (stream,) = made.streams
    grid = page_data(made)["streams"][0]["grids"]["performance"]
    width = 1 if tasks <= 120 else -(-tasks // 120)
    assert grid["width"] == width
    starts = range(0, tasks, width)
    assert grid["tasks"] == [(start + 1 + min(start + width, tasks)) / 2 for start in starts]
    assert len(grid["tasks"]) <= 120
    for row, curve in zip(stream.rows, grid["curves"], strict=True):
        performance = row.curves["performance"]
        points = np.stack([performance[:, start : start + width].mean(axis=1) for start in starts], axis=1)
        mean, low, high = mean_band(points)
        found = np.array([unpacked(line) for line in curve])
        for whole, value in ((found[0], mean), (found[0] - found[1], low), (found[0] + found[2], high)):
            np.testing.assert_allclose(grid["low"] + grid["step"] * whole, value, atol=1.01 * grid["step"])


def test_the_loss_over_tasks_is_a_ratio_of_sums(tmp_path: Path) -> None:
    write_cell(
        tmp_path,
        "none",
        {seed: [0.5] * 20 for seed in range(3)},
        fresh={seed: [0.5] * 10 + [0.6 + seed / 10] * 10 for seed in range(3)},
    )
    write_cell(tmp_path, "l2", {seed: [0.5] * 20 for seed in range(3)})
    (stream,) = score(find_cells(tmp_path)).streams
    grid = page_data(Scores((stream,), (), ()))["streams"][0]["grids"]["plasticity_loss"]
    assert grid["tasks"] == [1, 11, 16, 17, 18, 19, 20]
    none, l2 = (grid["curves"][[row.method for row in stream.in_order].index(m)] for m in ("none", "l2"))
    assert l2 is None, "it has no fresh twins"
    mean = [grid["low"] + grid["step"] * value for value in unpacked(none[0])]
    # Chance is 0.1: nothing lost at task 0, then twins reach 0.5, 0.6 and 0.7 above it, the learner 0.4.
    assert mean == pytest.approx([0, *[1 - 1.2 / 1.8] * 6], abs=2 * grid["step"])
    below, above = (np.array(unpacked(part)) * grid["step"] for part in none[1:])
    assert below[1] == pytest.approx(1 / 3 - (1 - 0.4 / 0.5), abs=2 * grid["step"])
    assert above[1] == pytest.approx((1 - 0.4 / 0.7) - 1 / 3, abs=2 * grid["step"])


def test_curves_with_gaps() -> None:
    made = fake_scores(methods=3, streams=1, tasks=60)
    (stream,) = made.streams
    measured = np.arange(60) % 10 == 9
    rows = []
    for index, row in enumerate(stream.rows):
        rank = np.where(measured & (index != 1), row.curves["effective_rank"], np.nan)
        performance = np.where(np.arange(60) == (30 if index == 0 else -1), np.nan, row.curves["performance"])
        dormant = np.full((8, 60), np.nan)
        curves = {"performance": performance, "effective_rank": rank, "dormant_fraction": dormant}
        rows.append(replace(row, curves=curves))
    (found,) = page_data(Scores((replace(stream, rows=tuple(rows)),), (), ()))["streams"]
    assert set(found["grids"]) == {"performance", "effective_rank", "plasticity_loss"}
    assert found["grids"]["effective_rank"]["tasks"] == [10, 20, 30, 40, 50, 60]
    assert found["grids"]["effective_rank"]["curves"][1] is None
    mean, below, above = map(unpacked, found["grids"]["performance"]["curves"][0])
    assert [i for i, value in enumerate(mean) if value is None] == [30]
    assert below[30] is None
    assert above[30] is None
    json.dumps(found, allow_nan=False)


def test_suites_aggregate_their_own_streams() -> None:
    made = fake_scores(methods=3, streams=10)
    data = page_data(made)
    names = [stream["name"] for stream in data["streams"]]
    for suite in ("quick", "standard", "control"):
        members = [names.index(f"{label}-v1") for label in SUITES[suite].streams]
        assert sorted(data["suites"][suite]["streams"]) == sorted(members)
        rows, notes = aggregate_streams([made.streams[index] for index in sorted(members)])
        found = data["by_suite"][suite]
        assert found["notes"] == list(notes)
        expected = [(row.method, pytest.approx(row.score.point, rel=1e-5)) for row in rows]
        assert [
            (data["methods"][row["method"]]["label"], row["summary"]["level"][0]) for row in found["rows"]
        ] == expected
    assert data["suites"]["full"]["streams"], "permuted-mnist and slippery-ant belong to it as they are"


@pytest.mark.parametrize("text", HOSTILE)
def test_data_cannot_leave_their_element(text: str) -> None:
    written = script_json({"a": [text], text: 1.5})
    written.encode()
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"a": [text], text: 1.5}


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script_json({"a": float("nan")})


class Elements(HTMLParser):
    """Collects (tag, attributes, text) of every script and style, and the attributes of all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[tuple[str, dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag in ("script", "style"):
            self.inline.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.inline and self.cdata_elem:
            tag, attrs, text = self.inline[-1]
            self.inline[-1] = (tag, attrs, text + data)


def test_the_policy_allows_the_pages_own_scripts_and_nothing_else(data: dict[str, Any]) -> None:
    found = Elements(page_text(data))
    policy = next(value for tag, name, value in found.attributes if (tag, name) == ("meta", "content"))
    assert policy is not None
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    kinds = [attributes.get("type") for tag, attributes, _ in found.inline]
    assert kinds == [None, "application/json", None, None]
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for _, _, text in found.inline
    ]
    assert rules["default-src"] == ["'none'"]
    assert rules["style-src"] == digests[:1]
    assert rules["script-src"] == digests[2:]
    assert not set(rules) & {"connect-src", "frame-src", "font-src"}
    assert json.loads(found.inline[1][2]) == json.loads(script_json(data))
    addresses = {value for _, name, value in found.attributes if name in ("src", "href", "action")}
    assert addresses == {"data:,", "#ranking", "README.md", "leaderboard.csv"}
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]


def test_the_pages_code_writes_text_only() -> None:
    own = "".join(asset(name) for name in SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", own)
    assert "textContent" in own
    for name in (*SCRIPTS, CHART_LIBRARY):
        assert "</script" not in asset(name).lower()
    assert "innerHTML" not in asset(CHART_LIBRARY)
    assert "1.6.32" in asset(CHART_LIBRARY)[:80]
    assert "MIT License" in asset("uPlot.LICENSE")


def test_equal_data_give_equal_bytes(scores: Scores, data: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_page(page_data(scores, Path()), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_bytes() == page_text(data).encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_the_leaderboard_holds_the_page(tmp_path: Path) -> None:
    write_suite(tmp_path / "runs", seeds=4, tasks=20)
    written = board_of_runs(tmp_path / "runs", tmp_path / "board")
    assert tmp_path / "board" / "index.html" in written
    text = (tmp_path / "board" / "index.html").read_text()
    found = json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    links = [row["records"] for stream in found["streams"] for row in stream["rows"]]
    assert len(links) == 10
    for link in links:
        assert (tmp_path / "board" / link / "config.json").exists()


def luminance(color: str) -> float:
    """WCAG 2.2's relative luminance of ``#rrggbb``."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a: str, b: str) -> float:
    """WCAG 2.2's contrast ratio, 1 to 21."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palette() -> list[Mapping[str, str]]:
    """Variable -> colour, for the light and the dark theme."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", asset("page.css"))
    return [{name: colors[theme] for name, *colors in pairs} for theme in (0, 1)]


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_contrast_with_their_background(theme: int) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    colors = palette()[theme]
    assert len(colors) == 18
    for ground in ("paper", "card", "hover"):
        for text in ("ink", "muted", "accent"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
        for line in ("edge", *(name for name in colors if name.startswith("series-"))):
            assert contrast(colors[line], colors[ground]) >= 3, (line, ground)
