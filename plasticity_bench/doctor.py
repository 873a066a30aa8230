"""Checks the installation, the machine and the data, for the ``doctor`` command."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticity_bench.processes.workers import usable_cores

OK, WARN, FAIL = "ok", "warn", "fail"

#: Distribution -> what needs it; None: every run.
USED_FOR: dict[str, str | None] = {
    "torch": None,
    "numpy": None,
    "scikit-learn": None,
    "rich": None,
    "msgspec": None,
    "filelock": None,
    "platformdirs": None,
    "torchvision": "the MNIST streams",
    "avalanche-lib": "the MNIST streams and the Avalanche adapter",
    "gymnasium": "the Ant streams and the environments",
    "pybullet": "the Ant streams and the environments",
    "stable-baselines3": "the stable-baselines3 adapter",
    "pillow": "watch",
    "pandas": "plot",
    "seaborn": "plot",
    "matplotlib": "plot",
    "cloudpickle": "methods defined in a notebook or a script",
    "scipy": "score",
}

GIB = 2**30

#: Most seconds that an import in a separate process may take: a network file system may be slow.
IMPORT_TIMEOUT = 300


@dataclass(frozen=True)
class Finding:
    """One line of the report. ``fix`` says what to do; it is empty if nothing is wrong."""

    name: str
    state: str
    detail: str
    fix: str = ""


def diagnose(runs: Path) -> Iterator[Finding]:
    """Checks installation, machine and data; yields each finding as soon as it is known.

    Nothing is downloaded, and no file is left behind.
    """
    yield Finding("python", OK, f"{sys.version.split()[0]} ({sys.executable})")
    yield _own_package()
    for name in USED_FOR:
        yield _version(name)
    yield from _torch()
    yield _cores()
    yield _memory()
    yield _digits()
    for dataset in ("MNIST", "FashionMNIST"):
        yield _data(dataset)
    yield _cache()
    yield _writable("runs folder", runs, "choose another with --runs")
    yield _writable("temporary folder", Path(tempfile.gettempdir()), "set TMPDIR to another")
    yield _writable("home folder", Path.home(), "set HOME to another: Avalanche writes ~/.avalanche", WARN)


def _own_package() -> Finding:
    from plasticity_bench import __version__

    missing = [
        name
        for name in ("envs", "agents", "tasks")
        if not importlib.util.find_spec(f"plasticity_bench.{name}")
    ]
    if missing:
        parts = ", ".join(f"plasticity_bench.{name}" for name in missing)
        fix = "install the package: pip install -e . in the clone"
        return Finding("plasticity_bench", FAIL, f"{__version__}, but {parts} cannot be imported", fix)
    return Finding("plasticity_bench", OK, f"{__version__} ({Path(__file__).parent})")


def _version(name: str) -> Finding:
    used_for = USED_FOR[name]
    needed = "every run needs it" if used_for is None else f"needed by {used_for}"
    bad = FAIL if used_for is None else WARN
    least = _least_versions().get(name, "")
    fix = f"pip install --upgrade '{name}{'>=' if least else ''}{least}'"
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, bad, f"not installed; {needed}", fix)
    if _numbers(found) < _numbers(least):
        return Finding(name, bad, f"{found} is older than {least}; {needed}", fix)
    return Finding(name, OK, found)


def _least_versions() -> dict[str, str]:
    """Distribution -> least version, as the installed package declares them."""
    try:
        lines = importlib.metadata.requires("plasticity_bench") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    matches = (re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _numbers(version: str) -> tuple[int, ...]:
    """``"2.10.1+cu130"`` -> ``(2, 10, 1)``"""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version)[0]))


_TORCH = """
import json, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "devices": [], "broken": ""}
try:
    import torchvision
    found["torchvision"] = torchvision.__version__
except Exception as error:
    found["torchvision_error"] = f"{type(error).__name__}: {error}"
if torch.cuda.is_available():
    for i in range(torch.cuda.device_count()):
        info = torch.cuda.get_device_properties(i)
        found["devices"].append([info.name, info.total_memory])
        try:
            assert torch.ones(8, device=f"cuda:{i}").sum().item() == 8
        except Exception as error:
            found["broken"] = f"cuda:{i} cannot compute: {type(error).__name__}: {error}"
