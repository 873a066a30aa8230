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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import PROTOCOL, Cell
from plasticity_bench.records.tables import Table
from plasticity_bench.scoring.metrics import METRICS, MeasuredCell, measure_tables, seed_metrics
from plasticity_bench.scoring.references import REFERENCE_OF
from plasticity_bench.scoring.scores import CellScores
from plasticity_bench.storage.untrusted import MAX_JSON, Refused, parse_object, read_file

#: Raised when the meaning of method.json or scores.json changes.
SCHEMA = 2
METHOD, SCORES, RECORDS, SOURCE = "method.json", "scores.json", "records", "source"
#: Of a seed's .json, what method.json says of how the submission was run.
ENVIRONMENT = ("device", "hardware", "versions")
#: The references are submissions of their own, under these names.
REFERENCE_NAMES = tuple(sorted(set(REFERENCE_OF.values())))
#: Significant digits of a score.
DIGITS = 9


@dataclass(frozen=True, eq=False)
class Evidence:
    """One cell with everything recorded in it: seed -> table, and seed -> how it was run."""

    cell: Cell
    tables: Mapping[int, Table]
    origins: Mapping[int, Mapping[str, Any]]

    def measured(self, seeds: Iterable[int] | None = None) -> MeasuredCell:
        """What scores need, of all seeds or of these."""
        chosen = sorted(self.tables if seeds is None else seeds)
        tables = {seed: self.tables[seed] for seed in chosen}
        return measure_tables(self.cell, tables, [self.origins[seed] for seed in chosen])


#: Stream folder -> the evidence of one method.
Streams = Mapping[str, Evidence]


@dataclass(frozen=True)
class Submitter:
    """Who submits, as far as they say."""

    name: str = ""
    link: str = ""


@dataclass(frozen=True, eq=False)
class Submission:
    """What a submission's folder holds, read."""

    folder: Path
    streams: Streams
    method: Mapping[str, Any] = field(default_factory=dict)  # method.json
    scores: Mapping[str, Any] = field(default_factory=dict)  # scores.json
    digests: Mapping[str, str] = field(default_factory=dict)  # name of a file -> SHA-256

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def recorded(self) -> Mapping[str, Any]:
        """The method as its first cell has it: see ``method_of_cell``."""
        return method_of_cell(self.streams[min(self.streams)].cell)

    @property
    def label(self) -> str:
        """What the leaderboard calls it: ``l2:strength=0.01``, ``l2 (tuned)``."""
        return str(self.recorded["label"])

    @property
    def tuned(self) -> bool:
        """Whether its settings come from sweeps."""
        return any(evidence.cell.tuning for evidence in self.streams.values())


def read_evidence(cell: Cell, seeds: Sequence[int] | None = None) -> Evidence:
    """Everything recorded in a cell, or these seeds of it. Raises InputError where it is damaged."""
    chosen = cell.seeds() if seeds is None else seeds
    return Evidence(
        cell, {seed: cell.table(seed) for seed in chosen}, {seed: cell.provenance(seed) for seed in chosen}
    )


def method_of_cell(cell: Cell) -> dict[str, Any]:
    """What is the same on all streams of a submission: the method of config.json; of a tuned one under the
    label of its scores, without the settings that were searched."""
    method = dict(cell.config["method"])
    if cell.tuning:
        searched = cell.tuning["space"]
        kept = {name: value for name, value in method["settings"].items() if name not in searched}
        method |= {"label": cell.method, "settings": kept}
    return method


def _stream_entry(evidence: Evidence) -> dict[str, Any]:
    """What method.json says of one stream; of a tuned one also what was chosen, and what that cost."""
    cell = evidence.cell
    entry: dict[str, Any] = {"cell": cell.path.name, "seeds": sorted(evidence.tables)}
    if cell.tuning:
        settings, rows = cell.config["method"]["settings"], cell.tuning["configurations"]
        entry["settings"] = {name: settings[name] for name in cell.tuning["space"]}
        entry["tuning"] = {
            "objective": cell.tuning["objective"],
            "budget": cell.tuning["budget"],
            "seeds": len(cell.tuning["seeds"]),
            "seconds": round(math.fsum(row["seconds"] for row in rows), 3),
        }
    return entry


