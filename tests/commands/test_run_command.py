"""Bad input to ``run``: one clear line, exit code 2, no other output, nothing started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plasticity_bench.cli import main
from tests.support.command_line import expect_one_line
from tests.support.plugins import GOOD

STREAM = "permuted-digits:tasks=3"
#: Plug-in files that cannot be used -> words of the message.
BAD_FILES = {
    "raises.py": ("raise KeyError('on\\npurpose')", "cannot import ", "KeyError"),
    "exits.py": ("import sys; sys.exit(0)", "cannot import ", "SystemExit"),
    "syntax.py": ("class Noise(", "cannot import ", "SyntaxError"),
    "other.py": (GOOD.replace("class Noise(", "class Noises("), 'no class "Noise": did you mean "Noises"?'),
    "plain.py": ("class Noise: pass", "is not a method", "plasticity_bench.agents.methods.Method"),
    "function.py": ("def Noise(): pass", "is not a method"),
    "bare.py": (GOOD.replace("MethodInfo(", "dict("), "has no info", "MethodInfo(name=..."),
    "taken.py": (GOOD.replace('"noise"', '"none"'), '"none" is a built-in method', "choose another name"),
    "slash.py": (GOOD.replace('"noise"', '"../noise"'), 'info.name "../noise" may hold only letters'),
    "required.py": (GOOD.replace(": float = 1e-4", ": float"), 'field "strength" has no default'),
    "object.py": (GOOD.replace("1e-4\n", "(1, 2)\n"), 'field "strength" is a tuple'),
    "value.py": (GOOD + "    def __post_init__(self): raise ValueError('bad value')", "noise: bad value"),
    "type.py": (
        GOOD + "    def __post_init__(self): raise TypeError('bad type')",
        "cannot be made: TypeError: bad type",
    ),
}

BAD_INPUT: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "method": (["--method", "syrr"], ('unknown method "syrr"', 'did you mean "syre"?', "l2, l2-er, l2-init")),
    "far method": (["--method", "zzz"], ('unknown method "zzz": known: ', "path/to/file.py:Class")),
    "second method": (["--method", "syre", "l2-int"], ('unknown method "l2-int"', 'did you mean "l2-init"?')),
    "no method": (["--method"], ("--method", "expected at least one argument", "run --help")),
    "stream": (
        ["--stream", "permuted-digit"],
        ('unknown stream "permuted-digit"', 'did you mean "permuted-digits"?'),
    ),
    "suite": (
        ["--suite", "quik"],
        ('unknown suite "quik"', 'did you mean "quick"?', "full, quick, standard"),
    ),
    "both": (["--suite", "quick", "--stream", STREAM], ("not allowed with argument", "run --help")),
    "set key": (["--set", "strenth=1"], ('"l2" has no setting "strenth"', 'did you mean "strength"?')),
    "set value": (["--set", "strength=strong"], ('l2: strength: "strong" is not a finite number',)),
    "set nan": (["--set", "strength=nan"], ('l2: strength: "nan" is not a finite number',)),
    "set bool": (["--set", "decoupled=maybe"], ('l2: decoupled: "maybe" is not true or false',)),
    "set no value": (["--set", "strength"], ('"strength" is not a setting: write key=value',)),
    "set empty": (["--set", "strength="], ('"strength=" is not a setting',)),
    "set twice": (["--set", "strength=1", "strength=2"], ('setting "strength" is given twice',)),
    "lr": (["--set", "lr=-1"], ("lr must be positive",)),
    "inline key": (["--method", "l2:strenth=1"], ('"l2" has no setting "strenth"',)),
    "stream key": (
        ["--stream", "permuted-digits:task=3"],
        ('"permuted-digits" has no setting "task"', '"tasks"?'),
    ),
    "stream value": (
        ["--stream", "permuted-digits:tasks=x"],
        ('permuted-digits: tasks: "x" is not a whole number',),
    ),
    "one task": (["--stream", "permuted-digits:tasks=1"], ("permuted-digits:tasks=1", "at least 2 tasks")),
    "no seeds": (["--seeds", "0"], ('--seeds "0": write how many (16), or which (0-3,8)',)),
    "seeds": (["--seeds", "a"], ('--seeds "a": write how many',)),
    "seeds backwards": (["--seeds", "5-3"], ('--seeds "5-3": write how many',)),
    "seeds twice": (["--seeds", "0-3,2"], ('--seeds "0-3,2": write how many',)),
    "seeds open": (["--seeds", "3-"], ('--seeds "3-": write how many',)),
    "seeds negative": (["--seeds=-1"], ('--seeds "-1": write how many',)),
    "many seeds": (["--seeds", "99999999999"], ('--seeds "99999999999": write how many',)),
    "jobs": (["--jobs", "0"], ("--jobs 0: at least one process is needed",)),
    "jobs text": (["--jobs", "x"], ("argument --jobs: invalid int value: 'x'", "run --help")),
    "device": (["--device", "nonsense"], ('unknown device "nonsense": use auto, cpu, cuda or cuda:0',)),
    "device index": (["--device", "cuda:x"], ('unknown device "cuda:x"',)),
    "file": (["--method", "no/such.py:Class"], ("no such file: no/such.py", "path/to/file.py:Class")),
    "module": (
        ["--method", "no_such_module:Class"],
        ("cannot import no_such_module: there is no such module",),
    ),
    "argument": (["--frobnicate"], ("unrecognized arguments: --frobnicate",)),
}


def command(runs: Path, *arguments: str) -> list[str]:
    """``run`` with defaults that ``arguments`` replace."""
    start = ["run", "--method", "l2", "--runs", str(runs)]
    if "--suite" not in arguments:
        start += ["--stream", STREAM]
    if not any(argument.startswith("--seeds") for argument in arguments):
        start += ["--seeds", "1"]
    return [*start, *arguments]


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, phrases = BAD_INPUT[case]
    assert main(command(tmp_path / "runs", *arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    expect_one_line(err, *phrases)
    assert not (tmp_path / "runs").exists()  # nothing is begun


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_plugin_file_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / name
    text, *phrases = BAD_FILES[name]
    file.write_text(text)
    assert main(command(tmp_path / "runs", "--method", f"{file}:Noise")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    expect_one_line(err, *phrases)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        ("raise KeyError('mine')", "noise: network() failed: KeyError: 'mine'"),
        ("return None", "noise: network() returned NoneType, not a NetworkSpec"),
    ],
)
def test_a_plugin_that_fails_to_make_its_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, phrase: str
) -> None:
    file = tmp_path / "plug.py"
    file.write_text(f"{GOOD}\n    def network(self, spec): {body}\n")
    assert main(command(tmp_path / "runs", "--method", f"{file}:Noise")) == 1
    expect_one_line(capsys.readouterr().err, phrase)
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    name = f"cuda:{torch.cuda.device_count()}"
    assert main(command(tmp_path / "runs", "--device", name)) == 2
    expect_one_line(capsys.readouterr().err, f'device "{name}" is not there', "--device cpu")
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, closed = tmp_path / "file", tmp_path / "closed"
    file.write_text("not a folder")
    closed.mkdir(mode=0o555)
    folders = [file, file / "runs", Path("/proc/runs"), tmp_path / ("long" * 100)]
    if os.geteuid():  # the rights on a folder do not bind root
        folders.append(closed)
    for folder in folders:
        assert main(command(folder)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        expect_one_line(err, str(folder))
    assert file.read_text() == "not a folder"


@pytest.mark.parametrize(
    "arguments", [[], ["rnu"], ["run"], ["list", "method"], ["run", "--method", "none", "--runs"]]
)
def test_a_command_line_that_makes_no_sense(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    expect_one_line(err, "--help")
