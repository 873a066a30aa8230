"""From what the user asked for to cells on disk: configuration, hash, folder names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.plugins import line_of
from plasticity_bench.registry.choices import Chosen, choose_method, choose_stream, with_learning_rate
from plasticity_bench.registry.settings import LEARNING_RATE
from plasticity_bench.specs import NetworkSpec, check_acting
from plasticity_bench.storage.files import sha256


@dataclass(frozen=True)
class CellPlan:
    """A (stream, method) to train. Strings only, so that it travels to worker processes."""

    stream: str  # as ``choose_stream`` reads it
    method: str  # as ``choose_method`` reads it
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)  # from --set, for the method
    tuning: str = field(default="", compare=False)  # the table of the sweep that chose the settings, as JSON

    def chosen(self) -> tuple[Chosen, Chosen]:
        """(stream, method). Raises InputError for unknown names and bad settings."""
        return choose_stream(self.stream), choose_method(self.method, self.settings)


def configuration(stream: Chosen, method: Chosen) -> dict[str, Any]:
    """Everything that a score depends on: the cell's config.json without the protocol number.

    Raises InputError where settings do not go together.
    """
    from plasticity_bench.tasks.base import ControlStream

    made, info = stream.make(), stream.cls.info
    optimizer = with_learning_rate(made, method)
    network = _network(method, made.network)
    if isinstance(made, ControlStream):
        check_acting(network, method.label)
    return {
        "stream": {
            "name": info.name,
            "version": info.version,
            "label": stream.label,
            "summary": info.summary,
            "source": info.source,
            "settings": dict(stream.settings),
            "tasks": made.tasks,
            "steps": made.steps,
            "batch": made.batch,
            "chance": info.chance,
            "score": info.score,
            "warmup_tasks": info.warmup_tasks,
            "unit": info.unit,
            **({"digest": stream.digest} if stream.digest else {}),
        },
        "method": {
            "name": method.cls.info.name,
            "version": method.cls.info.version,
            "label": method.label,
            "summary": method.cls.info.summary,
            "paper": method.cls.info.citation,
            "task_boundaries": method.cls.info.task_boundaries,
            "settings": dict(method.settings),
            "source": method.source,
            "digest": method.digest,
        },
        "network": network.recorded(),
        "optimizer": optimizer.recorded(),
        **({"ppo": asdict(made.ppo)} if isinstance(made, ControlStream) else {}),
    }


def _network(method: Chosen, spec: NetworkSpec) -> NetworkSpec:
    """The architecture that the method makes of the stream's. Raises RunFailed where its code fails."""
    try:
        network = method.make().network(spec)
    except (InputError, RunFailed):
        raise
    except Exception as error:  # a plug-in's
        line = line_of(error, method.source.partition(":")[0])
        raise RunFailed(f"{method.label}: network() failed: {type(error).__name__}: {error}{line}") from error
    if not isinstance(network, NetworkSpec):
        raise RunFailed(f"{method.label}: network() returned {type(network).__name__}, not a NetworkSpec")
    return network


def stream_folder(stream: Chosen) -> str:
    """``permuted-digits-v1``, with ``_key=value`` for every setting that differs from the default."""
    info = stream.cls.info
    changed = stream.label.removeprefix(info.name).removeprefix(":")
    name = re.sub(r"[^\w.+-]+", ".", info.name)  # Avalanche's hold a colon
    return f"{name}-v{info.version}" + (f"_{changed.replace(',', '_')}" if changed else "")


def method_folder(method: Chosen) -> str:
    """``syre-1a2b3c4d``: the hash covers the settings, the method's version and a plug-in's source."""
    info = method.cls.info
    return recorded_folder(
        {
            "name": info.name,
            "version": info.version,
            "settings": method.settings,
            "source": method.source,
            "digest": method.digest,
        }
    )


def recorded_folder(method: Mapping[str, Any]) -> str:
    """``method_folder`` of a method as config.json holds it."""
    settings = method["settings"].items()
    identity = [
        method["name"],
        method["version"],
        {key: value for key, value in settings if key != LEARNING_RATE or value is not None},
        method["source"],
        method["digest"],
    ]
    return f"{method['name']}-{sha256(json.dumps(identity, sort_keys=True).encode())[:8]}"
