"""A submission: a folder of text files with all records of one method.

The method has one configuration, or the configurations that its sweeps chose.

    leaderboard/submissions/<name>/method.json   what was run, by whom, on which streams and seeds
                                  /scores.json   every metric, computed from the tables
                                  /records/      tables of seeds, of their fresh twins, and of sweeps,
                                                 laid out as in runs/
                                  /source/*.py   the file of a plug-in method

Both .json files are computed from the rest: equal records give equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import structs

from plasticity_bench.records.cells import TUNED, Cell
from plasticity_bench.records.documents import PROTOCOL, MethodRecord, SeedRecord, Value
from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.metrics import METRICS, MeasuredCell, references_among
from plasticity_bench.scoring.references import PLAIN_LABELS
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.scoring.scoring import scored
from plasticity_bench.submissions.documents import (
    SCHEMA,
    Environment,
    MethodDocument,
    MetricScores,
    ReferenceScores,
    ReferenceSeeds,
    ScoresDocument,
    StreamEntry,
    Submitter,
    TuningSummary,
)

METHOD, SCORES, RECORDS = "method.json", "scores.json", "records"
#: Name of a submission that scores depend on -> its label. Costs need the training times of `none`. The level
#: needs the fresh twins of `none (tuned)`, or of `none` if the former has none.
REFERENCE_NAMES: Mapping[str, str] = {
    label.replace(TUNED_MARK, TUNED): label for label in sorted(PLAIN_LABELS)
}
#: Significant digits of a score.
SUBMITTED_DIGITS = 9


@dataclass(frozen=True, eq=False)
class Evidence:
    """The records of one cell: the columns that scores need, and how each seed was trained."""

    cell: Cell
    measured: MeasuredCell
    origins: Mapping[int, SeedRecord]
    fresh_origins: Mapping[int, SeedRecord]  # of the seeds' fresh twins; empty if they have none

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return self.measured.seeds


#: Stream folder -> the evidence of one method.
Streams = Mapping[str, Evidence]


@dataclass(frozen=True, eq=False)
class Submission:
    """The content of a submission's folder. A document is None if it is missing or damaged."""

    folder: Path
    streams: Streams
    method: MethodDocument | None = None
    scores: ScoresDocument | None = None
    digests: Mapping[str, str] = field(default_factory=dict)  # name of a file -> SHA-256
    sources: Mapping[str, bytes] = field(default_factory=dict)  # name of a plug-in's file -> content

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def recorded(self) -> MethodRecord:
        """The method of the first cell: see ``method_of_cell``."""
        return method_of_cell(self.streams[min(self.streams)].cell)

    @property
    def label(self) -> str:
        """Its name on the leaderboard, such as ``l2:strength=0.01`` or ``l2 (tuned)``."""
        return self.recorded.label

    @property
    def tuned(self) -> bool:
        """Whether sweeps chose its settings."""
        return any(evidence.cell.tuning for evidence in self.streams.values())


def method_of_cell(cell: Cell) -> MethodRecord:
    """What is the same on all streams of a submission: the method in config.json.

    In a tuned submission it has the label of its scores, and lacks the settings that were searched.
    """
    method = cell.config.method
    if not cell.tuning:
        return method
    kept = {name: value for name, value in method.settings.items() if name not in cell.tuning.space}
    return structs.replace(method, label=cell.method, settings=kept)


def _stream_entry(evidence: Evidence) -> StreamEntry:
    """The entry of one stream in method.json, with what the sweep chose and cost if there was one."""
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
    """Makes method.json.

    ``digests``: relative name -> SHA-256 of every other file but scores.json.
    """
    first = streams[min(streams)].cell
    environments = {
        Environment(origin.device, origin.hardware, origin.versions)
        for evidence in streams.values()
        for origin in (*evidence.origins.values(), *evidence.fresh_origins.values())
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
    taken: Mapping[str, ReferenceSeeds] | None = None,
) -> ScoresDocument:
    """Makes scores.json: every metric of every stream with its interval and every seed's value.

    The document lists the seeds of the references that a score depends on, so that the score can be computed
    again after the references have got more seeds.

    Args:
        streams: the submission's evidence.
        references: the evidence of the submissions in ``REFERENCE_NAMES``.
        taken: stream -> the seeds of the references to use. None: all.
    """
    found = {}
    for stream, evidence in streams.items():
        recorded = {name: theirs[stream].measured for name, theirs in references.items() if stream in theirs}
        wanted = seeds_of_references(recorded) if taken is None else taken[stream]
        limited = [_limited(entry, name, wanted) for name, entry in recorded.items()]
        scores = scored(evidence.measured, references_among(limited))
        metrics = {metric: _metric(scores, metric) for metric in METRICS}
        found[stream] = ReferenceScores(wanted.trained, wanted.twins, metrics)
    return ScoresDocument(SCHEMA, PROTOCOL, found)


def seeds_of_references(recorded: Mapping[str, MeasuredCell]) -> ReferenceSeeds:
    """All seeds of the references on a stream; ``recorded``: submission's name -> its cell."""
    none = recorded.get("none")
    twins = {name: list(recorded[name].twins.seeds) if name in recorded else [] for name in REFERENCE_NAMES}
    return ReferenceSeeds(list(none.seeds) if none else [], twins)


def _limited(entry: MeasuredCell, name: str, wanted: ReferenceSeeds) -> MeasuredCell:
    """The reference with the wanted seeds and fresh twins only."""
    kept = entry.of([seed for seed in wanted.trained if seed in entry.seeds] if name == "none" else [])
    twins = [seed for seed in wanted.twins[name] if seed in entry.twins.seeds]
    return replace(kept, twins=entry.twins.of(twins))


def references_of(streams: Streams, others: Mapping[str, Streams]) -> dict[str, Streams]:
    """The references for these streams: name -> evidence.

    They come from ``others`` (submission's name -> evidence). A reference is also its own reference.
    """
    label = streams[min(streams)].cell.method
    found = {name: others[name] for name in REFERENCE_NAMES if name in others}
    return found | {name: streams for name, own in REFERENCE_NAMES.items() if own == label}


def with_current_descriptions(cell: Cell) -> Cell:
    """The cell with this version's descriptions of built-in streams and methods.

    They replace those in its config.json, which a stranger may have written.

    Raises:
        InputError: if its stream is not known.
    """
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
    return float(f"{value:.{SUBMITTED_DIGITS}g}") if math.isfinite(value) else None
