"""Submissions as a user makes them: written whole, extended, never replaced, replayed, shown as text."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.cells import find_cells
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.registry.choices import choose_method
from plasticity_bench.scoring.scoring import score
from plasticity_bench.storage.files import sha256
from plasticity_bench.submissions.documents import Submitter
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import find_submission, rescore, submission_name, write_submission
from tests.support.here import run_here
from tests.support.plugins import FAILING, GOOD
from tests.support.submission_bench import FOLDER, STREAM, edit_json, record, submit, tree


def shell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in its own process, in ``folder``."""
    command = [sys.executable, "-m", "plasticity_bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_builtin_and_plugin_from_submit_to_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_method.py").write_text(GOOD)
    options = ["--stream", STREAM, "--seeds", "2", "--device", "cpu", "--jobs", "1"]
    submissions = tmp_path / "leaderboard" / "submissions"

    # Without the references the submission is written, and the output says which references are missing.
    first = shell(tmp_path, "submit", "l2", *options)
    assert first.returncode == 0, first.stderr
    assert first.stderr.startswith("training 2 seeds of 1 cells")
    assert first.stdout.startswith("wrote leaderboard/submissions/l2/\n")
    assert f"submit none --stream {STREAM} --seeds 2, then this command again" in first.stdout
    assert "git add leaderboard/submissions/l2" in first.stdout
    scores = json.loads((submissions / "l2" / "scores.json").read_text())["streams"][FOLDER]["metrics"]
    assert scores["level"]["point"] is None
    assert scores["average_performance"]["n"] == 2

    # With the references: nothing is trained and the scores are added. Once more: nothing changes.
    for method in ("none", "reset"):
        assert run_here("submit", method, *options).returncode == 0
    again = run_here("submit", "l2", *options)
    assert again.stdout.startswith("the same records, new scores: leaderboard/submissions/l2/")
    assert again.stderr == ""
    before = tree(submissions)
    assert run_here("submit", "l2", *options).stdout.startswith("identical, nothing to write:")
    assert tree(submissions) == before

    # A plug-in with settings, from its file.
    command = ["submit", "my_method.py:Noise", "--set", "strength=0.001", *options, "--by", "A. Author"]
    plugin = shell(tmp_path, *command, "--name", "noise")
    assert plugin.returncode == 0, plugin.stderr
    document = json.loads((submissions / "noise" / "method.json").read_text())
    assert document["method"]["label"] == "noise:strength=0.001"
    assert document["tuned"] is False  # a user chose the settings, not a sweep
    assert document["search_space"] == {"strength": [1e-4, 1e-3]}
    assert document["submitter"] == {"name": "A. Author", "link": ""}
    assert (submissions / "noise" / "source" / "my_method.py").read_text() == GOOD

    # The same code reads submissions and runs, and finds the same scores.
    of_runs, of_submissions = (
        {row.method: row.summary for row in score(find_cells(folder)).streams[0].rows}
        for folder in (tmp_path / "runs", submissions)
    )
    assert {name: of_runs[name] for name in of_submissions} == of_submissions
    level = of_submissions["noise:strength=0.001"]["level"].point
    found = json.loads((submissions / "noise" / "scores.json").read_text())["streams"][FOLDER]["metrics"]
    assert found["level"]["point"] == pytest.approx(level, rel=1e-8)

    # Verification passes, and a replay is bit-identical. Submitted code runs only if it is trusted.
    verified = run_here("leaderboard", "--verify")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.splitlines()[-1].startswith(
        "4 submissions with 8 seeds, 8 of them with fresh twins"
    )
    noise = str(submissions / "noise")
    refused = run_here("leaderboard", "--replay", "1", noise)
    assert refused.returncode == 2
    assert (
        "noise: a replay runs the submitted code on this machine; read it first, then add --trust"
        in refused.stderr
    )
    replayed = run_here("leaderboard", "--replay", "9", "--trust", "--jobs", "1", "--device", "cpu")
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.count(", its fresh twins: bit-identical\n") == 8
    assert replayed.stdout.endswith("8 of 8 bit-identical in performance and loss, 8 in all columns\n")
    assert not list(submissions.rglob("__pycache__"))

    # A file of that name with other content is another method: one line of error, nothing changes.
    (tmp_path / "my_method.py").write_text(GOOD.replace("at every update", "now and then"))
    before = tree(submissions)
    other = shell(tmp_path, *command, "--name", "noise")
    assert other.returncode == 2
    assert "holds another configuration (method.digest differs); choose another name" in other.stderr
    assert other.stderr.count("\n") == 1
    assert tree(submissions) == before


