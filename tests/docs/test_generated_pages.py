"""The pages that ``python -m docs.generate`` writes are current, and hold what code and records say."""

from __future__ import annotations

import csv
import re

import pytest

from docs.generate.__main__ import pages, stale
from docs.generate.markdown import inert, linked, sentence
from docs.generate.results import HEAD, LEADERBOARD, ROOT, rows
from docs.generate.settings import settings_of
from docs.generate.streams import stream_settings
from plasticity_bench.plugins import import_class
from plasticity_bench.registry.catalog import METHODS, STREAMS

FIX = "run: python -m docs.generate"
WRITTEN = dict(pages())


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_it_is_what_is_committed(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == WRITTEN[name], FIX


def test_there_is_a_page_for_everything_and_no_other() -> None:
    names = {f"methods/{name}.md" for name in METHODS} | {f"streams/{name}.md" for name in STREAMS}
    assert set(WRITTEN) == names | {"methods.md", "streams.md", "quick-start.md", "statistics.md"}
    assert not stale(WRITTEN), FIX
    for name in names:
        assert "python -m docs.generate" in WRITTEN[name].splitlines()[0]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_settings_papers_and_results(name: str) -> None:
    page, cls = WRITTEN[f"methods/{name}.md"], import_class(METHODS[name])
    for setting in settings_of(cls):
        assert f"| `{setting.name}` | {setting.kind} | `{setting.default}` |" in page
    for paper in cls.info.papers:
        assert f"[{inert(paper.citation)}]({paper.url})" in page or not paper.url
    own = [row for row in rows() if row.method == name]
    results = page.partition("## Results")[2]
    assert len(re.findall(r"^\| \[`[\w-]+-v\d+`\]", results, re.MULTILINE)) == len(own)
    for row in own:
        assert f"{row.metrics['level'].point:.3f}" in results or row.metrics["cost"].point


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_its_deviations_and_results(name: str) -> None:
    page, cls = WRITTEN[f"streams/{name}.md"], import_class(STREAMS[name])
    for deviation in cls.info.deviations:
        assert f"- {linked(deviation)}\n" in page
    for setting in stream_settings(cls):
        assert setting.meaning, f"{name}: nothing says what {setting.name} means"
    with (LEADERBOARD / "leaderboard.csv").open() as file:
        recorded = sum(line["stream"] == f"{name}-v{cls.info.version}" for line in csv.DictReader(file))
    lines = [line for line in page.splitlines() if re.match(r"\| (-|\d+=?) \| ", line)]
    assert len(lines) == recorded
    titles = [line for line in page.splitlines() if line.startswith("| rank | method |")]
    assert all(title in line for line in titles for title in HEAD)


def test_every_row_of_the_leaderboard_is_read() -> None:
    with (LEADERBOARD / "leaderboard.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(rows()) == len(lines)
    assert {row.method for row in rows()} <= {*METHODS, "layer-norm+l2"}
    assert all(row.settings or row.tuned or ":" not in row.method for row in rows())


def test_text_stays_text() -> None:
    """Formulas of docstrings have characters that Markdown would take for markup."""
    assert inert("a_b * c_d <- |x| of ``f(_x)``") == ("a&#95;b &#42; c&#95;d &#60;- &#124;x&#124; of `f(_x)`")
    assert linked("A 2024, arXiv:2408.15495; B, doi:10.1038/s41586-024-07711-7.") == (
        "A 2024, [arXiv:2408.15495](https://arxiv.org/abs/2408.15495); "
        "B, [doi:10.1038/s41586-024-07711-7](https://doi.org/10.1038/s41586-024-07711-7)."
    )
    assert sentence("weight decay") == "Weight decay."
    assert sentence("l2 of the weights.") == "l2 of the weights."
