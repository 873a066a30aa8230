"""The columns of tables, and their CSV text, from which every number is read back exactly.

Equal numbers give equal bytes. ``parse_table``, for files of strangers, accepts no other spelling.
``read_columns`` and ``read_many`` are faster, for tables whose checksum is right.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from plasticity_bench.storage.untrusted import MAX_WHOLE, Refused

#: Column -> its meaning. An empty field means that it was not measured at this task.
COLUMNS: Mapping[str, str] = {
    "task": "index of the task, from 0",
    "online_performance": "mean over the task's examples of the performance before the update on them "
    "(accuracy in [0, 1]; regression: 1 - MSE / variance of the target, at least -1)",
    "online_loss": "mean over the task's examples of the loss before the update on them, without penalties",
    "final_performance": "performance at the task's end, on the held-out set if the stream has one, "
    "else on the task's own examples",
    "dormant_fraction": "units with ReDo score <= 0.025, over all hidden units (arXiv 2302.12902)",
    "dormant_fraction_tau0": "units with ReDo score <= 0, over all hidden units",
    "dead_fraction": "hidden units that are zero on every probe example",
    "effective_rank": "exp of the entropy of the normalised singular values (Roy & Vetterli 2007), "
    "mean over hidden layers",
    "srank": "least k whose first k singular values hold 99% of their sum (arXiv 2010.14498), "
    "mean over hidden layers",
    "stable_rank": "squared Frobenius norm over squared spectral norm, mean over hidden layers",
    "covariance_rank": "least k whose first k principal components hold 99% of the variance, "
    "mean over hidden layers",
    "weight_norm": "L2 norm of all parameters",
    "gradient_norm": "L2 norm of the loss gradient on the probe examples, without penalties",
    "update_norm": "L2 norm of the change of all parameters in the task's last update",
    "cloned_fraction": "hidden units with a clone: another unit of their layer whose activations correlate "
    "with theirs above 0.99, over all hidden units; constant units have no clone",
    "probe_retention": "how well copies of the network learn random targets on the task's probe examples, "
    "over how well fresh networks learn them (1: as well as fresh ones); see agents/probe.py",
}

#: Further columns if an agent acts. Performance is then the mean return of episodes: "online" of those that
#: ended in the task, "final" of those that ended in the last fifth of its rollouts. The online loss is the
#: mean squared error of the predicted values, before the update on them. Units and ranks are those of the
#: policy network; norms are those of policy and value network together; the gradient is that of the last
#: update.
CONTROL_COLUMNS: Mapping[str, str] = {
    "episodes": "episodes that ended in the task",
    "episode_length": "mean number of steps of these episodes",
    "critic_dormant_fraction": "dormant_fraction of the value network",
    "critic_dead_fraction": "dead_fraction of the value network",
    "critic_effective_rank": "effective_rank of the value network",
    "critic_stable_rank": "stable_rank of the value network",
    "action_std": "mean standard deviation of a Gaussian policy's actions",
    "policy_entropy": "mean entropy of the policy's actions, in nats, over the observations of the last "
    "rollout that diagnostics are measured on",
    "critic_probe_retention": "probe_retention of the value network",
}
#: Columns that are newer than the first records. A table has all of the younger columns of its kind or none
#: of them; readers give nan for those that it lacks.
YOUNGER_COLUMNS = frozenset(
    {"cloned_fraction", "probe_retention", "policy_entropy", "critic_probe_retention"}
)
#: Columns recorded for every rollout: the episodes that ended in it.
ROLLOUT_COLUMNS = ("task", "steps", "episodes", "return", "length")

#: Columns of the table of a seed's fresh twins: one row per task on which twins are trained, see
#: ``specs.twin_tasks``. Performance and loss are as in ``COLUMNS``.
FRESH_COLUMNS: Mapping[str, str] = {
    "task": "index of the task, from 0",
    **{name: COLUMNS[name] for name in ("online_performance", "online_loss", "final_performance")},
    "target_variance": "regression: variance of the task's targets, by which a task's R2 is weighted",
}

#: Columns of whole numbers.
WHOLE = frozenset({"task", "steps", "episodes"})

Table = dict[str, np.ndarray]


def to_csv(head: Iterable[str], rows: Iterable[Sequence[float | None]]) -> bytes:
    """The CSV text of a table, with every digit that is needed to read each number back exactly.

    ``rows``: values in the order of ``head``; None and nan give an empty field.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(head)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_written(name, value) for name, value in zip(names, row, strict=True)])
    return text.getvalue().encode()


def _written(name: str, value: float | None) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if name in WHOLE else repr(float(value))


def columns_held(data: bytes, columns: Collection[str]) -> list[str]:
    """The columns that a table holds, by its first line.

    Args:
        data: The table.
        columns: The names of the columns that tables of its kind have today.

    Returns:
        All of the names, or all but those in ``YOUNGER_COLUMNS``.

    Raises:
        Refused: The first line is neither of the two.
    """
    head = data.partition(b"\n")[0]
    for names in (list(columns), _first_columns(columns)):
        if head == ",".join(names).encode():
            return names
    raise Refused("has other columns than this version records")


def _first_columns(columns: Iterable[str]) -> list[str]:
    """The columns without the younger ones."""
    return [name for name in columns if name not in YOUNGER_COLUMNS]


def _absent(columns: Iterable[str], *shape: int) -> Table:
    """What is read of columns that a table lacks: nan."""
    return {name: np.full(shape, math.nan) for name in columns}


