"""Tuning: the configurations, the table, and the choice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.records.cells import find_cells
from plasticity_bench.registry.catalog import METHODS
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.scoring.metrics import measure
from plasticity_bench.tuning.search import configurations, may_be_tried, search_space
from plasticity_bench.tuning.sweep import FIRST_SEED, read_sweep, table_path, tuning_seeds
from tests.support.plans import named_sweep

STREAM = "permuted-digits:tasks=3"
FOLDER = "permuted-digits-v1_tasks=3"


def sweep(out: Path, *more: str, method: str = "l2", budget: int = 3) -> int:
    what = ["--method", method, "--stream", STREAM, "--budget", str(budget), "--seeds", "2", "--jobs", "1"]
    return main(["sweep", *what, "--out", str(out), *more])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gets_as_many_valid_configurations(name: str) -> None:
    chosen = choose_method(name)
    space = search_space(chosen, 1e-3)
    found = configurations(chosen, space, 12)
    assert len(found) == 12
    assert found[0] == {}
    assert len({json.dumps(settings, sort_keys=True) for settings in found}) == 12
    for settings in found[1:]:
        assert settings.keys() == {key for key, values in space.items() if len(set(values)) > 1}
        assert 1e-4 <= float(settings["lr"]) <= 1e-2
        choose_method(name, settings).make()
        for key, values in space.items():
            value = choose_method(name, settings).settings[key]
            assert min(values) <= value <= max(values)
            assert key not in settings or may_be_tried(values, settings[key])


def test_the_design_is_seeded_and_grows() -> None:
    chosen = choose_method("l2")
    space = search_space(chosen, 1e-3)
    few, many = (configurations(chosen, space, budget) for budget in (5, 90))
    assert many[:5] == few
    assert configurations(chosen, space, 5, seed=1)[1:] != few[1:]
    # The logarithms fill the range evenly: nearly every tenth of it gets its tenth of the points.
    logs = np.log10([float(settings["lr"]) for settings in many[1:]])
    counts = np.histogram(logs, np.linspace(-4, -2, 11))[0]
    assert counts.sum() == 89
    assert counts.min() >= 6


def test_values_that_cannot_be_interpolated_are_taken_from_the_list() -> None:
    chosen = choose_method("upgd")
    found = configurations(chosen, search_space(chosen, 1e-3), 40)
    declared = chosen.cls.info.search_space
    for key in ("weight_decay", "beta"):  # with a zero; too narrow to interpolate
        assert {float(settings[key]) for settings in found[1:]} == set(declared[key])


def test_what_a_sweep_may_try() -> None:
    values = (0.00123, 0.1)
    assert [may_be_tried(values, text) for text in ("0.0012", "0.05", "0.1")] == [True] * 3
    wrong = ("0.0011", "0.11", "5e-2", "0.050", "nan", "inf", "x", "", "-0.05", "0.05 ")
    assert not any(may_be_tried(values, text) for text in wrong)
    assert may_be_tried((1, 100), "7")
    assert not may_be_tried((1, 100), "7.5")
    assert may_be_tried((0.0, 0.9), "0")
    assert not may_be_tried((0.0, 0.9), "0.5")
    assert may_be_tried(("a", "b"), "b")
    assert may_be_tried((False, True), "true")
    assert not may_be_tried((False, True), "1")


def test_inline_settings_are_kept() -> None:
    chosen = choose_method("l2:strength=0.1")
    found = configurations(chosen, search_space(chosen, 1e-3), 4)
    assert all(settings.keys() == {"lr"} for settings in found[1:])
    plan = named_sweep(STREAM, "l2:strength=0.1", 4)
    assert all(cell.method.settings["strength"] == 0.1 for cell in plan.cells())
    assert {
        key for settings in named_sweep(STREAM, "layer-norm+l2", 4).configurations for key in settings
    } == {
        "l2.strength",
        "lr",
    }


def test_sweep_chooses_the_best_late_performance(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "sweeps"
    assert sweep(out, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    path = table_path(out, FOLDER, "l2")
    assert read_sweep(path).as_json() == found
    assert found["seeds"] == tuning_seeds(2) == [FIRST_SEED, FIRST_SEED + 1]
    by_hand = {}
    for cell in find_cells(out):
        measured = measure(cell)
        assert list(measured.seeds) == found["seeds"]
        by_hand[cell.path.name] = measured.curves["performance"][:, -1].mean()
    assert {row["cell"]: row["score"] for row in found["configurations"]} == pytest.approx(by_hand)
    assert found["configurations"][found["chosen"]]["score"] == max(by_hand.values())
    before = path.read_bytes()
    # Again: nothing is missing, and the bytes are the same. A larger budget extends the sweep.
    assert sweep(out) == 0
    assert "chosen" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert sweep(out, budget=4) == 0
    assert read_sweep(path).as_json()["configurations"][:3] == found["configurations"]
    # Another design is another sweep.
    assert sweep(out, "--design", "1") == 2
    assert "another sweep" in capsys.readouterr().err


def test_run_with_the_tuned_settings(tmp_path: Path, capsys: Any) -> None:
    out, runs = tmp_path / "sweeps", tmp_path / "runs"
    run = ["run", "--method", "l2", "--stream", STREAM, "--no-references", "--jobs", "1"]
    run += ["--runs", str(runs), "--tuned"]
    assert main([*run, str(out), "--seeds", "1"]) == 2
    assert "no sweep of l2" in capsys.readouterr().err
    assert sweep(out) == 0
    table = read_sweep(table_path(out, FOLDER, "l2"))
    chosen = table.choice
    assert main([*run, str(out), "--seeds", "1"]) == 0
    (cell,) = find_cells(runs)
    assert cell.configuration == chosen.label
    assert cell.method == "l2 (tuned)"
    assert cell.path.name.endswith("-tuned")
    assert cell.seeds() == [0]
    assert cell.tuning == table
    (cell.path / "tuning.json").write_text(json.dumps({**table.as_json(), "chosen": 99}))
    with pytest.raises(InputError, match=r"tuning\.json is damaged"):
        find_cells(runs)
    (cell.path / "tuning.json").write_bytes(table.to_bytes())
    assert main([*run, str(out), "--seeds", f"{FIRST_SEED + 1}-{FIRST_SEED + 1}"]) == 2
    assert "was used to tune" in capsys.readouterr().err
    assert main([*run, str(out), "--set", "strength=1"]) == 2
    assert "leave one out" in capsys.readouterr().err


@pytest.mark.parametrize("diverged", [False, True])
def test_nan_is_never_chosen(
    diverged: bool, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a performance of nan, nor weights that are not finite, whose tasks count as chance."""
    from plasticity_bench.tuning import sweep as module

    real = module.measure

    def broken(cell: Any) -> Any:
        measured = real(cell)
        if "lr" in cell.configuration:
            return measured
        if diverged:
            return dataclasses.replace(measured, not_finite=dict.fromkeys(measured.seeds, 3))
        measured.curves["performance"][:] = np.nan
        return measured

    monkeypatch.setattr(module, "measure", broken)
    out = tmp_path / "sweeps"
    assert sweep(out, method="none", budget=2) == 0
    found = read_sweep(table_path(out, FOLDER, "none"))
    assert found.configurations[0].score is None
    assert found.chosen == 1
    assert "-" in capsys.readouterr().out
    assert sweep(out / "b", method="none", budget=1) == 2
    assert "ends in nan" in capsys.readouterr().err


def test_bad_input(tmp_path: Path, capsys: Any) -> None:
    assert sweep(tmp_path, budget=0) == 2
    assert "at least one configuration" in capsys.readouterr().err
    assert sweep(tmp_path, method="l3") == 2
    assert 'unknown method "l3"' in capsys.readouterr().err
    path = table_path(tmp_path, FOLDER, "l2")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        read_sweep(path)
