"""Gates: scores by which inputs are adapted.

Read off runs of the reference method that differ from its preset in the gate only. Counterpart: Figure 4 of the paper
(arXiv:2510.07841), without intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.reports import columns, pairing
from ttsi.reports.finding import Column, Finding, tabulate
from ttsi.reports.groups import Group
from ttsi.reports.naming import add_decoding
from ttsi.reports.phrases import listing, percent, points_cell
from ttsi.reports.reference import GATES, REFERENCE, is_variant, reference, with_same_questions

ORDER = ("unsure", "sure", "all", "random")
"""The gates, as they stand in the table."""
NEEDS_ALL = f"Missing: `ttsi run --method {REFERENCE} --awareness.gate=all`."


def gates(groups: Sequence[Group]) -> Finding:
    """The gain of each gate, and its share of the gain and of the updates of adapting every input."""
    varied = [one for one in groups if is_variant(one, GATES, groups)]
    candidates = [one for one in groups if reference(one, groups) is one or one in varied]
    used = sorted(with_same_questions(varied, candidates), key=lambda one: ORDER.index(_gate(one)))
    absent = [name for name in ORDER if name not in map(_gate, used)]
    heads = (
        columns.GRADED,
        columns.SEEDS,
        columns.ADAPTED,
        columns.GAIN,
        *_against_all(groups_with_gate(groups, "all")),
    )
    return Finding(
        "Gates",
        "Which inputs should be adapted: those that the model is unsure about, the others, all, or some drawn at "
        "random?",
        tabulate("gate", _name, heads, used) if used else None,
        groups=tuple(used),
        missing=NEEDS_ALL if not used else f"Not run: {listing(absent)}." if absent else "",
    )


def groups_with_gate(groups: Sequence[Group], gate: str) -> list[Group]:
    """The variants of the reference with this gate."""
    return [one for one in groups if is_variant(one, GATES, groups) and _gate(one) == gate]


def _gate(group: Group) -> str:
    return group.config.loop.awareness.gate


def _name(group: Group) -> str:
    awareness = group.config.loop.awareness
    share = f", {percent(awareness.share)} of them" if awareness.gate == "random" else ""
    return add_decoding(f"{awareness.gate}{share}", group)


def _against_all(every: Sequence[Group]) -> tuple[Column, ...]:
    """Columns that compare a gate with adapting every input of the same questions."""

    def adapting_all(group: Group) -> Group | None:
        return next((candidate for candidate in every if pairing.same_questions(candidate, group)), None)

    def difference(group: Group) -> str:
        reference = adapting_all(group)
        pair = reference and reference is not group and _common_seeds(group, reference)
        return points_cell(pairing.final_difference(pair[1], pair[0])) if pair else "-"

    def gain_share(group: Group) -> str:
        reference = adapting_all(group)
        pair = reference and _common_seeds(group, reference)
        gain, gain_of_all = map(pairing.gain, pair) if pair else (None, None)
        # Nothing can be kept of a gain that is none.
        return percent(gain.points / gain_of_all.points if gain and gain_of_all and gain_of_all.points > 0 else None)

    def update_share(group: Group) -> str:
        reference = adapting_all(group)
        updates = columns.adapted_share(reference) if reference else 0.0
        return percent(columns.adapted_share(group) / updates if updates else None)

    return (
        ("against all, points", difference),
        ("share of all's gain", gain_share),
        ("share of all's updates", update_share),
    )


def _common_seeds(left: Group, right: Group) -> tuple[Group, Group] | None:
    """Both with the runs of the seeds that both have; None where they have none in common."""
    left_runs, right_runs = ({run.seed: run for run in group.runs} for group in (left, right))
    common = sorted(left_runs.keys() & right_runs.keys())
    if not common:
        return None
    first, second = (tuple(runs[seed] for seed in common) for runs in (left_runs, right_runs))
    return Group(left.letter, first), Group(right.letter, second)
