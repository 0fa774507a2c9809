"""What can only be counted over a whole run? Hammer's micro F1, which has no verdict about one row.

Inputs: the rows of a run, one by one with their texts, and the gold calls of each by the row's key. Outputs:
`base.f1_tools`, `adapted.f1_arguments` and so on, in percent, for `summary.json`; nothing where no row has gold. Only
sums are kept, so that rows need not stay in memory. Not in the paper (arXiv:2510.07841), which reports a share of rows;
here to compare with papers that report F1 (`ttsi.benchmarks.micro_f1`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ttsi.benchmarks import micro_f1
from ttsi.benchmarks.matching import Calls, readable
from ttsi.benchmarks.micro_f1 import Counts
from ttsi.runs.database import Key, Row


class WholeF1:
    """F1 of tools and of arguments, of the base and, where the run adapts, of the adapted answers; grows row by row."""

    def __init__(self, gold: Mapping[Key, Calls | None], adapts: bool) -> None:
        """Start with nothing."""
        self._gold = gold
        self._counts: dict[str, Counts | None] = dict.fromkeys(("base", "adapted") if adapts else ("base",))

    def add(self, row: Row) -> None:
        """Count one more row."""
        gold = self._gold.get(row.key)
        if gold is None:
            return
        for side, before in self._counts.items():
            answer = row.episode.base if side == "base" else row.episode.adapted
            self._counts[side] = micro_f1.total([before or Counts(), micro_f1.count(readable(answer), gold)])

    def metrics(self) -> dict[str, float | None]:
        """What summary.json says of it."""
        return {
            f"{side}.{name}": value
            for side, counts in self._counts.items()
            if counts is not None
            for name, value in micro_f1.f1(counts).items()
        }
