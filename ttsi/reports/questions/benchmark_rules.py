"""Every benchmark by every rule that it has, by micro F1, and by what failed.

Inputs: groups of runs, of which only the reference method is read. Outputs: findings with a row per benchmark and
model.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.record import omission_rule
from ttsi.reports import columns, pairing
from ttsi.reports.finding import Column, Finding, Table, tabulate
from ttsi.reports.groups import Group, outcomes
from ttsi.reports.naming import benchmark_and_model
from ttsi.reports.phrases import count, graded_cell, mean_cell, percent, points_cell, signed_points
from ttsi.reports.reference import references
from ttsi.stats import Z95

RULES = ("strict", "lenient", "official")
"""The rules that a benchmark may be judged by, the headline's beside them where it is another."""
F1_KINDS = ("tools", "arguments")
F1_SIDES = {"base": "base", "adapted": "ttsi", "gain": "gain"}
"""Side of summary.json -> head of its column."""
NAME = "benchmark, model"


def by_rule(groups: Sequence[Group]) -> Finding:
    """Base and adapted answers under each rule."""
    chosen = _adapting_references(groups)
    rows = []
    for group in chosen:
        used = {rule for row in group.rows for rule in row.grades or {}}
        for rule in sorted({*RULES, group.matcher} & used, key=[*RULES, group.matcher].index):
            base, adapted = outcomes(group, "base", rule), outcomes(group, "adapted", rule)
            name = f"{rule} (headline)" if rule == group.matcher else rule
            scores = [mean_cell(list(side.values())) for side in (base, adapted)]
            gain = points_cell(pairing.difference(base, adapted))
            rows.append((benchmark_and_model(group), name, count(len(base)), *scores, gain))
    return Finding(
        "By rule",
        "How good are the model alone and TT-SI, by each rule that a benchmark has? A failed input is wrong.",
        Table((NAME, "rule", "n", "base", "ttsi", "gain, points"), tuple(rows)) if rows else None,
        groups=tuple(chosen),
        missing="" if rows else "Missing: `ttsi run --benchmark NAME` (configs/results/benchmarks.yaml).",
    )


NEEDS_SINGLE_REQUESTS = "Missing: `ttsi run --benchmark NAME` without `--answer.omit-unstated`."
"""An agent's task has no such score: another argument in one call changes all that follows."""


def omission(groups: Sequence[Group]) -> Finding:
    """The base without its unstated optional arguments, beside the base and TT-SI."""
    return _omission(_adapting_references(groups))


def omission_of(group: Group) -> Finding:
    """The same for one group."""
    return _omission([group] if group.adapts else [])


def _omission(groups: Sequence[Group]) -> Finding:
    judged = [group for group in groups if outcomes(group, "base", omission_rule(group.matcher))]
    rows = []
    for group in judged:
        base, adapted = outcomes(group, "base"), outcomes(group, "adapted")
        shorter = outcomes(group, "base", omission_rule(group.matcher))
        scores = [mean_cell(list(side.values())) for side in (base, shorter, adapted)]
        gain = points_cell(pairing.difference(shorter, adapted))
        rows.append((benchmark_and_model(group), count(len(shorter)), *scores, gain))
    agents_alone = bool(groups) and all(group.has_trajectories for group in groups)
    head = (NAME, "n", "base", "base, unstated left out", "ttsi", "ttsi against it, points")
    return Finding(
        "Without training",
        "An adapted model often leaves out optional arguments that nobody asked for. How much of the gain is that? "
        "--answer.omit-unstated does the same to the base's answers without training; read off the same answers.",
        Table(head, tuple(rows)) if rows else None,
        groups=tuple(judged),
        missing="" if rows or agents_alone else NEEDS_SINGLE_REQUESTS,
    )


def _adapting_references(groups: Sequence[Group]) -> list[Group]:
    return [group for group in references(groups) if group.adapts]


def over_all_calls(groups: Sequence[Group]) -> Finding:
    """Micro F1, where any gold has a call; the commands stand under the rules."""
    rows = [
        (
            benchmark_and_model(group),
            name,
            graded_cell(_with_gold(group), len(group.first.rows)),
            *(_f1(group, f"{way}f1_{kind}", side) for kind in F1_KINDS for side in F1_SIDES),
        )
        for group in _adapting_references(groups)
        for way, name in (("", "Hammer"), ("official_", "official"))
        # Where no gold has a call F1 is 0 whatever the answers are.
        if any(group.first.summary["metrics"].get(f"{side}.{way}f1_tools") for side in ("base", "adapted"))
    ]
    head = (NAME, "as", "n", *(f"{kind}, {name}" for kind in F1_KINDS for name in F1_SIDES.values()))
    return Finding(
        "Over all calls",
        "How much of all the calls is right? F1 of tool names and of arguments, counted over the whole file as Hammer "
        "does, or as the benchmark's owners do (official); of the first seed. Both count a right name each time it "
        "occurs, so F1 can pass 100.",
        Table(head, tuple(rows)) if rows else None,
    )


def _with_gold(group: Group) -> int:
    return sum(row.question is not None and row.question.gold is not None for row in group.first.rows)


def _f1(group: Group, name: str, side: str) -> str:
    metrics = group.first.summary["metrics"]
    value, stderr = metrics.get(f"{side}.{name}"), metrics.get(f"{side}.{name}_stderr")
    if value is None:
        return "-"
    text = signed_points if side == "gain" else "{:.1f}".format
    if not stderr:
        return f"{text(value)}\n-"
    low, high = value - Z95 * stderr, value + Z95 * stderr
    return f"{text(value)}\n{text(low if side == 'gain' else max(low, 0.0))} to {text(high)}"


def failures(groups: Sequence[Group]) -> Finding:
    """How many inputs failed and how many were unsure; the commands stand under the rules."""
    chosen = _adapting_references(groups)
    heads: tuple[Column, ...] = (
        columns.N,
        columns.SEEDS,
        ("failed", lambda group: count(_failures(group, ""))),
        ("of these too long", lambda group: count(_failures(group, "prompt:"))),
        ("unsure", lambda group: percent(sum(row.unsure for row in group.rows) / max(len(group.rows), 1))),
        ("answered again", columns.ADAPTED[1]),
        columns.TIME,
    )
    return Finding(
        "Failures",
        "How many inputs could not be answered (a prompt that is too long is never cut), and what did one input take?",
        tabulate(NAME, benchmark_and_model, heads, chosen) if chosen else None,
    )


def _failures(group: Group, reason: str) -> float:
    errors = [row.episode.error for row in group.rows if row.episode.error is not None]
    return sum(error.startswith(reason) for error in errors) / len(group.runs)
