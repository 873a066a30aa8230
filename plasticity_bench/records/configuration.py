"""From a stream and a method that the user chose to a cell: its configuration, hash and folder names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.plugins import error_location
from plasticity_bench.records.documents import PROTOCOL, CellConfig, MethodRecord, StreamRecord, SweepTable
from plasticity_bench.records.names import recorded_stream_folder
from plasticity_bench.registry.choices import Chosen, choose_method, choose_stream
from plasticity_bench.registry.learning_rate import with_learning_rate
from plasticity_bench.registry.settings import LEARNING_RATE, field_defaults
from plasticity_bench.specs import NetworkSpec, check_acting
from plasticity_bench.storage.documents import Setting
from plasticity_bench.storage.files import sha256

if TYPE_CHECKING:
    from plasticity_bench.agents.methods import Method
    from plasticity_bench.tasks.base import Stream


@dataclass(frozen=True)
class CellPlan:
    """A method to train on a stream."""

    stream: Chosen[Stream]
    method: Chosen[Method]
    tuning: SweepTable | None = field(default=None, compare=False)  # the sweep that chose the settings
    sweep: str = ""  # plans of the same sweep may train side by side; empty: of no sweep

    @property
    def label(self) -> str:
        """``syre on permuted-digits``, ``noise (my_method.py:Noise) on permuted-digits``"""
        origin = f" ({self.method.source})" if self.method.digest else ""
        return f"{self.method.label}{origin} on {self.stream.label}"


def plan_cell(stream: str, method: str | type[Method], settings: Mapping[str, str] | None = None) -> CellPlan:
    """The plan for a stream and a method that a user named.

    For the arguments and the errors see ``choose_stream`` and ``choose_method``.
    """
    return CellPlan(choose_stream(stream), choose_method(method, settings))


def configuration(stream: Chosen, method: Chosen) -> CellConfig:
    """Everything that a score depends on: the cell's config.json.

    Raises InputError if settings do not fit together, or if the stream cannot train the method's network.
    """
    from plasticity_bench.tasks.base import ControlStream

    made, info = stream.make(), stream.cls.info
    optimizer = with_learning_rate(made, method)
    network = _network(method, made.network)
    if isinstance(made, ControlStream):
        check_acting(network, method.label)
    recorded = StreamRecord(
        name=info.name,
        version=info.version,
        label=stream.label,
        summary=info.summary,
        source=info.source,
        settings=_without_later(stream.cls, stream.settings),
        tasks=made.tasks,
        steps=made.steps,
        batch=made.batch,
        chance=info.chance,
        score=info.score,
        warmup_tasks=info.warmup_tasks,
        unit=info.unit,
        digest=stream.digest or UNSET,
    )
    ppo = made.ppo if isinstance(made, ControlStream) else UNSET
    return CellConfig(PROTOCOL, recorded, method_record(method), network, optimizer, ppo)


def method_record(method: Chosen) -> MethodRecord:
    """The method as config.json holds it."""
    info = method.cls.info
    return MethodRecord(
        name=info.name,
        version=info.version,
        label=method.label,
        summary=info.summary,
        paper=info.citation,
        task_boundaries=info.task_boundaries,
        settings=_recorded_settings(method),
        source=method.source,
        digest=method.digest,
    )


def _recorded_settings(method: Chosen) -> dict[str, Setting]:
    """The method's settings without those of ``MethodInfo.later`` that have their defaults."""
    if not method.parts:
        return _without_later(method.cls, method.settings)
    kept = {
        f"{part.cls.info.name}.{key}"
        for part in method.parts
        for key in _without_later(part.cls, part.settings)
    }
    return {key: value for key, value in method.settings.items() if key in kept or "." not in key}


def _without_later(cls: type[Method | Stream], settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings without those of ``info.later`` that have their defaults."""
    defaults = field_defaults(cls)
    return {k: v for k, v in settings.items() if k not in cls.info.later or v != defaults[k]}


def _network(method: Chosen, spec: NetworkSpec) -> NetworkSpec:
    """The stream's network as the method changes it. Raises RunFailed if the method's code fails."""
    try:
        network = method.make().network(spec)
    except (InputError, RunFailed):
        raise
    except (Exception, SystemExit) as error:  # in the code of a plug-in
        line = error_location(error, method.files)
        raise RunFailed(f"{method.label}: network() failed: {type(error).__name__}: {error}{line}") from error
    if not isinstance(network, NetworkSpec):
        raise RunFailed(f"{method.label}: network() returned {type(network).__name__}, not a NetworkSpec")
    return network


def stream_folder(stream: Chosen) -> str:
    """``permuted-digits-v1``, with ``_key=value`` for every setting that differs from the default."""
    info = stream.cls.info
    return recorded_stream_folder(info.name, info.version, stream.label)


def method_folder(method: Chosen) -> str:
    """``syre-1a2b3c4d``: see ``recorded_folder``."""
    return recorded_folder(method_record(method))


def recorded_folder(method: MethodRecord) -> str:
    """``syre-1a2b3c4d``: the hash covers the settings, the method's version and a plug-in's source."""
    settings = method.settings.items()
    identity = [
        method.name,
        method.version,
        {key: value for key, value in settings if key != LEARNING_RATE or value is not None},
        method.source,
        method.digest,
    ]
    return f"{method.name}-{sha256(json.dumps(identity, sort_keys=True).encode())[:8]}"


def with_settings(method: MethodRecord, settings: Mapping[str, Setting]) -> MethodRecord:
    """The record with these settings changed."""
    return structs.replace(method, settings={**method.settings, **settings})
