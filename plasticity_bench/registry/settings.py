"""Settings as users write them: text to names and values, and back."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from math import isfinite
from typing import Any

from plasticity_bench.errors import InputError

#: The setting that every method takes in addition to its own fields: another step size than the stream's.
LEARNING_RATE = "lr"


def split_parts(text: str, names: Collection[str] = ()) -> list[str]:
    """``"layer-norm+l2:strength=1e+2"`` -> its two methods.

    A + before a digit is part of a number, and a + in a path is part of the path. The name of an installed
    plug-in may contain a + too: ``names`` are all known names. Raises InputError if a method is missing.
    """
    name, _ = split_settings(text)
    if "+" in name and name in names:
        return [text]
    parts: list[str] = []
    for piece in re.split(r"\+(?!\d)", text):
        if parts and "/" in parts[-1] and ":" not in parts[-1] and not parts[-1].endswith(".py"):
            parts[-1] += f"+{piece}"
        else:
            parts.append(piece)
    if len(parts) > 1 and not all(parts):
        raise InputError(f'"{text}": a method is missing next to a +')
    return parts


def split_settings(text: str) -> tuple[str, dict[str, str]]:
    """``"l2:strength=1e-3,decoupled=true"`` -> ``("l2", {"strength": "1e-3", "decoupled": "true"})``"""
    name, colon, last = text.rpartition(":")
    if not colon or "=" not in last:
        return text, {}
    return name, parse_settings(last.split(","))


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """``["strength=1e-3"]`` -> ``{"strength": "1e-3"}``. Raises InputError for anything else."""
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f'"{pair}" is not a setting: write key=value, such as strength=1e-3')
        if key.strip() in settings:
            raise InputError(f'setting "{key.strip()}" is given twice')
        settings[key.strip()] = value.strip()
    return settings


def settings_of_parts(
    names: list[str], inline: list[dict[str, str]], settings: Mapping[str, str]
) -> list[dict[str, str]]:
    """The settings of every part of a composition.

    Args:
        names: The parts' names.
        inline: Settings of each part, from the text that names it.
        settings: Further settings (``part.key`` or ``lr``), which replace those.

    Returns:
        The settings of each part. The learning rate is a setting of the last part.

    Raises:
        InputError: There is no such setting, a method occurs twice, or there are several learning rates.
    """
    if len(names) == 1:
        return [{**inline[0], **settings}]
    whole = "+".join(names)
    if len(set(names)) < len(names):
        raise InputError(f"{whole}: a method is composed with others, not with itself")
    own = {name: dict(given) for name, given in zip(names, inline, strict=True)}
    rates = [given.pop(LEARNING_RATE) for given in own.values() if LEARNING_RATE in given]
    for key, value in settings.items():
        name, _, setting = key.rpartition(".")
        if key == LEARNING_RATE:
            rates = [value]
        elif name in own and setting != LEARNING_RATE:
            own[name][setting] = value
        else:
            raise InputError(
                f'method "{whole}" has no setting "{key}": write lr, or a part\'s as {names[-1]}.KEY'
            )
    if len(rates) > 1:
        raise InputError(f"{whole}: lr is given {len(rates)} times; it is the same for all parts")
    if rates:
        own[names[-1]][LEARNING_RATE] = rates[0]
    return list(own.values())


def parse_value(text: str, default: Any, label: str) -> Any:
    """``text`` as a value of the default's type. Raises InputError, whose message begins with ``label``."""
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float) or default is None:
            value = float(text)
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError
            return value
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a finite number")
        raise InputError(f'{label}: "{text}" is not {kind}') from None
    return text


def setting_text(value: Any) -> str:
    """A setting's value as the command line reads it: ``parse_value`` returns the same value.

    >>> setting_text(True), setting_text(0.0001), setting_text(20000.0), setting_text(0.1234567)
    ('true', '0.0001', '20000', '0.1234567')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def setting_texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as the command line reads them. Settings that are None are not set, so they are left out.

    >>> setting_texts({"strength": 0.01, "decoupled": True, "lr": None})
    {'strength': '0.01', 'decoupled': 'true'}
    """
    return {key: setting_text(value) for key, value in settings.items() if value is not None}


def choice_text(name: str, settings: Mapping[str, Any]) -> str:
    """A method or stream with its settings, as ``choose_method`` and ``choose_stream`` read it. Settings
    that are None are left out.

    Raises InputError if a value cannot be written on one line: it is empty, has commas, or begins or
    ends with a space.

    >>> choice_text("l2", {"strength": 0.01, "decoupled": True, "lr": None})
    'l2:strength=0.01,decoupled=true'
    """
    texts = setting_texts(settings)
    for key, text in texts.items():
        if not text or "," in text or text != text.strip():
            raise InputError(f'{name}: {key} is "{text}", which cannot be written in one line of settings')
    return name + (":" + ",".join(f"{key}={text}" for key, text in texts.items()) if texts else "")


def field_defaults(cls: type[Any]) -> dict[str, Any]:
    """The default of every setting. Raises InputError if one is missing, not a plain value, or not finite."""
    for f in fields(cls):
        if f.default is MISSING:
            raise InputError(
                f'{cls.info.name}: field "{f.name}" has no default; every hyperparameter needs one'
            )
        if not isinstance(f.default, (bool, int, float, str, type(None))):
            kind = type(f.default).__name__
            raise InputError(
                f'{cls.info.name}: field "{f.name}" is a {kind}; settings are numbers, true or false, or text'
            )
        if isinstance(f.default, float) and not isfinite(f.default):
            raise InputError(
                f'{cls.info.name}: field "{f.name}" is {f.default} by default, which no record can hold; '
                "write a finite number, or None for none"
            )
    return {f.name: f.default for f in fields(cls)}
