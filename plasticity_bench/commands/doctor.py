"""``plasticity_bench doctor``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from plasticity_bench.commands.options import add_runs

SUMMARY = "check this installation, this machine and the data, and say how to fix what is wrong"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_runs(parser)
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the report. Returns 1 if something fails that a run needs, else 0."""
    import json
    from dataclasses import asdict

    from plasticity_bench import doctor

    checks: list[doctor.Finding] = []
    if args.json:
        checks.extend(doctor.diagnose(args.runs))
    else:
        _show(checks, args.runs)
    failed = [check.name for check in checks if check.state == doctor.FAIL]
    if args.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=1))
    elif failed:
        print(f"{len(failed)} to fix: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _show(checks: list, runs: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from plasticity_bench import doctor
    from plasticity_bench.consoles import plain_console

    terminal = sys.stdout.isatty()
    console = plain_console(width=None if terminal else 160)  # long paths are not wrapped in a pipe or file
    with console.status("checking") as status:
        for check in doctor.diagnose(runs):
            checks.append(check)
            status.update(f"checking ({check.name} done)")
    colours = {doctor.OK: "green", doctor.WARN: "yellow", doctor.FAIL: "bold red"}
    table = Table("check", "", "found", box=None, pad_edge=False, show_header=False)
    for check in checks:
        found = Text(check.detail, overflow="fold")
        if check.fix:
            found.append(f"\n-> {check.fix}", style=colours[check.state])
        table.add_row(Text(check.name, no_wrap=True), Text(check.state, style=colours[check.state]), found)
    console.print(table)
