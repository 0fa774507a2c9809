"""Grades of an episode: right or wrong, for base and adapted, under every rule.

Inputs: an episode, its gold calls, the settings. Outputs: rule -> verdicts. With the strategy "pass@k" each rule has a
second form, right when any of the k samples is (arXiv:2107.03374 with n = k). It is a rule like any other, with the
same intervals, tests and strata, and it is the headline. Without `answer.omit_unstated` each rule has another form
(`omission_rule`), right when the answer is without its unstated optional arguments: what that setting would give,
which needs no model.

The paper (arXiv:2510.07841, Table 1) reports direct answers, a majority vote and pass@5.
"""

from __future__ import annotations

from ttsi.benchmarks import Benchmark, Judge, Sample
from ttsi.benchmarks.matching import grade
from ttsi.chat.grounding import StatedValues, conversation_text, without_unstated
from ttsi.config import LoopConfig
from ttsi.record import omission_rule
from ttsi.types import Answer, Episode, Trajectory


def headline(benchmark: Benchmark, loop: LoopConfig) -> str:
    """The rule of the run's score."""
    return benchmark.matcher + _suffix(loop)


def grades(sample: Sample, episode: Episode, loop: LoopConfig) -> dict[str, dict[str, bool]] | None:
    """Rule -> {"base": right?, "adapted": right?}; None where the row cannot be graded."""
    if sample.judge is not None:
        return _judge_sides(sample.judge, episode)
    if sample.gold is None and sample.official is None:
        return None
    stated = StatedValues.of(conversation_text(sample.input.messages))
    base, adapted = (_verdicts(answer, sample, stated, loop) for answer in (episode.base, episode.adapted))
    return {rule: {"base": base[rule], "adapted": adapted[rule]} for rule in base}


def _judge_sides(judge: Judge, episode: Episode) -> dict[str, dict[str, bool]]:
    """The verdicts on what was done in an agent's task; all wrong where it failed, though nothing be right to do."""
    nothing, whole = Trajectory(()), episode.error is None
    base, adapted = (judge(episode.trajectories.get(side, nothing)) for side in ("base", "adapted"))
    return {rule: {"base": whole and base[rule], "adapted": whole and adapted[rule]} for rule in base}


def _verdicts(answer: Answer | None, sample: Sample, stated: StatedValues, loop: LoopConfig) -> dict[str, bool]:
    verdicts = grade(answer, sample.gold, sample.official)
    others: dict[str, bool] = {}
    if not loop.answer.omit_unstated:
        shorter = grade(answer and without_unstated(answer, sample.input.tools, stated), sample.gold, sample.official)
        others |= {omission_rule(rule): right for rule, right in shorter.items() if rule != "tool_choice"}
    if suffix := _suffix(loop):
        answers = [] if answer is None else [Answer(one.text, one.calls, one.error) for one in answer.samples]
        each = [grade(one, sample.gold, sample.official) for one in answers]
        others |= {f"{rule}{suffix}": any(one[rule] for one in each) for rule in verdicts}
    return verdicts | others


def _suffix(loop: LoopConfig) -> str:
    return f" pass@{loop.answer.samples}" if loop.answer.strategy == "pass@k" else ""
