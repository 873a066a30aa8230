"""The papers that methods come from: how they are cited, linked and written as BibTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_ARXIV = re.compile(r"(\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7})(v\d+)?")
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_JOURNAL = re.compile(r"(.+) (\d+)")  # "Nature 632": a name and a volume
_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\~{}",
    "^": r"\^{}",
}
_NAMED = 3  # authors that a citation names; more are "First et al."
_FILLERS = {"a", "an", "on", "the"}  # no such word of a title is part of a key


@dataclass(frozen=True)
class Paper:
    """A published work.

    >>> paper = Paper("Ash, Jordan T. and Adams, Ryan P.", "On Warm-Starting Neural Network Training",
    ...               2020, "NeurIPS", arxiv="1910.08475")
    >>> paper.citation
    'Ash & Adams 2020, On Warm-Starting Neural Network Training, NeurIPS, arXiv:1910.08475'
    >>> paper.url
    'https://arxiv.org/abs/1910.08475'
    """

    authors: str  # as BibTeX writes them: "Lovelace, Ada and Turing, Alan"
    title: str
    year: int
    venue: str = ""  # a conference, "ICML", or a journal with its volume, "Nature 632"
    arxiv: str = ""  # "2408.15495"
    doi: str = ""  # "10.1038/s41586-024-07711-7"

    @property
    def citation(self) -> str:
        """One line of text: authors and year, title, venue, identifiers."""
        names = [_surname(author) for author in self.authors.split(" and ")]
        many = len(names) > _NAMED or names[-1] == "others"
        who = f"{names[0]} et al." if many else " & ".join(_joined(names))
        parts = [f"{who} {self.year}", self.title, self.venue]
        parts += [f"arXiv:{self.arxiv}" if self.arxiv else "", f"doi:{self.doi}" if self.doi else ""]
        return ", ".join(filter(None, parts))

    @property
    def url(self) -> str:
        """Where to read it: at arXiv, else at the DOI. Empty if it has neither."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else ""

    @property
    def key(self) -> str:
        """Of its BibTeX entry: ``ash2020warm``, from the first author, the year and the title."""
        words = re.findall(r"[a-z]+", _ascii(self.title))
        first = next((word for word in words if word not in _FILLERS), "")
        return re.sub(r"[^a-z]", "", _ascii(_surname(self.authors.split(" and ")[0]))) + f"{self.year}{first}"

    @property
    def bibtex(self) -> str:
        """Its BibTeX entry: an article if the venue is a journal, a paper of a conference, or neither."""
        journal = _JOURNAL.fullmatch(self.venue)
        if journal:
            kind, venue = "article", {"journal": escape(journal[1]), "volume": journal[2]}
        elif self.venue:
            kind, venue = "inproceedings", {"booktitle": escape(self.venue)}
        else:
            kind, venue = "misc", {}
        fields = {"author": escape(self.authors), "title": f"{{{escape(self.title)}}}", **venue}
        fields["year"] = str(self.year)
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        if self.doi:
            fields["doi"] = escape(self.doi)
        if self.url:
            fields["url"] = self.url
        return bibtex_entry(kind, self.key, fields)

    def flaws(self) -> list[str]:
        """What is missing or malformed, in words; empty if the paper can be cited."""
        found = [
            f"{name} is missing"
            for name in ("authors", "title")
            if not getattr(self, name).strip() or "TODO" in getattr(self, name)
        ]
        if not 1000 <= self.year <= 9999:
            found.append(f"year is {self.year}")
        if self.arxiv and not _ARXIV.fullmatch(self.arxiv):
            found.append(f'arxiv is "{self.arxiv}", not like 2408.15495')
        if self.doi and not _DOI.fullmatch(self.doi):
            found.append(f'doi is "{self.doi}", not like 10.1038/s41586-024-07711-7')
        if ";" in self.citation:  # it separates the papers of a method
            found.append("a semicolon separates papers: leave it out")
        return found


def bibtex_entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """``@misc{key, ...}`` with one field a line. The values are LaTeX: see ``escape``."""
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"


def escape(text: str) -> str:
    """Text as LaTeX writes it: what has a meaning there is escaped."""
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def _surname(author: str) -> str:
    """ "Van Roy, Benjamin" -> "Van Roy"; "Ada Lovelace" -> "Lovelace" """
    last, comma, _ = author.partition(",")
    return last.strip() if comma else author.split()[-1] if author.split() else ""


def _joined(names: list[str]) -> list[str]:
    return [", ".join(names[:-1]), names[-1]] if len(names) > 1 else names


def _ascii(text: str) -> str:
    """In lower case, without accents: "Müller" -> "muller"."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()


#: What several methods cite.
DOHARE_2024 = Paper(
    "Dohare, Shibhansh and Hernandez-Garcia, J. Fernando and Lan, Qingfeng and Rahman, Parash and "
    "Mahmood, A. Rupam and Sutton, Richard S.",
    "Loss of plasticity in deep continual learning",
    2024,
    "Nature 632",
    doi="10.1038/s41586-024-07711-7",
)
NIKISHIN_2022 = Paper(
    "Nikishin, Evgenii and Schwarzer, Max and D'Oro, Pierluca and Bacon, Pierre-Luc and Courville, Aaron",
    "The Primacy Bias in Deep Reinforcement Learning",
    2022,
    "ICML",
    arxiv="2205.07802",
)
