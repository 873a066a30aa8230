"""Whether a method.json that somebody else wrote has the shape of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plasticity_bench.storage.untrusted import printable
from plasticity_bench.submissions.model import SCHEMA

#: Entries of method.json -> their type.
METHOD_ENTRIES: Mapping[str, type] = {
    "schema": int,
    "protocol": int,
    "name": str,
    "method": dict,
    "tuned": bool,
    "search_space": dict,
    "submitter": dict,
    "streams": dict,
    "environments": list,
    "files": dict,
}


def check_shape(method: Mapping[str, Any]) -> Iterator[str]:
    """Every reason why nothing can be read from ``method``; its values are compared elsewhere."""
    if type(method.get("schema")) is not int or method["schema"] != SCHEMA:
        yield (
            f"has another schema than {SCHEMA}, the one that this version reads; "
            "leaderboard --rescore writes it anew"
        )
    for key, kind in METHOD_ENTRIES.items():
        if type(method.get(key)) is not kind:
            yield f"{key} is missing or of another type than {kind.__name__}"
            return
    submitter, space = method["submitter"], method["search_space"]
    if set(submitter) != {"name", "link"} or not all(isinstance(v, str) for v in submitter.values()):
        yield "submitter does not hold exactly a name and a link"
    for key, values in space.items():
        if not (isinstance(values, list) and all(type(v) in (int, float, bool, str) for v in values)):
            yield f"search_space.{printable(key, 300)} is not a list of values"
