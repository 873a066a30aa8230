"""The example notebook runs, and shows its progress and its figures."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from plasticity_bench.records.cells import SOURCE, find_cells
from tests.support.paths import REPOSITORY

NOTEBOOK = REPOSITORY / "examples/notebook.ipynb"


def executed(folder: Path) -> Any:
    """The notebook with its outputs, run in ``folder`` on a short stream."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        short = cell.source.replace('"bit-flip"', '"permuted-digits:tasks=12"')
        cell.source = short.replace(">= 90", ">= 10")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def outputs(notebook: Any, text: str) -> list[Any]:
    """The outputs of the first code cell that contains this text."""
    return next(cell.outputs for cell in notebook.cells if cell.cell_type == "code" and text in cell.source)


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = executed(tmp_path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs or "import" in cell.source
            assert not [each for each in cell.outputs if each.output_type in ("error", "stream")]
    # The progress is shown in place, and cleared at the end.
    shown = [each for each in outputs(notebook, "pb.run(") if each.output_type == "display_data"]
    assert [each.data["text/html"] for each in shown] == [""]
    # Figures are inline, tables are HTML.
    for text in ('plot("learning-curves")', 'plot("level")'):
        assert any("image/png" in each.data for each in outputs(notebook, text)), text
    assert "text/html" in outputs(notebook, "results.tables()")[-1].data
    scores = outputs(notebook, 'pb.run(["syre"')[-1].data["text/plain"]
    assert "level" in scores
    assert "\x1b" not in scores  # colours of a terminal
    # A class of a cell is recorded with its source.
    cells = [cell for cell in find_cells(tmp_path / "runs") if cell.config.method.name == "sign-decay"]
    assert len(cells) == 2
    for cell in cells:
        source = (cell.path / SOURCE / "SignDecay.py").read_text()
        assert source.startswith("@dataclass\nclass SignDecay(pb.Method):")
        assert isinstance(ast.parse(source).body[0], ast.ClassDef)
        assert cell.config.method.source == "notebook:SignDecay"


def test_the_committed_notebook_has_its_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    assert any("image/png" in each.get("data", {}) for each in shown)
