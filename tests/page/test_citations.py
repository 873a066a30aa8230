"""What recorded methods cite: texts, links and BibTeX entries."""

from __future__ import annotations

import re

import pytest

from plasticity_bench.page.citations import citations, citations_in


def test_a_built_in_method_cites_its_papers_and_a_plug_in_its_text() -> None:
    text = "Ash & Adams 2020, On Warm-Starting Neural Network Training, NeurIPS, arXiv:1910.08475"
    (own,) = citations("shrink-perturb", "builtin", "an older text")
    assert (own.text, own.url) == (text, "https://arxiv.org/abs/1910.08475")
    assert own.bibtex.startswith(
        "@inproceedings{ash2020warm,\n  author = {Ash, Jordan T. and Adams, Ryan P.},\n"
    )
    (theirs,) = citations("mine", "mine.py:Mine", text)
    assert (theirs.text, theirs.url) == (own.text, own.url)
    assert "  title = {{On Warm-Starting Neural Network Training}},\n" in theirs.bibtex
    assert "  howpublished = {NeurIPS},\n" in theirs.bibtex
    # Each work occurs once, and all keys differ.
    several = citations("none+l2+layer-norm", "builtin", "")
    authors = [re.split(r" \d{4}", paper.text)[0] for paper in several]
    assert authors == ["Dohare et al.", "Krogh & Hertz", "Lyle et al.", "Ba, Kiros & Hinton"]
    assert len({paper.bibtex.split(",")[0] for paper in several}) == 4
    assert [paper.text for paper in citations("none+mine", "builtin+mine.py:Mine", "A 2020; B 2021")] == [
        "A 2020",
        "B 2021",
    ]


def test_citations() -> None:
    first, second = citations_in(
        "Lewandowski, Schuurmans & Machado 2025, Plastic Learning, with 100% more_x, ICLR, arXiv:2410.20634; "
        "as a baseline: Dohare et al. 2024, Loss of plasticity in deep continual learning, Nature 632, "
        "doi:10.1038/s41586-024-07711-7"
    )
    assert first.url == "https://arxiv.org/abs/2410.20634"
    assert first.bibtex.startswith("@misc{lewandowski2025,\n")
    assert "  author = {Lewandowski and Schuurmans and Machado},\n" in first.bibtex
    assert r"  title = {{Plastic Learning, with 100\% more\_x}}," in first.bibtex
    assert "  howpublished = {ICLR},\n" in first.bibtex
    assert "  eprint = {2410.20634},\n  archivePrefix = {arXiv},\n" in first.bibtex
    assert second.bibtex.startswith("@misc{dohare2024,\n  author = {Dohare and others},\n")
    assert "  title = {{Loss of plasticity in deep continual learning}},\n" in second.bibtex
    assert "  doi = {10.1038/s41586-024-07711-7},\n" in second.bibtex
    assert second.url == "https://doi.org/10.1038/s41586-024-07711-7"


@pytest.mark.parametrize(
    ("paper", "entries"),
    [
        ("", []),
        ("my own idea", ["@misc{method,\n  note = {my own idea},\n}\n"]),
        ("A 2020; A 2020", ["@misc{a2020,", "@misc{a20202,"]),
        ("} , \\input{x} 2020", [r"\}"]),
        ("Krogh & Hertz 1991, NeurIPS 4", ["  howpublished = {NeurIPS 4},"]),
    ],
)
def test_citations_of_any_text(paper: str, entries: list[str]) -> None:
    found = citations_in(paper)
    assert len(found) == len(entries)
    for citation, entry in zip(found, entries, strict=True):
        assert entry in citation.bibtex
        body = re.sub(r"\\[{}]", "", citation.bibtex)
        assert body.count("{") == body.count("}")
