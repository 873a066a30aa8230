"""``plasticity_bench list``"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

SUMMARY = "list methods, streams or suites"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "what", nargs="?", choices=("methods", "streams", "suites"), help="default: all three"
    )
    parser.add_argument("--json", action="store_true", help="print all details as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints names with a summary, then family, settings with their defaults, and papers."""
    import json

    chosen = [args.what] if args.what else ["methods", "streams", "suites"]
    found = {what: _READERS[what]() for what in chosen}
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for what, entries in found.items():
        print(what)
        width = max(len(entry["name"]) for entry in entries)
        for entry in entries:
            print(f"  {entry['name']:{width}}  {entry['summary']}")
            for line in _details(entry):
                print(f"  {'':{width}}  {line}")
        print()
    return 0


def _details(entry: dict[str, Any]) -> Iterator[str]:
    """The lines below an entry's summary."""
    if "family" in entry:
        yield f"family: {entry['family']}"
    if entry.get("settings"):
        yield "settings: " + ", ".join(f"{key}={value}" for key, value in entry["settings"].items())
    yield from (paper["citation"] for paper in entry.get("papers", ()))
    if "source" in entry:
        yield entry["source"]


def _methods() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from plasticity_bench.errors import InputError
    from plasticity_bench.registry.catalog import METHODS
    from plasticity_bench.registry.choices import choose_method, method_names

    entries: list[dict[str, Any]] = []
    for name, origin in method_names().items():
        if name not in METHODS:  # a plug-in is imported only if it is chosen
            entries.append({"name": name, "summary": f"plug-in {origin}"})
            continue
        try:
            chosen = choose_method(name)
        except InputError as error:
            entries.append({"name": name, "summary": str(error)})
            continue
        info = chosen.cls.info
        entries.append(
            {
                "name": name,
                "family": info.family,
                "summary": info.summary,
                "papers": [
                    {**asdict(paper), "citation": paper.citation, "url": paper.url} for paper in info.papers
                ],
                "task_boundaries": info.task_boundaries,
                "settings": {key: value for key, value in chosen.settings.items() if value is not None},
                "search_space": {key: list(values) for key, values in info.search_space.items()},
            }
        )
    return entries


def _streams() -> list[dict[str, Any]]:
    from plasticity_bench.registry.catalog import STREAMS
    from plasticity_bench.registry.choices import choose_stream

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


def _suites() -> list[dict[str, Any]]:
    from plasticity_bench.registry.catalog import SUITES

    return [
        {
            "name": name,
            "summary": f"{suite.summary}: {' '.join(suite.streams)}",
            "streams": list(suite.streams),
        }
        for name, suite in SUITES.items()
    ]


_READERS = {"methods": _methods, "streams": _streams, "suites": _suites}
