"""Every method's entry is complete; names, and the messages about wrong ones."""

from __future__ import annotations

import dis
import re
from pathlib import Path

import pytest

from plasticity_bench.agents.methods import Method, MethodInfo, Paper
from plasticity_bench.errors import InputError
from plasticity_bench.plugins import import_class
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.create import create_method, create_stream, list_methods, list_streams
from plasticity_bench.registry.families import FAMILIES, family_of
from plasticity_bench.registry.learning_rate import with_learning_rate
from tests.support.command_line import expect_one_line
from tests.support.paths import REPOSITORY
from tests.support.plugins import GOOD

EXAMPLE = str(REPOSITORY / "examples/sign_decay.py")


@pytest.mark.parametrize("name", [*METHODS, EXAMPLE])
def test_a_methods_entry_is_complete(name: str) -> None:
    info = choose_method(name).cls.info
    assert info.name == name or name == EXAMPLE
    assert info.summary.strip() == info.summary != ""
    assert "\n" not in info.summary
    assert info.papers
    for paper in info.papers:
        assert paper.flaws() == []
        assert paper.bibtex.count("{") == paper.bibtex.count("}")
    assert any(paper.arxiv or paper.doi for paper in info.papers)
    assert info.citation.split("; ") == [paper.citation for paper in info.papers]
    if name in METHODS:
        assert info.family in FAMILIES.keys() - {"other", "combinations"}


def test_every_paper_has_a_key_of_its_own() -> None:
    papers = {paper for location in METHODS.values() for paper in import_class(location).info.papers}
    assert (
        len({paper.key for paper in papers}) == len({paper.citation for paper in papers}) == len(papers) > 25
    )


def test_families() -> None:
    names = [name for family in FAMILIES for name in list_methods(family)]
    assert sorted(names) == sorted(list_methods())  # each in one
    assert family_of("syre") == "decay and regularisation"
    assert family_of("layer-norm+l2") == choose_method("layer-norm+l2").cls.info.family == "combinations"
    assert family_of("somebody-elses") == MethodInfo("somebody-elses", "does something").family == "other"
    assert all(text and "\n" not in text for text in FAMILIES.values())
    with pytest.raises(InputError, match=r'unknown family "optimizer": did you mean "optimizers"\?'):
        list_methods("optimizer")


def test_names_make_methods_and_streams() -> None:
    assert set(METHODS) <= set(list_methods())
    assert list_streams() == list(STREAMS)
    method = create_method("syre:strength=1e-2")
    assert isinstance(method, Method)
    assert vars(method)["strength"] == 0.01
    assert vars(create_method("layer-norm+l2:strength=3"))["parts"] == (
        create_method("layer-norm"),
        create_method("l2:strength=3"),
    )
    assert create_stream("bit-flip:tasks=3").tasks == 3
    with pytest.raises(InputError, match=r'unknown method "srye": did you mean "syre"'):
        create_method("srye")
    with pytest.raises(InputError, match=r'unknown stream "bit-flop": did you mean "bit-flip"'):
        create_stream("bit-flop")


@pytest.mark.parametrize("text", ["bit-flip:tasks=1", "permuted-mnist:tasks=0", "ant:tasks=-3"])
def test_a_stream_has_at_least_two_tasks(text: str) -> None:
    with pytest.raises(InputError, match=rf"^{text}: a stream needs at least 2 tasks$"):
        choose_stream(text)


def test_the_methods_learning_rate_is_the_optimizers() -> None:
    stream = create_stream("bit-flip")
    assert with_learning_rate(stream, choose_method("l2")) is stream.optimizer
    assert with_learning_rate(stream, choose_method("l2:lr=0.5")).lr == 0.5
    for rate in ("0", "-1"):
        with pytest.raises(InputError, match=f"l2:lr={rate}: lr must be positive"):
            with_learning_rate(stream, choose_method(f"l2:lr={rate}"))


@pytest.mark.parametrize("name", STREAMS)
def test_what_a_stream_always_has_is_in_its_class(name: str) -> None:
    """A property with the same value for all settings should be a class variable."""
    cls = choose_stream(name).cls
    for part in ("batch", "steps", "network", "optimizer"):
        value = getattr(cls, part)
        assert not callable(value)
        if isinstance(value, property):
            assert value.fget is not None
            read = {step.argval for step in dis.get_instructions(value.fget)}
            assert "self" in read, f"{cls.__name__}.{part} depends on no setting"
        else:
            assert getattr(choose_stream(name).make(), part) is value


