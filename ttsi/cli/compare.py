"""`ttsi compare`: the difference between two runs, and the inputs behind it.

Inputs: two run folders over the same data and with the same decoding. Outputs: the paired difference with its bootstrap
interval, McNemar's exact p value, and the inputs that only one of them got right; as text or JSON.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ttsi.cli.settings import Switch
from ttsi.errors import ConfigError
from ttsi.plurals import with_noun
from ttsi.record import Run, RunRow
from ttsi.reports import pairing
from ttsi.reports.groups import Group
from ttsi.reports.naming import unfinished_warning
from ttsi.reports.pairing import Comparison
from ttsi.reports.phrases import count
from ttsi.reports.story import one_line
from ttsi.runs.reading import load_run
from ttsi.types import last_request


def compare(
    first: Annotated[Path, Parameter(help="A run folder.")],
    second: Annotated[Path, Parameter(help="Another run folder over the same data.")],
    /,
    *,
    show: int = 5,
    json: Switch = False,
) -> int:
    """Compare the final answers of two runs, input by input.

    Args:
        first: A run folder.
        second: Another run folder over the same data.
        show: Number of inputs to list that only one of the two runs got right.
        json: Print everything as JSON, with all of these inputs.
    """
    if first.resolve() == second.resolve():
        raise ConfigError(f"{second} is named twice: name each run once")
    one, other = load_run(first), load_run(second)
    comparison = pairing.compare(one, other)
    if json:
        print(json_module.dumps(as_json(one, other, comparison), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(one, other, comparison, show)))
    return 0


def lines(one: Run, other: Run, comparison: Comparison, show: int) -> Iterator[str]:
    """The comparison as text, one fact a line."""
    gap = comparison.difference
    bounds = "-" if gap.interval is None else f"{gap.interval.low:+.1f} to {gap.interval.high:+.1f}"
    for run in (one, other):
        if warning := unfinished_warning(Group("", (run,))):
            yield warning
    if warning := pairing.calls_warning(one, other):
        yield warning
    yield f"first       {description(one)}: {gap.first:.1f} %"
    yield f"second      {description(other)}: {gap.second:.1f} %"
    yield (
        f"difference  {gap.points:+.1f} points  (95 % interval {bounds}, "
        f"McNemar p = {comparison.p_mcnemar:.2g}, n = {gap.n})"
    )
    if comparison.only_first or comparison.only_second:
        first = with_noun(comparison.only_first, "input")
        yield f"left out    {first} that only the first has, {comparison.only_second} only the second"
    yield from _list("only the second is right", comparison.fixed, show)
    yield from _list("only the first is right", comparison.broken, show)


def description(run: Run) -> str:
    """Name, method, model, decoding and seed."""
    config, answer = run.config, run.config.loop.answer
    demand = "" if answer.calls == "auto" else f", calls {answer.calls}"
    return f"{run.name} ({config.method} with {config.model}, {answer.decoding}{demand}, seed {run.seed})"


def _list(title: str, rows: Sequence[RunRow], show: int) -> Iterator[str]:
    yield f"{title}: {len(rows)}"
    for row in rows[:show]:
        request = last_request(row.question.input) if row.question else ""
        yield f"  {one_line(row.episode.input_id, 24)}  {one_line(request, 90)}".rstrip()
    if len(rows) > show:
        yield f"  and {count(len(rows) - show)} more: --show {len(rows)}, or --json"


def as_json(one: Run, other: Run, comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    gap = comparison.difference
    return {
        "first": {"name": one.name, "score": gap.first},
        "second": {"name": other.name, "score": gap.second},
        "n": gap.n,
        "points": gap.points,
        "ci95": None if gap.interval is None else [gap.interval.low, gap.interval.high],
        "p_mcnemar": comparison.p_mcnemar,
        "warning": pairing.calls_warning(one, other),
        "only_second_right": [row.episode.input_id for row in comparison.fixed],
        "only_first_right": [row.episode.input_id for row in comparison.broken],
        "left_out": {"only_in_first": comparison.only_first, "only_in_second": comparison.only_second},
    }
