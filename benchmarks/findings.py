"""The tables and the figure of docs/findings.md, from the leaderboard's submissions and docs/data.

    python benchmarks/findings.py            # writes them
    python benchmarks/findings.py --check    # exits with 1 where they differ from what is written

Only what stands between ``<!-- NAME -->`` and ``<!-- end -->`` is replaced: the words around it are people's.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from findings_figure import draw

from plasticity_bench.files import write_text
from plasticity_bench.inference import holm, permutation_test
from plasticity_bench.records import TUNED_MARK, find_cells
from plasticity_bench.report import interval_text, number, p_text
from plasticity_bench.score_notes import loses_plasticity
from plasticity_bench.scoring import Scores, score
from plasticity_bench.stats import Difference, paired_bootstrap, stratified_bootstrap

ROOT = Path(__file__).resolve().parents[1]
PAGE, DATA, SUBMISSIONS = ROOT / "docs/findings.md", ROOT / "docs/data", ROOT / "leaderboard/submissions"
FIGURE = ROOT / "docs/figures/syre-controls.png"
#: seed -> retained plasticity
Seeds = Mapping[int, float]


class Paired(NamedTuple):
    """One method against another on one stream."""

    seeds: int
    difference: Difference
    p: float


def paired(a: Seeds, b: Seeds) -> Paired:
    """a - b on the seeds of both; p of the paired permutation test of equal interquartile means."""
    common = sorted(a.keys() & b.keys())
    left, right = ([np.array([side[seed] for seed in common])] for side in (a, b))
    return Paired(len(common), paired_bootstrap(left, right), permutation_test(left, right))


@dataclass(frozen=True)
class Results:
    """Everything that the tables are made of."""

    scores: Scores
    controls: Mapping[tuple[str, str, str, str], Seeds]  # (stream, method, strength, sigma)

    @cached_property
    def retained(self) -> dict[tuple[str, str], Seeds]:
        """(stream, method) -> the leaderboard's values, where `none` starts above chance."""
        return {
            (stream.name, row.method): values
            for stream in self.scores.streams
            for row in stream.rows
            if (values := row.by_seed("retained_plasticity")) and not np.isnan(list(values.values())).any()
        }

    @property
    def streams(self) -> list[str]:
        """Names of the leaderboard's streams."""
        return [stream.name for stream in self.scores.streams]


