"""How far is a run, and what does it say so far, without keeping its rows in memory?

Inputs: rows, in any order. Outputs: `Progress` (counts, and the gain so far with its interval), rows without their
texts for the summary (`slim`), and a fingerprint of all results (`Fingerprint`), equal for two runs exactly when they
said the same. Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from ttsi.record import RunRow
from ttsi.runs import codec
from ttsi.stats import Interval, changed_verdicts
from ttsi.types import Answer, Example


@dataclass(frozen=True)
class Progress:
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
    """The run's, by which the interval is drawn."""

    def gain(self) -> tuple[float, Interval | None] | None:
        """The gain so far in points, and its 95 % interval as the summary gives it; None where there is none.

        >>> state = Progress(100, 100, 0, 0, graded=100, base_right=50, adapted_right=60, fixed=15, broken=5)
        >>> points, interval = state.gain()
        >>> points, interval
        (10.0, Interval(low=1.0, high=19.0))
        """
        if not self.graded:
            return None
        found = changed_verdicts(self.fixed, self.broken, self.graded, self.seed)
        interval = found and Interval(100 * found.low, 100 * found.high)
        return 100 * (self.fixed - self.broken) / self.graded, interval


class Tally:
    """Counts that grow row by row."""

    def __init__(self, total: int, matcher: str, seed: int = 0) -> None:
        """Start at zero of `total`; `matcher` is the rule of the headline, `seed` the run's."""
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

    def progress(self) -> Progress:
        """Where it stands."""
        names = ("done", "unsure", "errors", "graded", "base_right", "adapted_right", "fixed", "broken")
        return Progress(total=self._total, seed=self._seed, **{name: self._counts[name] for name in names})


class Fingerprint:
    """SHA-256 over what every row says, in the order given.

    Wall times are left out, since no two runs share them, and so are the questions, which are not what was said.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._digest = hashlib.sha256()

    def add(self, row: RunRow) -> None:
        """Take in the next row."""
        said = replace(row, question=None, episode=replace(row.episode, seconds={}))
        self._digest.update(codec.dumps(said).encode("utf-8", "surrogatepass") + b"\n")

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._digest.hexdigest()


def slim(row: RunRow) -> RunRow:
    """The row without its texts: all that counting needs, in a tenth of the memory."""
    episode = row.episode
    return replace(
        row,
        question=None,
        episode=replace(
            episode,
            base=_silent(episode.base),
            adapted=_silent(episode.adapted),
            awareness=episode.awareness and replace(episode.awareness, candidates=()),
            examples=tuple(map(_wordless, episode.examples)),
            adaptation=replace(episode.adaptation, losses=()),
        ),
    )


def _silent(answer: Answer | None) -> Answer | None:
    return answer and replace(answer, text="", calls=(), samples=())


def _wordless(example: Example) -> Example:
    reason = None if example.refused is None else example.refused.partition(":")[0]
    return _fated(reason, example.tokens, example.dollars, example.attempt_errors)


@lru_cache(maxsize=1 << 14)
def _fated(refused: str | None, tokens: int, dollars: float, faults: tuple[str, ...]) -> Example:
    """One object for all examples with the same fate and the same bill."""
    return Example("", (), "", refused, tokens=tokens, dollars=dollars, attempt_errors=faults)
