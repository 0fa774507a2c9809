"""The table of the controls: one line per file of rows.

Inputs: files that `dev.controls` wrote. Outputs: a Markdown table. Shares and scores are percent of inputs, intervals
are paired bootstraps over inputs (`ttsi.stats`). The last column is a control against the first file, on the inputs
that both have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dev.control_rows import ControlRow, RecordFile
from ttsi.errors import DataError
from ttsi.record import Key
from ttsi.stats import paired_bootstrap

COLUMNS = (
    "control", "model", "benchmark", "n", "base", "adapted", "gain", "fixed", "broken", "changed", "with examples",
    "kept", "near-copies", "loss", "s/input", "against the first",
)  # fmt: skip

Rows = Mapping[Key, ControlRow]


def summary_table(paths: Sequence[Path]) -> str:
    """The table of these files, in their order.

    Raises:
        DataError: a file has no rows.
    """
    files = [_read(path) for path in paths]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(rows, files[0]) for rows in files)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _read(path: Path) -> Rows:
    rows = RecordFile(path, ControlRow).read()
    if not rows:
        raise DataError(f"{path} has no rows: name a file that `python -m dev.controls CONTROL` wrote")
    return rows


def _cells(rows_by_key: Rows, first: Rows) -> tuple[str, ...]:
    rows = list(rows_by_key.values())
    n = len(rows)
    base, adapted = [row.base for row in rows], [row.adapted for row in rows]
    learned = [row for row in rows if row.losses]
    errors = sum(row.error is not None for row in rows)
    return (
        rows[0].control,
        rows[0].model.rstrip("/").rpartition("/")[2],
        rows[0].benchmark,
        str(n) + (f" ({errors} failed)" if errors else ""),
        _percent(sum(base), n),
        _percent(sum(adapted), n),
        _points(base, adapted),
        str(sum(row.adapted and not row.base for row in rows)),
        str(sum(row.base and not row.adapted for row in rows)),
        str(sum(row.changed for row in rows)),
        _percent(sum(row.kept > 0 for row in rows), n),
        _percent(sum(row.kept for row in rows), sum(row.written for row in rows)),
        _percent(sum(row.near for row in rows), sum(row.kept for row in rows)),
        f"{_mean(row.losses[0] for row in learned)} -> {_mean(row.losses[-1] for row in learned)}",
        _mean(math.fsum(row.seconds.values()) for row in rows),
        _against(rows_by_key, first),
    )


def _against(rows: Rows, first: Rows) -> str:
    if rows is first:
        return ""
    shared = [key for key in first if key in rows]
    if not shared:
        return "no shared input"
    return f"{_points([first[key].adapted for key in shared], [rows[key].adapted for key in shared])} (n {len(shared)})"


def _points(before: Sequence[bool], after: Sequence[bool]) -> str:
    """The paired gain in points of percent with its interval, where there is one."""
    interval = paired_bootstrap(before, after)
    gain = f"{100 * (sum(after) - sum(before)) / len(before):+.1f}"
    return f"{gain} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]" if interval else gain


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def _mean(values: Iterable[float]) -> str:
    numbers = list(values)
    return f"{math.fsum(numbers) / len(numbers):.2f}" if numbers else "-"
