"""Whether a config.json that somebody else wrote is what its stream and method would produce."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import DESCRIPTIONS, PROTOCOL, TUNED_MARK
from plasticity_bench.registry.settings import LEARNING_RATE
from plasticity_bench.storage.untrusted import printable, same_json

#: Largest side of a network and most layers, so that nothing is computed from endless shapes.
MAX_WIDTH, MAX_LAYERS = 1_000_000, 200
#: Keys of a config.json's "method" -> their type.
METHOD_KEYS: Mapping[str, type] = {
    "name": str,
    "version": int,
    "label": str,
    "summary": str,
    "paper": str,
    "task_boundaries": bool,
    "settings": dict,
    "source": str,
    "digest": str,
}
_NAME = r"[A-Za-z0-9][\w.+-]*"
#: Where a plug-in came from: file.py:Class or package.module:Class, several joined with +.
_ORIGIN = r"[A-Za-z0-9_][\w.-]*:[A-Za-z_]\w*"


class Wrong(Exception):
    """What is wrong with a configuration, after which nothing more can be said of it."""


def expected_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """(the configuration this version makes for the same stream and method, stream's folder, cell's folder).

    For a plug-in method, whose code is not imported, it is that of plain training on the stream at the
    method's learning rate; its "method" is the one given. Raises Wrong.
    """
    from plasticity_bench.records.configuration import configuration, recorded_folder, stream_folder
    from plasticity_bench.registry.catalog import METHODS, STREAMS
    from plasticity_bench.registry.choices import choose_method, choose_stream

    if type(config.get("protocol")) is not int or config["protocol"] != PROTOCOL:
        raise Wrong(f"protocol is {shown(config.get('protocol'))}; this version verifies protocol {PROTOCOL}")
    stream, method = config.get("stream"), config.get("method")
    if not isinstance(stream, dict) or not isinstance(stream.get("settings"), dict):
        raise Wrong("stream is missing or holds no settings")
    _check_method(method)
    assert isinstance(method, dict)
    if not isinstance(stream.get("name"), str) or stream["name"] not in STREAMS:
        raise Wrong(f"stream.name is {shown(stream.get('name'))}, which is no stream of this version")
    builtin, settings = method["source"] == "builtin", as_texts(method["settings"], "method")
    parts = method["name"].split("+")
    if builtin and not set(parts) <= METHODS.keys():
        raise Wrong(f"method.name is {shown(method['name'])}, which is no built-in method")
    if not builtin and set(parts) <= METHODS.keys():
        raise Wrong(f"method.name is {shown(method['name'])}, the name of a built-in method")
    try:
        chosen_stream = choose_stream(stream_text(stream))
        if builtin:
            chosen_method = choose_method(method["name"], settings)
        else:
            rate = {key: value for key, value in settings.items() if key == LEARNING_RATE}
            chosen_method = choose_method("none", rate)
        made = json.loads(json.dumps({"protocol": PROTOCOL, **configuration(chosen_stream, chosen_method)}))
    except (InputError, RunFailed) as error:
        raise Wrong(f"cannot be made again: {printable(str(error))}") from None
    except Exception as error:  # settings of any size and sign may break a stream anywhere
        raise Wrong(f"cannot be made again: {type(error).__name__}: {printable(str(error))}") from None
    if not builtin:
        made["method"] = method
    return made, stream_folder(chosen_stream), recorded_folder(made["method"])


def stream_text(stream: Mapping[str, Any]) -> str:
    """A config.json's stream as ``choose_stream`` reads it. Raises Wrong where a setting is none."""
    inline = ",".join(f"{key}={value}" for key, value in as_texts(stream["settings"], "stream").items())
    return f"{stream['name']}:{inline}" if inline else str(stream["name"])


