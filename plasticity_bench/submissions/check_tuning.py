"""Whether the table of a sweep that somebody else wrote is one that leads to the cell it lies in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from plasticity_bench.errors import InputError
from plasticity_bench.records.configuration import method_folder, recorded_folder, with_settings
from plasticity_bench.records.documents import (
    TUNING_SCHEMA,
    CellConfig,
    MethodRecord,
    SweepTable,
    TriedConfiguration,
    Value,
)
from plasticity_bench.registry.choices import Chosen, choose_method
from plasticity_bench.registry.create import create_stream
from plasticity_bench.registry.settings import LEARNING_RATE, choice_text, parse_value, setting_texts
from plasticity_bench.storage.documents import shown
from plasticity_bench.storage.untrusted import printable, same_json
from plasticity_bench.submissions.check_config import Wrong, is_label
from plasticity_bench.submissions.check_tables import PERFORMANCE
from plasticity_bench.tuning.search import LEARNING_RATE_RANGE, configurations, may_be_tried, search_space
from plasticity_bench.tuning.sweep import FIRST_SEED, OBJECTIVE, best

#: Most configurations, tuning seeds, hyperparameters and values of one; longest text of a setting.
MAX_BUDGET, MAX_TUNING_SEEDS, MAX_NAMES, MAX_VALUES, MAX_SETTING_TEXT = 1_000, 1_000, 100, 100, 100
#: Share by which a mean may differ from ours: libraries round sums differently.
MEAN_TOLERANCE = 1e-9


def check_tuning(tuning: SweepTable, config: CellConfig, stream: str) -> Iterator[str]:
    """Every reason why ``tuning`` is not the table of a sweep that chose the settings of ``config``, which is
    known to be what this version makes, on ``stream`` (its folder's name).

    A built-in method's space and configurations are those of this version. Of a plug-in, whose code is not
    imported, they are within the space given, and its defaults are not known. Raises Wrong where nothing more
    can be said.
    """
    _check_sizes(tuning)
    if tuning.stream != stream:
        yield f"stream is {shown(tuning.stream)}; it lies in {shown(stream)}"
    if tuning.objective != OBJECTIVE:
        yield f"objective is {shown(tuning.objective)}; this version chooses by the {OBJECTIVE}"
    rows, seeds = tuning.configurations, tuning.seeds
    if tuning.budget != len(rows):
        yield f"budget is {tuning.budget}; it holds {len(rows)} configurations"
    if seeds != list(range(FIRST_SEED, FIRST_SEED + len(seeds))):
        yield f"seeds are {shown(seeds)}; tuning seeds are {FIRST_SEED}, {FIRST_SEED + 1}, ..."
    yield from _check_scores(tuning, PERFORMANCE.get(config.stream.unit, (-math.inf, math.inf)))
    method = config.method
    check = _check_builtin if method.source == "builtin" else _check_plugin
    wrong = list(check(tuning, config))
    yield from wrong
    chosen = tuning.choice
    if not wrong and (chosen.cell, chosen.label) != (recorded_folder(method), method.label):
        yield f"chose {shown(chosen.label)}; config.json beside it is of {shown(method.label)}"


def _check_sizes(tuning: SweepTable) -> None:
    if tuning.schema != TUNING_SCHEMA:
        raise Wrong(f"schema is {tuning.schema}; this version reads {TUNING_SCHEMA}")
    for name, found, most in (
        ("configurations", tuning.configurations, MAX_BUDGET),
        ("seeds", tuning.seeds, MAX_TUNING_SEEDS),
        ("space", tuning.space, MAX_NAMES),
    ):
        if not 1 <= len(found) <= most:
            raise Wrong(f"{name} has {len(found)} entries, not 1 to {most}")
    for name, values in tuning.space.items():
        if not 1 <= len(values) <= MAX_VALUES:
            raise Wrong(f"space.{printable(name, 60)} is not a list of 1 to {MAX_VALUES} values")
        if not _ascending(values):
            raise Wrong(f"space.{printable(name, 60)} is not of numbers, or of texts, in ascending order")
    for index, row in enumerate(tuning.configurations):
        for name, value in row.settings.items():
            if len(value) > MAX_SETTING_TEXT:
                where = f"configurations[{index}].settings.{printable(name, 60)}"
                raise Wrong(f"{where} is {shown(value)}, not a short text")
    if tuning.chosen >= len(tuning.configurations):
        raise Wrong(f"chosen is {tuning.chosen}; there are {len(tuning.configurations)} configurations")


def _ascending(values: Sequence[Value]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, str)]
    return texts == sorted(texts) and numbers == sorted(numbers) and not (texts and numbers)


def _check_scores(tuning: SweepTable, limits: tuple[float, float]) -> Iterator[str]:
    """Scores are means of possible values, and the first of the highest is chosen."""
    rows, (low, high) = tuning.configurations, limits
    for index, row in enumerate(rows):
        where, values = f"configurations[{index}]", row.per_seed
        if len(values) != len(tuning.seeds):
            yield f"{where}.per_seed has {len(values)} values for {len(tuning.seeds)} seeds"
            continue
        if not all(v is None or low <= v <= high + MEAN_TOLERANCE for v in values):
            yield f"{where}.per_seed is {shown(values)}: values are none, or from {low:g} to {high:g}"
            continue
        known = [value for value in values if value is not None]
        mean = math.fsum(known) / len(known) if len(known) == len(values) else None
        score = row.score
        if mean is None or score is None:
            same = mean is score
        else:
            same = abs(mean - score) <= MEAN_TOLERANCE * max(1.0, abs(mean))
        if not same:
            yield f"{where}.score is {shown(score)}; the mean of its seeds is {shown(mean)}"
    wanted = best([row.score for row in rows])
    if tuning.chosen != wanted:
        yield f"chosen is {tuning.chosen}; the first of the best is configuration {wanted}"


def _check_builtin(tuning: SweepTable, config: CellConfig) -> Iterator[str]:
    """Space and configurations are what this version makes of the method, the budget and the design."""
    method, rows = config.method, tuning.configurations
    searched = tuning.choice.settings
    fixed = {key: value for key, value in method.settings.items() if key not in searched}
    try:
        base = choose_method(method.name, setting_texts(fixed))
        if tuning.method != base.label:
            yield f"method is {shown(tuning.method)}; config.json beside it makes it {shown(base.label)}"
            return
        space = search_space(base, _learning_rate(config))
        if not same_json(tuning.space, {name: list(values) for name, values in space.items()}):
            yield f"space is not the one that this version searches for {base.label}"
            return
        wanted = configurations(base, space, len(rows), tuning.design)
        for index, (row, settings) in enumerate(zip(rows, wanted, strict=True)):
            if row.settings != settings:
                yield _settings_differ(index, row.settings, settings)
                return
            made = base.with_settings(settings)
            yield from _check_cell(index, row, made)
    except InputError as error:
        raise Wrong(f"cannot be made again: {printable(str(error))}") from None


def _check_cell(index: int, row: TriedConfiguration, made: Chosen) -> Iterator[str]:
    wanted = {"label": made.label, "cell": method_folder(made)}
    for key, value in wanted.items():
        if (found := getattr(row, key)) != value:
            yield f"configurations[{index}].{key} is {shown(found)}; its settings make it {shown(value)}"


def _check_plugin(tuning: SweepTable, config: CellConfig) -> Iterator[str]:
    """Configurations are different, within the space given, and of the source that is submitted."""
    method, rows, space = config.method, tuning.configurations, tuning.space
    for label in (tuning.method, *(row.label for row in rows)):
        if not is_label(label, method.name):
            yield f"{shown(label)} is no label of {shown(method.name)}"
            return
    if rows[0].label != tuning.method:
        yield f"method is {shown(tuning.method)}; its default is {shown(rows[0].label)}"
    if unknown := sorted(set(space) - set(method.settings)):
        yield f"space.{printable(unknown[0], 60)} is no setting of {shown(method.name)}"
        return
    rate = _learning_rate(config)
    rates = [rate / LEARNING_RATE_RANGE, rate * LEARNING_RATE_RANGE]
    if not same_json(space.get(LEARNING_RATE), rates):
        yield f"space.{LEARNING_RATE} is {shown(space.get(LEARNING_RATE))}; on this stream it is {rates}"
    if rows[0].settings:
        yield _settings_differ(0, rows[0].settings, {})
        return
    searched = set(rows[1].settings) if len(rows) > 1 else set()
    tried: set[tuple[str, ...]] = set()
    for index, row in enumerate(rows[1:], start=1):
        where, settings = f"configurations[{index}]", row.settings
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
    yield from _check_plugin_cells(method, rows, tuning.chosen)


def _check_plugin_cells(
    method: MethodRecord, rows: Sequence[TriedConfiguration], chosen: int
) -> Iterator[str]:
    """The folders' hashes, which cover the source; of the default they tell only where it was chosen."""
    for index, row in enumerate(rows):
        name = f"configurations[{index}].cell"
        if index == 0 != chosen:
            if not re.fullmatch(rf"{re.escape(method.name)}-[0-9a-f]{{8}}", row.cell):
                yield f"{name} is {shown(row.cell)}, which is no cell of {method.name}"
            continue
        try:
            own = {
                key: parse_value(text, method.settings[key], f"{name.removesuffix('cell')}settings.{key}")
                for key, text in row.settings.items()
            }
        except InputError as error:
            raise Wrong(printable(str(error))) from None
        wanted = recorded_folder(with_settings(method, own))
        if row.cell != wanted:
            yield f"{name} is {shown(row.cell)}; its settings make it {shown(wanted)}"
        if index == chosen and not same_json(own, {key: method.settings[key] for key in own}):
            yield f"configurations[{index}] is chosen; config.json beside it has other settings"


def _learning_rate(config: CellConfig) -> float:
    """The stream's own."""
    return float(create_stream(choice_text(config.stream.name, config.stream.settings)).optimizer.lr)


def _settings_differ(index: int, found: object, wanted: object) -> str:
    return f"configurations[{index}].settings is {shown(found)}; a sweep tries {shown(wanted)} there"


def within_space(tuning: SweepTable, search_space: Mapping[str, Sequence[Value]]) -> bool:
    """Whether the sweep's space is the one that method.json gives, and the learning rate."""

    def texts(values: Sequence[Value]) -> list[str]:
        return sorted(json.dumps(value) for value in values)

    given = {name: texts(values) for name, values in search_space.items()}
    searched = {name: texts(values) for name, values in tuning.space.items() if name != LEARNING_RATE}
    return searched == given
