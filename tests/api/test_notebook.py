"""The example notebook runs, and shows its progress and its figures."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from plasticity_bench.records.cells import SOURCE, find_cells
from tests.support.paths import REPOSITORY

NOTEBOOK = REPOSITORY / "examples/notebook.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:  # a short stream: what is tested is the notebook
        cell.source = cell.source.replace('"bit-flip"', '"permuted-digits:tasks=12"').replace(
            ">= 90", ">= 10"
        )
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook, folder


def outputs(notebook: Any, text: str) -> list[Any]:
    """The outputs of the first code cell that contains this text."""
    return next(cell.outputs for cell in notebook.cells if cell.cell_type == "code" and text in cell.source)


def test_every_cell_runs_and_nothing_is_written_to_stderr(executed: tuple[Any, Path]) -> None:
    notebook, _ = executed
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs or "import" in cell.source
            assert not [each for each in cell.outputs if each.output_type in ("error", "stream")]


def test_progress_is_shown_in_place_and_cleared(executed: tuple[Any, Path]) -> None:
    shown = [each for each in outputs(executed[0], "pb.run(") if each.output_type == "display_data"]
    assert len(shown) == 1
    assert shown[0].data["text/html"] == ""


def test_figures_are_inline_and_tables_are_html(executed: tuple[Any, Path]) -> None:
    notebook, _ = executed
    for text in ('plot("learning-curves")', 'plot("retained-plasticity")'):
        assert any("image/png" in each.data for each in outputs(notebook, text)), text
    assert "text/html" in outputs(notebook, "results.tables()")[-1].data
    assert "retained" in outputs(notebook, 'pb.run(["syre"')[-1].data["text/plain"]


def test_a_class_of_a_cell_is_recorded_with_its_source(executed: tuple[Any, Path]) -> None:
    cells = [cell for cell in find_cells(executed[1] / "runs") if cell.config.method.name == "sign-decay"]
    assert len(cells) == 2
    for cell in cells:
        source = (cell.path / SOURCE / "SignDecay.py").read_text()
        assert isinstance(ast.parse(source).body[0], ast.ClassDef)
        assert cell.config.method.source == "notebook:SignDecay"


def test_the_committed_notebook_has_its_outputs_and_no_path_of_a_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert any(
        "image/png" in each.get("data", {}) for cell in notebook.cells for each in cell.get("outputs", ())
    )
    assert not [each for each in ("/home/", "/root/", "/tmp/", "/work/") if each in NOTEBOOK.read_text()]
