"""Citations: from the text of ``MethodInfo.paper`` to BibTeX entries and links.

The text is free, "Author et al. 2024, Title, Venue, arXiv:2402.18762; ..."; what cannot be recognised stays
in the entry's note, so nothing is lost and nothing is made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ARXIV = re.compile(r"arXiv[:\s]\s*(\d{4}\.\d{4,5}(?:v\d+)?)", re.IGNORECASE)
_DOI = re.compile(r"(?:doi:\s*|doi\.org/)(10\.\d{4,9}/[^\s,;]+[^\s,;.)])", re.IGNORECASE)
_AUTHORS_YEAR = re.compile(
    r"^(?:.*?:\s+)?(?P<authors>[^\d:,]+?(?:, [^\d:,]+?)*),? (?P<year>(?:19|20)\d\d)\b[,.]?"
)
_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\~{}",
    "^": r"\^{}",
}
_VENUE = re.compile(r"\S+(?: \S+){0,2}|.* \d+")  # "ICLR", "Nature 632"; a title has more words and no number


@dataclass(frozen=True)
class Citation:
    """One cited work: its text, a link where the text has an identifier, and a BibTeX ``@misc`` entry."""

    text: str
    url: str
    bibtex: str


def citations(paper: str) -> list[Citation]:
    """The works that ``paper`` cites, in its order; keys of the entries differ."""
    found: list[Citation] = []
    keys: set[str] = set()
    for text in filter(None, (part.strip().rstrip(".") for part in paper.split(";"))):
        fields = _fields(text)
        key = _key(fields, keys)
        keys.add(key)
        body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        found.append(Citation(text, _url(text), f"@misc{{{key},\n{body}}}\n"))
    return found


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    rest = _DOI.sub("", _ARXIV.sub("", text))
    if match := _AUTHORS_YEAR.match(rest):
        fields["author"] = _escape(_authors(match["authors"]))
        parts = [part.strip() for part in rest[match.end() :].split(",")]
        parts = [part for part in parts if part.strip(".") not in ("", "and", "&")]
        venue = parts.pop() if parts and _VENUE.fullmatch(parts[-1]) else ""
        if parts:
            fields["title"] = f"{{{_escape(', '.join(parts))}}}"
        fields["year"] = match["year"]
        if venue:
            fields["howpublished"] = _escape(venue)
    if arxiv := _ARXIV.search(text):
        fields |= {"eprint": arxiv[1], "archivePrefix": "arXiv"}
    if doi := _DOI.search(text):
        fields["doi"] = _escape(doi[1])
    if url := _url(text):
        fields["url"] = url
    return fields | {"note": _escape(text)}


def _authors(text: str) -> str:
    """ "Lewandowski, Schuurmans & Machado" -> "Lewandowski and Schuurmans and Machado" """
    others = re.search(r"\s+et al\.?$", text)
    names = re.split(r"\s*,\s*|\s+&\s+|\s+and\s+", text[: others.start()] if others else text)
    return " and ".join([name.strip() for name in names if name.strip()] + ["others"] * bool(others))


def _key(fields: dict[str, str], taken: set[str]) -> str:
    first = re.sub(r"[^a-z]", "", fields.get("author", "").split(" and ")[0].lower())
    key = (first or "method") + fields.get("year", "")
    return next(name for name in (key, *(f"{key}{letter}" for letter in range(2, 1000))) if name not in taken)


def _url(text: str) -> str:
    if arxiv := _ARXIV.search(text):
        return f"https://arxiv.org/abs/{arxiv[1]}"
    doi = _DOI.search(text)
    return f"https://doi.org/{doi[1]}" if doi and re.fullmatch(r"[\w./()-]+", doi[1]) else ""


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(sign, sign) for sign in text)
