"""A submission: one method, at one configuration or at those that its sweeps chose, with everything
recorded of it, in a folder of plain text.

    leaderboard/submissions/<name>/method.json   what was run, by whom, on which streams and seeds
                                  /scores.json   every metric, as it follows from the tables
                                  /records/      the tables, laid out as in runs/, sweeps' tables beside them
                                  /source/*.py   the file of a plug-in method

Both .json files follow from the rest: equal records give equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import structs

from plasticity_bench.records.cells import Cell
from plasticity_bench.records.documents import PROTOCOL, MethodRecord, SeedRecord, Value
from plasticity_bench.scoring.metrics import METRICS, MeasuredCell, seed_metrics
from plasticity_bench.scoring.references import REFERENCE_OF
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.submissions.documents import (
    SCHEMA,
    Environment,
    MethodDocument,
    MetricScores,
    ReferenceScores,
    ScoresDocument,
    StreamEntry,
    Submitter,
    TuningSummary,
)

METHOD, SCORES, RECORDS = "method.json", "scores.json", "records"
#: The references are submissions of their own, under these names.
REFERENCE_NAMES = tuple(sorted(set(REFERENCE_OF.values())))
#: Significant digits of a score.
SCORE_DIGITS = 9


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is recorded in one cell: what its tables hold that scores need, and how each seed was trained."""

    cell: Cell
    measured: MeasuredCell
    origins: Mapping[int, SeedRecord]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return self.measured.seeds


#: Stream folder -> the evidence of one method.
Streams = Mapping[str, Evidence]


@dataclass(frozen=True, eq=False)
class Submission:
    """What a submission's folder holds, read. A document is None if it is missing or damaged."""

    folder: Path
    streams: Streams
    method: MethodDocument | None = None
    scores: ScoresDocument | None = None
    digests: Mapping[str, str] = field(default_factory=dict)  # name of a file -> SHA-256
    sources: Mapping[str, bytes] = field(default_factory=dict)  # name of a plug-in's file -> its content

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def recorded(self) -> MethodRecord:
        """The method as its first cell has it: see ``method_of_cell``."""
        return method_of_cell(self.streams[min(self.streams)].cell)

    @property
    def label(self) -> str:
        """What the leaderboard calls it: ``l2:strength=0.01``, ``l2 (tuned)``."""
        return self.recorded.label

    @property
    def tuned(self) -> bool:
        """Whether its settings come from sweeps."""
        return any(evidence.cell.tuning for evidence in self.streams.values())


def method_of_cell(cell: Cell) -> MethodRecord:
    """What is the same on all streams of a submission: the method of config.json; of a tuned one under the
    label of its scores, without the settings that were searched."""
    method = cell.config.method
    if not cell.tuning:
        return method
    kept = {name: value for name, value in method.settings.items() if name not in cell.tuning.space}
    return structs.replace(method, label=cell.method, settings=kept)


def _stream_entry(evidence: Evidence) -> StreamEntry:
    """What method.json says of one stream; of a tuned one also what was chosen, and what that cost."""
    cell = evidence.cell
    entry = StreamEntry(cell.path.name, list(evidence.seeds))
    if not (tuning := cell.tuning):
        return entry
    return structs.replace(
        entry,
        settings={name: cell.config.method.settings[name] for name in tuning.space},
        tuning=TuningSummary(
            objective=tuning.objective,
            budget=tuning.budget,
            seeds=len(tuning.seeds),
            seconds=round(math.fsum(row.seconds for row in tuning.configurations), 3),
        ),
    )


def method_document(
    name: str,
    streams: Streams,
    digests: Mapping[str, str],
    search_space: Mapping[str, Sequence[Value]],
    submitter: Submitter,
) -> MethodDocument:
    """method.json. ``digests``: the SHA-256 of every other file but scores.json, by its relative name."""
    first = streams[min(streams)].cell
    environments = {
        Environment(origin.device, origin.hardware, origin.versions)
        for evidence in streams.values()
        for origin in evidence.origins.values()
    }
    return MethodDocument(
        schema=SCHEMA,
        protocol=PROTOCOL,
        name=name,
        method=method_of_cell(first),
        tuned=first.tuning is not None,
        search_space={key: list(values) for key, values in search_space.items()},
        submitter=submitter,
        streams={stream: _stream_entry(evidence) for stream, evidence in streams.items()},
        environments=sorted(environments, key=lambda each: json.dumps(each.as_json(), sort_keys=True)),
        files=dict(digests),
    )


def scores_document(
    streams: Streams,
    references: Mapping[str, Streams],
    seeds: Mapping[str, Mapping[str, Sequence[int]]] | None = None,
) -> ScoresDocument:
    """scores.json: every metric of every stream with its interval and every seed's value.

    ``references``: the evidence of `none` and `reset`. The document says which of their seeds a score rests
    on, so that it can be computed again after they have got more. ``seeds`` says which to take (stream ->
    method -> seeds); None: all.
    """
    found = {}
    for stream, evidence in streams.items():
        taken = {}
        for method, theirs in references.items():
            if stream in theirs:
                recorded = theirs[stream].measured
                wanted = recorded.seeds if seeds is None else seeds[stream][method]
                taken[method] = recorded.of([seed for seed in wanted if seed in recorded.seeds])
        own = evidence.measured
        scores = CellScores(own.cell, own.seeds, own.curves, *seed_metrics(own, taken))
        names = {name: list(taken[name].seeds) if name in taken else [] for name in REFERENCE_NAMES}
        found[stream] = ReferenceScores(names, {metric: _metric(scores, metric) for metric in METRICS})
    return ScoresDocument(SCHEMA, PROTOCOL, found)


def references_of(streams: Streams, others: Mapping[str, Streams]) -> dict[str, Streams]:
    """The references for these streams: among ``others`` (submission's name -> evidence), or itself."""
    label = streams[min(streams)].cell.method
    found = {name: others[name] for name in REFERENCE_NAMES if name in others}
    return found | ({label: streams} if label in REFERENCE_NAMES else {})


def in_own_words(cell: Cell) -> Cell:
    """The cell with the texts on built-in streams and methods that this version has, whatever its own
    config.json says of them. Raises InputError if its stream is not known."""
    from plasticity_bench.registry.catalog import METHODS
    from plasticity_bench.registry.choices import choose_method, choose_stream

    stream, method = cell.config.stream, cell.config.method
    about = choose_stream(stream.name).cls.info
    stream = structs.replace(stream, summary=about.summary, source=about.source)
    if method.source == "builtin" and set(method.name.split("+")) <= METHODS.keys():
        info = choose_method(method.name).cls.info
        method = structs.replace(method, summary=info.summary, paper=info.citation)
    return replace(cell, config=structs.replace(cell.config, stream=stream, method=method))


def _metric(scores: CellScores, metric: str) -> MetricScores:
    point, low, high = (_rounded(value) for value in scores.summary[metric])
    values = {str(seed): _rounded(value) for seed, value in scores.by_seed(metric).items()}
    return MetricScores(point, low, high, int(scores.defined[metric].sum()), values)


def _rounded(value: float) -> float | None:
    return float(f"{value:.{SCORE_DIGITS}g}") if math.isfinite(value) else None
