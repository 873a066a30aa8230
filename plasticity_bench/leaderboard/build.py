"""Writes the leaderboard: a folder with README.md, a web page, CSV tables of all scores, and figures.

Equal records give equal files: nothing in them depends on the time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plasticity_bench.figures.drawing import Drawing, get_ready
from plasticity_bench.leaderboard.extras import submission_details
from plasticity_bench.leaderboard.markdown import readme
from plasticity_bench.page.curves import grids
from plasticity_bench.page.document import PAGE, page_data, write_page
from plasticity_bench.page.links import relative_path
from plasticity_bench.processes.workers import Workers
from plasticity_bench.records.cells import find_cells
from plasticity_bench.scoring.metrics import METRICS, MeasuredCell
from plasticity_bench.scoring.scores import Scores
from plasticity_bench.scoring.scoring import measure_cells, of_streams, place_of, score_measured
from plasticity_bench.scoring.suites import suite_scores
from plasticity_bench.scoring.summary import SUMMARY_COLUMNS, summary_rows
from plasticity_bench.storage.files import write_text
from plasticity_bench.submissions.model import Submission, in_own_words


@dataclass(frozen=True)
class Records:
    """What a leaderboard is made of: cells that were read, by stream, and where they are."""

    folder: Path
    measured: Iterable[MeasuredCell]
    submissions: Sequence[Submission] = ()  # if it is a folder of submissions


def records_of_runs(runs: Path, streams: Sequence[str], workers: Workers) -> Records:
    """The records in a folder of runs, or of these ``streams``; ``workers`` begin to read them.

    Raises InputError if there are none.
    """
    return Records(runs, measure_cells(of_streams(find_cells(runs), streams), workers))


def records_of_submissions(
    folder: Path, submissions: Sequence[Submission], streams: Sequence[str]
) -> Records:
    """The records of submissions that were read and verified, with this version's texts on what is built in.

    Raises InputError if they hold none of these ``streams``.
    """
    read = [evidence.measured for each in submissions for evidence in each.streams.values()]
    kept = {cell.path for cell in of_streams([entry.cell for entry in read], streams)}
    measured = [entry.with_cell(in_own_words(entry.cell)) for entry in read if entry.cell.path in kept]
    return Records(folder, sorted(measured, key=lambda entry: place_of(entry.cell)), submissions)


def build(
    records: Records,
    out: Path,
    streams: Sequence[str] = (),
    on_line: Callable[[str], None] = lambda text: None,
    workers: Workers | None = None,
) -> list[Path]:
    """Writes the leaderboard of ``records``, which are of these ``streams`` (all if empty), to ``out``.

    ``workers``: processes that share the work. ``on_line`` receives a line for every step that is done.
    Returns the files written. Raises InputError if a record is damaged, or ``out`` cannot be written.
    """
    workers = workers or Workers(1)
    get_ready()  # while the workers read
    scores = score_measured(_counted(records.measured, on_line), workers)
    on_line(f"scored {len(scores.streams)} streams")
    workers.renew()
    recorded = [stream for stream in scores.streams if stream.rows]
    curves = workers.map(grids, [stream.in_order for stream in recorded])
    drawing = Drawing(scores, out / "figures", [".png"], workers)
    # In this process, while the workers draw.
    suites = suite_scores(scores)
    details = submission_details(records.submissions)
    figures = [path.stem for path in drawing.paths]
    texts = {
        "leaderboard.csv": _csv(_summary_rows(scores, out)),
        "scores-per-seed.csv": _csv(_seed_rows(scores, out)),
        "README.md": readme(scores, suites, records.folder, details, out, streams, figures),
    }
    for name, text in texts.items():
        write_text(out / name, text)
        on_line(f"wrote {out / name}")
    of_page = dict(zip((stream.name for stream in recorded), curves, strict=True))
    write_page(page_data(scores, out, details, curves=of_page, suites=suites), out / PAGE)
    on_line(f"wrote {out / PAGE}")
    drawing.wait(on_line)
    return [*drawing.paths, *(out / name for name in texts), out / PAGE]


def _counted(measured: Iterable[MeasuredCell], on_line: Callable[[str], None]) -> Iterator[MeasuredCell]:
    """The same entries; at the end, a line with the number of tables read."""
    tables = cells = 0
    for entry in measured:
        tables, cells = tables + len(entry.seeds), cells + 1
        yield entry
    on_line(f"read {tables} tables of {cells} cells")


def _summary_rows(scores: Scores, out: Path) -> Iterable[list[object]]:
    yield [*SUMMARY_COLUMNS, "evidence"]
    for row, values in summary_rows(scores):
        yield [*values, relative_path(row.cell.path, out)]


def _seed_rows(scores: Scores, out: Path) -> Iterable[list[object]]:
    yield ["stream", "method", "seed", *METRICS, "evidence"]
    for stream in scores.streams:
        for row in stream.rows:
            evidence = relative_path(row.cell.path, out)
            for index, seed in enumerate(row.seeds):
                values = [float(row.values[metric][index]) for metric in METRICS]
                yield [stream.name, row.method, seed, *values, evidence]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    """CSV text; floats have nine significant digits, nan and None are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_field(value) for value in row])
    return text.getvalue()


def _field(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.9g}"
    return "" if value is None else str(value)
