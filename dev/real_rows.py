"""Rows of the results on real models: what both answers to each input were worth, small enough to stay in the tree.

Inputs: the rows of run folders, or a compressed CSV file of `docs/results/rows`. Outputs: `ResultRow`s, their scores
with intervals, and the scores that another gate or threshold would have had. Tables are computed from these rows alone,
so that they can be made again, and paired with later runs, without the run folders.

Several seeds are averaged input by input first, and the intervals resample inputs: a bootstrap by cluster, in which an
input is one cluster of seeds. The paper (arXiv:2510.07841) averages five runs and prints no intervals.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ttsi import stats
from ttsi.record import Key, Run, RunRow
from ttsi.reports import pairing
from ttsi.stats import Interval

NOT_ANSWERED_AGAIN = ("none", "training-failed")
"""States of an adaptation in which the base's answer was the only one."""


@dataclass(frozen=True)
class ResultRow:
    """One input under one seed."""

    seed: int
    position: int
    """Place in the benchmark's file, from 0."""
    id: str
    input: str
    """First 16 hex digits of the hash of its content."""
    repeat: int
    """How many inputs with the same content come before it."""
    base: bool | None
    """Was the base's answer right by the benchmark's rule? None without gold."""
    adapted: bool | None
    """The same of the answer given in the end; None where the method adapts nothing."""
    unsure: bool | None
    adaptation: str
    """The state of the adaptation (`ttsi.types.Adaptation`)."""
    value: float | None
    """Of the measure that decides."""
    written: int
    """Examples."""
    kept: int
    seconds: float | None
    """Of all stages; None where points of a sweep shared work."""
    error: bool
    """The input failed; its answers count as wrong."""

    @property
    def key(self) -> Key:
        """What pairs it with the same input in another run."""
        return self.input, self.repeat


STOPPED = 30
"""An input that took so many times the run's median has no time of its own: the process was stopped meanwhile."""


def rows_of(run: Run) -> list[ResultRow]:
    """The rows of a run, in the order of the benchmark's file."""
    spent = [_seconds(row) for row in run.rows]
    longest = STOPPED * statistics.median(spent) if spent and not run.model.get("recalling") else -1.0
    return sorted((_row(run, row, longest) for row in run.rows), key=lambda row: row.position)


def _seconds(row: RunRow) -> float:
    return math.fsum(row.episode.seconds.values())


def _row(run: Run, row: RunRow, longest: float) -> ResultRow:
    episode, rule = row.episode, run.data.matcher
    value = row.measure(run.config.loop.awareness.measure)
    return ResultRow(
        seed=run.seed,
        position=row.position,
        id=episode.input_id,
        input=episode.input_hash[:16],
        repeat=row.repeat,
        base=row.right("base", rule),
        adapted=row.right("adapted", rule) if run.adapts else None,
        unsure=None if episode.awareness is None else row.unsure,
        adaptation=episode.adaptation.status,
        # Rounded here, so that rows read from a file equal those of a run.
        value=None if value is None else float(f"{value:.9g}"),
        written=len(episode.examples),
        kept=sum(example.refused is None for example in episode.examples),
        seconds=round(_seconds(row), 2) if _seconds(row) <= longest else None,
        error=episode.error is not None,
    )


