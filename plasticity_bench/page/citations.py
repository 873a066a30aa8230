"""What a recorded method cites: text, link and BibTeX entry of each work.

A built-in method's papers are in its ``info``. Of a plug-in the record holds only a text, "Author et al.
2024, Title, Venue, arXiv:2402.18762; ...": what is recognised in it becomes fields of the entry, and the
whole text is the entry's note, so that nothing is lost and nothing is made up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from plasticity_bench.agents.methods.papers import Paper, bibtex_entry, escape
from plasticity_bench.plugins import import_class
from plasticity_bench.registry.catalog import METHODS

_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5}(?:v\d+)?)", re.IGNORECASE)
_DOI = re.compile(r"(?:doi:\s*|doi\.org/)(10\.\d{4,9}/[^\s,;]+[^\s,;.)])", re.IGNORECASE)
_AUTHORS_YEAR = re.compile(
    r"^(?:.*?:\s+)?(?P<authors>[^\d:,]+?(?:, [^\d:,]+?)*),? (?P<year>(?:19|20)\d\d)\b[,.]?"
)
_VENUE = re.compile(r"\S+(?: \S+){0,2}|.* \d+")  # "ICLR", "Nature 632"; a title has more words and no number


@dataclass(frozen=True)
class Citation:
    """One cited work: its text, a link if it has an identifier, and a BibTeX entry."""

    text: str
    url: str
    bibtex: str


def citations(name: str, source: str, text: str) -> list[Citation]:
    """The works that a recorded method cites, in its order.

    ``name``, ``source`` and ``text``: the method's name, source and paper in config.json.
    """
    names = name.split("+")
    if source == "builtin" and set(names) <= METHODS.keys():
        papers: dict[Paper, None] = {}
        for part in names:
            papers |= dict.fromkeys(import_class(METHODS[part]).info.papers)
        return [Citation(paper.citation, paper.url, paper.bibtex) for paper in papers]
    return citations_in(text)


def citations_in(text: str) -> list[Citation]:
    """The works that a text cites, in its order; keys of the entries differ."""
    found: list[Citation] = []
    keys: set[str] = set()
    for work in filter(None, (part.strip().rstrip(".") for part in text.split(";"))):
        fields = _fields(work)
        key = _key(fields, keys)
        keys.add(key)
        found.append(Citation(work, _url(work), bibtex_entry("misc", key, fields)))
    return found


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    rest = _DOI.sub("", _ARXIV.sub("", text))
    if match := _AUTHORS_YEAR.match(rest):
        fields["author"] = escape(_authors(match["authors"]))
        parts = [part.strip() for part in rest[match.end() :].split(",")]
        parts = [part for part in parts if part.strip(".") not in ("", "and", "&")]
        venue = parts.pop() if parts and _VENUE.fullmatch(parts[-1]) else ""
        if parts:
            fields["title"] = f"{{{escape(', '.join(parts))}}}"
        fields["year"] = match["year"]
        if venue:
            fields["howpublished"] = escape(venue)
    if arxiv := _ARXIV.search(text):
        fields |= {"eprint": arxiv[1], "archivePrefix": "arXiv"}
    if doi := _DOI.search(text):
        fields["doi"] = escape(doi[1])
    if url := _url(text):
        fields["url"] = url
    return fields | {"note": escape(text)}


def _authors(text: str) -> str:
    """ "Lewandowski, Schuurmans & Machado" -> "Lewandowski and Schuurmans and Machado" """
    others = re.search(r"\s+et al\.?$", text)
    names = re.split(r"\s*,\s*|\s+&\s+|\s+and\s+", text[: others.start()] if others else text)
    return " and ".join([name.strip() for name in names if name.strip()] + ["others"] * bool(others))


def _key(fields: Mapping[str, str], taken: set[str]) -> str:
    first = re.sub(r"[^a-z]", "", fields.get("author", "").split(" and ")[0].lower())
    key = (first or "method") + fields.get("year", "")
    return next(name for name in (key, *(f"{key}{letter}" for letter in range(2, 1000))) if name not in taken)


def _url(text: str) -> str:
    if arxiv := _ARXIV.search(text):
        return f"https://arxiv.org/abs/{arxiv[1]}"
    doi = _DOI.search(text)
    return f"https://doi.org/{doi[1]}" if doi and re.fullmatch(r"[\w./()-]+", doi[1]) else ""
