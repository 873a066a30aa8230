"""Leaderboards of records that a test wrote."""

from __future__ import annotations

from pathlib import Path

from plasticity_bench.leaderboard.build import build, records_of_runs, records_of_submissions
from plasticity_bench.processes.workers import Workers
from plasticity_bench.submissions.verify import verify


def board_of_runs(runs: Path, out: Path, workers: Workers | None = None) -> list[Path]:
    """The files of the leaderboard of a folder of runs."""
    workers = workers or Workers(1)
    return build(records_of_runs(runs, (), workers), out, workers=workers)


def board_of_submissions(submissions: Path, out: Path) -> list[Path]:
    """The files of the leaderboard of a folder of submissions, which are verified first."""
    report = verify([submissions])
    assert report.problems == []
    return build(records_of_submissions(submissions, report.submissions, ()), out)
