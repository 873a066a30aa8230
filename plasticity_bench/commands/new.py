"""``plasticity_bench new``"""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write a file to begin a method of your own with"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="as the leaderboard will show it, such as my-method")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file (default: my_method.py)")


def run(args: argparse.Namespace) -> int:
    """Writes the file and says what comes next."""
    from shlex import quote

    from plasticity_bench.contract.template import class_file, class_name, source
    from plasticity_bench.storage.files import write_text

    path = args.out or Path(class_file(args.name))
    write_text(path, source(args.name, path))
    print(f"{path}: class {class_name(args.name)}, a method that works; put your idea in its place")
    print("next:")
    for line in (
        f"check {quote(str(path))}",
        f"run --method {quote(str(path))} l2",
        f"compare {args.name} l2",
        f"submit {quote(str(path))} --suite quick",
    ):
        print(f"  python -m plasticity_bench {line}")
    return 0