print(json.dumps(found))
"""

_DIGITS = """
import json
from plasticity_bench.tasks.digits import load_digits
images, labels = load_digits()
print(json.dumps([list(images.shape), int(images.sum()), int(labels.sum())]))
"""


def _torch() -> Iterator[Finding]:
    found, problem = run_in_process(_TORCH)
    if problem:
        fix = "install torch and torchvision of one release together: https://pytorch.org/get-started/locally"
        yield Finding("import torch", FAIL, problem, fix)
        return
    together = f"torch {found['torch']} and torchvision {found.get('torchvision', '')} import together"
    if "torchvision_error" in found:
        fix = f"install the torchvision made for torch {found['torch']}; {USED_FOR['torchvision']} need it"
        yield Finding("import torchvision", WARN, _one_line(found["torchvision_error"]), fix)
    else:
        yield Finding("import torch, torchvision", OK, together)
    devices = [f"cuda:{i} {name}, {size / GIB:.0f} GiB" for i, (name, size) in enumerate(found["devices"])]
    if found["broken"]:
        fix = "install a torch built for this GPU and driver, or run with --device cpu"
        yield Finding("CUDA devices", FAIL, _one_line(found["broken"]), fix)
    elif devices:
        yield Finding("CUDA devices", OK, "; ".join(devices))
    elif Path("/proc/driver/nvidia/version").exists():
        built = f"torch is built for CUDA {found['cuda']}" if found["cuda"] else "torch is built without CUDA"
        fix = "install a torch built for this driver's CUDA (see nvidia-smi); until then runs go to the CPU"
        yield Finding("CUDA devices", WARN, f"torch finds none though a driver is loaded; {built}", fix)
    else:
        yield Finding("CUDA devices", OK, "none; runs go to the CPU")


def _cores() -> Finding:
    usable = usable_cores()
    detail = f"{usable} usable of {os.cpu_count()}"
    quota = _cgroup("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit() and int(quota[0]) < usable * int(quota[1]):
        share = int(quota[0]) / int(quota[1])
        return Finding(
            "CPU cores", WARN, f"{detail}, limited to {share:g} by a quota", f"--jobs {max(1, int(share))}"
        )
    return Finding("CPU cores", OK, detail)


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return Finding("memory", OK, "unknown")
    limit = _cgroup("memory.max").strip()
    if limit.isdigit():
        total = min(total, int(limit))
    detail = f"{total / GIB:.1f} GiB"
    if total < 2 * GIB:
        return Finding("memory", WARN, detail, "use --jobs 1")
    return Finding("memory", OK, detail)


def _cgroup(name: str) -> str:
    try:
        return Path("/sys/fs/cgroup", name).read_text()
    except OSError:
        return ""


def _digits() -> Finding:
    found, problem = run_in_process(_DIGITS)
    fix = "pip install --force-reinstall --no-deps scikit-learn"
    if problem:
        return Finding("digits (embedded)", FAIL, problem, fix)
    if found != [[1797, 64], 561718, 8070]:
        return Finding("digits (embedded)", FAIL, f"not the published images: {found}", fix)
    return Finding("digits (embedded)", OK, "1,797 images in scikit-learn")


def _data(dataset: str) -> Finding:
    try:
        from plasticity_bench.tasks import mnist_data
    except ImportError as error:
        return Finding(dataset, FAIL, _one_line(str(error)), "see plasticity_bench above")
    found = mnist_data.find(dataset)
    if found.state == "cached":
        return Finding(dataset, OK, f"ready in {found.where}")
    if found.state == "packed":
        return Finding(dataset, OK, f"at hand in {found.where}; unpacked once, at the first use")
    if found.state == "damaged":
        detail, _, fix = found.problem.partition("; ")
        return Finding(dataset, FAIL, detail, fix)
    fix = (
        "nothing, if there is a network: it is downloaded at the first use; otherwise put the files there or "
        "set PLASTICITY_BENCH_DATA; permuted-digits and bit-flip need no download"
    )
    return Finding(dataset, WARN, f"not in {found.where}: {found.problem}", fix)


def _cache() -> Finding:
    try:
        from plasticity_bench.tasks import mnist_data
    except ImportError as error:
        return Finding("cache folder", WARN, _one_line(str(error)), "see plasticity_bench above")
    fix = "set PLASTICITY_BENCH_CACHE to another; without one the MNIST streams cannot be unpacked"
    return _writable("cache folder", mnist_data.cache_folder(), fix, WARN)


def _writable(name: str, folder: Path, fix: str, bad: str = FAIL) -> Finding:
    """Tries to write in ``folder``, or in the nearest folder above it that exists."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    shown = f"{folder}" if nearest == folder.absolute() else f"{folder} (to be made)"
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"\0" * 4096)
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        return Finding(name, bad, f"cannot write in {shown}: {error.strerror or error}", fix)
    detail = f"{shown}, {free / GIB:.1f} GiB free"
    return Finding(name, WARN, detail, f"free space, or {fix}") if free < GIB else Finding(name, OK, detail)


def run_in_process(code: str) -> tuple[Any, str]:
    """Runs Python code in a separate process, as a broken compiled library may end the process that imports
    it.

    Returns:
        The value of the last line that it prints, which is JSON, and ""; if that fails, None and the reason
        in one line.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {IMPORT_TIMEOUT} seconds"
    except OSError as error:
        return None, f"cannot start {sys.executable}: {error.strerror}"
    if done.returncode < 0:
        return None, f"Python was ended by signal {-done.returncode} in it"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return None, _one_line(lines[-1] if lines else f"exit code {done.returncode}")
    try:
        return json.loads(done.stdout.splitlines()[-1]), ""
    except (IndexError, ValueError):
        return None, "it printed something else than its result"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