def write_rows(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write a compressed CSV file; equal rows are equal bytes."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(field.name for field in fields(ResultRow))
    for row in rows:
        table.writerow(_text(value) for value in asdict(row).values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def read_rows(path: Path) -> list[ResultRow]:
    """The rows of a file that `write_rows` wrote."""
    lines = csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
    return [ResultRow(**{name: _READ[name](text) for name, text in line.items()}) for line in lines]


def _text(value: Any) -> str:
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def _optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: read(text) if text else None


def _verdict(text: str) -> bool:
    return text == "1"


_READ: dict[str, Callable[[str], Any]] = {
    "seed": int, "position": int, "id": str, "input": str, "repeat": int, "base": _optional(_verdict),
    "adapted": _optional(_verdict), "unsure": _optional(_verdict), "adaptation": str, "value": _optional(float),
    "written": int, "kept": int, "seconds": _optional(float), "error": _verdict,
}  # fmt: skip


Side = Literal["base", "adapted", "final"]


def outcomes(rows: Iterable[ResultRow], side: Side) -> dict[Key, float]:
    """Each graded input's share of seeds in which an answer was right; final is the adapted one, or else the base's."""
    seeds: dict[Key, list[bool]] = {}
    for row in rows:
        verdict = row.base if side == "base" or (side == "final" and row.adapted is None) else row.adapted
        if verdict is not None:
            seeds.setdefault(row.key, []).append(verdict)
    return {key: sum(verdicts) / len(verdicts) for key, verdicts in seeds.items()}


def scores(rows: Sequence[ResultRow]) -> dict[str, Any]:
    """Base, adapted and gain with intervals, in percent and points, under the names of `real.json`.

    `p_mcnemar` is exact; over several seeds it is the sign test of the inputs that are right in more, or in fewer, of
    the seeds than the base.
    """
    base, adapted = outcomes(rows, "base"), outcomes(rows, "adapted")
    made = {"n": len(base), "base": _mean(base.values()), "base_ci95": _share(base.values())}
    if not adapted:
        return {**made, **dict.fromkeys(("adapted", "adapted_ci95", "gain", "fixed", "broken"))}
    gap = pairing.difference(base, adapted)
    better = sum(adapted[key] > base[key] for key in base)
    worse = sum(adapted[key] < base[key] for key in base)
    return {
        **made,
        "adapted": _mean(adapted.values()),
        "adapted_ci95": _share(adapted.values()),
        "gain": {
            "points": round(gap.points, 4),
            "ci95": gap.interval and [round(gap.interval.low, 4), round(gap.interval.high, 4)],
            "p_mcnemar": stats.mcnemar_exact(better, worse),
        },
        "fixed": sum(row.base is False and row.adapted is True for row in rows),
        "broken": sum(row.base is True and row.adapted is False for row in rows),
    }


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return round(100 * math.fsum(numbers) / len(numbers), 4) if numbers else None


def _share(values: Iterable[float]) -> list[float] | None:
    numbers = list(values)
    interval: Interval | None = stats.share(numbers) if numbers else None
    return None if interval is None else [round(100 * interval.low, 4), round(100 * interval.high, 4)]


def pooled(rows_by_benchmark: dict[str, Sequence[ResultRow]]) -> list[ResultRow]:
    """The rows of several benchmarks as those of one: an input counts once in each."""
    return [
        replace(row, input=f"{benchmark} {row.input}") for benchmark, rows in rows_by_benchmark.items() for row in rows
    ]


def replay(rows: Iterable[ResultRow], adapts: Callable[[ResultRow], bool]) -> list[ResultRow]:
    """The rows that a gate would have given, from a run in which every input was adapted.

    An input's adapter depends neither on the gate nor on the threshold, so what the gate leaves out keeps the base's
    answer, and what it lets through has the answer of this run.

    Args:
        rows: of a run with the gate "all".
        adapts: whether the gate lets an input through.
    """
    return [row if adapts(row) else replace(row, adapted=row.base, adaptation="none") for row in rows]


def below(tau: float) -> Callable[[ResultRow], bool]:
    """The gate of a threshold; an input without a value is unsure, as in a run."""
    return lambda row: row.value is None or row.value < tau


def share_answered_again(rows: Sequence[ResultRow]) -> float:
    """Share of inputs that were answered a second time, with an adapter or in another way."""
    return sum(row.adaptation not in NOT_ANSWERED_AGAIN for row in rows) / len(rows)


def seconds_per_input(rows: Sequence[ResultRow]) -> float | None:
    """Mean seconds of an input, of the rows that have their own."""
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return round(math.fsum(seconds) / len(seconds), 3) if seconds else None
