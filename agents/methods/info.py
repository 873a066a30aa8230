"""What a method says about itself: name, summary, papers, the values to tune and those that are allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from plasticity_bench.agents.methods.papers import Paper
from plasticity_bench.ranges import Range


@dataclass(frozen=True)
class MethodInfo:
    """What a reader of the leaderboard needs to know about a method.

    Args:
        name: As users type it: letters, digits and hyphens.
        summary: What the method does, in one line.
        papers: Where it comes from; empty if it is not published.
        family: What kind of method it is: a key of ``FAMILIES`` (plasticity_bench/registry/families.py).
        task_boundaries: Whether ``on_task_end`` is called when the task changes. The leaderboard shows it.
        acts_after: Name of the setting that counts the tasks before the method acts for the first time. A
            run on a stream with no more tasks than that is refused.
        search_space: Hyperparameter -> values that ``sweep`` tries, usually 3 to 5.
        version: A number that is raised when the same settings come to give other results.
        off: Settings that make the method plain training bit for bit, such as ``"strength=0"``; several are
            separated by commas. Empty if there are none.
        later: Names of settings that are younger than the method's records and whose defaults change
            nothing. A configuration holds them only if they differ, so that older records stay valid.
        ranges: Hyperparameter -> the values that it may have; others are refused when the method is made.

    Raises:
        TypeError: ``papers`` is not a tuple of Papers.

    Example:
        >>> info = MethodInfo("my-method", "decays the biases", off="strength=0",
        ...                   search_space={"strength": (1e-4, 1e-3, 1e-2)})
        >>> info.version, info.task_boundaries
        (1, False)
    """

    name: str
    summary: str
    papers: tuple[Paper, ...] = ()
    family: str = "other"
    task_boundaries: bool = False
    acts_after: str = ""
    search_space: Mapping[str, Sequence[float]] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 1
    off: str = ""
    later: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not isinstance(self.papers, tuple) or not all(isinstance(paper, Paper) for paper in self.papers):
            raise TypeError(
                f"papers of {self.name} is no tuple of Papers: write papers=(Paper(authors=..., title=..., "
                "year=..., arxiv=...),), with the last comma"
            )

    @property
    def citation(self) -> str:
        """All papers in one line of text, as config.json holds it."""
        return "; ".join(paper.citation for paper in self.papers)