def test_more_seeds_and_streams_extend_a_submission(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    folder = submit(out, runs, "l2", seeds=1)
    first = tree(folder)
    submit(out, runs, "l2", seeds=3, streams=("permuted-digits:tasks=4",))
    submit(out, runs, "l2", seeds=3)
    last = tree(folder)
    assert {name for name, data in first.items() if last[name] != data} == {"method.json", "scores.json"}
    assert json.loads(last["method.json"])["streams"] == {
        FOLDER: {"cell": "l2-862e076f", "seeds": [0, 1, 2]},
        "permuted-digits-v1_tasks=4": {"cell": "l2-862e076f", "seeds": [0, 1, 2]},
    }
    assert verify([out]).problems == []


def test_the_same_records_are_the_same_bytes(tmp_path: Path) -> None:
    for place in ("a", "b"):
        submit(tmp_path / place, tmp_path / place / "runs", "syre:sigma=0.5,strength=0.0123456789")
        shutil.rmtree(tmp_path / place / "runs")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert len(tree(tmp_path / "a")) == 11


def test_a_table_that_differs_from_the_one_submitted(tmp_path: Path) -> None:
    folder = submit(tmp_path / "out", tmp_path / "runs", "l2")
    before = tree(folder)
    (table,) = (tmp_path / "runs").rglob("seed-001.csv")
    content = table.read_bytes()
    table.write_bytes(content.replace(b"\n1,0.", b"\n1,0.0"))
    edit_json(table.with_suffix(".json"), sha256=sha256(table.read_bytes()))
    with pytest.raises(InputError, match=r"seed-001.csv differs from the submitted table"):
        submit(tmp_path / "out", tmp_path / "runs", "l2")
    assert tree(folder) == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"l2"}  # no draft is left


def test_what_would_not_be_verified_is_not_written(tmp_path: Path) -> None:
    submit(tmp_path / "out", tmp_path / "runs", "none")
    (tmp_path / "runs").rename(tmp_path / "old")
    submit(tmp_path / "other", tmp_path / "runs", "l2")
    (provenance,) = (tmp_path / "runs").rglob("seed-000.json")
    edit_json(provenance, stack=-1)
    with pytest.raises(RunFailed, match=r"^l2/records/.*seed-000.json: stack is -1.*; nothing is submitted"):
        submit(tmp_path / "out", tmp_path / "runs", "l2")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"none"}


