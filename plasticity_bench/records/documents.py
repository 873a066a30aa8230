"""The JSON documents that a run leaves: config.json, seed-NNN.json and tuning.json.

Each is one class, which writes, reads and verifies it. ``Document.to_bytes`` gives the bytes of the file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from plasticity_bench.errors import InputError
from plasticity_bench.specs import NetworkSpec, OptimizerSpec, PPOSpec
from plasticity_bench.storage.documents import Document, DocumentT, Setting, convert, shown
from plasticity_bench.storage.files import cannot_read
from plasticity_bench.storage.untrusted import Refused, parse_object

#: Increased when the meaning of a record changes (columns, metrics, random streams).
PROTOCOL = 1
#: Increased when the meaning of tuning.json changes.
TUNING_SCHEMA = 1
#: Entries of config.json that are descriptions; records stay valid if their wording changes.
DESCRIPTIONS = frozenset({"summary", "paper", "source"})

Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
#: Processes, threads and seeds that one machine can have.
Count = Annotated[int, Meta(ge=1, le=100_000)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
#: Type of the values of a setting that a sweep searches.
Value = bool | int | float | str


class StreamRecord(Document, frozen=True):
    """The stream of a cell, as config.json holds it."""

    name: str
    version: int
    label: str  # the name, and the settings that differ from the defaults
    summary: str
    source: str  # citation
    settings: dict[str, Setting]
    tasks: Positive
    steps: Positive  # updates per task; of an agent that acts, environment steps of one seed
    batch: Positive
    chance: float  # performance without learning
    score: str  # the column that is scored
    warmup_tasks: NotNegative
    unit: str  # of that column: "accuracy", "R2" or "return"
    digest: Sha256 | UnsetType = UNSET  # of a benchmark's source file, if it is the user's


class MethodRecord(Document, frozen=True):
    """The method of a cell, as config.json holds it."""

    name: str
    version: int
    label: str  # the name, and the settings that differ from the defaults
    summary: str
    paper: str
    task_boundaries: bool
    settings: dict[str, Setting]
    source: str  # "builtin", file.py:Class or package.module:Class
    digest: str  # SHA-256 of a plug-in's source; empty for a built-in


class CellConfig(Document, frozen=True):
    """config.json: everything that the tables of a cell depend on, apart from the seed."""

    protocol: int
    stream: StreamRecord
    method: MethodRecord
    network: NetworkSpec
    optimizer: OptimizerSpec
    ppo: PPOSpec | UnsetType = UNSET  # only if the agent acts

    @property
    def acts(self) -> bool:
        """Whether the stream trains an agent that acts."""
        return self.ppo is not UNSET

    def as_json(self) -> dict[str, Any]:
        """The document as plain values. The specs leave out newer fields that have their default."""
        plain: dict[str, Any] = {
            "protocol": self.protocol,
            "stream": self.stream.as_json(),
            "method": self.method.as_json(),
        }
        plain |= {"network": self.network.recorded(), "optimizer": self.optimizer.recorded()}
        return plain if isinstance(self.ppo, UnsetType) else plain | {"ppo": self.ppo.recorded()}


class Versions(
    Document, frozen=True, rename={"scikit_learn": "scikit-learn", "avalanche_lib": "avalanche-lib"}
):
    """Versions of the packages that a run's numbers may depend on; None: not installed."""

    python: str
    torch: str
    numpy: str
    plasticity_bench: str
    scikit_learn: str | UnsetType | None = UNSET
    avalanche_lib: str | UnsetType | None = UNSET
    pybullet: str | UnsetType | None = UNSET
    gymnasium: str | UnsetType | None = UNSET


class Hardware(Document, frozen=True):
    """The machine that a seed was trained on."""

    machine: str  # as platform.machine() names it: x86_64
    cpu: str  # the instruction set that torch uses: AVX2
    accelerator: str | None  # name of the GPU


class Origin(Document, frozen=True):
    """How a seed was trained."""

    protocol: int
    device: Annotated[str, Meta(pattern=r"\A(cpu|cuda(:\d{1,3})?)\Z")]
    stack: Count  # seeds that trained together
    threads: Count
    seconds: Seconds  # training time of this seed; processor time on a CPU
    finished: Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]
    git: Annotated[str, Meta(pattern=r"\A[0-9a-f]{7,64}\+?\Z")] | None  # revision; +: with changes
    versions: Versions
    hardware: Hardware
    precision: str | UnsetType = UNSET
    slurm_job: Annotated[str, Meta(pattern=r"\A\d{1,12}(_\d{1,9})?\Z")] | UnsetType = UNSET
    captured: bool | UnsetType = UNSET  # on a GPU: whether updates were replayed from a graph,
    replayed: NotNegative | UnsetType = UNSET  # how many,
    not_captured: str | UnsetType = UNSET  # and why not all


class SeedRecord(Origin, frozen=True, kw_only=True):
    """seed-NNN.json. It is written last and holds the checksum of the table."""

    seed: NotNegative
    sha256: Sha256  # of seed-NNN.csv


class TriedConfiguration(Document, frozen=True):
    """One configuration of a sweep."""

    settings: dict[str, str]  # as on the command line; empty: the default
    label: str
    cell: str  # name of the cell's folder
    score: float | None  # mean over the seeds; None if one of them is nan
    per_seed: list[float | None]  # in the order of the sweep's seeds
    seconds: Seconds


class SweepTable(Document, frozen=True):
    """tuning.json: a sweep of one method on one stream, and which configuration it chose."""

    schema: int
    stream: str  # name of the stream's folder
    method: str  # label of the method with the settings that the sweep does not change
    objective: str
    budget: Positive
    design: NotNegative
    seeds: list[NotNegative]
    space: dict[str, list[Value]]  # values searched, in ascending order
    chosen: NotNegative  # index into configurations
    configurations: list[TriedConfiguration]

    @property
    def choice(self) -> TriedConfiguration:
        """The chosen configuration."""
        return self.configurations[self.chosen]


def read_document(path: Path, kind: type[DocumentT], advice: str) -> DocumentT:
    """A document of a cell: config.json, seed-NNN.json or tuning.json.

    Raises InputError if it is missing, damaged (then the message ends with ``advice``) or of another protocol
    version.
    """
    try:
        found = parse_object(path.read_bytes())
        if "protocol" in found and found["protocol"] != PROTOCOL:
            raise InputError(
                f"{path} follows protocol {shown(found['protocol'])}, this version reads protocol "
                f"{PROTOCOL}; use a version that wrote it, or choose another --runs folder"
            )
        return convert(found, kind)
    except OSError as error:
        restore = f"restore it: is it there under another name, or in a copy of {path.parent}?"
        raise cannot_read(path, error, restore) from error
    except Refused as error:
        raise InputError(f"{path} is damaged ({error}); {advice}") from error


def utc_now() -> str:
    """The time as ``Origin.finished`` holds it: ``2026-11-21T20:05:54Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def recorded_identity(method: MethodRecord) -> dict[str, Any]:
    """The entries that are the same in all records of one method: all but the descriptions."""
    kept = DESCRIPTIONS - {"source"}  # a method's source is the file that it came from
    return {name: value for name, value in method.as_json().items() if name not in kept}


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Names of the entries in which two configurations differ, such as ``stream.steps``; descriptions may
    differ."""
    differing = []
    for key in sorted({*found, *expected}):
        ours, theirs = expected.get(key), found.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            names = sorted({*ours, *theirs} - DESCRIPTIONS)
            differing += [f"{key}.{name}" for name in names if ours.get(name) != theirs.get(name)]
        elif ours != theirs:
            differing.append(key)
    return differing
