"""The Python interface: it trains what the command line trains, and its results are the same numbers."""

from __future__ import annotations

import csv
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plasticity_bench as pb
from plasticity_bench.agents.methods.decay import L2
from plasticity_bench.cli import main
from plasticity_bench.leaderboard.build import build, records_of_runs
from plasticity_bench.processes.workers import Workers
from plasticity_bench.records.tables import COLUMNS
from plasticity_bench.scoring.summary import SUMMARY_COLUMNS
from tests.support.command_line import in_fresh_process
from tests.support.plugins import GOOD

STREAM = "permuted-digits:tasks=4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(folder: Path) -> pb.Results:
    return pb.run("l2:strength=0.01", STREAM, seeds=6, runs=folder, jobs=1, progress=False)


@dataclass
class Optional(pb.Method):
    info = pb.MethodInfo(name="optional", summary="has a setting that may be None")
    rate: float | None = 0.5


def with_closure(value: object) -> type[pb.Method]:
    class Locked(pb.Method):
        info = pb.MethodInfo(name="locked", summary="uses something that cannot be pickled")
        used = value

    return Locked


Locked = with_closure(threading.Lock())


class Failing(pb.Method):
    info = pb.MethodInfo(name="failing", summary="cannot be made")

    def __init__(self) -> None:
        raise RuntimeError("in two\nlines")


def test_importing_it_imports_nothing_heavy() -> None:
    program = """
        import sys
        before = set(sys.modules)
        import plasticity_bench as pb
        assert set(pb.__all__) <= set(dir(pb))
        heavy = {"torch", "numpy", "pandas", "matplotlib", "rich"} & set(sys.modules)
        assert not heavy, heavy
        pb.methods(), pb.streams()
        assert "torch" not in sys.modules
        assert pb.run is pb.run
    """
    in_fresh_process(program)


