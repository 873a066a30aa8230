"""Whether the documents of a submission are what its tables give. Every score is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plasticity_bench.storage.untrusted import printable, same_json
from plasticity_bench.submissions.check_tuning import within_space
from plasticity_bench.submissions.documents import ScoresDocument
from plasticity_bench.submissions.files import as_name
from plasticity_bench.submissions.model import (
    METHOD,
    REFERENCE_NAMES,
    SCORES,
    Streams,
    Submission,
    method_document,
    scores_document,
)

#: Share by which a recomputed score may differ from the one submitted, and the least difference that counts:
#: they are written with nine digits, and libraries round sums differently.
RELATIVE, ABSOLUTE = 1e-7, 1e-9


class Checked(NamedTuple):
    """A submission whose documents are checked, with the references that its scores rest on."""

    submission: Submission
    references: Mapping[str, Streams]


def check_documents(item: Checked) -> list[tuple[str, str]]:
    """(file, reason) for every difference of both documents from what follows from the tables."""
    return list(_differences(*item))


def _differences(submission: Submission, references: Mapping[str, Streams]) -> Iterator[tuple[str, str]]:
    given, scores = submission.method, submission.scores
    if given is None or scores is None:
        return  # said already
    made = method_document(
        submission.name,
        submission.streams,
        submission.digests,
        given.search_space,
        given.submitter,
    )
    for where, found, wanted in _unequal(given.as_json(), made.as_json()):
        yield METHOD, _differs(where, found, wanted, "the records say")
    for stream, evidence in submission.streams.items():
        if evidence.cell.tuning and not within_space(evidence.cell.tuning, given.search_space):
            yield METHOD, f"search_space is not the one of the sweep on {stream}, less the learning rate"
    taken = _references_given(submission, scores)
    if taken is None:
        yield SCORES, "does not say which seeds of the references its scores rest on"
        return
    for stream, methods in taken.items():
        for method, seeds in methods.items():
            recorded = references.get(method, {})
            lacking = sorted(set(seeds) - set(recorded[stream].seeds if stream in recorded else ()))
            if lacking:
                yield SCORES, f"{stream} rests on seeds {lacking} of {method}, which are not submitted"
                return
    wanted_scores = scores_document(submission.streams, references, taken).as_json()
    for where, found, wanted in _unequal(scores.as_json(), wanted_scores):
        yield SCORES, _differs(where, found, wanted, "the tables give")


def _references_given(
    submission: Submission, scores: ScoresDocument
) -> dict[str, dict[str, list[int]]] | None:
    """Stream -> reference -> the seeds that the scores rest on; None if they are not 0, 1, 2, ..., so that
    some might have been chosen."""
    given = {}
    for stream in submission.streams:
        references = scores.streams[stream].references if stream in scores.streams else {}
        if set(references) != set(REFERENCE_NAMES):
            return None
        if any(seeds != list(range(len(seeds))) for seeds in references.values()):
            return None
        given[stream] = references
    return given


def _unequal(found: Any, wanted: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place at which two documents differ; numbers may differ by rounding."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            inner = f"{where}.{key}" if where else key
            if key not in found or key not in wanted:
                yield inner, found.get(key), wanted.get(key)
            else:
                yield from _unequal(found[key], wanted[key], inner)
    elif type(found) is float and type(wanted) is float:
        if abs(found - wanted) > max(ABSOLUTE, RELATIVE * abs(wanted)):
            yield where, found, wanted
    elif not same_json(found, wanted):
        yield where, found, wanted


def _differs(where: str, found: Any, wanted: Any, source: str) -> str:
    return f"{as_name(where)} is {printable(repr(found), 80)}; {source} {printable(repr(wanted), 80)}"
