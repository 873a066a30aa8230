"""The page that the tests of a module share."""

from __future__ import annotations

from pathlib import Path

import pytest

from plasticity_bench.page.document import page_data, write_page
from plasticity_bench.scoring.scores import Scores


@pytest.fixture(scope="module")
def page_file(scores: Scores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the module's fixture ``scores``."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(page_data(scores, path.parent), path)
    return path
