"""The watch of daemons in tests: if a daemon ends or hangs, the test that waits for it fails."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.watch import watched

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGALRM")


def daemon(folder: Path, code: str) -> subprocess.Popen[bytes]:
    with open(folder / "daemon.out", "wb") as log:
        return subprocess.Popen([sys.executable, "-c", code], stdout=log)


def test_a_daemon_that_ends_fails_the_test_that_waits_for_it(tmp_path: Path) -> None:
    daemons = {"daemon": daemon(tmp_path, "print('no more'); raise SystemExit(3)")}
    said = "exit code 3; daemon said last:\nno more"
    with pytest.raises(pytest.fail.Exception, match=said), watched(daemons, tmp_path, 60):
        subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], check=False)


def test_a_daemon_that_hangs_fails_the_test_when_its_time_is_over(tmp_path: Path) -> None:
    daemons = {"daemon": daemon(tmp_path, "import time; time.sleep(60)")}
    try:
        with pytest.raises(pytest.fail.Exception, match="not done after 1 s"), watched(daemons, tmp_path, 1):
            time.sleep(60)
        with watched(daemons, tmp_path, 60):
            time.sleep(1.1)  # looked at twice, and well
    finally:
        daemons["daemon"].kill()
        daemons["daemon"].wait()
