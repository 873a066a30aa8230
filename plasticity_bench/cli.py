"""The command line: runs a command, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from plasticity_bench import __version__
from plasticity_bench.errors import InputError, Interrupted, RunFailed

#: Every command is a module of plasticity_bench.commands with SUMMARY, configure(parser) and run(args).
COMMANDS = (
    *("run", "sweep", "status", "cancel", "list", "score", "compare", "plot", "report", "watch", "track"),
    *("new", "check", "submit", "leaderboard", "doctor"),
)

DESCRIPTION = "plasticity_bench: the benchmark for loss of plasticity."
EPILOG = """first steps:
  python -m plasticity_bench run --method syre          train, score and compare with the references
  python -m plasticity_bench list methods               all methods
  python -m plasticity_bench compare syre l2            paired differences on common seeds
  python -m plasticity_bench report                     everything recorded as one web page: report.html
  python -m plasticity_bench new my-method              a file to start your own method from
  python -m plasticity_bench submit syre                write its submission for the leaderboard
  python -m plasticity_bench leaderboard --runs runs --out DIR     tables and figures of your own runs
"""


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the usage."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="plasticity_bench",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"plasticity_bench {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for name in COMMANDS:
        module = importlib.import_module(f"plasticity_bench.commands.{name}")
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.configure(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns its exit code. 0: done, 1: a check or a run failed, 2: bad input, 130 or 143: ended by SIGINT or
    SIGTERM.
    """
    try:
        args = build_parser().parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except InputError as error:
        _say(*error.lines)
        return 2
    except RunFailed as error:
        _say(*error.lines)
        return 1
    except KeyboardInterrupt as error:
        _say("interrupted; what is done is kept: the same command goes on from there")
        return 128 + (error.signal if isinstance(error, Interrupted) else signal.SIGINT)
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        file = error.filename or "input or output"
        _say(f"{file}: {error.strerror or error}; check the path and the rights on it")
        return 2


def entry() -> None:
    """The entry point of the console script."""
    sys.exit(main())


def _say(*lines: str) -> None:
    for line in lines:
        print(f"plasticity_bench: {line}", file=sys.stderr)
