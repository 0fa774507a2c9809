"""`ttsi compare`: is one run better than another, and on which inputs?

Inputs: two run folders over the same data and with the same decoding. Outputs: the paired difference with its bootstrap
interval, McNemar's exact p value, and who fixed what; as text or JSON.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ttsi.cli.report import distinct, read_run
from ttsi.cli.settings import Switch
from ttsi.record import RunRow
from ttsi.reports import pairing, words
from ttsi.reports.pairing import Comparison
from ttsi.reports.record import Run, calls, groups
from ttsi.reports.story import one_line
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
        first: a run folder.
        second: another run folder over the same data.
        show: how many of the inputs to list that only one of the two got right.
        json: print everything as JSON, with all of those inputs.
    """
    distinct([first, second])
    one, other = read_run(first), read_run(second)
    found = pairing.compare(one, other)
    if json:
        print(json_module.dumps(as_json(one, other, found), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(one, other, found, show)))
    return 0


def lines(one: Run, other: Run, found: Comparison, show: int) -> Iterator[str]:
    """The comparison as text, one fact a line."""
    gap = found.difference
    bounds = "-" if gap.interval is None else f"{gap.interval.low:+.1f} to {gap.interval.high:+.1f}"
    for group in groups([one]) + groups([other]):
        if warning := words.unfinished(group):
            yield warning
    if differ := pairing.demanded_differently(one, other):
        yield differ
    yield f"first       {described(one)}: {gap.first:.1f} %"
    yield f"second      {described(other)}: {gap.second:.1f} %"
    yield (
        f"difference  {gap.points:+.1f} points  (95 % interval {bounds}, "
        f"McNemar p = {found.p_mcnemar:.2g}, n = {gap.n})"
    )
    if found.only_first or found.only_second:
        yield f"left out    {found.only_first} inputs that only the first has, {found.only_second} only the second"
    yield from _listed("only the second is right", found.fixed, show)
    yield from _listed("only the first is right", found.broken, show)


def described(run: Run) -> str:
    """Which run, in a few words."""
    settings = run.config["settings"]
    loop = settings["loop"]
    demand = "" if calls(run.config) == "auto" else f", calls {calls(run.config)}"
    return (
        f"{run.name} ({settings['method']} with {settings['model']}, {loop['answer']['decoding']}{demand}, "
        f"seed {loop['seed']})"
    )


def _listed(title: str, rows: Sequence[RunRow], show: int) -> Iterator[str]:
    yield f"{title}: {len(rows)}"
    for row in rows[:show]:
        request = last_request(row.question.input) if row.question else ""
        yield f"  {one_line(row.episode.input_id, 24)}  {one_line(request, 90)}".rstrip()
    if len(rows) > show:
        yield f"  and {words.count(len(rows) - show)} more: --show {len(rows)}, or --json"


def as_json(one: Run, other: Run, found: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    gap = found.difference
    return {
        "first": {"name": one.name, "score": gap.first},
        "second": {"name": other.name, "score": gap.second},
        "n": gap.n,
        "points": gap.points,
        "ci95": None if gap.interval is None else [gap.interval.low, gap.interval.high],
        "p_mcnemar": found.p_mcnemar,
        "warning": pairing.demanded_differently(one, other),
        "only_second_right": [row.episode.input_id for row in found.fixed],
        "only_first_right": [row.episode.input_id for row in found.broken],
        "left_out": {"only_in_first": found.only_first, "only_in_second": found.only_second},
    }
