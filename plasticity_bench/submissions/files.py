"""The files of a submission, read as hostile data: each is read once, and its digest kept."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from plasticity_bench.records.documents import PROTOCOL
from plasticity_bench.storage.documents import DocumentT, convert, shown
from plasticity_bench.storage.files import sha256
from plasticity_bench.storage.untrusted import (
    MAX_JSON,
    Refused,
    parse_object,
    printable,
    read_file,
    same_json,
)
from plasticity_bench.submissions.documents import SCHEMA


class Note(NamedTuple):
    """Something about a file of a submission; both are written so that they print on one line."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{as_name(str(self.path))}: {self.reason}"


def as_name(text: str) -> str:
    """A path or key that somebody else chose, fit to print."""
    return printable(text, 300)


class SubmissionFiles:
    """The files of the submission in ``folder``, and what is wrong with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Note] = []
        self.notes: list[Note] = []
        #: Whether every record is there and possible, so that scores can be computed from them.
        self.sound = True
        self.digests: dict[str, str] = {}
        self.sources: dict[str, bytes] = {}
        self._files: dict[str, int] = {}

    def _problem(self, name: str, reason: str) -> None:
        self.problems.append(Note(self.folder / name if name else self.folder, reason))

    def _unsound(self, name: str, reason: str) -> None:
        self.sound = False
        self._problem(name, reason)

    def _document(self, name: str, kind: type[DocumentT]) -> DocumentT | None:
        try:
            found = parse_object(read_file(self.folder / name, MAX_JSON))
            if "schema" in found and not same_json(found["schema"], SCHEMA):
                raise Refused(
                    f"has schema {shown(found['schema'])}, this version reads schema {SCHEMA}; "
                    "leaderboard --rescore writes it anew"
                )
            return convert(found, kind)
        except Refused as error:
            self._problem(name, str(error))
            return None

    def _record(self, name: str, kind: type[DocumentT]) -> DocumentT:
        """A document of the records. Raises Refused."""
        found = parse_object(self._read(name, MAX_JSON))
        if "protocol" in found and not same_json(found["protocol"], PROTOCOL):
            raise Refused(
                f"protocol is {shown(found['protocol'])}; this version verifies protocol {PROTOCOL}"
            )
        return convert(found, kind)

    def _read(self, name: str, limit: int) -> bytes:
        """A file of the tree, its digest noted. Raises Refused."""
        if name not in self._files:
            raise Refused("is missing")
        data = read_file(self.folder / PurePosixPath(name), limit)
        self.digests[name] = sha256(data)
        return data
