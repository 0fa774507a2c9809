"""When does an answer count as right?

Inputs: an episode, its gold calls, the settings. Outputs: right or wrong for base and adapted, under every rule. With
the strategy "pass@k" each rule has a second form, right when any of the k samples is (arXiv:2107.03374 with n = k); it
is a rule like any other, so that intervals, tests and strata are those of any score, and it is the headline.

The paper (arXiv:2510.07841, Table 1) reports direct answers, a majority vote and pass@5.
"""

from __future__ import annotations

from ttsi.benchmarks import Benchmark, Sample
from ttsi.benchmarks.matching import grade
from ttsi.config import LoopConfig
from ttsi.types import Answer, Episode


def headline(benchmark: Benchmark, loop: LoopConfig) -> str:
    """The rule of the run's score."""
    return benchmark.matcher + _suffix(loop)


def grades(sample: Sample, episode: Episode, loop: LoopConfig) -> dict[str, dict[str, bool]] | None:
    """Rule -> {"base": right?, "adapted": right?}; None where nobody knows."""
    if sample.gold is None and sample.official is None:
        return None
    base, adapted = _verdicts(episode.base, sample, loop), _verdicts(episode.adapted, sample, loop)
    return {rule: {"base": base[rule], "adapted": adapted[rule]} for rule in base}


def _verdicts(answer: Answer | None, sample: Sample, loop: LoopConfig) -> dict[str, bool]:
    found = grade(answer, sample.gold, sample.official)
    suffix = _suffix(loop)
    if not suffix:
        return found
    draws = [] if answer is None else answer.samples
    each = [grade(Answer(draw.text, draw.calls, draw.error), sample.gold, sample.official) for draw in draws]
    return {**found, **{f"{rule}{suffix}": any(verdict[rule] for verdict in each) for rule in found}}


def _suffix(loop: LoopConfig) -> str:
    return f" pass@{loop.answer.samples}" if loop.answer.strategy == "pass@k" else ""
