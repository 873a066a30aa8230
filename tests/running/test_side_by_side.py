"""Stacks of a sweep: which configurations train together, records, resuming and failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.records.checkpoints import checkpoint_path, checkpoint_position, checkpoint_seeds
from plasticity_bench.running import side_by_side
from plasticity_bench.running.job import Job
from plasticity_bench.running.launch import train_missing
from plasticity_bench.running.plan import Planned, open_cells, plan_jobs
from plasticity_bench.running.worker import run_job
from plasticity_bench.tuning.sweep import tuning_seeds
from tests.support.learners import shorten_digits
from tests.support.plans import named_sweep, swept_cell

STREAM = "permuted-digits:tasks=3"
SEEDS = (0, 1)
RATES = ("0.001", "0.002", "0.003")


#: Updates per task, for runs in the process of the test.
STEPS = 40


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_digits(monkeypatch, STEPS)


class Killed(BaseException):
    """Simulates the end of the process."""


def ignore(done: int, total: int) -> None:
    """A progress report that is ignored."""


def kill_at(share: float) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done >= share * total:
            raise Killed

    return report


def cells(
    runs: Path, method: str = "cbp:rate=0.01,maturity=20", rates: tuple[str, ...] = RATES
) -> list[Planned]:
    return open_cells(runs, [swept_cell(STREAM, method, {"lr": rate}) for rate in rates], SEEDS)


def one_job(planned: list[Planned]) -> Job:
    (job,) = plan_jobs(planned, 1, ["cpu"])
    return replace(job, checkpoint_seconds=0.0)


def tables(planned: list[Planned]) -> dict[str, bytes]:
    return {
        f"{item.cell.path.name}/{path.name}": path.read_bytes()
        for item in planned
        for path in sorted(item.cell.path.glob("seed-*.csv"))
    }


def alone(
    runs: Path, method: str = "cbp:rate=0.01,maturity=20", rates: tuple[str, ...] = RATES
) -> dict[str, bytes]:
    """The records of configurations that train one by one."""
    for rate in rates:
        item = cells(runs, method, (rate,))
        job = one_job(item)
        assert job.others == ()
        run_job(job, ignore)
    return tables(cells(runs, method, rates))


def shape(jobs: list[Job]) -> list[tuple[int, int]]:
    """(configurations, seeds of each), sorted."""
    return sorted((len(job.members), len(job.seeds)) for job in jobs)


@pytest.mark.usefixtures("short")
def test_recorded_as_if_alone(tmp_path: Path) -> None:
    planned = cells(tmp_path / "together")
    job = one_job(planned)
    assert shape([job]) == [(3, 2)]
    assert job.count == 6
    assert job.steps == 3 * 2 * 3 * STEPS
    seen: list[tuple[int, int]] = []
    run_job(replace(job, checkpoint_seconds=60.0), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (9 * STEPS, 9 * STEPS)
    assert tables(planned) == alone(tmp_path / "alone")
    assert len(tables(planned)) == 6
    origins = [item.cell.trained.provenance(seed) for item in planned for seed in SEEDS]
    assert {origin.stack for origin in origins} == {6}
    assert len({origin.seconds for origin in origins}) == 1  # equal shares
    assert origins[0].seconds > 0
    assert plan_jobs(planned, 1, ["cpu"]) == []


@pytest.mark.usefixtures("short")
def test_killed_and_resumed_in_any_company(tmp_path: Path) -> None:
    """All are in the second task. Then one trains alone, and after that the others resume."""
    wanted = alone(tmp_path / "alone")
    planned = cells(tmp_path / "runs")
    with pytest.raises(Killed):
        run_job(one_job(planned), kill_at(0.5))
    places = [checkpoint_path(item.cell.path, SEEDS) for item in planned]
    assert [checkpoint_position(path) for path in places] == [(1, 0)] * 3
    single = one_job([planned[1]])
    updates: list[int] = []
    run_job(single, lambda done, total: updates.append(done))
    assert updates[0] > STEPS  # not from the start
    assert [path.exists() for path in places] == [True, False, True]
    rest = one_job(planned)
    assert shape([rest]) == [(2, 2)]
    run_job(rest, ignore)
    assert tables(planned) == wanted
    assert not any(path.exists() for path in places)


@pytest.mark.usefixtures("short")
def test_those_at_the_same_step_go_on_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two checkpoints, or started at different times."""
    wanted = alone(tmp_path / "alone")
    planned = cells(tmp_path / "runs")
    with pytest.raises(Killed):
        run_job(one_job(planned[:2]), kill_at(0.5))
    with pytest.raises(Killed):
        run_job(one_job(planned[2:]), kill_at(0.9))
    stacks: list[int] = []
    real = side_by_side._train

    def spy(members: Any, *others: Any) -> Any:
        stacks.append(len(members))
        return real(members, *others)

    monkeypatch.setattr(side_by_side, "_train", spy)
    seen: list[tuple[int, int]] = []
    run_job(one_job(planned), lambda done, total: seen.append((done, total)))
    assert stacks == [2]
    assert tables(planned) == wanted
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (9 * STEPS, 9 * STEPS)