def test_every_public_name_is_there() -> None:
    for name in pb.__all__:
        assert getattr(pb, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'ran'"):
        pb.ran  # noqa: B018


def test_it_trains_what_the_command_trains(results: pb.Results, folder: Path, tmp_path: Path) -> None:
    command = ["run", "--method", "l2", "--set", "strength=0.01", "--stream", STREAM, "--seeds", "6"]
    assert main([*command, "--jobs", "1", "--device", "cpu", "--runs", str(tmp_path)]) == 0
    ours = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.csv")}
    theirs = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.csv")}
    assert ours == theirs
    assert len(ours) == 36  # of seeds and of their fresh twins


def test_tables_hold_every_number_of_the_records(results: pb.Results) -> None:
    tables = results.tables()
    assert list(tables.columns) == ["stream", "method", "seed", *COLUMNS, "cell"]
    assert len(tables) == 3 * 6 * 4
    assert set(tables.method) == {"none", "reset", "l2:strength=0.01"}
    for cell in results.cells:
        for seed in cell.seeds():
            rows = tables[(tables.method == cell.method) & (tables.seed == seed)]
            for name, values in cell.trained.table(seed).items():
                np.testing.assert_array_equal(rows[name].to_numpy(), values)


def test_scores_are_the_leaderboards(results: pb.Results, folder: Path, tmp_path: Path) -> None:
    with Workers(1) as workers:
        build(records_of_runs(folder, (), workers), tmp_path)
    with open(tmp_path / "leaderboard.csv") as file:
        rows = list(csv.DictReader(file))
    scores = results.scores()
    assert list(scores.columns) == [*SUMMARY_COLUMNS, "cell"]
    assert [row["method"] for row in rows] == list(scores.method)
    for name in ("level", "level_low", "p_none", "rank"):
        expected = np.array([float(row[name] or "nan") for row in rows])
        np.testing.assert_allclose(scores[name].to_numpy(float), expected, rtol=1e-8)
    assert "l2:strength=0.01" in repr(results)
    assert "95% CI" in repr(results)


def test_figures_are_drawn_and_shown_inline(results: pb.Results, tmp_path: Path) -> None:
    curves = f"learning-curves-{results.streams[0]}"
    assert curves in results.figures()
    for figure in (results.plot(), results.plot("learning-curves"), results.plot(curves)):
        assert figure.get_axes()[0].lines
        assert vars(figure)["_repr_png_"]().startswith(b"\x89PNG")  # where IPython looks
    results.plot("level", stream="permuted-digits").savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000


def test_load_reads_what_run_recorded(results: pb.Results, folder: Path) -> None:
    loaded = pb.load(folder)
    assert loaded.streams == results.streams == ["permuted-digits-v1_tasks=4"]
    assert loaded.methods == results.methods
    assert loaded.tables().equals(results.tables())
    assert pb.load(folder, stream="permuted-digits").methods == results.methods


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pb.run("l3", STREAM), 'unknown method "l3"'),
        (lambda: pb.run("l2", "permuted-digit"), 'unknown stream "permuted-digit"'),
        (lambda: pb.run("l2", STREAM, settings={"force": 1}), 'no setting "force"'),
        (lambda: pb.run("l2", STREAM, seeds=0), "seeds=0: give how many"),
        (lambda: pb.run("l2", STREAM, seeds=[1, 1]), "which"),
        (lambda: pb.run("l2", STREAM, seeds=[-1]), "which"),
        (lambda: pb.run("l2", STREAM, seeds=True), "seeds=True"),
        (lambda: pb.run("l2", STREAM, suite="quick"), "leave one out"),
        (lambda: pb.run("l2", STREAM, jobs=0), "at least one process"),
        (lambda: pb.run("l2", STREAM, precision="float"), "precision"),
        (lambda: pb.run("l2", STREAM, settings={"strength": 1}, tuned="sweeps"), "leave one out"),
        (lambda: pb.run(int, STREAM), "int is not a method"),  # type: ignore[arg-type]
        (lambda: pb.run(3, STREAM), "3 is not a method"),  # type: ignore[arg-type]
        (lambda: pb.run("l2", STREAM, seeds=2.0), "seeds=2.0: give how many"),  # type: ignore[arg-type]
        (lambda: pb.run("l2", STREAM, seeds=[0, "1"]), "which"),  # type: ignore[list-item]
        (lambda: pb.run("l2", STREAM, seeds=10**12), "at most 10000"),
        (lambda: pb.run([], STREAM), "method=[]: give at least one"),
        (lambda: pb.run("l2", []), "stream=[]: give at least one"),
        (lambda: pb.run("l2", ""), 'unknown stream ""'),
        (lambda: pb.run("l2", 3), "3 is not a stream"),  # type: ignore[arg-type]
        (lambda: pb.run("l2", STREAM, settings={"strength": None}), '"strength" is None'),  # type: ignore[dict-item]
        (lambda: pb.run("l2", STREAM, settings="strength=1"), "give a dict"),  # type: ignore[arg-type]
        (lambda: pb.run(Optional(rate=None), STREAM), "optional: rate is None"),
        (lambda: pb.run(Locked, STREAM), "Locked cannot be sent to worker processes: TypeError"),
        (lambda: pb.run(Failing, STREAM), "failing cannot be made: RuntimeError: in two lines"),
        (lambda: pb.load("nowhere"), "no records in nowhere"),
        (lambda: pb.check("l3"), 'unknown method "l3"'),
    ],
)
def test_bad_input_is_one_line(
    call: Callable[[], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pb.InputError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_figures_and_streams_that_are_not_there(results: pb.Results, folder: Path) -> None:
    with pytest.raises(pb.InputError, match=r'no figure "learning-curve": did you mean "learning-curves'):
        results.plot("learning-curve")
    with pytest.raises(pb.InputError, match='no records of a stream "bit-flip"'):
        results.plot(stream="bit-flip")
    with pytest.raises(pb.InputError, match='no records of a stream "bit-flip"'):
        pb.load(folder, stream="bit-flip")


def test_an_object_is_its_class_with_its_settings(tmp_path: Path) -> None:
    results = pb.run(
        [L2(strength=0.01), L2(), L2],
        STREAM,
        seeds=1,
        runs=tmp_path,
        references=False,
        jobs=1,
        progress=False,
    )
    assert results.methods == ["l2", "l2:strength=0.01"]


def test_several_are_any_iterable_and_numpy_counts_as_int(tmp_path: Path) -> None:
    file = tmp_path / "method.py"
    file.write_text(GOOD)
    results = pb.run(
        (method for method in ("l2", file)),
        (stream for stream in [STREAM]),
        seeds=np.arange(1, 3),
        runs=tmp_path / "runs",
        references=False,
        jobs=1,
        progress=False,
    )
    assert results.methods == ["l2", "noise"]
    assert sorted(set(results.tables().seed)) == [1, 2]
    names = pb.methods().index[:1]
    count: Any = np.int64(1)
    options: Any = {"runs": tmp_path / "runs", "jobs": 1, "references": False, "progress": False}
    assert pb.run(names, STREAM, seeds=count, **options).methods == ["none"]


def test_results_follow_their_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options: Any = {"runs": "runs", "references": False, "jobs": 1, "progress": False}
    results = pb.run("l2", STREAM, seeds=1, **options)
    assert results.scores().seeds.tolist() == [1]
    pb.run("l2", STREAM, seeds=2, **options)
    assert results.scores().seeds.tolist() == [2]
    assert len(results.tables()) == 2 * 4
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(results.tables()) == 2 * 4
    assert results.scores().seeds.tolist() == [2]
    shutil.rmtree(tmp_path / "runs")
    for read in (results.tables, results.scores, results.plot):
        with pytest.raises(pb.InputError, match="is gone"):
            read()


def test_check_says_what_fails() -> None:
    report = pb.check("tests.support.api_methods:DrawsGlobally")
    assert not report.passed
    assert not report
    assert "FAILED" in repr(report)
    failed = [result.check for result in report.results if result.state == "failed"]
    assert "random" in failed
    seen: list[str] = []
    assert pb.check("l2", on_line=seen.append).passed
    assert len(seen) == len(report.results)
