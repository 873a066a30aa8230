"""Methods that are defined in scripts and notebooks: they need no file and no guard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import plasticity_bench as pb
from plasticity_bench.records.cells import SOURCE
from tests.support.command_line import in_fresh_process

STREAM = "permuted-digits:tasks=4"
#: A program without ``if __name__ == "__main__":``, which defines a method and trains it in processes.
SCRIPT = """
import sys
from dataclasses import dataclass
import plasticity_bench as pb

print("executed", flush=True)

@dataclass
class Half(pb.Method):
    info = pb.MethodInfo(name="half", summary="decay")
    strength: float = 1e-3

    def before_update(self, layers, optimizer):
        for layer in layers:
            for parameter in layer.parameters():
                parameter.grad.add_(parameter, alpha=self.strength)

stream, folder = "permuted-digits:tasks=3", sys.argv[1]
results = pb.run(Half, stream, seeds=2, runs=folder, jobs=2, references=False, progress=False)
print(len(results.tables()))
"""


@pytest.mark.parametrize("kind", ["file", "stdin"])
def test_a_script_without_a_guard(kind: str, tmp_path: Path) -> None:
    """Its workers do not execute it again, and its class trains without a file."""
    runs = str(tmp_path / "runs")
    if kind == "file":
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, str(script), runs], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        output = done.stdout
    else:
        output = in_fresh_process("", runs, stdin=SCRIPT)
    assert output.split() == ["executed", "6"]
    (cell,) = pb.load(runs).cells
    source = (cell.path / SOURCE / "Half.py").read_text()
    assert ("class Half" in source) == (kind == "file")
    assert "could not be read" in source or kind == "file"


def test_two_versions_of_a_method_are_distinguished(tmp_path: Path) -> None:
    """As after an edit in a notebook."""
    for factor in (0.1, 0.5):
        space: dict = {"__name__": "__main__", "pb": pb, "FACTOR": factor}
        exec(EDITED, space)
        pb.run(space["Edited"], STREAM, seeds=1, runs=tmp_path, references=False, jobs=1, progress=False)
    tables = pb.load(tmp_path).tables()
    assert list(tables.method.unique()) == ["edited"]
    assert tables.cell.nunique() == 2
    assert tables.groupby("cell").online_performance.mean().nunique() == 2
    assert pb.load(tmp_path).scores().cell.nunique() == 2


EDITED = """
class Edited(pb.Method):
    info = pb.MethodInfo(name="edited", summary="decay")

    def before_update(self, layers, optimizer):
        for layer in layers:
            layer.weight.grad.add_(layer.weight, alpha=FACTOR)
"""


def test_a_failure_in_a_cell_is_given_with_its_line() -> None:
    space: dict = {"__name__": "__main__", "pb": pb, "FACTOR": "much"}
    exec(compile(EDITED, "ipykernel/1.py", "exec"), space)
    failed = [result for result in pb.check(space["Edited"]).results if result.state == "failed"]
    assert {result.where for result in failed} == {"cell:7"}


def test_a_failing_hook_is_given_with_its_line(tmp_path: Path) -> None:
    space: dict = {"__name__": "__main__", "pb": pb, "FACTOR": "much"}
    exec(compile(EDITED, "ipykernel/2.py", "exec"), space)
    with pytest.raises(pb.RunFailed, match=r"failed: TypeError: .* \(cell, line 7\) \(details: "):
        pb.run(space["Edited"], STREAM, seeds=1, runs=tmp_path, references=False, jobs=1, progress=False)
    with pytest.raises(pb.InputError, match="write it to a file"):
        pb.run("notebook:Edited", STREAM, runs=tmp_path)
