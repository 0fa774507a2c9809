"""What can only be counted over a whole run? Hammer's micro F1, which has no verdict about one row.

Inputs: the rows of a run, and the gold calls of each by the row's key. Outputs: `base.f1_tools`, `adapted.f1_arguments`
and so on, in percent, for `summary.json`; nothing where no row has gold. Not in the paper (arXiv:2510.07841), which
reports a share of rows; here to compare with papers that report F1 (`ttsi.benchmarks.micro_f1`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ttsi.benchmarks import micro_f1
from ttsi.benchmarks.matching import Calls, readable
from ttsi.runs.store import Row


def f1_metrics(
    rows: Sequence[Row], gold: Mapping[tuple[str, int], Calls | None], adapts: bool
) -> dict[str, float | None]:
    """F1 of tools and of arguments, of the base and, where the run adapts, of the adapted answers."""
    graded = [(row, calls) for row in rows if (calls := gold[row.key]) is not None]
    if not graded:
        return {}
    sides = {"base": [micro_f1.count(readable(row.episode.base), calls) for row, calls in graded]}
    if adapts:
        sides["adapted"] = [micro_f1.count(readable(row.episode.adapted), calls) for row, calls in graded]
    return {
        f"{side}.{name}": value
        for side, counts in sides.items()
        for name, value in micro_f1.f1(micro_f1.total(counts)).items()
    }
