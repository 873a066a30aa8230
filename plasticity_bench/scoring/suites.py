"""The aggregates over the recorded streams of every suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plasticity_bench.registry.catalog import SUITES
from plasticity_bench.scoring.ranking import Group, groups
from plasticity_bench.scoring.scores import CAP, AggregateRow, Scores, StreamScores
from plasticity_bench.scoring.scoring import aggregate_streams


@dataclass(frozen=True, eq=False)
class SuiteScores:
    """The aggregate over the recorded streams of a suite; ``whole``: whether all its streams are recorded."""

    members: tuple[int, ...]  # indices of its streams among the recorded ones
    whole: bool
    groups: tuple[Group[AggregateRow], ...]
    notes: tuple[str, ...]


def suite_scores(scores: Scores) -> dict[str, SuiteScores]:
    """Suite -> its aggregate, for every suite that has a recorded stream. Slow: compute it once."""
    streams = [stream for stream in scores.streams if stream.rows]
    found = {}
    for name, members in recorded_suites(streams).items():
        if len(members) == len(streams):
            compared, notes = scores.groups, scores.notes
        else:
            rows, notes = aggregate_streams([streams[i] for i in members])
            compared = groups(rows, CAP)
        whole = len(members) == len(SUITES[name].streams)
        found[name] = SuiteScores(tuple(members), whole, compared, notes)
    return found


def recorded_suites(streams: Sequence[StreamScores]) -> dict[str, list[int]]:
    """Suite -> indices of its recorded streams; suites without a recorded stream are left out."""
    labels = [_sorted_label(stream.rows[0].cell.config.stream.label) for stream in streams]
    found = {}
    for name, suite in SUITES.items():
        own = {_sorted_label(label) for label in suite.streams}
        if members := [index for index, label in enumerate(labels) if label in own]:
            found[name] = members
    return found


def _sorted_label(label: str) -> tuple[str, ...]:
    name, _, settings = label.partition(":")
    return (name, *sorted(filter(None, settings.split(","))))
