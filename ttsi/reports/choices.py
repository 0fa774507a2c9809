"""Which inputs should be adapted, below which tau, and which written examples are good enough to learn from?

Inputs: groups of runs over the same inputs (seeds pooled). Outputs: a `Finding` each for gates, thresholds and checks,
read off runs of the reference method that differ from its preset in nothing else.

The paper (arXiv:2510.07841) has gates in its Figure 4 and thresholds in its Table 2, without intervals. One run that
adapts every input holds the score at every tau, since no input's adapter touches another input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ttsi.reports import pairing
from ttsi.reports.experiments import (
    CHECKS,
    GATES,
    REFERENCE,
    Finding,
    adapted_share,
    against_in_points,
    beside,
    points,
    reference,
    references,
    varies,
)
from ttsi.reports.naming import label, with_decoding
from ttsi.reports.record import Group, measured, outcomes
from ttsi.reports.sections import Table
from ttsi.reports.words import count, listing, percent, signed

ORDER = ("unsure", "sure", "all", "random")
"""The gates, as they stand in the table."""
NEEDS_ALL = f"Missing: `ttsi run --method {REFERENCE} --awareness.gate=all`."


def gates(found: Sequence[Group]) -> Finding:
    """Which inputs should be adapted?"""
    title = "Gates"
    varied = [one for one in found if varies(one, GATES, found)]
    used = sorted(
        beside([one for one in found if _gated(one, found)], varied), key=lambda one: ORDER.index(_named(one))
    )
    if not used:
        return Finding(title, None, (), NEEDS_ALL)
    head = (
        "gate",
        "seeds",
        "inputs adapted",
        "gain, points",
        "against all, points",
        "share of all's gain",
        "share of all's updates",
    )
    absent = [name for name in ORDER if name not in map(_named, used)]
    missing = f"Not run: {listing(absent)}." if absent else ""
    return Finding(title, Table(head, tuple(_gate_row(one, found) for one in used)), tuple(used), missing)


def _gate_row(group: Group, found: Sequence[Group]) -> tuple[str, ...]:
    every = next((one for one in _with_gate(found, "all") if pairing.same_questions(one, group)), None)
    # A share of a gain compares the seeds that both have.
    both = _common_seeds(group, every) if every else None
    mine, whole = (pairing.gain(both[0]), pairing.gain(both[1])) if both else (None, None)
    updates = adapted_share(every) if every else 0.0
    return (
        _gate(group),
        count(len(group.runs)),
        percent(adapted_share(group)),
        points(pairing.gain(group)),
        "-" if both is None or every is group else against_in_points(both[1], both[0]),
        # Nothing can be kept of a gain that is none.
        percent(mine.points / whole.points if mine and whole and whole.points > 0 else None),
        percent(adapted_share(group) / updates if updates else None),
    )


def _common_seeds(one: Group, other: Group) -> tuple[Group, Group] | None:
    """Both with the runs of the seeds that both have; None where they have none in common."""
    seeds = [{run.config["settings"]["loop"]["seed"]: run for run in group.runs} for group in (one, other)]
    common = sorted(seeds[0].keys() & seeds[1].keys())
    first, second = (
        Group(g.letter, tuple(s[seed] for seed in common)) for g, s in zip((one, other), seeds, strict=True)
    )
    return (first, second) if common else None


def _named(group: Group) -> str:
    return str(group.config["settings"]["loop"]["awareness"]["gate"])


def _gated(group: Group, found: Sequence[Group]) -> bool:
    return reference(group, found) is group or varies(group, GATES, found)


def _gate(group: Group) -> str:
    known = group.config["settings"]["loop"]["awareness"]
    drawn = f", {percent(known['share'])} of them" if known["gate"] == "random" else ""
    return with_decoding(f"{known['gate']}{drawn}", group)


def _with_gate(found: Sequence[Group], gate: str) -> list[Group]:
    return [one for one in found if varies(one, GATES, found) and _named(one) == gate]


def thresholds(found: Sequence[Group]) -> Finding:
    """What would each tau have done?"""
    title = "Thresholds"
    chosen = [group for group in _with_gate(found, "all") if outcomes(group, "base")]
    rows = [row for group in chosen for row in _curve(group)]
    if not rows:
        return Finding(title, None, (), NEEDS_ALL)
    head = ("tau", "inputs adapted", "in the end", "gain, points", "drawn at random, points")
    return Finding(title, Table(head, tuple(rows)), tuple(chosen))


def _curve(group: Group) -> list[tuple[str, ...]]:
    base, adapted = outcomes(group, "base"), outcomes(group, "adapted")
    # How sure the model is does not depend on the seed.
    known = [(row.key, measured(row, group.measure)) for row in group.runs[0].rows]
    values = {key: value for key, value in known if value is not None and key in base}
    ranked = sorted(values.values())
    if not ranked:
        return []
    whole = pairing.difference(base, adapted).points
    rows: list[tuple[str, ...]] = []
    for tenth in range(1, 11):
        place = round(tenth / 10 * len(ranked))
        tau = ranked[place] if place < len(ranked) else math.inf
        below = {key for key, value in values.items() if value < tau}
        gap = pairing.difference(base, {key: adapted[key] if key in below else base[key] for key in base})
        share = len(below) / len(base)
        name = with_decoding(f"{group.measure} {tau:.3f}", group)
        rows.append((name, percent(share), percent(gap.second / 100), points(gap), signed(share * whole)))
    return rows


def checks(found: Sequence[Group]) -> Finding:
    """Which checks of written examples help?"""
    title = "Checks of the examples"
    varied = [one for one in found if varies(one, CHECKS, found)]
    used = [*beside(references(found), varied), *varied]
    if not varied:
        return Finding(title, None, (), "Missing: runs that differ in one check (configs/results/checks.yaml).")
    head = ("checks", "seeds", "examples kept", "gain, points", f"against {REFERENCE}, points")
    return Finding(title, Table(head, tuple(_check_row(one, found) for one in used)), tuple(used))


def _check_row(group: Group, found: Sequence[Group]) -> tuple[str, ...]:
    usual = reference(group, found)
    return (
        label(group),
        count(len(group.runs)),
        _kept(group),
        points(pairing.gain(group)),
        "-" if usual is None or usual is group else against_in_points(usual, group),
    )


def _kept(group: Group) -> str:
    written = [example for row in group.rows for example in row.episode.examples]
    return percent(sum(example.refused is None for example in written) / len(written)) if written else "-"
