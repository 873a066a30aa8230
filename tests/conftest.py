"""Shared set-up of all tests.

It sets the data folder of MNIST, one thread as in worker processes, seeded random numbers and a temporary
folder that is removed at the end. Failures are printed as soon as they happen.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import SHARED_DATA

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if "PLASTICITY_BENCH_DATA" not in os.environ and SHARED_DATA.is_dir():
    os.environ["PLASTICITY_BENCH_DATA"] = str(SHARED_DATA)
os.environ.setdefault("OMP_NUM_THREADS", "1")

TEMPORARY = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Files that libraries leave in the temporary folder (as stable-baselines3 and wandb do) are removed.

    pytest's own folders stay in their usual place. Workers of xdist inherit both.
    """
    if hasattr(config, "workerinput"):
        return
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[TEMPORARY] = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="pb-tests-")
    tempfile.tempdir = None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers of ``-n auto``: one more than cores, as tests that kill, wait and queue leave a core idle."""
    return (os.cpu_count() or 1) + 1


def pytest_unconfigure(config: pytest.Config) -> None:
    if TEMPORARY in config.stash:
        shutil.rmtree(config.stash[TEMPORARY], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Prints a failure at once: if the tests are killed there is no summary."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext[-4000:]}", flush=True)


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> None:
    """A test's random numbers are the same on every run, whatever tests ran before it."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].manual_seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium, for tests of the web page."""
    from tests.support.browser import browser

    with browser() as found:
        yield found