def method_document(
    name: str,
    streams: Streams,
    digests: Mapping[str, str],
    search_space: Mapping[str, Sequence[float]],
    submitter: Submitter,
) -> dict[str, Any]:
    """method.json. ``digests``: the SHA-256 of every other file but scores.json, by its relative name."""
    first = streams[min(streams)].cell
    environments = {
        json.dumps({key: origin.get(key) for key in ENVIRONMENT}, sort_keys=True)
        for evidence in streams.values()
        for origin in evidence.origins.values()
    }
    return {
        "schema": SCHEMA,
        "protocol": PROTOCOL,
        "name": name,
        "method": method_of_cell(first),
        "tuned": first.tuning is not None,  # whether sweeps chose the settings
        "search_space": {key: list(values) for key, values in search_space.items()},
        "submitter": {"name": submitter.name, "link": submitter.link},
        "streams": {stream: _stream_entry(evidence) for stream, evidence in streams.items()},
        "environments": [json.loads(text) for text in sorted(environments)],
        "files": dict(digests),
    }


def scores_document(
    streams: Streams, references: Mapping[str, Streams], seeds: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """scores.json: every metric of every stream with its interval and every seed's value.

    ``references``: the evidence of `none` and `reset`. Which of their seeds a score rests on is written
    down, so that it can be computed again after they have got more; ``seeds`` says which to take (stream ->
    method -> seeds), all where it is None.
    """
    found: dict[str, Any] = {}
    for stream, evidence in streams.items():
        taken = {}
        for method, theirs in references.items():
            if stream in theirs:
                recorded = sorted(theirs[stream].tables)
                chosen = recorded if seeds is None else [s for s in seeds[stream][method] if s in recorded]
                taken[method] = theirs[stream].measured(chosen)
        own = evidence.measured()
        scores = CellScores(own.cell, own.seeds, own.curves, *seed_metrics(own, taken))
        found[stream] = {
            "references": {
                name: list(taken[name].seeds) if name in taken else [] for name in REFERENCE_NAMES
            },
            "metrics": {metric: _metric(scores, metric) for metric in METRICS},
        }
    return {"schema": SCHEMA, "protocol": PROTOCOL, "streams": found}


def references_of(streams: Streams, others: Mapping[str, Streams]) -> dict[str, Streams]:
    """The references for these streams: among ``others`` (submission's name -> evidence), or itself."""
    label = streams[min(streams)].cell.method
    found = {name: others[name] for name in REFERENCE_NAMES if name in others}
    return found | ({label: streams} if label in REFERENCE_NAMES else {})


def read_submitters(submissions: Path) -> dict[str, Submitter]:
    """Method's label -> who submitted it, of a folder of submissions; empty where it is none.

    Raises InputError where a method.json is damaged.
    """
    found = {}
    for path in sorted(submissions.glob(f"*/{METHOD}")):
        try:
            document = parse_object(read_file(path, MAX_JSON))
            found[str(document["method"]["label"])] = Submitter(**document["submitter"])
        except (Refused, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged: {error}; see leaderboard --verify") from None
    return found


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """The document as it is written: equal values are equal bytes."""
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def in_own_words(cell: Cell) -> Cell:
    """The cell with the texts on built-in streams and methods that this version has, whatever its own
    config.json says of them. Raises InputError where its stream is not known."""
    from plasticity_bench.registry.catalog import METHODS
    from plasticity_bench.registry.choices import choose_method, choose_stream

    stream, method = dict(cell.config["stream"]), dict(cell.config["method"])
    info = choose_stream(stream["name"]).cls.info
    stream |= {"summary": info.summary, "source": info.source}
    if method["source"] == "builtin" and set(method["name"].split("+")) <= METHODS.keys():
        info = choose_method(method["name"]).cls.info
        method |= {"summary": info.summary, "paper": info.paper}
    return replace(cell, config={**cell.config, "stream": stream, "method": method})


def _metric(scores: CellScores, metric: str) -> dict[str, Any]:
    interval = scores.summary[metric]._asdict()
    return {
        **{name: _rounded(value) for name, value in interval.items()},
        "n": int(scores.defined[metric].sum()),
        "per_seed": {str(seed): _rounded(value) for seed, value in scores.by_seed(metric).items()},
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