def read_columns(data: bytes, columns: Collection[str], needed: Collection[str] | None = None) -> Table:
    """Reads a table that ``to_csv`` wrote.

    Several times as fast as ``parse_table``. It accepts every spelling of a number, so use it for bytes whose
    checksum is right.

    Args:
        data: The table.
        columns: The names of its columns.
        needed: The columns to return; None: all.

    Returns:
        Column -> values of shape (rows,), with nan for empty fields and younger columns that it lacks.

    Raises:
        Refused: It is not a table with these columns.
    """
    wanted = [name for name in columns if needed is None or name in needed]
    names, fields = _fields(data, columns)
    found = _absent(wanted, len(fields) // len(names))
    for index, name in enumerate(names):
        if name in found:
            try:
                column = [float(field) if field else math.nan for field in fields[index :: len(names)]]
            except ValueError:
                raise Refused(f"holds a field that is no number in its column {name}") from None
            found[name] = np.array(column)
    return found


def read_many(
    tables: Sequence[bytes], columns: Collection[str], needed: Collection[str], rows: int
) -> Table | None:
    """``read_columns`` for many tables with the same number of rows: column -> values (tables, rows).

    It is faster because fields do not become Python objects. It returns None for tables that it cannot read
    in this way: lines of different lengths, inf, exponents with a + sign, tables some of which lack the
    younger columns, or anything that ``read_columns`` refuses.
    """
    if not tables:
        return None
    try:
        names = columns_held(tables[0], columns)
    except Refused:
        return None
    head = f"{','.join(names)}\n".encode()
    if not all(data.startswith(head) and data[-1:] == b"\n" for data in tables):
        return None
    if not rows or any(data.count(b"\n") != rows + 1 for data in tables):
        return None
    text = np.frombuffer(b"".join([data[len(head) :] for data in tables]), np.uint8)
    # The positions of commas and line ends; also of blanks, quotes and +, which no field may hold here.
    ends = np.flatnonzero(text < ord("-"))
    if len(ends) != len(tables) * rows * len(names):
        return None
    lines = text[ends].reshape(-1, len(names))
    if (lines[:, :-1] != ord(",")).any() or (lines[:, -1] != ord("\n")).any():
        return None
    sizes = np.diff(ends, prepend=-1)
    kept = (sizes > 1).reshape(-1, len(names)) & np.array([name in needed for name in names])
    fields = text[np.repeat(kept.ravel(), sizes)].tobytes().replace(b"\n", b",")
    if fields.translate(None, b"0123456789.-e,"):
        return None
    values = np.full(kept.shape, math.nan)
    numbers = _numbers(fields)
    if len(numbers) != kept.sum():
        return None
    values[kept] = numbers
    lacking = [name for name in columns if name in needed and name not in names]
    return _absent(lacking, len(tables), rows) | {
        name: values[:, index].reshape(len(tables), rows)
        for index, name in enumerate(names)
        if name in needed
    }


def _numbers(fields: bytes) -> np.ndarray:
    """The numbers up to the first field that is not a number; each field ends with a comma."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it says at which field it stopped
        try:
            return np.fromstring(fields, sep=",")
        except ValueError:
            return np.empty(0)


def parse_table(data: bytes, columns: Collection[str], whole: Collection[str]) -> Table:
    """Reads a table that a stranger sent, and accepts only the bytes that ``to_csv`` writes for it.

    Args:
        data: The table.
        columns: The names of its columns.
        whole: Those of them that hold whole numbers.

    Returns:
        Column -> values of shape (rows,), with nan for empty fields and younger columns that it lacks.

    Raises:
        Refused: It is not a table with these columns, or a byte differs from what ``to_csv`` writes: quotes,
            blanks, other line ends or other spellings of a number.
    """
    names, fields = _fields(data, columns)
    if uneven := _uneven(data.decode("ascii").partition("\n")[2], len(names)):
        raise Refused(uneven)
    found = _absent(columns, len(fields) // len(names))
    for index, name in enumerate(names):
        column = fields[index :: len(names)]
        filled = list(filter(None, column))
        numbers = _parse_exact(filled, name in whole)
        if numbers is None:
            wrong = next(field for field in filled if _parse_exact([field], name in whole) is None)
            raise Refused(
                f"line {column.index(wrong) + 2} holds a field that is no number as it is written here"
            )
        found[name][list(map(bool, column))] = numbers
    return found


def _fields(data: bytes, columns: Collection[str]) -> tuple[list[str], list[str]]:
    """The names of the columns that it holds, and the fields of all lines. Raises Refused if a line has too
    few or too many."""
    try:
        _, _, body = data.decode("ascii").partition("\n")
    except UnicodeDecodeError as error:
        raise Refused(f"is not a table: byte {error.start} is not ASCII") from None
    names = columns_held(data, columns)
    if data[-1:] != b"\n":
        raise Refused("ends in the middle of a line")
    fields = body.replace("\n", ",").split(",")[:-1]
    if len(fields) != len(names) * body.count("\n"):
        raise Refused(_uneven(body, len(names)))
    return names, fields


def _uneven(body: str, columns: int) -> str:
    """The first line with another number of fields, as a message; empty if there is none."""
    for number, line in enumerate(body.split("\n")[:-1], start=2):
        if (count := line.count(",") + 1) != columns:
            return f"line {number} has {count} fields, not {columns}"
    return ""


def _parse_exact(fields: list[str], whole: bool) -> list[float] | None:
    """The numbers; None if a field is no number, or not spelled as Python writes it."""
    read: Callable[[str], float] = int if whole else float
    try:
        numbers = list(map(read, fields))
    except ValueError:
        return None
    if list(map(repr, numbers)) != fields:
        return None
    possible = max(map(abs, numbers), default=0) <= MAX_WHOLE if whole else "nan" not in fields
    return numbers if possible else None