def differences(config: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Every entry of ``config`` that is not what is expected, apart from wording on which no score depends.

    A plug-in may change its network's inner layers: see ``network_changes``.
    """
    plugin = expected["method"]["source"] != "builtin"
    for part in sorted({*config, *expected}):
        ours, theirs = expected.get(part), config.get(part)
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            if not same_json(ours, theirs):
                yield _difference(part, theirs, ours)
            continue
        compared = {"inputs", "outputs", "log_std"} if plugin and part == "network" else {*ours, *theirs}
        for key in sorted(compared - DESCRIPTIONS):
            if (key in ours) != (key in theirs) or not same_json(ours.get(key), theirs.get(key)):
                yield _difference(f"{part}.{key}", theirs.get(key), ours.get(key))
        for key in sorted({*ours, *theirs} & DESCRIPTIONS):
            if not isinstance(theirs.get(key), str):
                yield f"{part}.{key} is {shown(theirs.get(key))}, not a text"


def network_changes(config: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """``["activation"]``: what a plug-in says it changes of the stream's network. Raises Wrong where what it
    says is no network."""
    from plasticity_bench.specs import NetworkSpec

    network = config.get("network")
    if not isinstance(network, dict):
        raise Wrong("network is missing")
    defaults = {f.name: f.default for f in fields(NetworkSpec)}
    for key, value in network.items():
        if key not in defaults:
            raise Wrong(f"network.{printable(key)} is no part of a network")
        if isinstance(value, list):
            sides = len(value) <= MAX_LAYERS and all(_is_side(side) for side in value)
            fits = sides and key in ("inputs", "hidden", "channels")
        elif key in ("outputs", "kernel"):
            fits = _is_side(value)
        else:
            fits = type(value) is type(defaults[key])
        if not fits:
            raise Wrong(f"network.{key} is {shown(value)}, which no network has")
    wanted = expected["network"]
    if lacking := sorted({"inputs", "outputs", "hidden"} - network.keys()):
        raise Wrong(f"network has no {', '.join(lacking)}")
    return [key for key in sorted({*network, *wanted}) if not same_json(network.get(key), wanted.get(key))]


def _check_method(method: object) -> None:
    if not isinstance(method, dict) or set(method) != set(METHOD_KEYS):
        raise Wrong(f"method does not have exactly the entries {', '.join(METHOD_KEYS)}")
    for key, kind in METHOD_KEYS.items():
        if type(method[key]) is not kind:
            raise Wrong(f"method.{key} is {shown(method[key])}, not a {kind.__name__}")
    if not re.fullmatch(_NAME, method["name"]) or len(method["name"]) > 80:
        raise Wrong(f"method.name is {shown(method['name'])}: only letters, digits and . _ + - make a name")
    if not is_label(method["label"], method["name"]):
        raise Wrong(
            f"method.label {shown(method['label'])} does not begin with the method's name, or is a sweep's"
        )
    if LEARNING_RATE not in method["settings"]:
        raise Wrong(f"method.settings has no {LEARNING_RATE}")
    if method["source"] == "builtin":
        if method["digest"]:
            raise Wrong("method.digest is given for a built-in method")
        return
    origins = method["source"].split("+")
    if not all(origin == "builtin" or re.fullmatch(_ORIGIN, origin) for origin in origins):
        raise Wrong(f"method.source is {shown(method['source'])}, not file.py:Class or package.module:Class")
    if not re.fullmatch(r"[0-9a-f]{64}", method["digest"]):
        raise Wrong("method.digest is not a SHA-256")


def is_label(label: str, method: str) -> bool:
    """Whether the method of this name may be called so: its name or its first part's, alone or with settings
    or other parts behind it, and not as what a sweep chose."""
    first = re.escape(method.split("+")[0])
    return bool(re.match(rf"{first}(?:[:+]|\Z)", label)) and not label.endswith(TUNED_MARK)


def as_texts(settings: Mapping[str, Any], what: str) -> dict[str, str]:
    """Settings as a user would write them; those that are not set are left out."""
    texts = {}
    for key, value in settings.items():
        if not isinstance(value, (bool, int, float, str, type(None))) or not re.fullmatch(r"[\w.+-]+", key):
            raise Wrong(f"{what}.settings: {printable(key, 60)} is {shown(value)}, which is no setting")
        if value is not None:
            texts[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return texts


def _is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_WIDTH


def _difference(where: str, found: object, wanted: object) -> str:
    return f"{printable(where, 60)} is {shown(found)}; its stream and method make it {shown(wanted)}"


def shown(value: object) -> str:
    """A value that somebody else chose, fit to print."""
    return printable(json.dumps(value), 80)
