"""Atomic writes: full disks, killed writers, and folders that cannot be written."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plasticity_bench.errors import InputError
from plasticity_bench.storage.files import remove_leftovers, write_atomic, write_bytes, write_json, write_text

#: Numbers of bytes that fit on the small disk, and that do not.
SMALL, LARGE = 1_000, 300_000

#: Tries to replace the files of a folder on a full disk, or with a limit on the size of files.
WRITER = f"""
import sys
from pathlib import Path
from plasticity_bench.errors import InputError
from plasticity_bench.storage.files import write_atomic, write_bytes

folder, kind, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if kind == "bytes":
        write_bytes(folder / "old", b"x" * {LARGE})
    else:
        import torch
        write_atomic(folder / "old", lambda file: torch.save({{"x": torch.zeros({LARGE} // 4)}}, file))
except InputError as error:
    print(error)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; skips if mounting one is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def try_to_replace(folder: Path, kind: str, limit: int) -> str:
    """What the writer prints. The folder still holds only the old file, unchanged."""
    old = folder / "old"
    write_bytes(old, b"o" * SMALL)
    command = [sys.executable, "-c", WRITER, str(folder), kind, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert list(folder.iterdir()) == [old]
    assert old.read_bytes() == b"o" * SMALL
    assert done.stdout.count("\n") == 1
    assert f"cannot write {old}: " in done.stdout
    assert "unchanged: free space or choose another folder" in done.stdout
    return done.stdout


@pytest.mark.parametrize("kind", ["bytes", "torch"])
def test_full_disk(small_disk: Path, kind: str) -> None:
    assert "No space left on device" in try_to_replace(small_disk, kind, 0)
    write_bytes(small_disk / "old", b"n" * SMALL)  # smaller files can still be written
    assert (small_disk / "old").read_bytes() == b"n" * SMALL


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE")
@pytest.mark.parametrize("kind", ["bytes", "torch"])
def test_limited_file_size(tmp_path: Path, kind: str) -> None:
    assert "File too large" in try_to_replace(tmp_path, kind, 64_000)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"cannot write .*/file/sub/x: (Not a directory|File exists); what"):
        write_text(tmp_path / "file" / "sub" / "x", "text")
    assert (tmp_path / "file").read_text() == "here"


def test_a_failing_writer_leaves_the_old_file_and_its_own_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_text(path, "old")

    def fail(file: object) -> None:
        raise KeyError("mine")

    for error in (KeyError, KeyboardInterrupt):

        def write(file: object, error: type[BaseException] = error) -> None:
            raise error("mine")

        with pytest.raises(error, match="mine"):
            write_atomic(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_canonical(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": [1.5, "é"]})
    write_json(tmp_path / "b", {"a": [1.5, "é"], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().endswith(b"}\n")


def test_killed_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """The writer is stopped with half of the bytes in the file and killed there."""
    path = tmp_path / "x"
    write_text(path, "old")
    code = (
        "import sys, pathlib; from plasticity_bench.storage.files import write_atomic\n"
        "def write(file):\n"
        "    file.write(b'new'); file.flush(); print('half', flush=True); sys.stdin.read()\n"
        "write_atomic(pathlib.Path(sys.argv[1]), write)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.kill()
    assert path.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name == f".x.{writer.pid}.tmp"
    assert not list(tmp_path.glob("x*.*"))  # nothing that would be read as a record
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_killed_at_random_moments_a_file_is_old_or_new(tmp_path: Path) -> None:
    path, size = tmp_path / "x", 2_000_000
    code = (
        "import sys, pathlib; from plasticity_bench.storage.files import write_bytes\n"
        "path = pathlib.Path(sys.argv[1])\n"
        f"for i in range(10**6): write_bytes(path, bytes([65 + i % 26]) * {size})"
    )
    rng = random.Random(3)
    for _ in range(8):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
            while not path.exists():
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.05))
            writer.kill()
        data = path.read_bytes()
        assert len(data) == size
        assert len(set(data)) == 1
