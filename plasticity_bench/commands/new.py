"""``plasticity_bench new``"""

from __future__ import annotations

import argparse
from pathlib import Path

from plasticity_bench.commands.next_steps import print_next_steps

SUMMARY = "write a file with a working method as a starting point for your own"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="name on the leaderboard, such as my-method")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: NAME with underscores, .py)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the file and prints the next steps."""
    from shlex import quote

    from plasticity_bench.contract.template import class_file, class_name, source
    from plasticity_bench.storage.files import write_text

    path = args.out or Path(class_file(args.name))
    write_text(path, source(args.name, path))
    print(f"{path}: class {class_name(args.name)}, a working method; replace it with your idea")
    print_next_steps(
        f"check {quote(str(path))}",
        f"run --method {quote(str(path))} l2",
        f"compare {args.name} l2",
        f"submit {quote(str(path))} --suite quick",
    )
    return 0