def read_controls(path: Path) -> dict[tuple[str, str, str, str], dict[int, float]]:
    """What `syre_controls.py` wrote."""
    found: dict[tuple[str, str, str, str], dict[int, float]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            key = (row["stream"], row["method"], row["strength"], row["sigma"])
            found.setdefault(key, {})[int(row["seed"])] = float(row["retained_plasticity"])
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def loss(results: Results) -> str:
    """What `none` loses, by stream."""
    rows = []
    for stream in results.scores.streams:
        none = stream.row("none")
        if none:
            verdict = {True: "yes", False: "not shown", None: "unknown"}[loses_plasticity(none)]
            values = (none.summary[name] for name in ("plasticity_loss", "retained_plasticity"))
            rows.append([stream.name, str(len(none.seeds)), *map(interval_text, values), verdict])
    return table(
        ["stream", "n", "plasticity loss of `none`", "retained plasticity", "loses plasticity"], rows
    )


def pairs(results: Results, asked: Sequence[tuple[str, str]], tuned: bool = False) -> str:
    """Differences between two methods by stream. Each pair is a question by itself: Holm-corrected over the
    streams."""
    mark = TUNED_MARK if tuned else ""
    found = [
        (a, b, stream, paired(results.retained[stream, a + mark], results.retained[stream, b + mark]))
        for a, b in asked
        for stream in results.streams
        if {(stream, a + mark), (stream, b + mark)} <= results.retained.keys()
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
    return table(["difference", "stream", "n", "retained plasticity [95% CI]", "p", "p (Holm)"], rows)


def strengths(results: Results) -> str:
    """Syre, L2 and L2-init at the same strengths, and at all of them: every seed's mean over strengths."""
    rows, tested = [], []
    for stream in sorted({key[0] for key in results.controls}):
        own = {key[1:]: values for key, values in results.controls.items() if key[0] == stream}
        grid = sorted({key[1] for key in own if key[0] == "l2"}, key=float)
        for chosen in [*([strength] for strength in grid), grid]:
            sides = {
                method: _mean([own[method, strength, sigma] for strength in chosen])
                for method, sigma in (("l2", ""), ("l2-init", ""), ("syre", "0.01"))
            }
            points = [
                interval_text(stratified_bootstrap([np.array(list(v.values()))])) for v in sides.values()
            ]
            differences = [paired(sides["syre"], sides[other]) for other in ("l2", "l2-init")]
            tested += differences
            name = chosen[0] if len(chosen) == 1 else "all"
            rows.append([stream, name, *points, *(interval_text(entry.difference) for entry in differences)])
    to_l2, to_init = (holm([entry.p for entry in tested[i::2]]) for i in (0, 1))
    for row, first, second in zip(rows, to_l2, to_init, strict=True):
        row.insert(6, p_text(first))
        row.append(p_text(second))
    head = ["stream", "strength", "`l2`", "`l2-init`", "`syre`", "`syre` - `l2`", "p (Holm)"]
    return table([*head, "`syre` - `l2-init`", "p (Holm)"], rows)


def _mean(runs: Sequence[Seeds]) -> dict[int, float]:
    """Every seed's mean over the runs."""
    return {seed: float(np.mean([values[seed] for values in runs])) for seed in runs[0]}


def sigmas(results: Results) -> str:
    """Syre with offsets of several sizes against none at all, at two strengths and at both together."""
    rows, tested = [], []
    for stream in sorted({key[0] for key in results.controls}):
        own = {key[2:]: v for key, v in results.controls.items() if key[:2] == (stream, "syre")}
        varied = sorted({strength for strength, sigma in own if sigma == "1.0"}, key=float)
        sizes = sorted({sigma for _, sigma in own}, key=float)
        for chosen in [*([strength] for strength in varied), varied]:
            none = _mean([own[strength, "0.0"] for strength in chosen])
            for sigma in sizes:
                values = _mean([own[strength, sigma] for strength in chosen])
                point = interval_text(stratified_bootstrap([np.array(list(values.values()))]))
                name = chosen[0] if len(chosen) == 1 else "both"
                rows.append([stream, name, f"{float(sigma):g}", point])
                if float(sigma):
                    tested.append(paired(values, none))
                    rows[-1] += [interval_text(tested[-1].difference), p_text(tested[-1].p)]
                else:
                    rows[-1] += ["", "", ""]
    corrected = iter(holm([entry.p for entry in tested]))
    for row in rows:
        if len(row) == 6:
            row.append(p_text(next(corrected)))
    head = [
        "stream",
        "strength",
        "sigma",
        "retained plasticity [95% CI]",
        "difference to sigma 0",
        "p",
        "p (Holm)",
    ]
    return table(head, rows)


def weakest(results: Results) -> str:
    """Every method's lowest stream, and what it scores on the others, best lowest stream first."""
    found: list[tuple[float, list[str]]] = []
    for method in sorted({method for _, method in results.retained}):
        own = {
            stream: stratified_bootstrap([np.array(list(values.values()))])
            for (stream, other), values in results.retained.items()
            if other == method and len(values) > 1
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
    """What tuning changes, by method and stream."""
    found = []
    for (stream, method), values in sorted(results.retained.items()):
        if method.endswith(TUNED_MARK):
            name = method.removesuffix(TUNED_MARK)
            default = results.retained.get((stream, name))
            row = next(s for s in results.scores.streams if s.name == stream).row(method)
            if default and row:
                chosen = row.cell.configuration.partition(":")[2] or "the defaults"
                found.append((stream, name, chosen, paired(values, default)))
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
MAIN_PAIRS = (("syre", "none"), ("l2", "none"), ("l2-init", "none"), ("syre-offset-only", "none"))
TABLES: Mapping[str, Callable[[Results], str]] = {
    "loss": loss,
    "against none": lambda results: pairs(results, MAIN_PAIRS),
    "syre and its controls": lambda results: pairs(results, CONTROL_PAIRS),
    "syre and its controls, tuned": lambda results: pairs(results, CONTROL_PAIRS, tuned=True),
    "strengths": strengths,
    "sigmas": sigmas,
    "weakest": weakest,
    "tuning": tuning,
    "costs": costs,
}


def filled(text: str, results: Results) -> str:
    """The page with its tables made anew."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]](results)}<!-- end -->"

    names = "|".join(map(re.escape, TABLES))
    return re.sub(rf"<!-- ({names}) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)


def main() -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    results = Results(score(find_cells(SUBMISSIONS)), read_controls(DATA / "syre-controls.csv"))
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
