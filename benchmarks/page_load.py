"""Measures the size of a large leaderboard's web page, and how fast a browser shows it.

    python benchmarks/page_load.py [--methods 40] [--streams 12] [--seeds 50] [--tasks 300] [--loads 7]

Makes records of 40 methods, each with default and with tuned settings, on 12 streams of 300 tasks with 50
seeds (synthetic, as the tests have them), writes the page of their scores, and loads it in a headless
Chromium: from the request to the end of the first frame with the ranking in it, each time in a fresh context.
Processor seconds of the page's data, and of scoring before it, are printed apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.page.document import page_data, write_page
from plasticity_bench.scoring.scores import Scores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: Milliseconds from the start of the navigation to the end of a frame after the ranking is there.
SHOWN = """() => new Promise((found) =>
  requestAnimationFrame(() => setTimeout(() => found(performance.now()))))"""
ROWS = "#ranking-table tbody tr"


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in {"methods": 40, "streams": 12, "seeds": 50, "tasks": 300, "loads": 7}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from tests.support.browser import browser
    from tests.support.fake_scores import fake_scores

    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        started = time.process_time()
        scores: Scores = fake_scores(args.methods, args.streams, args.seeds, args.tasks, tuned=args.methods)
        scored = time.process_time()
        data = page_data(scores, page.parent)
        made = time.process_time()
        write_page(data, page)
        written = time.process_time()
        print(
            f"{2 * args.methods} rows x {args.streams} streams x {args.seeds} seeds x {args.tasks} tasks\n"
            f"scores        {scored - started:8.2f} s of processor time\n"
            f"page's data   {made - scored:8.2f} s of processor time\n"
            f"page's text   {written - made:8.2f} s of processor time\n"
            f"size          {page.stat().st_size / 1e6:8.2f} MB",
            flush=True,
        )
        with browser() as chromium:
            loads = [_load(chromium, page) for _ in range(args.loads)]
        print(f"load, median  {statistics.median(loads):8.2f} s of {args.loads} ({_range(loads)})")


def _load(chromium: Browser, page: Path) -> float:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    try:
        opened = context.new_page()
        opened.goto(page.resolve().as_uri())
        opened.wait_for_selector(ROWS)
        return float(opened.evaluate(SHOWN)) / 1000
    finally:
        context.close()


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


if __name__ == "__main__":
    main()
