"""``plasticity_bench cancel``"""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "end the Slurm jobs of a run folder, pending and running"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of the records (or of a sweep)"
    )


def run(args: argparse.Namespace) -> int:
    """Ends them; what is recorded and every checkpoint stays."""
    from plasticity_bench.running.slurm.overview import end

    running, pending = end(args.runs)
    print(
        f"cancelled {running} running and {pending} pending jobs; checkpoints are kept: the same run command"
    )
    print(
        "submits what is missing again, once `status` shows nothing running (Slurm gives a job its KillWait)"
    )
    return 0
