"""The settings of methods and streams: their defaults, and what the code says that they mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from plasticity_bench.registry.settings import setting_text

KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Setting:
    """One field of a method or stream."""

    name: str
    kind: str
    default: str
    meaning: str
    allowed: str  # the values that it may have


def settings_of(cls: type[Any], *others: type[Any]) -> list[Setting]:
    """The fields of a dataclass in order; ``others`` say what a field means if the class does not."""
    known: dict[str, str] = {}
    for each in (*cls.__mro__, *others):
        for name, meaning in _meanings(each):
            known.setdefault(name, meaning)
    ranges = cls.info.ranges if hasattr(cls, "info") else {}
    return [
        Setting(
            field.name,
            KINDS[type(field.default)],
            setting_text(field.default),
            known.get(field.name, ""),
            str(ranges.get(field.name, "")),
        )
        for field in fields(cls)
    ]


def _meanings(cls: type[Any]) -> Iterator[tuple[str, str]]:
    """Name and meaning of a class's own fields: the comment on the line, else the entry under ``Args:``."""
    if cls is object:
        return
    yield from re.findall(r"^    (\w+): [^=\n]+ = [^#\n]+  # (.+)$", inspect.getsource(cls), re.MULTILINE)
    arguments = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
    for name, meaning in re.findall(r"^    (\w+): (.+(?:\n {8,}.+)*)", arguments, re.MULTILINE):
        text = " ".join(meaning.split()).rstrip(".")
        yield name, text[:1].lower() + text[1:]
