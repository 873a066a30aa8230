"""Whether the table of a sweep that somebody else wrote is one that leads to the cell it lies in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import recorded_folder
from plasticity_bench.registry.choices import Chosen, choose_method
from plasticity_bench.registry.create import create_stream
from plasticity_bench.registry.settings import LEARNING_RATE, parse_value
from plasticity_bench.storage.untrusted import printable, same_json
from plasticity_bench.submissions.check_config import Wrong, as_texts, is_label, shown, stream_text
from plasticity_bench.submissions.check_tables import PERFORMANCE
from plasticity_bench.tuning.search import LEARNING_RATE_RANGE, configurations, may_be_tried, search_space
from plasticity_bench.tuning.sweep import FIRST_SEED, OBJECTIVE, SCHEMA, best

#: Most configurations, tuning seeds, hyperparameters and values of one; longest text of a setting.
MAX_BUDGET, MAX_SEEDS, MAX_NAMES, MAX_VALUES, MAX_TEXT = 1_000, 1_000, 100, 100, 100
#: Share by which a mean may differ from ours: libraries round sums differently.
ROUNDING = 1e-9
#: Keys of a sweep's table and of its configurations -> the type of their values.
KEYS: Mapping[str, type] = {
    "schema": int,
    "stream": str,
    "method": str,
    "objective": str,
    "budget": int,
    "design": int,
    "seeds": list,
    "space": dict,
    "chosen": int,
    "configurations": list,
}
ROW_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "settings": dict,
    "label": str,
    "cell": str,
    "score": (float, type(None)),
    "per_seed": list,
    "seconds": float,
}


def check_tuning(tuning: Mapping[str, Any], config: Mapping[str, Any], stream: str) -> Iterator[str]:
    """Every reason why ``tuning`` is not the table of a sweep that chose the settings of ``config``, which is
    known to be what this version makes, on ``stream`` (its folder's name).

    A built-in method's space and configurations are those of this version. Of a plug-in, whose code is not
    imported, they are within the space given, and its defaults are not known. Raises Wrong where nothing more
    can be said.
    """
    _check_shape(tuning)
    if tuning["stream"] != stream:
        yield f"stream is {shown(tuning['stream'])}; it lies in {shown(stream)}"
    if tuning["objective"] != OBJECTIVE:
        yield f"objective is {shown(tuning['objective'])}; this version chooses by the {OBJECTIVE}"
    rows, seeds = tuning["configurations"], tuning["seeds"]
    if tuning["budget"] != len(rows):
        yield f"budget is {tuning['budget']}; it holds {len(rows)} configurations"
    if not same_json(seeds, list(range(FIRST_SEED, FIRST_SEED + len(seeds)))):
        yield f"seeds are {shown(seeds)}; tuning seeds are {FIRST_SEED}, {FIRST_SEED + 1}, ..."
    yield from _check_scores(tuning, PERFORMANCE.get(config["stream"]["unit"], (-math.inf, math.inf)))
    method = config["method"]
    wrong = (
        list(_check_builtin(tuning, config))
        if method["source"] == "builtin"
        else list(_check_plugin(tuning, config))
    )
    yield from wrong
    chosen = rows[tuning["chosen"]]
    if not wrong and (chosen["cell"], chosen["label"]) != (recorded_folder(method), method["label"]):
        yield f"chose {shown(chosen['label'])}; config.json beside it is of {shown(method['label'])}"


def _check_shape(tuning: Mapping[str, Any]) -> None:
    _check_keys(tuning, KEYS, "")
    if tuning["schema"] != SCHEMA:
        raise Wrong(f"schema is {tuning['schema']}; this version reads {SCHEMA}")
    rows, seeds, space = tuning["configurations"], tuning["seeds"], tuning["space"]
    for name, found, most in (
        ("configurations", rows, MAX_BUDGET),
        ("seeds", seeds, MAX_SEEDS),
        ("space", space, MAX_NAMES),
    ):
        if not 1 <= len(found) <= most:
            raise Wrong(f"{name} has {len(found)} entries, not 1 to {most}")
    for name, values in space.items():
        if not (isinstance(values, list) and 1 <= len(values) <= MAX_VALUES):
            raise Wrong(f"space.{printable(name, 60)} is not a list of 1 to {MAX_VALUES} values")
        numbers = all(type(value) in (int, float, bool) for value in values)
        if not (numbers or all(isinstance(value, str) for value in values)) or values != sorted(values):
            raise Wrong(f"space.{printable(name, 60)} is not of numbers, or of texts, in ascending order")
    for index, row in enumerate(rows):
        where = f"configurations[{index}]"
        if not isinstance(row, dict):
            raise Wrong(f"{where} is {shown(row)}, not an object")
        _check_keys(row, ROW_KEYS, f"{where}.")
        for name, value in row["settings"].items():
            if not isinstance(value, str) or len(value) > MAX_TEXT:
                raise Wrong(f"{where}.settings.{printable(name, 60)} is {shown(value)}, not a short text")
    if not 0 <= tuning["chosen"] < len(rows):
        raise Wrong(f"chosen is {tuning['chosen']}; there are {len(rows)} configurations")


def _check_keys(found: Mapping[str, Any], keys: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    if set(found) != set(keys):
        raise Wrong(f"{where or 'it '}does not have exactly the entries {', '.join(keys)}")
    for key, kinds in keys.items():
        if type(found[key]) not in (kinds if isinstance(kinds, tuple) else (kinds,)):
            raise Wrong(f"{where}{key} is {shown(found[key])}, which no sweep writes")


def _check_scores(tuning: Mapping[str, Any], limits: tuple[float, float]) -> Iterator[str]:
    """Scores are means of possible values, and the first of the highest is chosen."""
    rows, (low, high) = tuning["configurations"], limits
    for index, row in enumerate(rows):
        where, values = f"configurations[{index}]", row["per_seed"]
        if len(values) != len(tuning["seeds"]):
            yield f"{where}.per_seed has {len(values)} values for {len(tuning['seeds'])} seeds"
            continue
        if not all(v is None or (type(v) is float and low <= v <= high + ROUNDING) for v in values):
            yield f"{where}.per_seed is {shown(values)}: values are none, or from {low:g} to {high:g}"
            continue
        mean = None if None in values else math.fsum(values) / len(values)
        score = row["score"]
        if mean is None or score is None:
            same = mean is score
        else:
            same = abs(mean - score) <= ROUNDING * max(1.0, abs(mean))
        if not same:
            yield f"{where}.score is {shown(score)}; the mean of its seeds is {shown(mean)}"
        if not 0 <= row["seconds"] <= 1e9:
            yield f"{where}.seconds is {shown(row['seconds'])}, which no sweep writes"
    wanted = best([row["score"] for row in rows])
    if tuning["chosen"] != wanted:
        yield f"chosen is {tuning['chosen']}; the first of the best is configuration {wanted}"


def _check_builtin(tuning: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Space and configurations are what this version makes of the method, the budget and the design."""
    method, rows = config["method"], tuning["configurations"]
    searched = rows[tuning["chosen"]]["settings"]
    fixed = {key: value for key, value in method["settings"].items() if key not in searched}
    try:
        base = choose_method(method["name"], as_texts(fixed, "method"))
        if tuning["method"] != base.label:
            yield f"method is {shown(tuning['method'])}; config.json beside it makes it {shown(base.label)}"
            return
        space = search_space(base, _learning_rate(config))
        if not same_json(tuning["space"], {name: list(values) for name, values in space.items()}):
            yield f"space is not the one that this version searches for {base.label}"
            return
        wanted = configurations(base, space, len(rows), tuning["design"])
        for index, (row, settings) in enumerate(zip(rows, wanted, strict=True)):
            if row["settings"] != settings:
                yield _settings_differ(index, row["settings"], settings)
                return
            made = choose_method(method["name"], {**as_texts(fixed, "method"), **settings})
            yield from _check_cell(index, row, made)
    except InputError as error:
        raise Wrong(f"cannot be made again: {printable(str(error))}") from None


def _check_cell(index: int, row: Mapping[str, Any], made: Chosen) -> Iterator[str]:
    wanted = recorded_folder(
        {
            "name": made.cls.info.name,
            "version": made.cls.info.version,
            "settings": made.settings,
            "source": made.source,
            "digest": made.digest,
        }
    )
    for key, value in (("label", made.label), ("cell", wanted)):
        if row[key] != value:
            yield f"configurations[{index}].{key} is {shown(row[key])}; its settings make it {shown(value)}"


def _check_plugin(tuning: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Configurations are different, within the space given, and of the source that is submitted."""
    method, rows, space = config["method"], tuning["configurations"], tuning["space"]
    for label in (tuning["method"], *(row["label"] for row in rows)):
        if not is_label(label, method["name"]):
            yield f"{shown(label)} is no label of {shown(method['name'])}"
            return
    if rows[0]["label"] != tuning["method"]:
        yield f"method is {shown(tuning['method'])}; its default is {shown(rows[0]['label'])}"
    if unknown := sorted(set(space) - set(method["settings"])):
        yield f"space.{printable(unknown[0], 60)} is no setting of {shown(method['name'])}"
        return
    rate = _learning_rate(config)
    rates = [rate / LEARNING_RATE_RANGE, rate * LEARNING_RATE_RANGE]
    if not same_json(space.get(LEARNING_RATE), rates):
        yield f"space.{LEARNING_RATE} is {shown(space.get(LEARNING_RATE))}; on this stream it is {rates}"
    if rows[0]["settings"]:
        yield _settings_differ(0, rows[0]["settings"], {})
        return
    searched = set(rows[1]["settings"]) if len(rows) > 1 else set()
    tried: set[tuple[str, ...]] = set()
    for index, row in enumerate(rows[1:], start=1):
        where, settings = f"configurations[{index}]", row["settings"]
        if set(settings) != searched or not searched <= set(space):
            yield f"{where}.settings are of {shown(sorted(settings))}: each sets the same of the space"
            return
        for name, text in settings.items():
            if not may_be_tried(space[name], text):
                yield f"{where}.settings.{name} is {shown(text)}, which is outside space.{name}"
                return
        if (values := tuple(settings[name] for name in sorted(searched))) in tried:
            yield f"{where} is tried twice"
            return
        tried.add(values)
    yield from _check_plugin_cells(method, rows, tuning["chosen"])


def _check_plugin_cells(
    method: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], chosen: int
) -> Iterator[str]:
    """The folders' hashes, which cover the source; of the default they tell only where it was chosen."""
    for index, row in enumerate(rows):
        name = f"configurations[{index}].cell"
        if index == 0 != chosen:
            if not re.fullmatch(rf"{re.escape(method['name'])}-[0-9a-f]{{8}}", row["cell"]):
                yield f"{name} is {shown(row['cell'])}, which is no cell of {method['name']}"
            continue
        try:
            own = {
                key: parse_value(text, method["settings"][key], f"{name.removesuffix('cell')}settings.{key}")
                for key, text in row["settings"].items()
            }
        except InputError as error:
            raise Wrong(printable(str(error))) from None
        wanted = recorded_folder({**method, "settings": {**method["settings"], **own}})
        if row["cell"] != wanted:
            yield f"{name} is {shown(row['cell'])}; its settings make it {shown(wanted)}"
        if index == chosen and not same_json(own, {key: method["settings"][key] for key in own}):
            yield f"configurations[{index}] is chosen; config.json beside it has other settings"


def _learning_rate(config: Mapping[str, Any]) -> float:
    """The stream's own."""
    return float(create_stream(stream_text(config["stream"])).optimizer.lr)


def _settings_differ(index: int, found: object, wanted: object) -> str:
    return f"configurations[{index}].settings is {shown(found)}; a sweep tries {shown(wanted)} there"


def within_space(tuning: Mapping[str, Any], search_space: Mapping[str, Any]) -> bool:
    """Whether the sweep's space is the one that method.json gives, and the learning rate."""

    def texts(values: Any) -> list[str]:
        return sorted(json.dumps(value) for value in values) if isinstance(values, list) else [""]

    given = {name: texts(values) for name, values in search_space.items()}
    searched = {name: texts(values) for name, values in tuning["space"].items() if name != LEARNING_RATE}
    return searched == given
