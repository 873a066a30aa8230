"""``Results``: recorded runs as tables, scores and figures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from plasticity_bench.errors import InputError, did_you_mean
from plasticity_bench.processes.workers import Workers, one_thread_each, usable_cores
from plasticity_bench.records.cells import Cell, find_cells
from plasticity_bench.scoring.scores import Scores
from plasticity_bench.scoring.scoring import of_streams, place_of, score
from plasticity_bench.scoring.summary import SUMMARY_COLUMNS, summary_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.figure import Figure

#: The figure of one stream that ``plot`` draws by default, and the one of several streams.
OF_ONE_STREAM, OF_SEVERAL = "learning-curves", "level"


class Results:
    """Recorded runs of methods on streams: ``pb.run`` and ``pb.load`` return one.

    It reads the records when they are first needed, and again if seeds were recorded since. Printed, or as
    the last line of a notebook cell, it shows the tables of scores.

    Args:
        cells: The records: one cell for each stream, method and settings.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        # Absolute paths: they hold after a change of the working directory.
        self.cells = sorted((replace(cell, path=cell.path.absolute()) for cell in cells), key=place_of)
        self._scored: tuple[list[list[int]], Scores] | None = None

    @property
    def streams(self) -> list[str]:
        """The streams, as records name them: ``permuted-digits-v1``."""
        return list(dict.fromkeys(cell.stream for cell in self.cells))

    @property
    def methods(self) -> list[str]:
        """The labels of the methods, in alphabetical order."""
        return sorted({cell.method for cell in self.cells})

    def tables(self) -> pd.DataFrame:
        """Everything measured, task by task.

        Returns:
            A table with one row per stream, method, seed and task. Its columns are these four, those of the
            records (plasticity_bench/records/tables.py), and the name of the record's folder as "cell": it
            distinguishes two versions of a method that have the same name. nan stands for what was not
            measured. Columns of agents that act are nan on supervised streams.

        Raises:
            InputError: A record is damaged or gone.

        Example:
            >>> results.tables().groupby(["method", "task"]).online_performance.mean().shape
            (9,)
        """
        import pandas as pd

        parts = [
            pd.DataFrame({**_identity(cell, seed), **cell.trained.table(seed), "cell": cell.path.name})
            for cell, seeds in zip(self.cells, self._seeds(), strict=True)
            for seed in seeds
        ]
        if not parts:
            return pd.DataFrame(columns=["stream", "method", "seed", "task", "cell"])
        return pd.concat(parts, ignore_index=True).astype({"seed": int, "task": int})

    def scores(self) -> pd.DataFrame:
        """The scores that ``score`` and the leaderboard show.

        Returns:
            A table with one row per stream and method, in the order of the leaderboard, and the columns of
            leaderboard.csv: rank, then for each metric its estimate over seeds and the ends ``_low`` and
            ``_high`` of its 95% interval. Metrics that need fresh twins or a reference are nan if these are
            not recorded. The last column is the "cell", as in ``tables``.

        Raises:
            InputError: A record is damaged or gone.

        Example:
            >>> results.scores().set_index("method").seeds["l2"].item()
            2
        """
        import pandas as pd

        rows = [
            [*(float("nan") if value is None else value for value in values), row.cell.path.name]
            for row, values in summary_rows(self._scores)
        ]
        return pd.DataFrame(rows, columns=[*SUMMARY_COLUMNS, "cell"])

    def figures(self) -> list[str]:
        """Names of the figures that ``plot`` can draw of these results.

        Example:
            >>> "learning-curves-permuted-digits-v1_tasks=3" in results.figures()
            True
        """
        return sorted(self._drawn(self._scores))

    def plot(self, figure: str | None = None, stream: str | None = None) -> Figure:
        """Draws a figure. A notebook shows it if it is the last line of a cell.

        Args:
            figure: One of ``figures()``. In names that end in a stream's, the stream may be left out if there
                is only one, or if ``stream`` is given. None: learning curves of one stream, else the levels
                on all streams.
            stream: Only this stream, by name (``"permuted-digits"``) or as in ``streams``.

        Returns:
            The figure; ``figure.savefig("curves.png")`` saves it.

        Raises:
            InputError: There is no such figure or stream, or a record is damaged.

        Example:
            >>> results.plot("learning-curves").savefig(folder / "curves.png")
        """
        from plasticity_bench.figures.drawing import draw_inline

        scores = self._scores
        if stream is not None:
            kept = {cell.stream for cell in of_streams(self.cells, [stream])}
            scores = Scores(tuple(each for each in scores.streams if each.name in kept), (), ())
        names = [each.name for each in scores.streams if each.rows]
        if not names:
            raise InputError("no seed is finished yet, so there is nothing to draw")
        wanted = figure or (OF_ONE_STREAM if len(names) == 1 else OF_SEVERAL)
        drawn = self._drawn(scores)
        if len(names) == 1:
            drawn |= {name.removesuffix(f"-{names[0]}"): draw for name, draw in drawn.items()}
        if figure is None and wanted not in drawn:
            raise InputError(
                "there is no level to draw, which needs fresh twins of none (run it without --no-twins); "
                f"name a figure: {', '.join(sorted(drawn))}"
            )
        if wanted not in drawn:
            raise InputError(f'no figure "{wanted}": {did_you_mean(wanted, drawn)}')
        return draw_inline(drawn[wanted])

    @property
    def _scores(self) -> Scores:
        seeds = self._seeds()
        if self._scored is None or self._scored[0] != seeds:
            with one_thread_each(), Workers(usable_cores()) as workers:
                self._scored = seeds, score(self.cells, workers)
        return self._scored[1]

    def _seeds(self) -> list[list[int]]:
        """The recorded seeds of each cell. Raises InputError if the folder of a cell is gone."""
        for cell in self.cells:
            if not cell.path.is_dir():
                raise InputError(f"{cell.path} is gone: it was moved or deleted after it was read")
        return [cell.seeds() for cell in self.cells]

    @staticmethod
    def _drawn(scores: Scores) -> dict[str, Callable[[], Figure]]:
        from plasticity_bench.figures.drawing import draw_functions

        return draw_functions(scores)

    def __repr__(self) -> str:
        from plasticity_bench.consoles import plain_console
        from plasticity_bench.terminal import TERMINAL_WIDTH, print_tables

        text = io.StringIO()
        console = plain_console(
            file=text,
            width=TERMINAL_WIDTH,
            force_terminal=False,
            force_jupyter=False,
            highlight=False,
        )
        print_tables(self._scores, console)
        return text.getvalue().rstrip()


def _identity(cell: Cell, seed: int) -> dict[str, object]:
    return {"stream": cell.stream, "method": cell.method, "seed": seed}


def load(runs: str | os.PathLike[str] = "runs", stream: str | Iterable[str] | None = None) -> Results:
    """The results of everything recorded in a folder.

    Args:
        runs: A folder that ``run`` wrote, or a submission, or the folder of submissions.
        stream: Only this stream or these, by name. None: all.

    Returns:
        The results.

    Raises:
        InputError: The folder holds no records, or damaged ones, or none of the stream.

    Example:
        >>> load(folder).streams
        ['permuted-digits-v1_tasks=3']
    """
    names = [stream] if isinstance(stream, str) else list(stream or ())
    return Results(of_streams(find_cells(Path(runs)), names))
