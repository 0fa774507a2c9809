"""Running counts of a run, which keep no rows in memory.

Inputs: rows, in any order. Outputs: `RunProgress` (counts, and the gain so far with its interval), rows without their
texts for the summary (`strip_text`), and a fingerprint of all results (`Fingerprint`), equal for two runs exactly when
their results are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from ttsi import codec
from ttsi.record import RunRow
from ttsi.stats import Interval, changed_verdicts
from ttsi.types import Answer, Example


@dataclass(frozen=True)
class RunProgress:
    """How far a run is; counts over all rows written so far, also those of an earlier sitting."""

    done: int
    total: int
    unsure: int
    errors: int
    graded: int
    base_right: int
    adapted_right: int
    fixed: int = 0
    """Wrong before and right after adaptation."""
    broken: int = 0
    seed: int = 0
    """Seed of the run, for the interval's bootstrap."""

    def gain(self) -> tuple[float, Interval | None] | None:
        """The gain so far in points, and its 95 % interval as the summary gives it; None where there is none.

        >>> state = RunProgress(100, 100, 0, 0, graded=100, base_right=50, adapted_right=60, fixed=15, broken=5)
        >>> points, interval = state.gain()
        >>> points, interval
        (10.0, Interval(low=1.0, high=19.0))
        """
        if not self.graded:
            return None
        share = changed_verdicts(self.fixed, self.broken, self.graded, self.seed)
        interval = share and Interval(100 * share.low, 100 * share.high)
        return 100 * (self.fixed - self.broken) / self.graded, interval


class Tally:
    """Counts that grow row by row: so many of `total`, graded by the headline's rule `matcher`."""

    def __init__(self, total: int, matcher: str, seed: int = 0) -> None:
        self._total, self._matcher, self._seed = total, matcher, seed
        self._counts: Counter[str] = Counter()

    def add(self, row: RunRow) -> None:
        """Count one more row."""
        counts, awareness = self._counts, row.episode.awareness
        counts["done"] += 1
        counts["unsure"] += awareness is not None and awareness.unsure
        counts["errors"] += row.episode.error is not None
        if row.grades is not None:
            base, adapted = row.grades[self._matcher]["base"], row.grades[self._matcher]["adapted"]
            counts["graded"] += 1
            counts["base_right"] += base
            counts["adapted_right"] += adapted
            counts["fixed"] += adapted and not base
            counts["broken"] += base and not adapted

    def progress(self) -> RunProgress:
        """The counts so far."""
        names = ("done", "unsure", "errors", "graded", "base_right", "adapted_right", "fixed", "broken")
        return RunProgress(total=self._total, seed=self._seed, **{name: self._counts[name] for name in names})


class Fingerprint:
    """SHA-256 over every row, in the order given, without wall times (no two runs share them) and without questions."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, row: RunRow) -> None:
        """Take in the next row."""
        result = replace(row, question=None, episode=replace(row.episode, seconds={}))
        self._digest.update(codec.dumps(result).encode("utf-8", "surrogatepass") + b"\n")

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._digest.hexdigest()


def strip_text(row: RunRow) -> RunRow:
    """The row without its texts: everything that counting needs, in a tenth of the memory."""
    episode = row.episode
    return replace(
        row,
        question=None,
        episode=replace(
            episode,
            base=_strip_answer(episode.base),
            adapted=_strip_answer(episode.adapted),
            awareness=episode.awareness and replace(episode.awareness, candidates=()),
            examples=tuple(map(_strip_example, episode.examples)),
            adaptation=replace(episode.adaptation, losses=()),
        ),
    )


def _strip_answer(answer: Answer | None) -> Answer | None:
    return answer and replace(answer, text="", calls=(), samples=())


def _strip_example(example: Example) -> Example:
    reason = None if example.refused is None else example.refused.partition(":")[0]
    return _interned_example(reason, example.tokens, example.dollars, example.attempt_errors)


@lru_cache(maxsize=1 << 14)
def _interned_example(refused: str | None, tokens: int, dollars: float, errors: tuple[str, ...]) -> Example:
    """One object for all examples that count the same."""
    return Example("", (), "", refused, tokens=tokens, dollars=dollars, attempt_errors=errors)
