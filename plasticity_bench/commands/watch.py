"""``plasticity_bench watch``"""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "record an episode of a trained agent as an animated GIF"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("cell", type=Path, metavar="RUN", help="folder of a cell: runs/STREAM/METHOD")
    parser.add_argument("--seed", type=int, help="default: the first one recorded")
    parser.add_argument("--task", type=int, help="default: the last one")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="at most (default: 300)")
    parser.add_argument(
        "--out", type=Path, default=Path("watch.gif"), metavar="FILE", help="default: watch.gif"
    )


def run(args: argparse.Namespace) -> int:
    """Plays one episode and writes its frames."""
    from plasticity_bench.errors import InputError
    from plasticity_bench.playback import find_cell, play, save_gif

    if args.steps < 1:
        raise InputError(f"--steps {args.steps}: at least one step is needed")
    if args.out.suffix.lower() != ".gif":
        raise InputError(f"--out {args.out}: only .gif can be written")
    cell = find_cell(args.cell)
    seeds = cell.seeds()
    if not seeds:
        raise InputError(f"no finished seed in {cell.path} yet; run it to its end first")
    seed = seeds[0] if args.seed is None else args.seed
    episode = play(cell, seed, args.task, args.steps)
    save_gif(episode.pictures, args.out, episode.rate)
    end = "to the episode's end" if episode.ended else "so far"
    print(f"{cell.method}, seed {seed}: return {episode.total:.1f} in {episode.steps} steps, {end}")
    print(f"wrote {args.out} ({len(episode.pictures)} pictures)")
    return 0
