"""What the first command of the quick start prints, from the leaderboard's records of the same runs."""

from __future__ import annotations

import io
import re

from rich.console import Console

from docs.generate.results import LEADERBOARD, ROOT
from plasticity_bench.records.cells import find_cells
from plasticity_bench.registry.catalog import SUITES
from plasticity_bench.scoring.references import REFERENCES
from plasticity_bench.terminal import TERMINAL_WIDTH, print_scores

PAGE = "quick-start.md"
METHOD, SUITE = "syre", "quick"
BLOCK = re.compile(r"(<!-- printed -->\n```text\n).*?(```\n<!-- end -->)", re.DOTALL)


def printed() -> str:
    """The tables that ``run`` prints for the method and its references on the suite."""
    streams = SUITES[SUITE].streams
    cells = [
        cell
        for name in (*REFERENCES, METHOD)
        for cell in find_cells(LEADERBOARD / "submissions" / name)
        if cell.stream.rpartition("-v")[0] in streams
    ]
    text = io.StringIO()
    print_scores(cells, Console(file=text, width=TERMINAL_WIDTH, highlight=False, emoji=False, markup=False))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def page() -> tuple[str, str]:
    """Path within docs/ and text of the quick start, with the tables as they are now."""
    text = (ROOT / "docs" / PAGE).read_text()
    found, count = BLOCK.subn(lambda match: match[1] + printed() + match[2], text)
    if count != 1:
        raise SystemExit(f"docs/{PAGE} has no block of text between <!-- printed --> and <!-- end -->")
    return PAGE, found