@pytest.mark.usefixtures("short")
def test_a_damaged_checkpoint_stops_its_own_configuration(tmp_path: Path) -> None:
    planned = cells(tmp_path / "runs")
    with pytest.raises(Killed):
        run_job(one_job(planned), kill_at(0.5))
    path = checkpoint_path(planned[0].cell.path, SEEDS)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"checkpoint .* is damaged"):
        run_job(one_job(planned), ignore)
    assert [len(item.missing) for item in planned] == [2, 0, 0]
    assert path.exists()  # only the user may delete it


PLUGIN = """
from dataclasses import dataclass
from plasticity_bench.agents.methods import Method, MethodInfo

@dataclass
class Fragile(Method):
    info = MethodInfo(name="fragile", summary="breaks", search_space={"breaks": (0, 1)})
    breaks: int = 0
    keeps: int = 0

    def setup(self, layers, rng):
        self.updates = 0

    def after_update(self, layers, optimizer):
        self.updates += 1
        if self.updates == 60 and self.breaks:
            raise ZeroDivisionError("broke")
        if self.keeps:
            self.kept = {1, 2}
"""


def fragile(tmp_path: Path, *settings: dict[str, str]) -> list[Planned]:
    file = tmp_path / "fragile.py"
    file.write_text(PLUGIN)
    plans = [swept_cell(STREAM, f"{file}:Fragile", one) for one in settings]
    return open_cells(tmp_path / "runs", plans, SEEDS)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("fault", ["breaks", "keeps"])
def test_a_configuration_that_fails_is_named_and_the_others_are_recorded(tmp_path: Path, fault: str) -> None:
    planned = fragile(tmp_path, {"lr": "0.002"}, {fault: "1"}, {"lr": "0.003"})
    with pytest.raises(
        RunFailed, match=rf"fragile:{fault}=1 \(fragile.py:Fragile\) on .* failed: .*(broke|cannot be saved)"
    ) as caught:
        run_job(one_job(planned), ignore)
    assert "\n" not in str(caught.value)
    assert [len(item.missing) for item in planned] == [0, 2, 0]
    errors = [(item.cell.path / "error.txt").exists() for item in planned]
    assert errors == [False, True, False]
    text = (planned[1].cell.path / "error.txt").read_text()
    assert "Traceback" in text
    assert ("in after_update" in text) == (fault == "breaks")
    for item in (planned[0], planned[2]):
        assert checkpoint_seeds(item.cell.path) == []
    other = tmp_path / "other"
    other.mkdir()
    wanted = fragile(other, {"lr": "0.003"})
    run_job(one_job(wanted), ignore)
    assert list(tables(wanted).values()) == list(tables([planned[2]]).values())


def test_a_failing_configuration_through_the_command(tmp_path: Path, capsys: Any) -> None:
    """In worker processes: the failure is one line, and the others are recorded."""
    planned = fragile(tmp_path, {"breaks": "1"}, {"lr": "0.003"})
    with pytest.raises(RunFailed, match="breaks=1"):
        train_missing(planned, 1, ["cpu"], Console(quiet=True))
    assert [len(item.missing) for item in planned] == [2, 0]


