"""Shared set-up: where MNIST is, one thread as in the worker processes, and seeded random numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

if "PLASTICITY_BENCH_DATA" not in os.environ and SHARED_DATA.is_dir():
    os.environ["PLASTICITY_BENCH_DATA"] = str(SHARED_DATA)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> None:
    """A test's random numbers are the same on every run and machine, whichever tests ran before it."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].manual_seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


@pytest.fixture(scope="session", autouse=True)
def _logs_of_stable_baselines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each of its agents makes a folder, and none is taken away: with the tests' own files they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SB3_LOGDIR", str(tmp_path_factory.mktemp("sb3")))
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium, for tests of the web page."""
    from browser import browser

    with browser() as found:
        yield found
