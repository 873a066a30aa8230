"""Tuned submissions: made from sweeps, extended, verified as hostile data, replayed, and shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.figures import drawing as figures
from plasticity_bench.leaderboard.extras import submission_details
from plasticity_bench.records.cells import find_cells
from plasticity_bench.records.configuration import recorded_folder
from plasticity_bench.records.documents import CellConfig
from plasticity_bench.storage.documents import parse_document
from plasticity_bench.storage.files import sha256
from plasticity_bench.submissions.replay import plan_of
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import rescore
from plasticity_bench.tuning.sweep import FIRST_SEED, table_path
from tests.support.boards import board_of_submissions
from tests.support.plugins import GOOD
from tests.support.submission_bench import FOLDER, STREAM, edit_json, problems, submit, sweep, tree
from tests.support.submission_damage import cell
from tests.support.tuning_damage import DAMAGE, PLUGIN_DAMAGE, tune_untuned

OTHER = "bit-flip:tasks=4"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valid submissions: references, l2 and a plug-in, both untuned and tuned."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "noise.py").write_text(GOOD)
    out, runs, sweeps = (folder / name for name in ("submissions", "runs", "sweeps"))
    for method in ("none", "reset", "l2", f"{folder}/noise.py:Noise"):
        submit(out, runs, method)
    for method in ("none", "l2", f"{folder}/noise.py:Noise"):
        submit(out, runs, method, tuned=sweep(sweeps, method), name="A. Author", link="https://example.org")
    return out


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "submissions"))


def test_tuned_and_untuned_stand_side_by_side(sound: Path) -> None:
    report = verify([sound])
    assert [str(problem) for problem in report.problems] == []
    assert [str(note) for note in report.notes] == []
    labels = {submission.name: submission.label for submission in report.submissions}
    assert (labels["l2"], labels["l2-tuned"], labels["noise-tuned"]) == ("l2", "l2 (tuned)", "noise (tuned)")
    names = {s.label: s.method.submitter.name for s in report.submissions if s.method}
    assert names["l2 (tuned)"] == "A. Author"
    assert names["l2"] == ""
    for name, index in (("l2", 3), ("noise", 2)):
        assert json.loads((cell(sound / f"{name}-tuned") / "tuning.json").read_text())["chosen"] == index


def test_what_method_json_says_of_a_sweep(sound: Path) -> None:
    document = json.loads((sound / "l2-tuned" / "method.json").read_text())
    table = json.loads((cell(sound / "l2-tuned") / "tuning.json").read_text())
    config = json.loads((cell(sound / "l2-tuned") / "config.json").read_text())
    assert document["tuned"] is True
    assert document["method"]["label"] == "l2 (tuned)"
    assert document["method"]["settings"] == {"decoupled": False}
    entry = document["streams"][FOLDER]
    assert entry["settings"] == {key: config["method"]["settings"][key] for key in ("lr", "strength")}
    assert entry["settings"] == {
        key: float(value) for key, value in table["configurations"][table["chosen"]]["settings"].items()
    }
    assert entry["tuning"] == {
        "objective": table["objective"],
        "budget": 4,
        "seeds": 2,
        "seconds": sum(row["seconds"] for row in table["configurations"]),
    }
    untuned = json.loads((sound / "l2" / "method.json").read_text())
    assert untuned["tuned"] is False
    assert untuned["streams"][FOLDER].keys() == {"cell", "seeds"}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(copy: Path, case: str) -> None:
    damage, words = DAMAGE[case]
    damage(copy / "l2-tuned")
    found = problems(copy)
    assert any(words in line for line in found), found
    assert all(str(copy / "l2-tuned") in line for line in found), found


@pytest.mark.parametrize("case", PLUGIN_DAMAGE)
def test_damage_to_a_plugins_sweep_is_named(copy: Path, case: str) -> None:
    damage, words = PLUGIN_DAMAGE[case]
    damage(copy / "noise-tuned")
    found = problems(copy)
    assert any(words in line for line in found), found
    assert all(str(copy / "noise-tuned") in line for line in found), found


def test_a_sweep_of_other_code_than_is_submitted(copy: Path) -> None:
    """Everything else is consistent, but the configurations' folder names contain a hash of the source."""
    folder = copy / "noise-tuned"
    source = folder / "source" / "noise.py"
    source.write_text(source.read_text() + "\n")
    edit_json(cell(folder) / "config.json", method__digest=sha256(source.read_bytes()))
    config = parse_document((cell(folder) / "config.json").read_bytes(), CellConfig)
    cell(folder).rename(cell(folder).with_name(f"{recorded_folder(config.method)}-tuned"))
    assert any("tuning.json: configurations[1].cell is" in line for line in problems(folder))


def test_a_sweeps_table_next_to_untuned_records(copy: Path) -> None:
    tune_untuned(copy / "l2", copy / "l2-tuned")
    assert any("belongs in" in line and "-tuned" in line for line in problems(copy / "l2"))


