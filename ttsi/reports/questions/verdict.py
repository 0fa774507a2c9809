"""The verdict on a group of runs, in sentences for readers who are new to the method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ttsi import stats
from ttsi.methods import ADAPTATION_METHODS, AdaptationMethod
from ttsi.record import Side
from ttsi.reports import pairing
from ttsi.reports.groups import Group, outcomes
from ttsi.reports.naming import title
from ttsi.reports.pairing import Difference
from ttsi.reports.phrases import (
    count,
    difference_interval,
    interval_text,
    listing,
    mean_cell,
    number_of,
    p_value,
    percent,
    points_cell,
    signed_points,
)
from ttsi.stats import Interval

DOUBTFUL = 0.05
"""A p value from which on chance may have done it."""
GATE_WORDS = {
    "unsure": "for these", "sure": "for the others", "all": "for all", "random": "for some drawn at random",
}  # fmt: skip


def tiles(group: Group) -> list[tuple[str, str]]:
    """(name, cell) of the headline."""
    named: list[tuple[str, Side]] = [("base", "base"), ("adapted", "adapted")]
    scores = [(name, list(outcomes(group, side).values())) for name, side in named[: 1 + group.adapts]]
    gain = pairing.gain(group)
    gains = [("gain, points", points_cell(gain))] if gain else []
    return [(name, mean_cell(values)) for name, values in scores if values] + gains


def best_of(groups: Sequence[Group]) -> str:
    """Which of several groups is best, where they answered the same questions in the same way."""
    folders = sum(len(group.runs) for group in groups)
    counted = f"{folders} runs in {len(groups)} settings, {groups[0].letter} to {groups[-1].letter}."
    if not all(pairing.same_questions(groups[0], group) for group in groups[1:]):
        return f"{counted} They answered different inputs or were decoded differently: compare gains, not scores."
    finals = {group.letter: list(pairing.final(group).values()) for group in groups}
    means = {letter: sum(values) / len(values) for letter, values in finals.items() if values}
    if not means:
        return counted
    top = max(means, key=lambda letter: means[letter])
    best = listing([f"{one.letter} ({title(one)})" for one in groups if means.get(one.letter) == means[top]])
    score = f"{percent(means[top])}, 95 % interval {interval_text(stats.share(finals[top]))}"
    return f"{counted} {best} has the best final score: {score}."


def sentences(group: Group) -> str:
    """What happened in one group."""
    return " ".join(_sentences(group))


def _sentences(group: Group) -> Iterator[str]:
    runs, base = len(group.runs), list(outcomes(group, "base").values())
    averaged = f" Numbers are means over {runs} seeds." if runs > 1 else ""
    benchmark, ungraded = group.first.data.benchmark, group.n - group.n_graded
    if not base:
        answered = f"{number_of(group.n, 'input')} of {benchmark}"
        yield f"The model answered {answered}; no right answers are known, so nothing was graded.{averaged}"
    else:
        where = f"{number_of(len(base), 'graded input' if ungraded else 'input')} of {benchmark}"
        others = f"; {number_of(ungraded, 'other is', 'others are')} not graded" if ungraded else ""
        yield f"On {where} the model alone was right {percent(sum(base) / len(base))} of the time{others}.{averaged}"
    if not group.adapts:
        yield "It was only measured and asked: this method adapts nothing."
        return
    yield _adaptation(group)
    adapted = list(outcomes(group, "adapted").values())
    if base and adapted:
        fixed, broken = pairing.count_changes(group.rows, group.matcher)
        over = " over all seeds" if runs > 1 else ""
        changes = f"{number_of(fixed, 'answer was', 'answers were')} fixed and {count(broken)} broken{over}"
        yield f"In the end {percent(sum(adapted) / len(adapted))} were right: {changes}."
        yield _meaning(pairing.gain(group), fixed, broken, runs)


GOT_EXAMPLES = {
    "writer": "wrote {made}",
    "schema": "took {made} made from the tools' schemas",
    "nearest": "took the {made} nearest",
    "random": "took {made} at random",
}
"""Where a run's examples came from, in a sentence."""


def _adaptation(group: Group) -> str:
    runs, rows, loop = len(group.runs), group.rows, group.config.loop
    among = f"all {count(group.n)}" if 0 < group.n_graded < group.n else "them"
    unsure = f"It was unsure about {_none_or_count(sum(row.unsure for row in rows) / runs)} of {among}"
    whom = GATE_WORDS[loop.awareness.gate]
    stored = sum(row.episode.adaptation.status == "library" for row in rows)
    if stored:
        unsure += f", and the library's adapters answered {count(stored / runs)}"
        whom = "for the others"
    attempted = sum(row.has_adaptation for row in rows)
    examples = [example for row in rows for example in row.episode.examples]
    if attempted == stored and not examples:
        return f"{unsure}." if stored else f"{unsure}; no input was adapted."
    kept = sum(example.refused is None for example in examples)
    adaptation = ADAPTATION_METHODS.get(loop.adaptation.method, AdaptationMethod(loop.adaptation.method))
    made = number_of(len(examples) / runs, "similar example")
    got = GOT_EXAMPLES[loop.synthesis.source].format(made=made) if examples else "had no similar examples"
    if adaptation.uses_examples and not kept:
        return f"{unsure}; {whom} it {got}{' and kept none' if examples else ''}, so nothing was learned."
    wrote = f"{got}, kept {_none_or_count(kept / runs)}" if examples else got
    slots = {"whom": whom, "wrote": wrote, "samples": loop.answer.samples, "attempted": count(attempted / runs)}
    return f"{unsure}; {adaptation.summary.format(**slots)}."


def _none_or_count(number: float) -> str:
    return count(number) if number else "none"


def _meaning(gain: Difference | None, fixed: int, broken: int, runs: int) -> str:
    """What a gain, its interval and the exact test mean; several seeds have no exact test."""
    if gain is None:
        return ""
    chance = stats.mcnemar_exact(fixed, broken) if runs == 1 else 0.0
    interval = gain.interval
    bounds = [f"95 % interval {difference_interval(gain)}"] if interval else []
    doubts = ", ".join([*bounds, *([p_value(chance)] if runs == 1 else [])])
    points = f"{signed_points(gain.points)} points{f' ({doubts})' if doubts else ''}"
    if interval is None and (runs > 1 or chance >= DOUBTFUL):
        why = _why_no_interval(gain, fixed + broken)
        return f"That is {points}: {why}, so this does not show that adapting helps or harms."
    if interval is None:
        interval = Interval(gain.points, gain.points)  # the exact test decides alone
    if chance >= DOUBTFUL and (interval.low > 0 or interval.high < 0):
        return f"That is {points}: the interval excludes zero and the exact test does not, so take it for a hint."
    if interval.low > 0:
        return f"That is a gain of {points}: more than chance among the inputs explains."
    if interval.high < 0:
        return f"That is a loss of {points}: adapting did harm here."
    return f"That is {points}: the interval includes zero, so this does not show that adapting helps or harms."


def _why_no_interval(gain: Difference, changed: int) -> str:
    if not changed:
        return "no verdict changed"
    return "there is only one input" if gain.n == 1 else "all inputs changed alike"
