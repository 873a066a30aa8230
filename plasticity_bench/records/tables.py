"""What tables hold, and their text: the columns of a record, written so that every number comes back exactly.

A table has one form: of equal numbers equal bytes. ``parse_table`` takes no other, for files of strangers;
``read_columns`` reads what a checksum says to be as it was written.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from plasticity_bench.storage.untrusted import MAX_WHOLE, Refused

#: Column -> what it holds. An empty field is "not measured at this task".
COLUMNS: Mapping[str, str] = {
    "task": "index of the task, from 0",
    "online_performance": "mean over the task's examples of the performance before the update on them "
    "(accuracy in [0, 1]; regression: 1 - MSE / variance of the target, at least -1)",
    "online_loss": "mean over the task's examples of the loss before the update on them, without penalties",
    "final_performance": "performance at the task's end, on the held-out set where the stream has one, "
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
}

#: Further columns where the agent acts. There, performance is the mean return of episodes: "online" of those
#: that ended in the task, "final" of those that ended in the last fifth of its rollouts. The online loss is
#: the mean squared error of the values of what was met, before the update on it. Units and ranks are the
#: policy's, norms those of policy and value network together, the gradient that of the last update.
CONTROL_COLUMNS: Mapping[str, str] = {
    "episodes": "episodes that ended in the task",
    "episode_length": "mean number of steps of these episodes",
    "critic_dormant_fraction": "dormant_fraction of the value network",
    "critic_dead_fraction": "dead_fraction of the value network",
    "critic_effective_rank": "effective_rank of the value network",
    "critic_stable_rank": "stable_rank of the value network",
    "action_std": "mean standard deviation of a Gaussian policy's actions",
}
#: What is recorded of every rollout: the episodes that ended in it.
ROLLOUT_COLUMNS = ("task", "steps", "episodes", "return", "length")

#: Columns of whole numbers.
WHOLE = frozenset({"task", "steps", "episodes"})

Table = dict[str, np.ndarray]


def to_csv(head: Iterable[str], rows: Iterable[Sequence[float | None]]) -> bytes:
    """A table that gives every number back exactly; what is None or nan is left empty."""
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


def read_columns(data: bytes, columns: Iterable[str], wanted: Collection[str] | None = None) -> Table:
    """Column -> values (rows,) of a table that ``to_csv`` wrote, nan where a field is empty; only those
    ``wanted`` are converted, all where None.

    Several times as fast as ``parse_table``, and takes a number in any spelling: for bytes whose checksum is
    known. Raises Refused where they are no table of these columns.
    """
    names, fields = _fields(data, columns)
    found = {}
    for index, name in enumerate(names):
        if wanted is None or name in wanted:
            try:
                column = [float(field) if field else math.nan for field in fields[index :: len(names)]]
            except ValueError:
                raise Refused(f"holds what is no number in its column {name}") from None
            found[name] = np.array(column)
    return found


def read_alike(
    tables: Sequence[bytes], columns: Iterable[str], wanted: Collection[str], rows: int
) -> Table | None:
    """``read_columns`` of many tables of so many rows at once: column -> values (tables, rows).

    Faster, as no field becomes an object. None where that does not do, or where one would be refused: uneven
    lines, signs of exponents, inf and the like.
    """
    names = list(columns)
    head = f"{','.join(names)}\n".encode()
    if not all(data.startswith(head) and data[-1:] == b"\n" for data in tables):
        return None
    if not rows or any(data.count(b"\n") != rows + 1 for data in tables):
        return None
    text = np.frombuffer(b"".join([data[len(head) :] for data in tables]), np.uint8)
    # Commas and line ends; also blanks, quotes and +, which no field holds here.
    ends = np.flatnonzero(text < ord("-"))
    if len(ends) != len(tables) * rows * len(names):
        return None
    lines = text[ends].reshape(-1, len(names))
    if (lines[:, :-1] != ord(",")).any() or (lines[:, -1] != ord("\n")).any():
        return None
    sizes = np.diff(ends, prepend=-1)
    kept = (sizes > 1).reshape(-1, len(names)) & np.array([name in wanted for name in names])
    fields = text[np.repeat(kept.ravel(), sizes)].tobytes().replace(b"\n", b",")
    if fields.translate(None, b"0123456789.-e,"):
        return None
    values = np.full(kept.shape, math.nan)
    numbers = _numbers(fields)
    if len(numbers) != kept.sum():
        return None
    values[kept] = numbers
    return {
        name: values[:, index].reshape(len(tables), rows)
        for index, name in enumerate(names)
        if name in wanted
    }


def _numbers(fields: bytes) -> np.ndarray:
    """The numbers up to the first field that is none; each field ends in a comma."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # says where it stopped
        try:
            return np.fromstring(fields, sep=",")
        except ValueError:
            return np.empty(0)


def parse_table(data: bytes, columns: Iterable[str], whole: Collection[str]) -> Table:
    """Column -> values (rows,) of a table as ``to_csv`` writes it, nan where a field is empty.

    Raises Refused where a single byte is not as it would have been written, so that a table has one form:
    no quotes, blanks, other line ends or other spellings of a number.
    """
    names, fields = _fields(data, columns)
    if uneven := _uneven(data.decode("ascii").partition("\n")[2], len(names)):
        raise Refused(uneven)
    found = {}
    for index, name in enumerate(names):
        column = fields[index :: len(names)]
        given = list(filter(None, column))
        numbers = _as_written(given, name in whole)
        if numbers is None:
            wrong = next(field for field in given if _as_written([field], name in whole) is None)
            raise Refused(f"line {column.index(wrong) + 2} holds what is no number as it is written here")
        found[name] = np.full(len(column), math.nan)
        found[name][list(map(bool, column))] = numbers
    return found


def _fields(data: bytes, columns: Iterable[str]) -> tuple[list[str], list[str]]:
    """The columns' names, and all fields line by line, as many as whole lines have."""
    names = list(columns)
    try:
        head, _, body = data.decode("ascii").partition("\n")
    except UnicodeDecodeError as error:
        raise Refused(f"is not a table: byte {error.start} is not ASCII") from None
    if head != ",".join(names):
        raise Refused("has other columns than this version records")
    if data[-1:] != b"\n":
        raise Refused("ends in the middle of a line")
    fields = body.replace("\n", ",").split(",")[:-1]
    if len(fields) != len(names) * body.count("\n"):
        raise Refused(_uneven(body, len(names)))
    return names, fields


def _uneven(body: str, columns: int) -> str:
    """Which line has not this many fields; empty where all have."""
    for number, line in enumerate(body.split("\n")[:-1], start=2):
        if (count := line.count(",") + 1) != columns:
            return f"line {number} has {count} fields, not {columns}"
    return ""


def _as_written(fields: list[str], whole: bool) -> list[float] | None:
    """The numbers; None where one is not what Python writes for it, or no number."""
    read: Callable[[str], float] = int if whole else float
    try:
        numbers = list(map(read, fields))
    except ValueError:
        return None
    if list(map(repr, numbers)) != fields:
        return None
    possible = max(map(abs, numbers), default=0) <= MAX_WHOLE if whole else "nan" not in fields
    return numbers if possible else None
