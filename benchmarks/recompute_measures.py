"""Level, retention, loss and fresh level of some cells from the raw files, without any code of the package.

    python benchmarks/recompute_measures.py [permuted-digits-v1/syre bit-flip-v1/l2-tuned ...]

For every STREAM/SUBMISSION it reads seed-*.csv, fresh-*.csv and config.json of the submission, and the
fresh-*.csv of plain training. It computes the measures and intervals with numpy, and compares them with
leaderboard/leaderboard.csv. Exit code 1: a value differs by more than rounding, or an interval by more than
its Monte-Carlo error (its resamples are others).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

BOARD = Path(__file__).resolve().parents[1] / "leaderboard"
CELLS = ("permuted-digits-v1/syre", "bit-flip-v1/l2-tuned", "shuffled-gridworld-v1/none")
#: Resamples of an interval.
REPS = 20_000


def folder(submission: str, stream: str) -> Path:
    """The submission's cell on a stream."""
    (path,) = (BOARD / "submissions" / submission / "records" / stream).iterdir()
    return path


def tables(path: Path, kind: str) -> dict[int, dict[str, np.ndarray]]:
    """seed -> column -> values, of seed-NNN.csv or fresh-NNN.csv."""
    found = {}
    for file in sorted(path.glob(f"{kind}-*.csv")):
        if file.name.count(".") == 1:
            lines = list(csv.DictReader(file.open()))
            found[int(file.stem.split("-")[1])] = {
                name: np.array([float(line[name] or "nan") for line in lines]) for name in lines[0]
            }
    return found


def sums(stream: str, submission: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per seed: the sums over late tasks of the learner, of its twins and of plain training's twins."""
    own = folder(submission, stream)
    config = json.loads((own / "config.json").read_text())["stream"]
    tasks, chance, scored = config["tasks"], config["chance"], config["score"]
    late = range(tasks - max(tasks // 10, 5 if tasks >= 20 else 2), tasks)
    plain = "none-tuned" if (BOARD / "submissions/none-tuned/records" / stream).is_dir() else "none"
    learner, twins, reference = (
        tables(own, "seed"),
        tables(own, "fresh"),
        tables(folder(plain, stream), "fresh"),
    )
    rows: list[list[float]] = []
    for seed in sorted(learner.keys() & twins.keys() & reference.keys()):
        chosen = np.isin(twins[seed]["task"], late)
        weight = twins[seed]["target_variance"][chosen] if config["unit"] == "R2" else 1.0
        values = (learner[seed][scored][list(late)], *(t[seed][scored][chosen] for t in (twins, reference)))
        rows.append([float((weight * (value - chance)).sum()) for value in values])
    a, f, g = np.array(rows).T
    return a, f, g


def measures(a: np.ndarray, f: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    """The four measures; the last axis is that of seeds."""
    a, f, g = (part.sum(-1) for part in (a, f, g))
    return {"level": a / g, "retention": a / f, "plasticity_loss": 1 - a / f, "fresh_level": f / g}


def compared(cell: str, written: Mapping[str, str], parts: Sequence[np.ndarray]) -> bool:
    """Prints both values of every measure; whether they agree."""
    draws = np.random.default_rng(1).integers(len(parts[0]), size=(REPS, len(parts[0])))
    points, resampled = measures(*parts), measures(*(part[draws] for part in parts))
    agree = True
    for name, point in points.items():
        low, high = np.percentile(resampled[name], [2.5, 97.5])
        theirs = [float(written[f"{name}{end}"]) for end in ("", "_low", "_high")]
        slack = 0.1 * (high - low)
        same = bool(
            abs(theirs[0] - point) < 1e-6 and abs(theirs[1] - low) < slack and abs(theirs[2] - high) < slack
        )
        agree = agree and same
        print(
            f"{cell:34}{name:16}{point:9.6f} [{low:.4f}, {high:.4f}]   table: {theirs[0]:9.6f} "
            f"[{theirs[1]:.4f}, {theirs[2]:.4f}]   {'agrees' if same else 'DIFFERS'}"
        )
    return agree


def main() -> int:
    """Compares every cell."""
    with (BOARD / "leaderboard.csv").open() as file:
        lines = {(line["stream"], line["method"]): line for line in csv.DictReader(file)}
    agree = True
    for cell in sys.argv[1:] or CELLS:
        stream, submission = cell.split("/")
        tuned = submission.endswith("-tuned")
        method = f"{submission.removesuffix('-tuned')} (tuned)" if tuned else submission
        agree = compared(cell, lines[stream, method], sums(stream, submission)) and agree
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
