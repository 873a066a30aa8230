"""The JSON documents of a submission, method.json and scores.json. Both are computed from the records."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from plasticity_bench.records.documents import (
    Hardware,
    MethodRecord,
    Seconds,
    Setting,
    Sha256,
    Value,
    Versions,
)
from plasticity_bench.storage.documents import Document

#: Raised when the meaning of method.json or scores.json changes.
SCHEMA = 3


class Submitter(Document, frozen=True):
    """Who submits. Both entries are optional."""

    name: str = ""
    link: str = ""


class TuningSummary(Document, frozen=True):
    """What a sweep cost."""

    objective: str
    budget: int
    seeds: int
    seconds: Seconds


class StreamEntry(Document, frozen=True):
    """The entry of one stream in method.json."""

    cell: str  # name of the cell's folder
    seeds: list[int]
    settings: dict[str, Setting] | UnsetType = UNSET  # what the sweep chose
    tuning: TuningSummary | UnsetType = UNSET


class Environment(Document, frozen=True):
    """Device, hardware and versions with which seeds were trained."""

    device: str
    hardware: Hardware
    versions: Versions


class MethodDocument(Document, frozen=True):
    """method.json: what was run, by whom, on which streams and seeds."""

    schema: int
    protocol: int
    name: str  # the submission's folder
    method: MethodRecord  # if tuned, without the settings that were searched
    tuned: bool  # whether sweeps chose the settings
    search_space: dict[str, list[Value]]
    submitter: Submitter
    streams: dict[str, StreamEntry]  # stream's folder -> entry
    environments: list[Environment]
    files: dict[str, Sha256]  # every other file but scores.json


class MetricScores(Document, frozen=True):
    """One metric on one stream: its estimate over seeds, the 95% interval, and every seed's value."""

    point: float | None
    low: float | None
    high: float | None
    n: int  # seeds for which the metric is defined
    per_seed: dict[str, float | None]


class ReferenceSeeds(Document, frozen=True):
    """The seeds of the references that the scores on one stream depend on."""

    trained: list[int]  # of `none`, with whose training times the cost is computed
    twins: dict[str, list[int]]  # reference's submission -> seeds whose fresh twins the level may need


class ReferenceScores(ReferenceSeeds, frozen=True):
    """All metrics on one stream, and the seeds of the references that they depend on."""

    metrics: dict[str, MetricScores]


class ScoresDocument(Document, frozen=True):
    """scores.json: every metric, computed from the tables."""

    schema: int
    protocol: int
    streams: dict[str, ReferenceScores]
