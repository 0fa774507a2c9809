"""A `Finding`: what groups of runs answer to one question, as words, a table and a plot together.

The modules of `ttsi.reports.questions` make findings; `ttsi.reports.html` and `ttsi.reports.markdown` print them. A
plot is kept as a function that draws it, so that Markdown needs no matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ttsi.reports.groups import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Item = TypeVar("Item")
Column = tuple[str, Callable[[Group], str]]
"""A column of a table with a row per group: its head and its cells."""
MOST_ROWS = 12
"""Points of a curve that its table lists."""


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first column names the row. In a cell of two lines the second is the 95 % interval."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False
    """Columns hold words, not numbers: set them left."""
    folded: bool = False
    """A long table, to be opened on demand."""


@dataclass(frozen=True)
class Plot:
    """A drawing of one pair of axes."""

    name: str
    """Unique in a report; the file's name."""
    draw: Callable[[Axes], None]
    height: float = 3.1
    """Inches."""


@dataclass(frozen=True)
class Finding:
    """A question and what the runs answer."""

    title: str
    reading: str = ""
    """The question, and how to read the answer."""
    table: Table | None = None
    plot: Plot | None = None
    groups: tuple[Group, ...] = ()
    """The groups whose commands are to be printed: those that the answer was read from."""
    missing: str = ""
    """What would have to be run for more; empty where nothing is missing."""


def tabulate(name: str, label: Callable[[Group], str], columns: Iterable[Column], groups: Sequence[Group]) -> Table:
    """A table with a row per group."""
    columns = list(columns)
    head = (name, *(title for title, _ in columns))
    return Table(head, tuple((label(group), *(cell(group) for _, cell in columns)) for group in groups))


def bar_height(bars: int) -> float:
    """Inches for a plot with a horizontal bar per group."""
    return 0.9 + 0.34 * max(bars, 2)


def thin(points: Sequence[Item]) -> list[Item]:
    """At most MOST_ROWS points, evenly spread, with both ends."""
    steps = min(len(points), MOST_ROWS) - 1
    return [points[round(i * (len(points) - 1) / steps)] for i in range(steps + 1)] if steps > 0 else list(points)
