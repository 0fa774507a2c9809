"""Corpus-level metrics: micro F1, which is defined over a whole run and not for one row.

Inputs: the rows of a run, one by one with their texts and gold calls. Outputs, in percent, for `summary.json`:
`base.f1_tools`, `adapted.f1_arguments`, `gain.f1_tools` and so on as Hammer counts, each with its standard error
(`..._stderr`, as lm-eval names it), and where the benchmark's owners count in another way `base.official_f1_tools` and
so on and `base.official_format`; nothing where no row has gold. Only sums are kept: rows need not stay in memory.

The paper (arXiv:2510.07841) reports a share of rows; F1 is here to compare with papers that report it
(`ttsi.benchmarks.micro_f1`).
"""

from __future__ import annotations

from ttsi.benchmarks import micro_f1
from ttsi.benchmarks.matching import Calls, readable
from ttsi.benchmarks.micro_f1 import KINDS, CountingRule
from ttsi.record import RunRow
from ttsi.stats import RatiosOfSums


class CorpusF1:
    """F1 of tools and of arguments, of the base and, where the run adapts, of the adapted answers; grows row by row."""

    def __init__(self, benchmark: str, adapts: bool) -> None:
        official = micro_f1.OFFICIAL.get(benchmark)
        self._ways: dict[str, CountingRule] = {"": micro_f1.count} | ({"official_": official} if official else {})
        self._sides = ("base", "adapted") if adapts else ("base",)
        self._sums = {(way, kind): RatiosOfSums(len(self._sides)) for way in self._ways for kind in KINDS}
        self._readable = dict.fromkeys(self._sides, 0)
        self._n = 0

    def add(self, row: RunRow, gold: Calls | None) -> None:
        """Count one more row; a row without gold counts nothing."""
        if gold is None:
            return
        answers = [readable(row.episode.base if side == "base" else row.episode.adapted) for side in self._sides]
        for way, count in self._ways.items():
            counts = [count(calls, gold) for calls in answers]
            for kind in KINDS:
                self._sums[way, kind].add([micro_f1.ratio(one, kind) for one in counts])
        for side, calls in zip(self._sides, answers, strict=True):
            self._readable[side] += bool(calls)
        self._n += 1

    def metrics(self) -> dict[str, float | None]:
        """The metrics of summary.json, in percent."""
        metrics: dict[str, float | None] = {}
        if not self._n:
            return metrics
        for (way, kind), sums in self._sums.items():
            name = f"{way}f1_{kind}"
            for i, side in enumerate(self._sides):
                metrics[f"{side}.{name}"], metrics[f"{side}.{name}_stderr"] = map(_percent, sums.ratio(i))
            if len(self._sides) > 1:
                metrics[f"gain.{name}"], metrics[f"gain.{name}_stderr"] = map(_percent, sums.difference(0, 1))
        if len(self._ways) > 1:
            # Seal-Tools cannot read an answer without a call.
            metrics |= {f"{side}.official_format": 100 * n / self._n for side, n in self._readable.items()}
        return metrics


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