def test_killed_while_the_folder_was_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    folder = submit(out, runs, "l2", seeds=1)
    before, replace_folder = tree(folder), os.replace

    def die(source: Path, target: Path) -> None:
        if Path(target) == folder:
            raise KeyboardInterrupt
        replace_folder(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            submit(out, runs, "l2", seeds=2)
    assert not folder.exists()
    chosen = choose_method("l2")
    found = find_submission(out, "l2", chosen)  # the next command puts it back
    assert found is not None
    assert tree(folder) == before
    submit(out, runs, "l2", seeds=2)
    assert verify([out]).problems == []
    assert {path.name for path in out.iterdir()} == {"l2"}


def test_another_process_writes_the_submission(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    folder = submit(out, runs, "l2", seeds=1)
    before = tree(folder)
    code = (
        "import sys, pathlib; from plasticity_bench.submissions.drafts import submission_lock\n"
        "with submission_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="l2 is being written by another process; wait for it, or"):
            submit(out, runs, "l2", seeds=2)
        assert tree(folder) == before
        assert submit(out, runs, "none", seeds=2).is_dir(), "another name is free"
        holder.kill()
        holder.wait()
    submit(out, runs, "l2", seeds=2)
    assert {path.name for path in out.iterdir()} == {"l2", "none"}
    assert verify([out]).problems == []


@pytest.mark.parametrize("first", [0, 1])
def test_another_process_wrote_the_submission_meanwhile(tmp_path: Path, first: int) -> None:
    """Two processes start from the same submission (none, or one seed); what the first wrote stays."""
    out = tmp_path / "out"
    if first:
        submit(out, tmp_path / "runs", "l2", seeds=first)
    chosen = choose_method("l2")
    found = find_submission(out, "l2", chosen)
    folder = submit(out, tmp_path / "runs", "l2", seeds=3)
    before = tree(folder)
    planned = record(tmp_path / "own", [plan_cell(STREAM, "l2")], range(2))
    with pytest.raises(InputError, match="was written by another process meanwhile; run the same command"):
        write_submission(out, "l2", chosen, planned, found, Submitter())
    assert tree(folder) == before
    assert {path.name for path in out.iterdir()} == {"l2"}
    again = find_submission(out, "l2", chosen)
    assert write_submission(out, "l2", chosen, planned, again, Submitter()) == "identical"


def test_names(tmp_path: Path) -> None:
    for method, name in (("l2", "l2"), ("layer-norm+l2", "layer-norm+l2"), ("l2:strength=0.5", "l2-")):
        chosen = choose_method(method)
        assert submission_name(chosen).startswith(name)
    for name in ("../l2", "L2", "a.b", ".l2", "a b", "", "nul", "x" * 100, "a/b", "a\n"):
        with pytest.raises(InputError, match="cannot name a submission"):
            find_submission(tmp_path, name, choose_method("l2"))
    submit(tmp_path / "out", tmp_path / "runs", "l2")
    with pytest.raises(InputError, match="l2 is submitted already as"):
        find_submission(tmp_path / "out", "other", choose_method("l2"))
    with pytest.raises(InputError, match=r"holds another configuration \(method.name differs\)"):
        find_submission(tmp_path / "out", "l2", choose_method("syre"))


def test_a_method_that_fails_submits_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    command = ["submit", f"{tmp_path}/failing.py:Noise", "--stream", STREAM, "--seeds", "1", *places]
    assert main([*command, "--device", "cpu"]) == 1
    assert "ZeroDivisionError: on purpose" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_rescoring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for method in ("l2", "none", "reset"):
        submit(out, tmp_path / "runs", method, name="A", link="https://example.org")
    assert rescore([out / "l2"]) == [out / "l2"]
    assert rescore([out / "l2"]) == []
    assert json.loads((out / "l2" / "method.json").read_text())["submitter"]["name"] == "A"
    # A submission of an earlier schema is rewritten. Before that it cannot be extended.
    current = tree(out / "l2")
    edit_json(out / "l2" / "method.json", schema=1, tuned=True)
    edit_json(out / "l2" / "scores.json", schema=1)
    with pytest.raises(InputError, match="leaderboard --rescore writes it again"):
        submit(out, tmp_path / "runs", "l2")
    assert rescore([out / "l2"]) == [out / "l2"]
    assert tree(out / "l2") == current
    (out / "l2" / "scores.json").write_text("{}")
    assert main(["leaderboard", "--rescore", str(out)]) == 0
    assert f"wrote {out}/l2/method.json and scores.json" in capsys.readouterr().out
    assert verify([out]).problems == []
    (table,) = (out / "l2").rglob("seed-000.csv")
    table.write_bytes(b"")
    with pytest.raises(RunFailed, match=r"seed-000.csv: .*; no scores are written"):
        rescore([out / "none", out / "l2"])