@pytest.mark.parametrize(
    "papers",
    ['"Author 2024, arXiv:2401.00001"', 'Paper("A", "B", 2020)', '["arXiv:2401.00001"]', '("text",)'],
)
def test_papers_that_are_none_are_refused_in_one_line(tmp_path: Path, papers: str) -> None:
    file = tmp_path / "mine.py"
    text = GOOD.replace("import Method, MethodInfo", "import Method, MethodInfo, Paper")
    file.write_text(text.replace('summary="noise', f'papers={papers}, summary="noise'))
    line = text[: text.index("MethodInfo(\n")].count("\n") + 1
    with pytest.raises(InputError) as caught:
        choose_method(str(file))
    expect_one_line(
        f"plasticity_bench: {caught.value}\n",
        "papers of noise is no tuple of Papers: write papers=(Paper(authors=..., title=",
        f"mine.py, line {line}",
    )


def test_citation_link_and_entry_of_a_paper() -> None:
    paper = Paper(
        "Rosseau, Andries and Müller, Robert", "50% & more_x", 2026, "Nature 632", doi="10.1000/a_b"
    )
    assert paper.citation == "Rosseau & Müller 2026, 50% & more_x, Nature 632, doi:10.1000/a_b"
    assert paper.url == "https://doi.org/10.1000/a_b"
    assert paper.key == "rosseau2026more"
    assert paper.bibtex == (
        "@article{rosseau2026more,\n"
        "  author = {Rosseau, Andries and Müller, Robert},\n"
        "  title = {{50\\% \\& more\\_x}},\n"
        "  journal = {Nature},\n  volume = {632},\n  year = {2026},\n"
        "  doi = {10.1000/a\\_b},\n  url = {https://doi.org/10.1000/a_b},\n}\n"
    )
    preprint = Paper("Müller, Robert", "The Title", 2026, arxiv="2601.00001", doi="10.1000/1")
    assert preprint.url == "https://arxiv.org/abs/2601.00001"
    assert preprint.bibtex.startswith("@misc{muller2026title,\n")
    assert "  eprint = {2601.00001},\n  archivePrefix = {arXiv},\n  doi = {10.1000/1},\n" in preprint.bibtex
    meeting = Paper("Van Roy, Benjamin and others", "X", 2023, "ICML")
    assert (meeting.url, meeting.citation) == ("", "Van Roy et al. 2023, X, ICML")
    assert "@inproceedings{vanroy2023x,\n" in meeting.bibtex
    assert "  booktitle = {ICML},\n" in meeting.bibtex


@pytest.mark.parametrize(
    ("authors", "cited"),
    [
        ("Ada Lovelace", "Lovelace"),
        ("Lovelace, Ada and Turing, Alan", "Lovelace & Turing"),
        ("A, B and C, D and E, F", "A, C & E"),
        ("A, B and C, D and E, F and G, H", "A et al."),
    ],
)
def test_authors_in_a_citation(authors: str, cited: str) -> None:
    assert Paper(authors, "Title", 2024).citation == f"{cited} 2024, Title"


@pytest.mark.parametrize(
    ("paper", "flaws"),
    [
        (Paper("", "T", 2024), ["authors is missing"]),
        (Paper("TODO", " ", 2024), ["authors is missing", "title is missing"]),
        (Paper("A", "T", 24), ["year is 24"]),
        (
            Paper("A", "T", 2024, arxiv="arXiv:2408.15495"),
            ['arxiv is "arXiv:2408.15495", not like 2408.15495'],
        ),
        (Paper("A", "T", 2024, doi="https://doi.org/10.1000/1"), ["doi is"]),
        (Paper("A", "T; U", 2024), ["a semicolon separates papers: leave it out"]),
        (Paper("A", "T", 2024, arxiv="2406.06811v1", doi="10.1111/j.2517-6161.1996.tb02080.x"), []),
        (Paper("A", "T", 1999, arxiv="hep-th/9901001"), []),
    ],
)
def test_flaws_of_a_paper(paper: Paper, flaws: list[str]) -> None:
    found = paper.flaws()
    assert len(found) == len(flaws)
    assert all(flaw in text for flaw, text in zip(flaws, found, strict=True))


def test_a_citation_is_what_the_record_holds() -> None:
    assert re.fullmatch(
        r"Krogh & Hertz 1991, .*, NeurIPS; Dohare et al\. 2024, .*, doi:10\.1038/s41586-024-07711-7",
        choose_method("l2").cls.info.citation,
    )
