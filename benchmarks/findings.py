"""The tables and the figure of docs/findings.md, from the leaderboard's submissions and docs/data.

    python benchmarks/findings.py            # writes them
    python benchmarks/findings.py --check    # exits with 1 if the committed files differ

Only the text between ``<!-- NAME -->`` and ``<!-- end -->`` is replaced. The rest is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from findings_controls import crossed, forms, sigmas, strengths
from findings_data import Results, paired, read_controls, read_forms, table
from findings_figure import draw
from findings_plasticity import against_reset, losing, losses

from plasticity_bench.records.cells import find_cells
from plasticity_bench.records.names import TUNED_MARK
from plasticity_bench.scoring.scoring import score
from plasticity_bench.stats.inference import holm
from plasticity_bench.stats.ratios import ratio_interval
from plasticity_bench.storage.files import write_text
from plasticity_bench.terminal import interval_text, number, p_text

ROOT = Path(__file__).resolve().parents[1]
PAGE, DATA, SUBMISSIONS = ROOT / "docs/findings.md", ROOT / "docs/data", ROOT / "leaderboard/submissions"
FIGURE = ROOT / "docs/figures/syre-controls.png"


def pairs(results: Results, asked: Sequence[tuple[str, str]], tuned: bool = False) -> str:
    """Differences between two methods by stream. Each pair is Holm-corrected over the streams by itself."""
    mark = TUNED_MARK if tuned else ""
    found = [
        (a, b, stream, paired(results.levels[stream, a + mark], results.levels[stream, b + mark]))
        for a, b in asked
        for stream in results.streams
        if {(stream, a + mark), (stream, b + mark)} <= results.levels.keys()
    ]
    corrected = [p for pair in asked for p in holm([entry.p for a, b, _, entry in found if (a, b) == pair])]
    rows = [
        [
            f"`{a}` - `{b}`",
            stream,
            str(entry.seeds),
            interval_text(entry.difference),
            p_text(entry.p),
            p_text(p),
        ]
        for (a, b, stream, entry), p in zip(found, corrected, strict=True)
    ]
    return table(["difference", "stream", "n", "level [95% CI]", "p", "p (Holm)"], rows)


def weakest(results: Results) -> str:
    """Every method's lowest stream with default settings, and its scores on the others."""
    found: list[tuple[float, list[str]]] = []
    for method in sorted({method for _, method in results.levels if not method.endswith(TUNED_MARK)}):
        own = {
            stream: ratio_interval([level])
            for (stream, other), level in results.levels.items()
            if other == method and len(level.seeds) > 1
        }
        if len(own) < 2:
            continue
        lowest = min(own, key=lambda stream: own[stream].point)
        others = [interval.point for stream, interval in own.items() if stream != lowest]
        cells = [f"`{method}`", str(len(own)), interval_text(own[lowest]), lowest]
        found.append((-own[lowest].point, [*cells, f"{number(min(others))} to {number(max(others))}"]))
    rows = [row for _, row in sorted(found)]
    return table(["method", "streams", "lowest", "on", "on the others"], rows)


def tuning(results: Results) -> str:
    """The effect of tuning, by method and stream."""
    found = []
    for (stream, method), level in sorted(results.levels.items()):
        if method.endswith(TUNED_MARK):
            name = method.removesuffix(TUNED_MARK)
            default = results.levels.get((stream, name))
            row = next(s for s in results.scores.streams if s.name == stream).row(method)
            if default and row:
                chosen = row.cell.configuration.partition(":")[2] or "the defaults"
                found.append((stream, name, chosen, paired(level, default)))
    corrected = holm([entry.p for *_, entry in found])
    rows = [
        [stream, f"`{name}`", f"`{chosen}`", interval_text(entry.difference), p_text(p)]
        for (stream, name, chosen, entry), p in zip(found, corrected, strict=True)
    ]
    return table(["stream", "method", "chosen", "tuned - default [95% CI]", "p (Holm)"], rows)


def costs(results: Results) -> str:
    """Training time over that of `none`, by stream."""
    methods = (
        "l2",
        "l2-init",
        "syre",
        "syre-redrawn",
        "shrink-perturb",
        "cbp",
        "redo",
        "layer-norm",
        "spectral",
    )
    rows = []
    for method in methods:
        own = [stream.row(method) for stream in results.scores.streams]
        texts = [f"{row.summary['cost'].point:.2f}" if row else "" for row in own]
        rows.append([f"`{method}`", *("" if text == "nan" else text for text in texts)])
    return table(["method", *results.streams], rows)


CONTROL_PAIRS = (("syre", "l2"), ("syre", "l2-init"), ("syre", "syre-redrawn"), ("syre-offset-only", "none"))
RESET_PAIRS = (("syre", "reset"), ("l2", "reset"), ("l2-init", "reset"))
MAIN_PAIRS = (("syre", "none"), ("l2", "none"), ("l2-init", "none"), ("syre-offset-only", "none"))
TABLES: Mapping[str, Callable[[Results], str]] = {
    "loss": losses,
    "losing": losing,
    "against reset": against_reset,
    "against none": lambda results: pairs(results, MAIN_PAIRS),
    "against a fresh start": lambda results: pairs(results, RESET_PAIRS),
    "syre and its controls": lambda results: pairs(results, CONTROL_PAIRS),
    "syre and its controls, tuned": lambda results: pairs(results, CONTROL_PAIRS, tuned=True),
    "strengths": strengths,
    "sigmas": sigmas,
    "crossed": crossed,
    "forms": forms,
    "weakest": weakest,
    "tuning": tuning,
    "costs": costs,
}


def filled(text: str, results: Results) -> str:
    """The page with new tables."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]](results)}<!-- end -->"

    names = "|".join(map(re.escape, TABLES))
    return re.sub(rf"<!-- ({names}) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)


def main() -> int:
    """Writes or checks the page and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    controls, crossed_levels = read_controls(DATA / "syre-controls.csv")
    found = score(find_cells(SUBMISSIONS))
    results = Results(found, controls, crossed_levels, read_forms(DATA / "decay-forms.csv"))
    before = PAGE.read_text()
    after = filled(before, results)
    if args.check:
        if before != after:
            print(
                "docs/findings.md is not what its data give; run: python benchmarks/findings.py",
                file=sys.stderr,
            )
        return int(before != after)
    write_text(PAGE, after)
    draw(results.controls, FIGURE)
    print(f"wrote {PAGE.relative_to(ROOT)} and {FIGURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
