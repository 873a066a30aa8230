"""A real one-node Slurm on this machine, in a temporary folder.

It runs munged, slurmctld and slurmd of Debian's packages with their own ports and key, as root or as an
ordinary user."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.watch import watched

SKIP = "PLASTICITY_BENCH_SKIP_SLURM"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "setpriv")
#: Seconds to wait for something on a busy machine, and limits for a command of Slurm and for a test.
PATIENCE, COMMAND_PATIENCE, TEST_PATIENCE = 120.0, 60.0, 220.0
#: A tool of util-linux: the daemons end even if the tests are killed.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
#: Debian's folders of daemons, which may not be on an ordinary user's PATH.
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

#: The node has the resources given here, whatever the machine has (config_overrides). A job that uses more
#: memory than it asked for is ended. cred_expire: least wait of a requeued job (default 120 s).
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerNode=4000
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
KillWait=1
JobRequeue=1
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def programs() -> None:
    """Fails the test if Slurm is not installed, unless the environment allows skipping it."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]
    if not missing:
        return
    text = (
        f"{', '.join(missing)} not found: install Slurm (Debian: apt-get install -y slurm-wlm munge), or set "
        f"{SKIP}=1 to go without the tests of --executor slurm"
    )
    if os.environ.get(SKIP) == "1":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


