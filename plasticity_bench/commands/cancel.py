"""``plasticity_bench cancel``"""

from __future__ import annotations

import argparse

from plasticity_bench.commands.options import add_runs

SUMMARY = "end the Slurm jobs of a run folder, pending and running"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_runs(parser, "the records, or of a sweep")


def run(args: argparse.Namespace) -> int:
    """Ends the jobs. Records and checkpoints stay."""
    from plasticity_bench.running.slurm.overview import end_jobs

    running, pending = end_jobs(args.runs)
    print(f"cancelled {running} running and {pending} pending jobs; checkpoints are kept")
    print(
        "to submit what is missing: the same run command, once `status` shows nothing running (a job has "
        "KillWait seconds to end)"
    )
    return 0
