"""Checks a submitted config.json: is it what its stream and method produce in this version?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec import structs

from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.configuration import configuration, recorded_folder, stream_folder
from plasticity_bench.records.documents import DESCRIPTIONS, CellConfig, MethodRecord
from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.registry.catalog import METHODS, STREAMS
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.registry.settings import LEARNING_RATE, choice_text, setting_texts
from plasticity_bench.specs import NetworkSpec
from plasticity_bench.storage.documents import Setting, shown
from plasticity_bench.storage.untrusted import printable, same_json

#: Largest side of a network and most layers. Larger ones are refused before anything is computed from them.
MAX_WIDTH, MAX_LAYERS = 1_000_000, 200
_NAME = r"[A-Za-z0-9][\w.+-]*"
#: One origin of a plug-in: file.py:Class or package.module:Class.
_ORIGIN = r"[A-Za-z0-9_][\w.-]*:[A-Za-z_]\w*"


class Wrong(Exception):
    """A document is so wrong that it cannot be checked further; the message says why."""


def expected_config(config: CellConfig) -> tuple[CellConfig, str, str]:
    """What this version makes for the stream and method: (configuration, stream's folder, cell's folder).

    A plug-in's code is not imported. Its expected configuration is that of plain training on the stream at
    the method's learning rate, with the given "method" entry.

    Raises:
        Wrong: if the stream or the method is not known, or if a setting cannot be used.
    """
    stream, method = config.stream, config.method
    _check_method(method)
    if stream.name not in STREAMS:
        raise Wrong(f"stream.name is {shown(stream.name)}, which is no stream of this version")
    for settings, what in ((stream.settings, "stream"), (method.settings, "method")):
        check_names(settings, what)
    builtin, own = method.source == "builtin", setting_texts(method.settings)
    parts = method.name.split("+")
    if builtin and not set(parts) <= METHODS.keys():
        raise Wrong(f"method.name is {shown(method.name)}, which is no built-in method")
    if not builtin and set(parts) <= METHODS.keys():
        raise Wrong(f"method.name is {shown(method.name)}, the name of a built-in method")
    try:
        chosen_stream = choose_stream(choice_text(stream.name, stream.settings))
        if builtin:
            chosen_method = choose_method(method.name, own)
        else:
            rate = {key: value for key, value in own.items() if key == LEARNING_RATE}
            chosen_method = choose_method("none", rate)
        made = configuration(chosen_stream, chosen_method)
    except (InputError, RunFailed) as error:
        raise Wrong(f"cannot be made again: {printable(str(error))}") from None
    except Exception as error:  # hostile settings may fail anywhere in a stream
        raise Wrong(f"cannot be made again: {type(error).__name__}: {printable(str(error))}") from None
    if not builtin:
        made = structs.replace(made, method=method)
    return made, stream_folder(chosen_stream), recorded_folder(made.method)


def config_differences(config: CellConfig, expected: CellConfig) -> Iterator[str]:
    """Every entry of ``config`` that differs from what is expected.

    Descriptions are not compared, as no score depends on them. A plug-in may change the inner layers of its
    network: see ``network_changes``.
    """
    plugin = expected.method.source != "builtin"
    found, wanted = config.as_json(), expected.as_json()
    for part in sorted({*found, *wanted}):
        ours, theirs = wanted.get(part), found.get(part)
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            if not same_json(ours, theirs):
                yield _difference(part, theirs, ours)
            continue
        compared = {"inputs", "outputs", "log_std"} if plugin and part == "network" else {*ours, *theirs}
        for key in sorted(compared - DESCRIPTIONS):
            if (key in ours) != (key in theirs) or not same_json(ours.get(key), theirs.get(key)):
                yield _difference(f"{part}.{key}", theirs.get(key), ours.get(key))


def network_changes(config: CellConfig, expected: CellConfig) -> list[str]:
    """The entries of the stream's network that a plug-in changes, such as ``["activation"]``.

    Raises:
        Wrong: if a size is out of range.
    """
    _check_sizes(config.network)
    found, wanted = config.network.recorded(), expected.network.recorded()
    return [key for key in sorted({*found, *wanted}) if not same_json(found.get(key), wanted.get(key))]


def _check_sizes(network: NetworkSpec) -> None:
    sizes = {
        "inputs": network.inputs,
        "hidden": network.hidden,
        "channels": network.channels,
        "outputs": (network.outputs,),
        "kernel": (network.kernel,),
    }
    for key, sides in sizes.items():
        if len(sides) > MAX_LAYERS or not all(1 <= side <= MAX_WIDTH for side in sides):
            raise Wrong(f"network.{key} is {shown(getattr(network, key))}, which no network has")


def _check_method(method: MethodRecord) -> None:
    if not re.fullmatch(_NAME, method.name) or len(method.name) > 80:
        raise Wrong(f"method.name is {shown(method.name)}: only letters, digits and . _ + - make a name")
    if not is_label(method.label, method.name):
        raise Wrong(
            f"method.label {shown(method.label)} does not begin with the method's name, or is a sweep's"
        )
    if LEARNING_RATE not in method.settings:
        raise Wrong(f"method.settings has no {LEARNING_RATE}")
    if method.source == "builtin":
        if method.digest:
            raise Wrong("method.digest is given for a built-in method")
        return
    origins = method.source.split("+")
    if not all(origin == "builtin" or re.fullmatch(_ORIGIN, origin) for origin in origins):
        raise Wrong(f"method.source is {shown(method.source)}, not file.py:Class or package.module:Class")
    if not re.fullmatch(r"[0-9a-f]{64}", method.digest):
        raise Wrong("method.digest is not a SHA-256")


def is_label(label: str, method: str) -> bool:
    """Whether ``label`` may be the label of the method of this name.

    A label is the method's name, or that of its first part, alone or followed by settings or other parts. A
    label that ends like a sweep's choice is refused.
    """
    first = re.escape(method.split("+")[0])
    return bool(re.match(rf"{first}(?:[:+]|\Z)", label)) and not label.endswith(TUNED_MARK)


def check_names(settings: Mapping[str, Setting], what: str) -> None:
    """Raises Wrong if a setting's name has characters that no setting has."""
    for key in settings:
        if not re.fullmatch(r"[\w.+-]+", key):
            raise Wrong(f"{what}.settings: {printable(key, 60)} cannot name a setting")


def _difference(key: str, found: object, wanted: object) -> str:
    return f"{printable(key, 60)} is {shown(found)}; its stream and method make it {shown(wanted)}"
