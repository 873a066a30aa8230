"""What users wrote is shown as it is: no markup, commands that can be pasted, plug-ins that misbehave."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from plasticity_bench.cli import main
from plasticity_bench.errors import InputError, RunFailed
from plasticity_bench.records.checkpoints import checkpoint_seeds
from plasticity_bench.records.configuration import configuration
from plasticity_bench.registry import catalog
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.running.progress import JobProgress, ShownJob
from tests.support.command_line import expect_one_line
from tests.support.fake_records import write_cell
from tests.support.here import run_here
from tests.support.plugins import GOOD
from tests.support.submission_bench import edit_json

MARKUP = "l2:note=[/b][red]"
STREAM = "permuted-digits:tasks=3"


def test_progress_shows_markup_as_it_is() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    job = ShownJob(MARKUP, frozenset("a"), (0,), 1, 1.0, 10)
    with JobProgress([job], console) as progress:
        progress.update(0, 0.5)
        console.print(progress.bars.get_renderable())
    assert MARKUP in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", ["status", "score"])
def test_commands_show_markup_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    cell = write_cell(tmp_path / "[", "l2:note=1", {0: [0.5] * 4})
    edit_json(cell.path / "config.json", method__label=MARKUP)
    assert main([command, "--runs", str(tmp_path / "[")]) == 0
    assert "[/b]" in capsys.readouterr().out


def test_printed_commands_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = "my runs; [/b]"
    done = run_here(
        *("run", "--method", "none", "--no-references", "--no-twins", "--stream", STREAM, "--seeds", "1"),
        *("--device", "cpu", "--jobs", "1", "--runs", runs),
    )
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if line.startswith("  python -m")]
    assert len(commands) == 3
    for line in commands:
        words = shlex.split(line)
        assert words[words.index("--runs") + 1] == runs
    done = run_here("score", "--runs", "no runs")
    assert "--runs 'no runs'`" in done.stderr


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ("noise", 'plug-in method "bad" is declared as "noise", which is not package.module:Class'),
        ("", 'plug-in method "bad" is declared as ""'),
        ("no_such_module_here:Noise", "cannot import no_such_module_here"),
        ("exits_at_once:Noise", "cannot import exits_at_once: SystemExit"),
    ],
)
def test_entry_points_that_cannot_be_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
    phrase: str,
) -> None:
    (tmp_path / "exits_at_once.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(catalog, "_installed", lambda path: (("bad", value),))
    assert main(["run", "--method", "bad", "--stream", STREAM, "--runs", str(tmp_path / "runs")]) == 2
    expect_one_line(capsys.readouterr().err, phrase)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("default", ["float('nan')", "float('inf')"])
def test_a_default_that_no_record_can_hold(tmp_path: Path, default: str) -> None:
    (tmp_path / "odd.py").write_text(GOOD.replace("strength: float = 1e-4", f"strength: float = {default}"))
    with pytest.raises(
        InputError, match=r'field "strength" is (nan|inf) by default, which no record can hold'
    ):
        choose_method(f"{tmp_path}/odd.py")


EXIT = "        raise SystemExit(0)\n"


def test_a_method_that_exits_has_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, the command ended with the method's exit code and without a word."""
    monkeypatch.chdir(tmp_path)
    Path("made.py").write_text(GOOD + "\n    def __post_init__(self):\n" + EXIT)
    with pytest.raises(InputError, match="cannot be made: SystemExit"):
        choose_method("made.py").make()
    Path("network.py").write_text(GOOD + "\n    def network(self, spec):\n" + EXIT)
    with pytest.raises(RunFailed, match=r"network\(\) failed: SystemExit"):
        configuration(choose_stream(STREAM), choose_method("network.py"))
    Path("update.py").write_text(
        GOOD.partition("    def setup")[0] + "    def setup(self, layers, rng):\n" + EXIT
    )
    done = run_here(
        *("run", "--method", "update.py", "--no-references", "--stream", STREAM, "--seeds", "1"),
        *("--device", "cpu", "--jobs", "1"),
    )
    assert done.returncode == 1
    assert "failed: SystemExit" in done.stderr


def test_a_name_with_more_seeds_than_a_stack_has_is_not_a_checkpoint(tmp_path: Path) -> None:
    for name in ("checkpoint-0-999999999.pt", "checkpoint-0-99999999999999999999.pt", "checkpoint-0-3.pt"):
        (tmp_path / name).touch()
    assert checkpoint_seeds(tmp_path) == [(0, 1, 2, 3)]
