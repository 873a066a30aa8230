"""Checks method.json and scores.json of a submission against its tables. Every score is computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plasticity_bench.storage.untrusted import printable, same_json
from plasticity_bench.submissions.check_tuning import within_space
from plasticity_bench.submissions.documents import ReferenceSeeds, ScoresDocument
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

#: Relative and absolute tolerance between a submitted score and the recomputed one: scores are written with
#: nine digits, and libraries round sums differently.
RELATIVE, ABSOLUTE = 1e-7, 1e-9


class Checked(NamedTuple):
    """A submission whose documents are to be checked, and the references that its scores depend on."""

    submission: Submission
    references: Mapping[str, Streams]


def check_documents(item: Checked) -> list[tuple[str, str]]:
    """(file, reason) for every difference between the two documents and what the tables give."""
    return list(_differences(*item))


def _differences(submission: Submission, references: Mapping[str, Streams]) -> Iterator[tuple[str, str]]:
    given, scores = submission.method, submission.scores
    if given is None or scores is None:
        return  # the reader has reported the missing or damaged document
    made = method_document(
        submission.name,
        submission.streams,
        submission.digests,
        given.search_space,
        given.submitter,
    )
    for key, found, wanted in _unequal(given.as_json(), made.as_json()):
        yield METHOD, _differs(key, found, wanted, "the records say")
    for stream, evidence in submission.streams.items():
        if evidence.cell.tuning and not within_space(evidence.cell.tuning, given.search_space):
            yield METHOD, f"search_space is not the one of the sweep on {stream}, less the learning rate"
    taken = _references_given(submission, scores)
    if taken is None:
        yield SCORES, "does not say which seeds of the references its scores rest on"
        return
    for stream, named in taken.items():
        for method, what, lacking in _not_submitted(stream, named, references):
            yield SCORES, f"{stream} rests on {what} {lacking} of {method}, which are not submitted"
            return
    wanted_scores = scores_document(submission.streams, references, taken).as_json()
    for key, found, wanted in _unequal(scores.as_json(), wanted_scores):
        yield SCORES, _differs(key, found, wanted, "the tables give")


def _references_given(submission: Submission, scores: ScoresDocument) -> dict[str, ReferenceSeeds] | None:
    """Stream -> the seeds of the references that the scores depend on.

    None if they are not 0, 1, 2, ...: a submitter could have picked favourable ones.
    """
    given = {}
    for stream in submission.streams:
        if stream not in scores.streams:
            return None
        named = scores.streams[stream]
        if set(named.twins) != set(REFERENCE_NAMES):
            return None
        if any(seeds != list(range(len(seeds))) for seeds in (named.trained, *named.twins.values())):
            return None
        given[stream] = ReferenceSeeds(named.trained, named.twins)
    return given


def _not_submitted(
    stream: str, named: ReferenceSeeds, references: Mapping[str, Streams]
) -> Iterator[tuple[str, str, list[int]]]:
    """(reference, what of it, seeds) for named seeds that the references do not hold on this stream."""
    wanted = [("none", "seeds", named.trained)]
    wanted += [(name, "the fresh twins of seeds", seeds) for name, seeds in named.twins.items()]
    for name, what, seeds in wanted:
        evidence = references.get(name, {}).get(stream)
        held: tuple[int, ...] = ()
        if evidence:
            held = evidence.seeds if what == "seeds" else evidence.measured.twins.seeds
        if lacking := sorted(set(seeds) - set(held)):
            yield name, what, lacking


def _unequal(found: Any, wanted: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, found, wanted) of every entry that differs; numbers may differ by rounding."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            inner = f"{prefix}.{key}" if prefix else key
            if key not in found or key not in wanted:
                yield inner, found.get(key), wanted.get(key)
            else:
                yield from _unequal(found[key], wanted[key], inner)
    elif type(found) is float and type(wanted) is float:
        if abs(found - wanted) > max(ABSOLUTE, RELATIVE * abs(wanted)):
            yield prefix, found, wanted
    elif not same_json(found, wanted):
        yield prefix, found, wanted


def _differs(key: str, found: Any, wanted: Any, source: str) -> str:
    return f"{as_name(key)} is {printable(repr(found), 80)}; {source} {printable(repr(wanted), 80)}"