def test_the_label_of_a_sweeps_choice_cannot_be_taken(copy: Path) -> None:
    for label in ("noise (tuned)", "noisel2"):
        edit_json(cell(copy / "noise") / "config.json", method__label=label)
        assert any("method.label" in line for line in problems(copy / "noise"))


def test_a_submission_is_tuned_everywhere_or_nowhere(tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    tuned = submit(out, runs, "l2", tuned=sweep(tmp_path / "sweeps", "l2"))
    untuned = submit(out, runs, "l2", streams=(OTHER,))
    shutil.copytree(next(untuned.glob("records/*")), tuned / "records" / "bit-flip-v1_tasks=4")
    assert any("method.label differs from that on" in line for line in problems(tuned))


def test_more_seeds_and_streams_extend_it_and_another_sweep_does_not(tmp_path: Path) -> None:
    out, runs, sweeps = tmp_path / "out", tmp_path / "runs", tmp_path / "sweeps"
    sweep(sweeps, "l2", streams=(STREAM, OTHER))
    folder = submit(out, runs, "l2", seeds=1, tuned=sweeps)
    first = tree(folder)
    submit(out, runs, "l2", seeds=2, streams=(STREAM, OTHER), tuned=sweeps)
    last = tree(folder)
    assert {name for name, data in first.items() if last[name] != data} == {"method.json", "scores.json"}
    entries = json.loads(last["method.json"])["streams"]
    assert [entry["seeds"] for entry in entries.values()] == [[0, 1], [0, 1]]
    # Each stream has its own chosen configuration.
    assert entries[FOLDER]["settings"] != entries["bit-flip-v1_tasks=4"]["settings"]
    assert problems(out) == []
    # Made in one step, the submission has the same bytes.
    again = submit(tmp_path / "again", tmp_path / "r", "l2", streams=(STREAM, OTHER), tuned=sweeps)
    assert tree(again) == last
    before = tree(folder)
    other = sweep(tmp_path / "other", "l2", budget=5)
    with pytest.raises(
        InputError, match=f"holds the choice of another sweep on {FOLDER}, which is not replaced"
    ):
        submit(out, tmp_path / "runs2", "l2", seeds=3, tuned=other)
    assert tree(folder) == before
    assert {path.name for path in out.iterdir()} == {"l2-tuned"}


def test_what_sweeps_began_from_is_the_same_on_every_stream(tmp_path: Path) -> None:
    """Settings given inline are part of the method that was tuned."""
    sweeps, places = tmp_path / "sweeps", ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    submit(tmp_path / "out", tmp_path / "runs", "l2", tuned=sweep(sweeps, "l2"))
    before = tree(tmp_path)
    sweep(sweeps, "l2:strength=0.5", streams=(OTHER,))
    command = ["submit", "l2:strength=0.5", "--stream", OTHER, "--tuned", str(sweeps), "--name", "l2-tuned"]
    assert main([*command, *places]) == 2
    # Nothing is written if one of two sweeps is missing.
    more = ["submit", "syre", "--stream", STREAM, OTHER, "--tuned", str(sweep(sweeps, "syre"))]
    assert main([*more, *places]) == 2
    assert {name: data for name, data in tree(tmp_path).items() if not name.startswith("sweeps")} == {
        name: data for name, data in before.items() if not name.startswith("sweeps")
    }
    assert not list((tmp_path / "runs").rglob("syre*"))


def test_a_sweep_that_chose_the_default_repeats_the_untuned_tables(tmp_path: Path) -> None:
    """Equal tables are expected then, but are still noted if two methods differ."""
    out, runs = tmp_path / "out", tmp_path / "runs"
    tuned = submit(out, runs, "none", tuned=sweep(tmp_path / "sweeps", "none", budget=1))
    untuned = submit(out, runs, "none")
    for seed in (0, 1):
        name = f"seed-00{seed}"
        shutil.copy(cell(untuned) / f"{name}.csv", cell(tuned) / f"{name}.csv")
        shutil.copy(cell(untuned) / f"{name}.json", cell(tuned) / f"{name}.json")
    rescore([tuned])
    report = verify([out])
    assert report.problems == []
    assert report.notes == []
    scores = json.loads((tuned / "scores.json").read_text())["streams"][FOLDER]
    assert scores["trained"] == [0, 1]  # its own seeds
    other = submit(out, runs, "l2", tuned=sweep(tmp_path / "sweeps", "l2"))
    shutil.copy(cell(untuned) / "seed-000.csv", cell(other) / "seed-000.csv")
    shutil.copy(cell(untuned) / "seed-000.json", cell(other) / "seed-000.json")
    rescore([other])
    assert any("1 tables of" in str(note) for note in verify([out]).notes)


def test_sweeps_of_another_size_are_noted(copy: Path, tmp_path: Path) -> None:
    submit(copy, tmp_path / "runs", "syre", tuned=sweep(tmp_path / "sweeps", "syre", budget=3))
    report = verify([copy])
    assert report.problems == []
    assert [note.reason for note in report.notes] == [
        f"{FOLDER}: tuned with 3 configurations and 2 tuning seeds, "
        "l2-tuned with 4 configurations and 2 tuning seeds"
    ]


def test_settings_given_inline_are_kept(tmp_path: Path) -> None:
    """Even with more digits than a label shows, and for a plug-in composed with a built-in."""
    (tmp_path / "noise.py").write_text(GOOD)
    for method in ("l2:strength=0.0123456789", f"layer-norm+{tmp_path}/noise.py:Noise:strength=0.25"):
        tuned = sweep(tmp_path / "sweeps", method, streams=(STREAM, OTHER))
        folder = submit(tmp_path / "out", tmp_path / "runs", method, streams=(STREAM, OTHER), tuned=tuned)
        assert problems(folder) == []
        (submission,) = verify([folder]).submissions
        for stream, evidence in submission.streams.items():
            settings = evidence.cell.config.method.settings
            assert dict(plan_of(submission, stream).method.settings) == settings
            assert {0.0123456789, 0.25} & set(settings.values())


def test_the_leaderboard_of_tuned_and_untuned(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "draw_functions", lambda scores: {})  # figures have their own tests
    board_of_submissions(sound, tmp_path / "board")
    text = (tmp_path / "board" / "README.md").read_text()
    for label in ("`l2`", "`l2 (tuned)`", "`noise (tuned)`", "`none (tuned)`"):
        assert f"| {label} |" in text
    for name in ("l2", "noise", "none"):  # one entry per method, for its tuned and untuned rows
        (line,) = (line for line in text.splitlines() if line.startswith(f"- `{name}`: "))
        assert line.endswith("Submitted by A. Author [link](https://example.org).")
    assert text.count("Submitted by") == 3


def test_what_submissions_add_to_the_page(sound: Path) -> None:
    found = submission_details(verify([sound]).submissions)
    assert found.keys() == {cell.method for cell in find_cells(sound)}
    assert (found["l2 (tuned)"].code, found["l2 (tuned)"].submitter) == ("", "A. Author")
    assert found["noise (tuned)"].code == found["noise"].code == GOOD
    assert found["noise (tuned)"].code_name == "noise.py"
    assert found["noise (tuned)"].link == "https://example.org"
    assert submission_details([]) == {}


def test_from_a_sweep_to_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user types the commands, for a built-in and a plug-in, with real training."""
    (tmp_path / "noise.py").write_text(GOOD)
    methods = ("l2", str(tmp_path / "noise.py"))
    out, sweeps = tmp_path / "out", tmp_path / "sweeps"
    train = ["--stream", STREAM, "--device", "cpu", "--jobs", "1"]
    places = ["--tuned", str(sweeps), "--runs", str(tmp_path / "runs"), "--out", str(out)]
    options = [*train, "--seeds", "2", *places]
    assert main(["submit", "l2", *options]) == 2
    assert "no sweep of l2 on" in capsys.readouterr().err
    assert main(["submit", "l2", *options, "--set", "strength=1"]) == 2
    assert "--set and --tuned both choose the settings" in capsys.readouterr().err
    tune = [*train, "--budget", "2", "--seeds", "2", "--out", str(sweeps)]
    for method in methods:
        assert main(["sweep", "--method", method, *tune]) == 0
        assert main(["submit", method, *options]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {out}/l2-tuned/" in printed
    assert f"wrote {out}/noise-tuned/" in printed
    assert "best of 2 configurations" in printed
    assert str(tmp_path) not in "".join(path.read_text() for path in out.rglob("*.json"))
    assert main(["submit", "l2", *options]) == 0
    assert capsys.readouterr().out.startswith("identical, nothing to write:")
    assert main(["leaderboard", "--verify", str(out)]) == 0
    replay = ["leaderboard", "--replay", "4", "--trust", "--device", "cpu", "--jobs", "1", str(out)]
    assert main(replay) == 0
    assert "4 of 4 bit-identical in performance and loss" in capsys.readouterr().out
    # Tuned and untuned records are not mixed.
    untuned = [*train, "--seeds", "2", *places[2:], "--name", "l2-tuned"]
    assert main(["submit", "l2", *untuned]) == 2
    assert "l2-tuned holds settings that are the choice of sweeps (--tuned)" in capsys.readouterr().err
    # With changed code a plug-in is another method; its earlier sweep is not replaced.
    path = table_path(sweeps, FOLDER, "noise")
    before = path.read_bytes()
    assert json.loads(before)["seeds"] == [FIRST_SEED, FIRST_SEED + 1]
    (tmp_path / "noise.py").write_text(GOOD.replace("at every update", "now and then"))
    assert main(["submit", methods[1], *options[:-2], "--out", str(tmp_path / "other")]) == 2
    assert "is of another version of the method" in capsys.readouterr().err
    assert main(["sweep", "--method", methods[1], *tune]) == 2
    assert "noise.sweep.json is another sweep, not overwritten" in capsys.readouterr().err
    assert path.read_bytes() == before
