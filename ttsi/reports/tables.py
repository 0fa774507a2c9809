"""The summary of a run on a terminal.

Inputs: the dictionary of `summary.json`. Outputs: plain text (`plain`, for pipes and files) or a rich table (`table`,
for terminals), with the same lines: scores with 95 % intervals (Wilson), the gain with its paired interval and p value,
answers fixed and broken, the share of unsure inputs, the cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ttsi import stats
from ttsi.plurals import with_noun
from ttsi.reports.story import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

Summary = Mapping[str, Any]
MOST_VALUES = 5
"""A tag with more values than this is not shown."""


def title(summary: Summary) -> str:
    """One line: what was run."""
    calls = summary.get("calls", "auto")
    demand = "" if calls == "auto" else f", calls {calls}"
    return (
        f"{summary['benchmark']}, {with_noun(summary['n'], 'input')}: {summary['method']} with {summary['model']} "
        f"({summary['decoding']} decoding{demand}, seed {summary['seed']})"
    )


def lines(summary: Summary) -> list[tuple[str, str]]:
    """(what, value) pairs; the same for plain text and rich."""
    facts = [("base", _score(summary, "base"))]
    if summary["adapted"] is not None:
        facts += [("adapted", _score(summary, "adapted")), ("gain", _gain(summary["gain"]))]
    omission = summary.get("omission")  # older summaries lack it
    if omission and omission["fixed"] + omission["broken"]:
        facts.append(("omission", f"{_omission(omission)}: the base with --answer.omit-unstated, untrained"))
    facts += [
        ("unsure", _unsure(summary)),
        ("trained", _training_line(summary)),
        ("seconds", _seconds(summary["seconds"])),
    ]
    tried = summary["metrics"].get("library.tried")  # older summaries lack it
    if tried:
        given = f"{with_noun(summary['metrics']['library.given'], 'input')} with a stored adapter, {tried} tried"
        facts.insert(-1, ("library", f"answered {given}"))
    failed = summary["metrics"]["adaptations.training-failed"]
    if failed:
        why = _why(summary, "given_up")
        facts.append(("given up", f"{with_noun(failed, 'adaptation')}; there the base answered{why}"))
    if summary["n_error"]:
        facts.append(("failed", f"{summary['n_error']} of {with_noun(summary['n'], 'input')}{_why(summary, 'failed')}"))
    return facts


def _why(summary: Summary, what: str) -> str:
    """The most frequent reason."""
    reasons = summary.get("reasons", {}).get(what)
    return f" ({reasons[0]['n']} x {one_line(reasons[0]['reason'], 160)})" if reasons else ""


def plain(summary: Summary) -> str:
    """Text without colour or frames, one fact a line."""
    rows = [f"{name:<9}{value}" for name, value in lines(summary)]
    strata = [f"  {name:<28}{n:>6}{base:>8}{adapted:>9}" for name, n, base, adapted in strata_rows(summary)]
    heading = [f"  {'stratum':<28}{'n':>6}{'base':>8}{'adapted':>9}"] if strata else []
    return "\n".join([title(summary), *rows, *heading, *strata])


def table(summary: Summary) -> RenderableType:
    """The same for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(title=Text(title(summary)), title_justify="left", show_header=False)
    facts.add_column(style="bold")
    facts.add_column()
    for name, value in lines(summary):
        facts.add_row(name, Text(value))
    if not strata_rows(summary):
        return facts
    strata = Table()
    strata.add_column("stratum")
    for column in ("n", "base", "adapted"):
        strata.add_column(column, justify="right")
    for row in strata_rows(summary):
        strata.add_row(*map(Text, row))
    return Group(facts, strata)


def strata_rows(summary: Summary) -> list[tuple[str, str, str, str]]:
    """(stratum, n, base, adapted), the scores in percent; tags with many values are left to summary.json."""
    values = Counter(name.partition("=")[0] for name in summary["strata"])
    return [
        (name, str(part["n"]), _percent(part["base"]), _percent(part["adapted"]))
        for name, part in summary["strata"].items()
        if values[name.partition("=")[0]] <= MOST_VALUES
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _score(summary: Summary, side: str) -> str:
    score, graded = summary[side]["score"], summary["metrics"]["graded"]
    if score is None:
        return "not graded (no gold)"
    interval = stats.wilson(round(score * graded / 100), graded)
    of = "" if graded == summary["n"] else f", {graded} graded"
    return f"{score:.1f} %  (95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f}{of})"


def _gain(gain: Mapping[str, Any] | None) -> str:
    if gain is None:
        return "not graded (no gold)"
    return (
        f"{gain['points']:+.1f} points  (95 % interval {_bounds(gain)}, "
        f"McNemar p = {gain['p_mcnemar']:.2g}); {gain['fixed']} fixed, {gain['broken']} broken"
    )


def _omission(omission: Mapping[str, Any]) -> str:
    changes = f"{omission['fixed']} fixed, {omission['broken']} broken"
    return (
        f"{omission['score']:.1f} %  ({omission['points']:+.1f} points, 95 % interval {_bounds(omission)}; {changes})"
    )


def _bounds(difference: Mapping[str, Any]) -> str:
    return "-" if difference["ci95"] is None else "{:+.1f} to {:+.1f}".format(*difference["ci95"])


def _unsure(summary: Summary) -> str:
    share = 100 * summary["n_unsure"] / summary["n"] if summary["n"] else 0.0
    auroc = summary["awareness"]["auroc"]
    predicts = "" if auroc is None else f"; predicts wrong answers with AUROC {auroc:.2f}"
    tau = float(summary["awareness"]["tau"])
    return f"{share:.1f} %  ({summary['n_unsure']} of {summary['n']}, tau {tau:g}{predicts})"


def _training_line(summary: Summary) -> str:
    kept = summary["metrics"]["examples.kept"]
    written = summary["metrics"]["examples.written"]
    twice = "; one that is learned twice counts twice" if summary["samples_trained"] else ""
    of = "" if kept is None else f"  ({kept:.1f} % of {with_noun(written, 'example')} kept{twice})"
    shift = summary["metrics"].get("adaptations.logprob_shift")  # older summaries lack it
    moved = "" if shift is None else f", which moved the answers' log-probability by {shift:+.3f} nats per token"
    return f"{with_noun(summary['samples_trained'], 'sample')}{of}{moved}"


def _seconds(seconds: Mapping[str, float]) -> str:
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items() if stage != "total")
    return f"{seconds['total']:.1f}  ({stages})"
