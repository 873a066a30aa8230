"""``run`` and ``list`` as a user starts them: training, records and output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plasticity_bench.cli import main
from plasticity_bench.records.cells import find_cells
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.registry.catalog import METHODS, STREAMS, SUITES
from tests.support.here import run_here
from tests.support.plugins import FAILING, GOOD

STREAM = "permuted-digits:tasks=3"
FOLDER = "permuted-digits-v1_tasks=3"


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a separate process."""
    command = [sys.executable, "-m", "plasticity_bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def recorded(runs: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a recorded seed with its bytes and the time of its last change."""
    return {
        str(path.relative_to(runs)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in runs.glob("*/*/seed-*")
    }


def configs(runs: Path) -> dict[str, Any]:
    """Label of the method -> the cell's configuration."""
    return {cell.method: cell.config.as_json() for cell in find_cells(runs)}


def reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def test_a_plugin_and_a_method_with_settings_from_first_run_to_more_seeds(tmp_path: Path) -> None:
    assert GOOD.count("\n") <= 40
    plugin, runs = tmp_path / "my_method.py", tmp_path / "runs"
    plugin.write_text(GOOD)
    command = ["run", "--method", f"{plugin}:Noise", "l2:decoupled=true", "--runs", str(runs)]
    command += ["--set", "strength=1e-2", "lr=0.002", "--stream", STREAM, "--device", "cpu"]

    # First run: everything is trained, and also the references; stdout holds only JSON.
    first = shell(*command, "--seeds", "1", "--jobs", "2", "--json")
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("training 4 seeds of 4 cells\n")
    labels = {"noise:lr=0.002,strength=0.01", "l2:decoupled=true,lr=0.002,strength=0.01", "none", "reset"}
    (scores,) = json.loads(first.stdout, parse_constant=reject_constant)["streams"]
    assert scores["stream"] == FOLDER
    assert {row["method"] for row in scores["methods"]} == labels
    assert all(row["seeds"] == [0] for row in scores["methods"])

    # On disk: the method has the given settings, and the references have their defaults.
    found = configs(runs)
    assert set(found) == labels
    noise, l2 = found["noise:lr=0.002,strength=0.01"], found["l2:decoupled=true,lr=0.002,strength=0.01"]
    assert noise["method"]["settings"] == {"strength": 0.01, "lr": 0.002}
    assert noise["method"]["source"] == "my_method.py:Noise"
    assert l2["method"]["settings"] == {"strength": 0.01, "decoupled": True, "lr": 0.002}
    assert [found[name]["optimizer"]["lr"] for name in sorted(labels)] == [0.002, 0.002, 0.001, 0.001]
    assert all(config["stream"]["settings"] == {"tasks": 3} for config in found.values())
    for cell in find_cells(runs):
        assert cell.stream == FOLDER
        assert cell.seeds() == [0]
        assert (len(cell.trained.table(0)), len(cell.trained.table(0)["task"])) == (len(COLUMNS), 3)
        assert cell.trained.provenance(0).device == "cpu"
        assert {path.name for path in cell.path.iterdir()} == {
            *(".lock", "config.json", "seed-000.csv", "seed-000.json", "fresh-000.csv", "fresh-000.json"),
            *(["source"] if cell.method.startswith("noise") else []),
        }

    # Again: nothing is trained, and the output is the same.
    before = recorded(runs)
    again = shell(*command, "--seeds", "1", "--json")
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    assert recorded(runs) == before

    # More seeds are added to the cells, and recorded seeds do not change. The table says what to do next.
    more = run_here(*command, "--seeds", "0,2", "--jobs", "2")
    assert more.returncode == 0, more.stderr
    assert more.stderr.startswith("training 4 seeds of 4 cells\n")
    after = recorded(runs)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)
    assert all(cell.seeds() == [0, 2] for cell in find_cells(runs))
    assert all(text in more.stdout for text in ("level", "noise:lr=0.002", f"records: {runs}/", "next:"))

    # The plug-in with another source is another cell.
    plugin.write_text(GOOD + "# changed\n")
    assert main([*command, "--seeds", "nonsense"]) == 2
    from plasticity_bench.records.configuration import plan_cell
    from plasticity_bench.running.plan import open_cells

    (changed,) = open_cells(runs, [plan_cell(STREAM, f"{plugin}:Noise:strength=1e-2,lr=0.002")], [0])
    assert changed.missing == [0]


def test_a_method_that_fails_in_training_spoils_no_other(tmp_path: Path) -> None:
    plugin, runs = tmp_path / "failing.py", tmp_path / "runs"
    plugin.write_text(FAILING)
    command = ("run", "--method", f"{plugin}:Noise", "l2", "--no-references", "--stream", STREAM)
    done = shell(*command, "--device", "cpu", "--seeds", "1", "--jobs", "2", "--runs", str(runs))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    progress, *others, message = done.stderr.splitlines()
    assert progress == "training 2 seeds of 2 cells"
    assert all("% done" in line for line in others)
    (details,) = runs.glob("*/*/error.txt")
    assert details.parent.name.startswith("failing-")
    line = FAILING[: FAILING.index("raise ZeroDivisionError")].count("\n") + 1
    expected = (
        f"failing (failing.py:Noise) on {STREAM} failed: ZeroDivisionError: on purpose "
        f"(failing.py, line {line}) (details: {details})"
    )
    assert message == f"plasticity_bench: {expected}"
    assert "Traceback" in details.read_text()
    assert 'failing.py", line' in details.read_text()
    assert {cell.method: cell.seeds() for cell in find_cells(runs)} == {"failing": [], "l2": [0]}


@pytest.mark.parametrize(
    "line", ["--help", "run --help", "check --help", "new --help", "list", "list methods --json"]
)
def test_help_and_list_import_nothing_heavy(line: str) -> None:
    heavy = ["torch", "torchvision", "avalanche", "stable_baselines3", "gymnasium", "pybullet"]
    heavy += ["sklearn", "scipy", "pandas"]
    code = (
        "import sys; from plasticity_bench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for title, names in (("methods", METHODS), ("streams", STREAMS), ("suites", SUITES)):
        assert f"{title}\n" in out
        assert all(f"\n  {name} " in out for name in names)
    assert "settings: strength=0.001, decoupled=False" in out
    assert main(["list", "suites"]) == 0
    assert "methods\n" not in capsys.readouterr().out


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=reject_constant)
    for what, names in (("methods", METHODS), ("streams", STREAMS), ("suites", SUITES)):
        assert {entry["name"] for entry in found[what]} == set(names)
        assert all(entry["summary"] for entry in found[what])
    l2 = next(entry for entry in found["methods"] if entry["name"] == "l2")
    assert l2["settings"] == {"strength": 0.001, "decoupled": False}


def test_the_reader_of_the_output_may_leave() -> None:
    command = f"{sys.executable} -m plasticity_bench list | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
