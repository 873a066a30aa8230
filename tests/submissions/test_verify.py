"""``leaderboard --verify``: every kind of damage is reported, and no valid submission is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.records.tables import YOUNGER_COLUMNS
from plasticity_bench.storage import untrusted
from plasticity_bench.storage.files import sha256
from plasticity_bench.submissions.verify import verify
from plasticity_bench.submissions.writer import rescore
from tests.support.paths import REPOSITORY
from tests.support.plugins import GOOD
from tests.support.submission_bench import FOLDER, edit_json, edit_table, problems, submit
from tests.support.submission_damage import DAMAGE, Damage, cell, change, edit, without_columns, write
from tests.support.twin_damage import TWIN_DAMAGE

#: Writes a file next to itself if it is imported.
MARKING = GOOD + "\nfrom pathlib import Path\nPath(__file__).with_name('imported').touch()\n"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of valid submissions: references, a built-in with settings, a plug-in."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "noise.py").write_text(MARKING)
    for method in ("none", "reset", "l2", "syre:strength=0.0123456789,sigma=0.5", f"{folder}/noise.py:Noise"):
        submit(folder / "submissions", folder / "runs", method, link="https://example.org", name="A. Author")
    return folder / "submissions"


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "submissions"))


def test_sound_submissions_pass(sound: Path) -> None:
    report = verify([sound])
    assert report.problems == []
    assert [str(note) for note in report.notes] == []
    assert (len(report.submissions), report.seeds, report.twins) == (5, 10, 10)
    # A single submission finds its references in the same folder.
    assert problems(sound / "l2") == []


def test_nothing_submitted_is_imported(copy: Path) -> None:
    assert problems(copy) == []
    assert {path.name for path in (copy / "noise" / "source").iterdir()} == {"noise.py"}


def test_the_leaderboards_submissions_pass() -> None:
    report = verify([REPOSITORY / "leaderboard" / "submissions"])
    assert [str(problem) for problem in report.problems] == []
    assert report.seeds >= 1140


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        *(pytest.param(*found, id=case) for case, found in DAMAGE.items()),
        *(pytest.param(*found, id=f"fresh twins: {case}") for case, found in TWIN_DAMAGE.items()),
    ],
)
def test_damage_is_named(copy: Path, damage: Damage, words: str) -> None:
    damage(copy / "l2")
    found = problems(copy)
    assert any(words in line for line in found), found
    assert all(str(copy / "l2") in line for line in found), found


def test_tables_without_the_younger_columns_pass(copy: Path) -> None:
    """The first submissions' tables lack them; a cell may hold tables of both kinds."""
    without_columns(*YOUNGER_COLUMNS)(copy / "l2")
    rescore([copy / "l2"])
    report = verify([copy])
    assert report.problems == []
    assert report.seeds == 10


