"""A plug-in is read once, executed once in a process, and trained as it was read."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from plasticity_bench.agents.methods import Method
from plasticity_bench.cli import main
from plasticity_bench.errors import InputError
from plasticity_bench.plugins import FilePlugin, NotebookPlugin, plugin_of, read_plugin
from plasticity_bench.records.cells import SOURCE, find_cells
from plasticity_bench.records.configuration import plan_cell
from plasticity_bench.registry.choices import choose_method, choose_stream
from plasticity_bench.running.plan import open_cells
from plasticity_bench.storage.files import sha256
from tests.support.plugins import GOOD

STREAM = "permuted-digits:tasks=3"
#: A line for every process that executes the file.
COUNTED = GOOD + (
    "\nimport os, pathlib\n"
    "with open(pathlib.Path(__file__).with_name('executed'), 'a') as file: file.write(f'{os.getpid()}\\n')\n"
)
#: At its first update it spoils its own file, as somebody who edits it meanwhile may.
EDITED = COUNTED.replace(
    "        for layer in layers:",
    "        pathlib.Path(__file__).write_text('def broken(:')\n        for layer in layers:",
    1,
)


def run(file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "plasticity_bench",
        "run",
        "--no-twins",
        "--method",
        str(file),
        "--stream",
        STREAM,
    ]
    command += ["--no-references", "--device", "cpu", "--runs", str(file.parent / "runs"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def executions(file: Path) -> list[int]:
    """How often each process executed the file."""
    lines = file.with_name("executed").read_text().split()
    return sorted(lines.count(process) for process in set(lines))


@pytest.mark.parametrize("arguments", [["--seeds", "2", "--jobs", "1"], ["--seeds", "4", "--jobs", "2"]])
def test_a_run_executes_the_file_once_in_a_process(tmp_path: Path, arguments: Sequence[str]) -> None:
    file = tmp_path / "counted.py"
    file.write_text(COUNTED)
    done = run(file, *arguments)
    assert done.returncode == 0, done.stderr
    jobs = int(arguments[-1])
    assert executions(file) == [1] * (1 + jobs)  # this command, and its workers


def test_a_file_that_is_edited_while_it_trains(tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    file.write_text(EDITED)
    done = run(file, "--seeds", "2", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert file.read_text() == "def broken(:"
    (cell,) = find_cells(tmp_path / "runs")
    assert cell.seeds() == [0, 1]
    assert cell.config.method.digest == sha256(EDITED.encode())
    assert (cell.path / SOURCE / "edited.py").read_bytes() == EDITED.encode()
    # Another source is another cell, and a file that cannot be executed is said so.
    again = run(file, "--seeds", "2")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "cannot import" in again.stderr
    file.write_text(GOOD)
    assert run(file, "--seeds", "1").returncode == 0
    assert len(find_cells(tmp_path / "runs")) == 2


def test_what_is_unpickled_is_what_was_read(tmp_path: Path) -> None:
    file = tmp_path / "noise.py"
    file.write_text(GOOD)
    chosen = choose_method(f"layer-norm+{file}:Noise:strength=0.25")
    data = pickle.dumps(chosen)
    file.unlink()
    code = "import pickle, sys; found = pickle.load(sys.stdin.buffer); print(found.label, found.make())"
    output = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True).stdout
    assert output.decode().startswith("layer-norm+noise:strength=0.25 Composed(parts=(LayerNorm")
    again = pickle.loads(data)
    assert (again.label, again.digest, again.source) == (chosen.label, chosen.digest, chosen.source)
    assert again.parts[1].cls is chosen.parts[1].cls
    assert again.with_settings({"noise.strength": "0.5"}).label == "layer-norm+noise:strength=0.5"


@pytest.mark.parametrize("name", ["permuted-digits:tasks=5", "avalanche:SplitMNIST:examples=32"])
def test_streams_and_methods_can_be_pickled(name: str) -> None:
    for chosen in (choose_stream(name), choose_method("l2:strength=0.5"), choose_method("layer-norm+l2")):
        again = pickle.loads(pickle.dumps(chosen))
        assert (again.label, again.settings, again.cls.info) == (
            chosen.label,
            chosen.settings,
            chosen.cls.info,
        )
        assert again.make() == chosen.make()


def test_the_same_source_is_the_same_class(tmp_path: Path) -> None:
    file = tmp_path / "noise.py"
    file.write_text(GOOD)
    first = read_plugin(f"{file}:Noise", Method)
    assert read_plugin(str(file), Method).load() is first.load()
    file.write_text(GOOD + "# another thought\n")
    other = read_plugin(str(file), Method)
    assert other.digest != first.digest
    assert other.load() is not first.load()
    assert first.load() is not None  # what was read stays


def test_modules_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "a_users_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "noise.py").write_text(GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = read_plugin("a_users_package.noise:Noise", Method)
    assert (plugin.origin, plugin.file_name) == ("a_users_package.noise:Noise", "noise.py")
    assert plugin.digest == sha256(GOOD.encode())
    import a_users_package.noise as imported

    assert imported.Noise is plugin.load()
    assert plugin_of(imported.Noise) == FilePlugin("a_users_package.noise", "Noise", GOOD.encode())
    for name, words in (
        ("a_users_package.noise:Nose", 'has no class "Nose": did you mean "Noise"'),
        ("a_users_package.gone:Noise", "cannot import a_users_package.gone: there is no such module"),
        ("a_users_package:Noise", 'has no class "Noise"'),
        ("sys:Noise", "cannot import sys: it has no file"),
    ):
        with pytest.raises(InputError) as caught:
            read_plugin(name, Method)
        assert words in str(caught.value)


def test_a_class_of_a_notebook_is_a_method_without_a_file(tmp_path: Path) -> None:
    space: dict = {"__name__": "__main__"}
    exec(compile(GOOD, "a cell", "exec", dont_inherit=True), space)
    plugin = plugin_of(space["Noise"])
    assert isinstance(plugin, NotebookPlugin)
    assert plugin.origin == "notebook:Noise"
    # Text that was never in a file cannot be read again.
    unread = "# The source of Noise could not be read. SHA-256 of its compiled code: [0-9a-f]{64}\n"
    assert re.fullmatch(unread, plugin.source.decode())
    chosen = choose_method(space["Noise"], {"strength": "0.5"})
    assert chosen.label == "noise:strength=0.5"
    code = "import pickle, sys; found = pickle.load(sys.stdin.buffer); print(found.make(), found.digest)"
    data = pickle.dumps(chosen)
    output = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True).stdout
    assert output.decode().split() == ["Noise(strength=0.5)", chosen.digest]
    # The same text again is the same method, another one is not.
    digests: list[str] = []
    for text in (GOOD, f"\n\n{GOOD}", GOOD.replace("1e-4", "1e-3"), GOOD.replace("normal", "uniform")):
        again: dict = {"__name__": "__main__"}
        exec(compile(text, f"cell {len(digests)}", "exec", dont_inherit=True), again)
        digests.append(plugin_of(again["Noise"]).digest)
    assert digests[0] == digests[1] == chosen.digest
    assert len(set(digests)) == 3
    (item,) = open_cells(tmp_path, [plan_cell(STREAM, space["Noise"])], [0])
    text = (item.cell.path / SOURCE / "Noise.py").read_text()
    assert re.fullmatch(unread, text)
    assert item.cell.config.method.digest == plugin.digest == sha256(text.encode())


def test_built_in_classes_are_no_plugins() -> None:
    from plasticity_bench.agents.methods.decay import L2

    assert choose_method(L2, {"strength": "0.5"}) == choose_method("l2:strength=0.5")
    with pytest.raises(InputError, match="int is not a method: derive it from"):
        choose_method(int)  # type: ignore[arg-type]


def test_a_module_that_exits_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "leaves.py"
    for text in ("raise SystemExit(3)", "import os\nx = 1 / 0", "def broken(:", "\0"):
        file.write_text(text)
        assert main(["run", "--method", str(file), "--runs", os.fspath(tmp_path / "runs")]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert f"cannot import {file}" in err
