"""What is known of every method, stream and suite, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from plasticity_bench.errors import InputError
from plasticity_bench.registry.catalog import METHODS, STREAMS, SUITES, method_names
from plasticity_bench.registry.choices import choose_method, choose_stream


def describe_methods() -> list[dict[str, Any]]:
    """One entry per method. Of installed plug-ins, which are not imported, only name and summary."""
    return [
        _method(name) if name in METHODS else {"name": name, "summary": f"plug-in {place}"}
        for name, place in method_names().items()
    ]


def _method(name: str) -> dict[str, Any]:
    try:
        chosen = choose_method(name)
    except InputError as error:
        return {"name": name, "summary": str(error)}
    info = chosen.cls.info
    return {
        "name": name,
        "family": info.family,
        "summary": info.summary,
        "papers": [{**asdict(paper), "citation": paper.citation, "url": paper.url} for paper in info.papers],
        "task_boundaries": info.task_boundaries,
        "settings": {key: value for key, value in chosen.settings.items() if value is not None},
        "search_space": {key: list(values) for key, values in info.search_space.items()},
    }


def describe_streams() -> list[dict[str, Any]]:
    """One entry per built-in stream."""
    entries = []
    for name in STREAMS:
        chosen = choose_stream(name)
        info = chosen.cls.info
        entries.append(
            {
                "name": name,
                "version": info.version,
                "summary": info.summary,
                "source": info.source,
                "deviations": list(info.deviations),
                "settings": dict(chosen.settings),
                "default_seeds": info.seeds,
                "score": info.score,
                "unit": info.unit,
            }
        )
    return entries


def describe_suites() -> list[dict[str, Any]]:
    """One entry per suite."""
    return [
        {
            "name": name,
            "summary": f"{suite.summary}: {' '.join(suite.streams)}",
            "streams": list(suite.streams),
        }
        for name, suite in SUITES.items()
    ]