def test_every_problem_is_reported(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change("online_performance", "7.0")(copy / "l2")
    edit("config.json", stream__tasks=2)(copy / "none")
    write("virus.exe", b"")(copy / "noise")
    edit("method.json", tuned=True)(copy / "reset")
    assert main(["leaderboard", "--verify", str(copy)]) == 1
    out, err = capsys.readouterr()
    for words in ("online_performance is 7", "stream.tasks is 2", "virus.exe", "tuned is True"):
        assert words in out
    assert err.startswith("plasticity_bench: ")
    assert err.count("\n") == 1


def test_a_flood_of_problems_is_cut(copy: Path) -> None:
    for index in range(80):
        write(f"file{index}", b"")(copy / "l2")
    found = problems(copy)
    assert len(found) == untrusted.MAX_PROBLEMS + 1
    assert "30 more problems" in found[-1]


def test_large_files_are_not_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(copy / "l2" / "scores.json", "r+b") as file:
        file.truncate(10**12)  # a sparse file: takes no disk space
    assert any("scores.json: is larger than" in line for line in problems(copy))
    monkeypatch.setattr(untrusted, "MAX_FILES", 3)
    assert any("holds more than 3 files" in line for line in problems(copy / "none"))


def test_other_things_in_the_folder(copy: Path) -> None:
    (copy / "notes.txt").write_text("hello")
    (copy / "away").symlink_to("/etc")
    (copy / "Über").mkdir()
    (copy / "con").mkdir()
    found = problems(copy)
    assert any("notes.txt: unexpected file" in line for line in found)
    assert any("away: is a symbolic link" in line for line in found)
    assert sum("a submission's name is of small letters" in line for line in found) == 2
    assert not any("/etc/" in line for line in found)


def test_a_plugins_source(copy: Path) -> None:
    source = copy / "noise" / "source" / "noise.py"
    source.write_text(GOOD.replace("1e-4", "1e-5"))
    assert any("source: is not what ran" in line for line in problems(copy))
    source.unlink()
    assert any("noise.py: is missing: the file of a plug-in" in line for line in problems(copy))


def test_a_plugin_is_held_to_the_streams_settings(copy: Path) -> None:
    for changes, words in (
        ({"optimizer__lr": 0.5}, "optimizer.lr is 0.5"),
        ({"stream__steps": 7}, "stream.steps is 7"),
        ({"network__inputs": [65]}, "network.inputs is [65]"),
        ({"network__hidden": [10**9]}, "network.hidden is [1000000000], which no network has"),
        ({"network__hidden": "ab"}, 'network.hidden is "ab"; expected array'),
        ({"network__depth": 3}, "network.depth is not an entry that this version knows"),
        ({"method__source": "../../x.py:Noise"}, "method.source is"),
        ({"method__digest": "0"}, "method.digest is not a SHA-256"),
    ):
        config = cell(copy / "noise") / "config.json"
        before = config.read_bytes()
        edit_json(config, **changes)
        assert any(words in line for line in problems(copy)), changes
        config.write_bytes(before)
    assert problems(copy) == []


def test_what_a_plugin_changes_of_the_network_is_noted(tmp_path: Path) -> None:
    (tmp_path / "norm.py").write_text(
        "from dataclasses import replace\n"
        + GOOD
        + "\n    def network(self, spec):\n        return replace(spec, norm='layer')\n"
    )
    submit(tmp_path / "out", tmp_path / "runs", f"{tmp_path}/norm.py:Noise")
    report = verify([tmp_path / "out"])
    assert report.problems == []
    assert [note.reason for note in report.notes] == [f"{FOLDER}: changes the network's norm"]


def test_copies_of_another_submission_are_noted(copy: Path) -> None:
    ours, theirs = cell(copy / "reset"), cell(copy / "none")
    for seed in (0, 1):
        shutil.copy(theirs / f"seed-00{seed}.csv", ours / f"seed-00{seed}.csv")
        edit_json(ours / f"seed-00{seed}.json", sha256=sha256((theirs / f"seed-00{seed}.csv").read_bytes()))
    report = verify([copy])
    assert [str(note) for note in report.notes] == [
        f"{copy / 'reset'}: 2 tables of {FOLDER} are, byte for byte, those of none"
    ]


def test_one_configuration_under_two_names(copy: Path) -> None:
    shutil.copytree(copy / "l2", copy / "l2-again")
    edit_json(copy / "l2-again" / "method.json", name="l2-again")
    assert problems(copy) == [f"{copy / 'l2-again'}: l2 is submitted already, as l2; choose another name"]


def test_scores_stand_after_a_reference_got_more_seeds(copy: Path, sound: Path) -> None:
    submit(copy, sound.parent / "runs", "none", seeds=3)
    assert problems(copy) == []


def test_a_damaged_reference_does_not_condemn_the_rest(copy: Path) -> None:
    write("scores.json", b"{")(copy / "none")
    assert problems(copy / "l2") == []
    change("online_performance", "7.0")(copy / "none")
    found = problems(copy / "l2")
    assert found == [
        f"{copy / 'l2'}/scores.json: {FOLDER} rests on seeds [1] of none, which are not submitted"
    ]


def test_paths_that_are_no_submissions(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "nothing", tmp_path / "link"):
        with pytest.raises(InputError, match="is not a folder of submissions"):
            verify([path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no submissions in"):
        verify([tmp_path / "empty"])


def test_a_stream_of_an_agent_that_acts(tmp_path: Path) -> None:
    """Impossible episodes are refused; possible ones pass."""
    folder = tmp_path / "reset"
    shutil.copytree(REPOSITORY / "leaderboard" / "submissions" / "reset", folder)
    assert problems(folder) == [
        f"{folder}/scores.json: bit-flip-v1 rests on seeds {list(range(16))} of none, which are not submitted"
    ]
    (control,) = folder.glob("records/shuffled-gridworld-v1/*")
    table = control / "seed-003.csv"
    lines = table.read_text().splitlines()
    names, fields = lines[0].split(","), lines[5].split(",")
    fields[names.index("episodes")] = "16000"
    edit_table(table, lines[5], ",".join(fields))
    assert any("episodes at task 4 take more steps than the task's" in line for line in problems(folder))


def test_seeds_of_changed_source_are_noted(copy: Path) -> None:
    edit("seed-000.json", git="0123abc+")(copy / "l2")
    rescore([copy / "l2"])
    report = verify([copy])
    assert report.problems == []
    assert [note.reason for note in report.notes] == [f"{FOLDER}: 1 seeds ran on source with changes in it"]
