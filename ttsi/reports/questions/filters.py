"""Filters of the written examples: their effect on the score, and what they refused.

The effect of a filter is read off runs of the reference method that differ from its preset in the filters only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ttsi.record import Key
from ttsi.reports import columns
from ttsi.reports.finding import Finding, Table, tabulate
from ttsi.reports.groups import Group
from ttsi.reports.naming import label
from ttsi.reports.phrases import count, interval_text, percent
from ttsi.reports.reference import FILTERS, is_variant, references, with_same_questions
from ttsi.stats import Z95, Interval, RatiosOfSums

KEPT = "kept"


def filters(groups: Sequence[Group]) -> Finding:
    """The gain with and without each filter."""
    title = "Filters of the examples"
    varied = [one for one in groups if is_variant(one, FILTERS, groups)]
    if not varied:
        return Finding(title, missing="Missing: runs that differ in one filter (configs/results/checks.yaml).")
    used = [*with_same_questions(varied, references(groups)), *varied]
    kept = ("examples kept", _share_kept)
    heads = (columns.GRADED, columns.SEEDS, kept, columns.GAIN, columns.against_reference(groups))
    return Finding(
        title,
        "What does each filter of the written examples do to the gain?",
        tabulate("filters", label, heads, used),
        groups=tuple(used),
    )


def _share_kept(group: Group) -> str:
    return _share(_fates(group), KEPT)


def examples(group: Group) -> Finding:
    """How many examples were kept, and why the others were refused."""
    outcomes = _fates(group)
    total = sum(outcomes.values(), Counter())
    ordered = [KEPT, *(outcome for outcome, _ in total.most_common() if outcome != KEPT)]
    rows = tuple((outcome, count(total[outcome]), _share(outcomes, outcome)) for outcome in ordered)
    return Finding("The written examples", "", Table(("", "examples", "share"), rows) if total else None)


def _fates(group: Group) -> dict[Key, Counter[str]]:
    """For each input how many of its examples, over all seeds, were kept or refused for which reason."""
    outcomes: dict[Key, Counter[str]] = {}
    for row in group.rows:
        counts = outcomes.setdefault(row.key, Counter())
        counts.update(KEPT if one.refused is None else _refusal(one.refused) for one in row.episode.examples)
    return outcomes


def _refusal(reason: str) -> str:
    return f"refused: {reason.partition(':')[0]}"


def _share(outcomes: dict[Key, Counter[str]], outcome: str) -> str:
    """The share of the examples; examples of one input are not independent, so the interval is over inputs."""
    sums = RatiosOfSums(1)
    for counts in outcomes.values():
        sums.add([(counts[outcome], counts.total())])
    share, stderr = sums.ratio(0)
    if share is None:
        return "-"
    if not stderr:
        return f"{percent(share)}\n-"
    interval = Interval(max(share - Z95 * stderr, 0.0), min(share + Z95 * stderr, 1.0))
    return f"{percent(share)}\n{interval_text(interval)}"