def wait_until(sign: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Waits until ``sign`` is true; fails the test if that does not happen in time."""
    deadline = time.monotonic() + patience
    while not sign():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain: {what}"
        time.sleep(0.1)


class Slurm:
    """The cluster. Slurm's commands find it through SLURM_CONF, which the fixture ``slurm`` sets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.host = folder, socket.gethostname().partition(".")[0]
        self.configuration = folder / "slurm.conf"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        ports = _free_ports(2)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        user = pwd.getpwuid(os.getuid()).pw_name
        self.configuration.write_text(
            CONFIGURATION.format(host=self.host, user=user, folder=folder, controller=ports[0], node=ports[1])
        )
        # These files only represent GPUs: no device of this machine is used.
        for index in range(2):
            (folder / f"gpu{index}").symlink_to("/dev/null")
        (folder / "gres.conf").write_text(f"NodeName={self.host} Name=gpu File={folder}/gpu[0-1]\n")

    def start(self) -> None:
        """Starts the daemons and waits for an idle node."""
        folder = self.folder
        munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        wait_until((folder / "munge.socket").exists, "munged's socket", 20)
        self.start_controller()
        self.start_node()
        wait_until(lambda: self.node_state() == "idle", f"an idle node (logs in {folder})")

    def start_controller(self) -> None:
        """Starts slurmctld, which restores the jobs it knew."""
        self._daemon("slurmctld", "-D", "-f", str(self.configuration))

    def kill_controller(self) -> None:
        """Kills slurmctld, as when its machine fails."""
        self._save()
        daemon = self.daemons.pop("slurmctld")
        os.killpg(daemon.pid, signal.SIGKILL)  # with the process that runs its scripts
        daemon.wait()

    def _save(self) -> None:
        """Waits until slurmctld has saved its jobs, which takes some seconds.

        A job that it forgets goes on running, and the node is drained when another job gets its number.
        """
        mark = f"saved-{secrets.token_hex(4)}"
        for job in self.jobs():
            self.command("scontrol", "update", f"jobid={job}", f"comment={mark}-{job}")
        state = self.folder / "state" / "job_state"
        wanted = [f"{mark}-{job}".encode() for job in self.jobs()]

        def saved() -> bool:
            known = state.read_bytes() if state.exists() else b""
            return all(comment in known for comment in wanted)

        wait_until(saved, "the state of the jobs on disk")

    def impatient(self) -> str:
        """SLURM_CONF for commands while slurmctld is down: they give up after one second, not ten."""
        path = self.folder / "impatient.conf"
        path.write_text(self.configuration.read_text() + "MessageTimeout=1\n")
        return str(path)

    def answers(self) -> bool:
        """Whether slurmctld answers."""
        return " is UP" in _ask("scontrol", "ping").stdout

    def node_state(self) -> str:
        """The node's state as sinfo shows it: "idle", "mixed", "drained", ..."""
        return _ask("sinfo", "-h", "-o", "%T").stdout.strip()

    def drain_node(self) -> None:
        """Lets no more jobs start on the node."""
        self.command("scontrol", "update", f"nodename={self.host}", "state=drain", "reason=test")

    def fail_node(self) -> None:
        """Kills everything on the node at once, like a power cut, and marks the node as down."""
        daemon = self.daemons.pop("slurmd")
        daemon.kill()
        daemon.wait()
        for pid in self._processes_of_jobs():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.command("scontrol", "update", f"nodename={self.host}", "state=down", "reason=test")

    def start_node(self) -> None:
        """Starts slurmd."""
        self._daemon("slurmd", "-D", "-f", str(self.configuration))

    def resume_node(self) -> None:
        """Makes the node available again, if it did not do so by itself."""

        def usable() -> bool:
            if not self.node_state().startswith(("drain", "down")):
                return True
            _ask("scontrol", "update", f"nodename={self.host}", "state=resume")
            return False

        wait_until(usable, "the node")

    def jobs(self, *states: str) -> list[str]:
        """Numbers of the jobs in these states ("RUNNING", ...); without states, of all unfinished jobs."""
        chosen = [f"--states={','.join(states)}"] if states else []
        return self.command("squeue", "-h", "-r", "-o", "%i", *chosen).split()

    def detail(self, job: str, key: str) -> str:
        """An entry of ``scontrol show job``; "" if there is none."""
        match = re.search(rf"\b{key}=(\S*)", self.command("scontrol", "show", "job", job))
        return match[1] if match else ""

    def command(self, *words: str) -> str:
        """The output of a command of Slurm."""
        done = _ask(*words)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def quiet(self) -> None:
        """Ends every job and waits until none is left."""
        if jobs := self.jobs():
            self.command("scancel", *jobs)
        wait_until(lambda: not self.jobs(), "the end of all jobs")

    def stop(self) -> None:
        """Ends the jobs and every process that ``start`` began."""
        with suppress(AssertionError):
            if self.alive():
                self.quiet()
        for daemon in reversed(self.daemons.values()):
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()
        for pid in self._processes_of_jobs():  # in case Slurm could not end them
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def alive(self) -> bool:
        """Whether all daemons run, apart from those that the test ended."""
        return all(daemon.poll() is None for daemon in self.daemons.values())

    def watched(self, seconds: float = TEST_PATIENCE) -> AbstractContextManager[None]:
        """In its block, the test fails soon if a daemon ends unexpectedly, and after ``seconds``."""
        return watched(self.daemons, self.folder, seconds)

    def _processes_of_jobs(self) -> list[int]:
        """The jobs' processes and Slurm's own that look after them."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                values = (path / "environ").read_bytes().split(b"\0")
                name = (path / "comm").read_text()
                ours = f"SLURM_CONF={self.configuration}".encode() in values
                if ours and (
                    name.startswith("slurmstepd") or any(v.startswith(b"SLURM_JOB_ID=") for v in values)
                ):
                    found.append(int(path.name))
        return found

    def _daemon(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=PLACES)
        assert path is not None
        with open(self.folder / f"{program}.out", "ab") as log:
            self.daemons[program] = subprocess.Popen(
                [*DIE_WITH_PARENT, path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A running Slurm, and an environment in which its commands find it."""
    programs()
    # Not in pytest's folders, which other users cannot enter: munge wants a socket that everyone can reach.
    folder = Path(tempfile.mkdtemp(prefix="pb-slurm-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))]:
            patch.delenv(name)
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        cluster = Slurm(folder)
        try:
            with cluster.watched():
                cluster.start()
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _ask(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=COMMAND_PATIENCE)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{' '.join(words)}: no answer within {COMMAND_PATIENCE:.0f} s")


def _free_ports(count: int) -> list[int]:
    """Free ports below the range of ephemeral ports, so that they stay free while a daemon is down."""
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
    return found
