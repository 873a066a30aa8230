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
    parser.add_argument("--json", action="store_true", help="print everything known of each, as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints names with a summary, then family, settings with their defaults, and papers."""
    import json

    from plasticity_bench.registry.descriptions import describe_methods, describe_streams, describe_suites

    readers = {"methods": describe_methods, "streams": describe_streams, "suites": describe_suites}
    chosen = [args.what] if args.what else list(readers)
    found = {what: readers[what]() for what in chosen}
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
