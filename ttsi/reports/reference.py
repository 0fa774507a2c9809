"""The reference method, and which groups are variants of it.

Inputs: groups of runs. Outputs: for each group the reference that it may be compared with, and whether it differs from
that reference in a few settings only: its gate, its filters of examples. Those have a question of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.methods import METHODS
from ttsi.reports import pairing
from ttsi.reports.groups import Group, model_of
from ttsi.reports.naming import surroundings, variations

REFERENCE = "ttsi"
"""The method that the others are compared with, and whose gates, filters and thresholds are studied."""
FITTED = frozenset({"awareness.tau"})
"""What every model needs a value of its own for: a run that changes nothing else is the method as it is."""
GATES = frozenset({"awareness.gate", "awareness.share"})
FILTERS = frozenset(
    f"synthesis.{name}" for name in ("grounded", "unambiguous", "seed_overlap", "overlap", "round_trip", "drop_worst")
)


def reference(group: Group, groups: Sequence[Group]) -> Group | None:
    """The reference that answered the same inputs with the same model and decoding.

    The one with fewest changes of the agent's settings and no library goes first, then its own tau before another.
    """
    usable = [one for one in groups if one.config.method == REFERENCE and variations(one).keys() <= FITTED]
    same = [one for one in usable if model_of(one) == model_of(group) and pairing.same_questions(one, group)]
    return min(same, key=lambda one: (len(surroundings(one)), len(variations(one))), default=None)


def references(groups: Sequence[Group]) -> list[Group]:
    """The groups that are the reference of themselves and others."""
    return [one for one in groups if reference(one, groups) is one]


def is_variant(group: Group, only: frozenset[str], groups: Sequence[Group]) -> bool:
    """Whether this is the reference method with nothing else changed than (some of) these settings."""
    usual, mine = reference(group, groups), {**variations(group), **surroundings(group)}
    theirs = surroundings(group) if usual is None else {**variations(usual), **surroundings(usual)}
    differing = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
    return group.config.method == REFERENCE and bool(differing) and differing <= only


def with_same_questions(others: Sequence[Group], groups: Sequence[Group]) -> list[Group]:
    """The groups that answered what one of the others answered, in the same way."""
    return [one for one in groups if any(pairing.same_questions(one, other) for other in others)]


def methods_of(groups: Sequence[Group]) -> list[Group]:
    """The groups that are methods of their own, in the presets' order; variants have a question of their own."""
    chosen = [
        one
        for one in groups
        if not any(is_variant(one, settings, groups) for settings in (GATES, FILTERS)) and not _has_fewer_rows(one)
    ]
    order = {name: place for place, name in enumerate(METHODS)}
    return sorted(chosen, key=lambda one: order.get(one.config.method, len(order)))


def _has_fewer_rows(group: Group) -> bool:
    return group.config.method == "sft" and group.config.train_limit is not None and not variations(group)