@pytest.mark.parametrize(
    ("count", "seeds", "workers", "wanted"),
    [
        (12, 4, 4, [(3, 4)] * 4),  # every worker has one stack
        (12, 4, 1, [(6, 4)] * 2),  # what the cache holds
        (12, 4, 5, [(2, 4)] * 6),
        (12, 4, 12, [(1, 4)] * 12),
        (2, 4, 4, [(1, 2)] * 4),  # fewer configurations than workers: stacks of seeds
        (1, 6, 1, [(1, 6)]),
    ],
)
def test_stacks(tmp_path: Path, count: int, seeds: int, workers: int, wanted: list[tuple[int, int]]) -> None:
    plan = named_sweep("permuted-digits", "l2", count)
    planned = open_cells(tmp_path, plan.cells(), tuning_seeds(seeds))
    jobs = plan_jobs(planned, workers, ["cpu"])
    assert shape(jobs) == wanted
    assert sum(job.count for job in jobs) == count * seeds
    paths = [member.path for job in jobs for member in job.members]
    assert {item.cell.path for item in planned} == set(paths)


def test_a_tiny_network_and_a_gpu_take_more(tmp_path: Path) -> None:
    bits = open_cells(tmp_path, named_sweep("bit-flip", "l2", 12).cells(), tuning_seeds(4))
    assert shape(plan_jobs(bits, 1, ["cpu"])) == [(12, 4)]
    digits = open_cells(tmp_path, named_sweep("permuted-digits", "l2", 12).cells(), tuning_seeds(4))
    jobs = plan_jobs(digits, 2, ["cuda:0", "cuda:1"])
    assert shape(jobs) == [(6, 4), (6, 4)]
    assert {member.device for job in jobs[1:] for member in job.members} == {"cuda:1"}


def test_what_does_not_train_together(tmp_path: Path) -> None:
    """Other networks, methods and seeds, agents that act, networks that fill a core by themselves."""
    widths = [{"p": "0.1"}, {"p": "0.2"}, {"p": "0.2", "lr": "0.01"}]
    dropout = open_cells(tmp_path, [swept_cell(STREAM, "dropout", s) for s in widths], SEEDS)
    assert shape(plan_jobs(dropout, 1, ["cpu"])) == [(1, 2), (2, 2)]
    methods = open_cells(tmp_path, [swept_cell(STREAM, name, {}) for name in ("none", "l2")], SEEDS)
    assert shape(plan_jobs(methods, 1, ["cpu"])) == [(1, 2), (1, 2)]
    some = cells(tmp_path)
    (some[0].cell.path / "seed-000.json").write_text("{}")
    assert shape(plan_jobs(some, 1, ["cpu"])) == [(1, 1), (2, 2)]
    for stream in ("shuffled-gridworld", "permuted-mnist"):
        plans = named_sweep(stream, "none", 3).cells()
        large = open_cells(tmp_path, plans, SEEDS)
        assert all(job.others == () for job in plan_jobs(large, 1, ["cpu"]))


def test_a_sweep_says_the_same_however_it_is_stacked(tmp_path: Path) -> None:
    """The command with one process, which trains one stack, and with as many as there are cells."""
    found = []
    for jobs in ("1", "3"):
        out = tmp_path / jobs
        what = ["--method", "l2", "--stream", STREAM, "--budget", "3", "--seeds", "2", "--jobs", jobs]
        assert main(["sweep", *what, "--out", str(out), "--json"]) == 0
        recorded: list[Cell] = find_cells(out)
        bits = {
            f"{c.path.name}/{seed}": c.trained.path(seed).read_bytes() for c in recorded for seed in c.seeds()
        }
        (file,) = out.glob("*/*.sweep.json")
        table = json.loads(file.read_text())
        for row in table["configurations"]:
            assert row.pop("seconds") > 0
        found.append((bits, table))
        assert {c.trained.provenance(c.seeds()[0]).stack for c in recorded} == ({6} if jobs == "1" else {2})
    assert len(found[0][0]) == 6
    assert found[0] == found[1]
