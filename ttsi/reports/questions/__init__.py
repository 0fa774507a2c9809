"""The questions of a report, one module each: its formula, its table, its plot and its words.

Inputs: groups of runs. Outputs: `Finding`s, which `ttsi.reports.html` and `ttsi.reports.markdown` print. A question
that the runs do not answer gives a finding without a table and without a plot. A new one is a new module here, with a
function from groups (or from one group) to a `Finding`, and its name in one of the tuples below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ttsi.reports.finding import Finding
from ttsi.reports.groups import Group, group_by_inputs
from ttsi.reports.phrases import number_of
from ttsi.reports.questions.benchmark_rules import by_rule, failures, omission, omission_of, over_all_calls
from ttsi.reports.questions.changed_answers import changed_answers
from ttsi.reports.questions.confidence_histogram import confidence
from ttsi.reports.questions.costs import cost, costs, stage_costs
from ttsi.reports.questions.filters import examples, filters
from ttsi.reports.questions.gates import gates
from ttsi.reports.questions.leaks import leaks
from ttsi.reports.questions.measure_quality import measures, measures_of, unsure_answers
from ttsi.reports.questions.method_scores import against_each_other, gains, methods, overview
from ttsi.reports.questions.reliability import reliability
from ttsi.reports.questions.risk import risk
from ttsi.reports.questions.samples_and_score import examples_and_score, samples_and_score, training_data
from ttsi.reports.questions.stored_adapters import stored_adapters
from ttsi.reports.questions.thresholds import smaller_tau, thresholds

SIDE_BY_SIDE = (overview, against_each_other, gains, samples_and_score, examples_and_score)
"""All groups beside each other."""
COMPARISONS = (methods, costs, gates, thresholds, measures, filters, training_data)
"""Groups that answered the same inputs with the same model."""
BENCHMARKS = (by_rule, omission, over_all_calls, failures)
"""All groups, with a row per benchmark."""
WITHIN = (
    omission_of, confidence, risk, reliability, smaller_tau, changed_answers, unsure_answers, measures_of, examples,
    stored_adapters, cost, leaks,
)  # fmt: skip
"""One group by itself."""


def side_by_side(groups: Sequence[Group]) -> list[Finding]:
    """What all groups show beside each other."""
    questions = SIDE_BY_SIDE if len(groups) == 1 else (*SIDE_BY_SIDE, stage_costs)
    return [question(groups) for question in questions]


def within(group: Group) -> list[Finding]:
    """What one group shows by itself."""
    return [*(question(group) for question in WITHIN), stage_costs([group])]


def comparisons(groups: Sequence[Group]) -> Iterator[tuple[str, list[Finding]]]:
    """For every set of inputs that was run with more than one setting its name and its findings."""
    for same in group_by_inputs(groups):
        if len(same) > 1:
            data = same[0].first.data
            name = f"{data.benchmark}, {number_of(data.n, 'input')}, {same[0].config.model}"
            yield name, [question(same) for question in COMPARISONS]


def benchmarks(groups: Sequence[Group]) -> list[Finding]:
    """What the reference method shows on every benchmark."""
    return [question(groups) for question in BENCHMARKS]
