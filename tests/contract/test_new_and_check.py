"""``new`` and ``check`` on the command line, and files without ``:Class``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from plasticity_bench.contract.checks import CHECKS
from plasticity_bench.records.cells import find_cells
from plasticity_bench.registry.choices import choose_method
from tests.support.broken_hooks import TRAINING
from tests.support.broken_methods import GOOD, Case, write
from tests.support.command_line import expect_one_line
from tests.support.command_line import run as shell
from tests.support.paths import REPOSITORY
from tests.support.plugins import GOOD as NOISE

SMALL = ["--stream", "permuted-digits:tasks=2", "--seeds", "1", "--no-references", "--device", "cpu"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_writes_a_file_that_checks_runs_and_is_in_style(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "unit-length"]) == 0
    path = folder / "unit_length.py"
    out = capsys.readouterr().out
    for command in ("check unit_length.py", "run --method unit_length.py", "submit unit_length.py"):
        assert f"python -m plasticity_bench {command}" in out
    assert len(path.read_text().splitlines()) < 50
    config = str(REPOSITORY / "pyproject.toml")
    shell(sys.executable, "-m", "ruff", "check", "--no-cache", "--config", config, str(path), cwd=folder)
    shell(
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--no-cache",
        "--check",
        "--config",
        config,
        str(path),
        cwd=folder,
    )
    assert main(["check", "unit_length.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "checking unit-length (unit_length.py)"
    assert [line.split("/")[0].strip() for line in lines if f"/{len(CHECKS)} " in line] == [
        str(i) for i in range(1, len(CHECKS) + 1)
    ]
    said = 'authors is missing, title is missing, arxiv is "NNNN.NNNNN", not like 2408.15495'
    assert f"      info.papers cannot be cited yet: {said}" in lines
    assert any(line.startswith("unit-length: 15 passed, 1 warning (") for line in lines)
    assert main(["run", "--method", "unit_length.py", *SMALL, "--runs", "runs"]) == 0
    assert main(["run", "--method", "unit_length.py:UnitLength", *SMALL, "--runs", "runs"]) == 0
    (cell,) = find_cells(folder / "runs")  # one cell, whichever way it is written
    assert cell.method == "unit-length"
    assert cell.config.method.source == "unit_length.py:UnitLength"


def test_new_writes_to_out_and_overwrites_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "mine", "--out", "some/file.py"]) == 0
    assert "check file.py" in (folder / "some" / "file.py").read_text()
    (folder / "some" / "file.py").write_text("kept")
    (folder / "link.py").symlink_to("nowhere")
    capsys.readouterr()
    for out in ("some/file.py", "link.py"):
        assert main(["new", "mine", "--out", out]) == 2
        expect_one_line(capsys.readouterr().err, out, "exists and is not overwritten")
    assert (folder / "some" / "file.py").read_text() == "kept"
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["My_Method"], "such as my-method"),
        (["MyMethod"], "such as my-method"),
        (["a b"], "such as a-b"),
        (["9-lives"], "such as lives"),
        ([""], "such as my-method"),
        (["../up"], "such as up"),
        (["x" * 41], "is no name for a method"),
        (["schön"], "is no name for a method"),
        (["l2"], "is a method already"),
        (["method"], "would make a class Method"),
        (["torch"], "would hide the module torch"),
        (["random"], "would hide the module random"),
        (["class"], "would hide the module class"),
        (["mine", "--out", "mine.txt"], "such as mine.py"),
        (["mine", "--out", "."], "such as mine.py"),
    ],
)
def test_bad_names_get_one_line(
    arguments: list[str], phrase: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    expect_one_line(err, phrase)
    assert list(folder.iterdir()) == []


def test_check_names_the_failure_and_its_line_and_exits_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(folder, TRAINING["torch.randn"])
    path.write_text(
        path.read_text().replace(
            "def after_update", "def setup(self, layers, rng): print('hi')\n\n    def after_update"
        )
    )
    assert main(["check", f"{path}:Tried:strength=1e-4"]) == 1
    out, err = capsys.readouterr()
    assert "checking tried:strength=0.0001" in out
    assert "after_update draws from torch's global generator" in out
    assert "      -> " in out
    assert f"tried.py:{1 + path.read_text()[: path.read_text().index('# here')].count(chr(10))}: " in out
    assert "hi\n" not in out
    assert "hi\n" in err
    assert "next:" not in out


def test_an_error_in_every_check_is_explained_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, Case("", "def setup(self, layers, rng):\n    self.size = undefined\n", ()))
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert out.count("NameError: name 'undefined' is not defined") == 1
    assert out.count("      -> in this line: self.size = undefined\n") == 1
    assert out.count("FAILED  as in 2\n") == len(CHECKS) - 2  # all but the first two


def test_check_for_programs_and_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{REPOSITORY}/examples/sign_decay.py", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert (report["method"], report["source"]) == ("sign-decay", "sign_decay.py:SignDecay")
    states = {result["check"]: result["state"] for result in report["checks"]}
    assert list(states) == [check.name for check in CHECKS]
    assert states.pop("cost") == "information"
    assert set(states.values()) == {"passed"}


def test_a_network_that_cannot_be_made_is_a_failed_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(folder, Case("", "def network(self, spec):\n    return spec.widths\n", ()))
    line = path.read_text().splitlines().index("        return spec.widths") + 1
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "AttributeError" in out
    assert f"(tried.py, line {line})" in out
    assert main(["check", str(path), "--json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)["checks"]
    assert result["state"] == "failed"


SEVERAL = NOISE + NOISE.split("\n\n\n")[1].replace("class Noise", "class Other").replace('"noise"', '"other"')


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        (SEVERAL, ("holds several methods, Noise, Other", "write", "file.py:Noise")),
        ("x = 1\n", ("holds no method", "plasticity_bench.agents.methods.Method")),
        (
            "from plasticity_bench.agents.methods.decay import L2\n",  # imported, not its own
            ("holds no method",),
        ),
        (NOISE.replace("MethodInfo(", "dict("), ("has no info",)),
        (NOISE.replace(": float = 1e-4", ": float"), ('field "strength" has no default',)),
        (NOISE.replace("class Noise(Method)", "class Noise"), ("holds no method",)),
        (NOISE + "1 / 0\n", ("ZeroDivisionError", f"(file.py, line {NOISE.count(chr(10)) + 1})")),
        (None, ("no such file",)),
    ],
)
def test_files_without_a_class(
    command: str, text: str | None, phrases: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (folder / "file.py").write_text(text)
    arguments = ["check", "file.py"] if command == "check" else ["run", "--method", "file.py", *SMALL]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    expect_one_line(err, *phrases)
    assert not (folder / "runs").exists()


def test_a_base_class_without_info_is_not_counted(folder: Path) -> None:
    (folder / "file.py").write_text(
        NOISE.replace(
            "@dataclass\nclass Noise(Method)",
            "class Base(Method):\n    pass\n\n\n@dataclass\nclass Noise(Base)",
        )
    )
    with (folder / "file.py").open("a") as file:
        file.write("\nAgain = Noise\n")
    assert choose_method("file.py").source == "file.py:Noise"
    assert choose_method("file.py:strength=1e-3").label == "noise:strength=0.001"
    for text in ("file.py+l2", "l2+file.py", "./file.py+l2:strength=1", "file.py:strength=1+l2"):
        assert {part.cls.info.name for part in choose_method(text).parts} == {"noise", "l2"}


@pytest.mark.parametrize(
    ("method", "phrase"),
    [
        ("srye", 'did you mean "syre"?'),
        ("l2:strenth=1", 'did you mean "strength"?'),
        ("no_such_module:Class", "cannot import no_such_module"),
        ("crelu+deep-fourier", "two activations"),
        ("l2+plasticity_bench.agents.methods.syre:Syre", '"syre" is a built-in method'),
    ],
)
def test_bad_input_to_check(method: str, phrase: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", method]) == 2
    expect_one_line(capsys.readouterr().err, phrase)


def test_the_method_that_cases_change_is_good(folder: Path) -> None:
    assert choose_method(str(write(folder, Case("", GOOD, ())))).cls.info.name == "tried"
