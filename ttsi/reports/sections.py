"""What do the tables of a report hold?

Inputs: groups of runs. Outputs: tables of texts, one function each: results, paired differences, who was flagged, how
well each measure foretells an error, what became of the examples, strata, closeness to the gold, cost, settings.

Where several seeds are pooled, what does not depend on the seed (awareness, the base's answers) is taken from the first
run; outcomes are averaged input by input, so that an interval counts no input several times. The paper
(arXiv:2510.07841) prints means without intervals.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttsi import stats
from ttsi.record import Key, RunRow
from ttsi.reports import curves, leaks, pairing
from ttsi.reports.naming import title
from ttsi.reports.record import STAGES, Group, Run, flat, measured, outcomes, right
from ttsi.reports.words import (
    between,
    between_points,
    count,
    listing,
    percent,
    score,
    seconds,
    seeds,
    share_of,
    signed,
)

FEW = 8
"""A tag with more values is folded away."""
PRIVATE = ("machine.source", "settings.data_dir")
"""Paths of the machine that a report, which is passed on, does not show."""


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first column names the row. In a cell of two lines the second is the 95 % interval."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False
    """Columns hold words, not numbers: set them left."""


def results(found: Sequence[Group]) -> Table:
    """One row per group."""
    head = (
        "",
        "run",
        "n",
        "model alone",
        "improved",
        "gain, points",
        "fixed / broken",
        "samples learned",
        "time per input",
    )
    return Table(head, tuple(_result(group) for group in found))


def _result(group: Group) -> tuple[str, ...]:
    runs = len(group.runs)
    fixed, broken, _, _ = pairing.changes(group.rows, group.matcher)
    gain = pairing.gain(group)
    timed = sum(len(run.rows) for run in group.timed)
    spent = sum(run.summary["seconds"]["total"] for run in group.timed)
    return (
        group.letter,
        f"{title(group)}, {seeds(group)}",
        count(len({row.key for row in group.rows})),
        _score(group, "base"),
        _score(group, "adapted") if group.adapts else "-",
        f"{signed(gain.points)}\n{between_points(gain)}" if gain else "-",
        f"{fixed} / {broken}" if gain else "-",
        count(sum(run.summary["samples_trained"] for run in group.runs) / runs),
        seconds(spent / timed) if timed else "-",
    )


def _score(group: Group, side: Any) -> str:
    found = score(group, side)
    return f"{percent(found[0])}\n{between(found[1])}" if found else "not graded"


def versus(found: Sequence[Group]) -> Table | None:
    """Each group against the first that answered the same data in the same way; the model alone comes first."""
    rows = []
    ordered = sorted(found, key=lambda group: group.adapts)
    for place, group in enumerate(ordered):
        first = next(
            (
                other
                for other in ordered[:place]
                if pairing.unlike(other.runs[0], group.runs[0]) is None and pairing.final(other)
            ),
            None,
        )
        mine = pairing.final(group)
        if first is not None and pairing.final(first).keys() & mine.keys():
            gap = pairing.difference(pairing.final(first), mine)
            rows.append(
                (
                    f"{group.letter} against {first.letter}",
                    count(gap.n),
                    percent(gap.first / 100),
                    percent(gap.second / 100),
                    f"{signed(gap.points)}\n{between_points(gap)}",
                )
            )
    return Table(("", "shared inputs", "first", "second", "difference, points"), tuple(rows)) if rows else None


TOUCHED = ("trained", "in-context", "kept-base", "shared", "resampled")
"""Adaptations after which an input was answered a second time."""


def outcome(group: Group) -> Table | None:
    """What adapting did to right and to wrong answers; None where nothing was adapted or graded."""
    touched = [row for row in group.rows if row.episode.adaptation.status in TOUCHED]
    every, adapted = (_rates(rows, group.matcher) for rows in (group.rows, touched))
    if not group.adapts or not any(map(len, every)):
        return None
    names = ("wrong answers fixed", "right answers broken (harm rate)")
    rows = tuple((name, _rate(all_), _rate(some)) for name, all_, some in zip(names, every, adapted, strict=True))
    return Table(("", "of all inputs", "of the adapted ones"), rows)


def _rates(rows: Sequence[RunRow], matcher: str) -> tuple[list[float], list[float]]:
    """Per input the share of its seeds that fixed it (of inputs that were wrong), and that broke it (of right ones)."""
    found: tuple[dict[Key, list[bool]], dict[Key, list[bool]]] = ({}, {})
    for row in rows:
        before, after = right(row, "base", matcher), right(row, "adapted", matcher)
        if before is not None:
            found[int(before)].setdefault(row.key, []).append(after is not before)
    wrong, good = ([sum(changed) / len(changed) for changed in one.values()] for one in found)
    return wrong, good


def _rate(values: Sequence[float]) -> str:
    return f"{count(sum(values))} of {count(len(values))}: {_mean(values)}" if values else f"0 of 0: {share_of(0, 0)}"


def flagged(run: Run, matcher: str) -> Table | None:
    """How well the threshold separates: shares of wrong and right base answers that were called unsure."""
    known = [(row, right(row, "base", matcher)) for row in run.rows if row.episode.awareness is not None]
    wrong = [row.episode.awareness for row, ok in known if ok is False]
    good = [row.episode.awareness for row, ok in known if ok is True]
    if not wrong and not good:
        return None
    caught, false = (sum(bool(one and one.unsure) for one in part) for part in (wrong, good))
    return Table(
        ("", "unsure", "share"),
        (
            ("wrong answers (caught)", f"{caught} of {len(wrong)}", share_of(caught, len(wrong))),
            ("right answers (false alarms)", f"{false} of {len(good)}", share_of(false, len(good))),
        ),
    )


def measures(run: Run, matcher: str, deciding: str) -> Table | None:
    """How well each measure foretells that the base is wrong: AUROC, risk over all coverages, errors caught."""
    names = sorted({name for row in run.rows if row.episode.awareness for name in row.episode.awareness.measures})
    unsure = [row.episode.awareness.unsure for row in run.rows if row.episode.awareness]
    rows = []
    for name in names:
        pairs = [
            (value, ok)
            for row in run.rows
            if (ok := right(row, "base", matcher)) is not None and (value := measured(row, name)) is not None
        ]
        doubts, wrong = [-value for value, _ in pairs], [not ok for _, ok in pairs]
        area = stats.auroc(doubts, wrong)
        if area is not None:
            interval = stats.auroc_interval(doubts, wrong)
            said = f"\n{interval.low:.2f} to {interval.high:.2f}" if interval else ""
            risk = curves.area(curves.risk_coverage([value for value, _ in pairs], [ok for _, ok in pairs]))
            shown = f"{name}{' (decides)' if name == deciding else ''}"
            caught = _caught(pairs, sum(unsure) / len(unsure))
            rows.append((area, (shown, f"{area:.2f}{said}", percent(risk), caught, count(len(pairs)))))
    head = ("measure", "AUROC", "wrong, over all coverages", "errors caught", "n")
    best_first = sorted(rows, key=lambda pair: -pair[0])
    return Table(head, tuple(row for _, row in best_first)) if rows else None


def _caught(pairs: Sequence[tuple[float, bool]], share: float) -> str:
    """The part of the wrong answers among this share of the inputs, the least sure ones."""
    least = sorted(pairs, key=lambda pair: pair[0])[: round(share * len(pairs))]
    wrong = sum(not ok for _, ok in pairs)
    return share_of(sum(not ok for _, ok in least), wrong)


def examples(group: Group) -> Table | None:
    """What became of the written examples."""
    written = [example for row in group.rows for example in row.episode.examples]
    if not written:
        return None
    reasons = Counter((example.refused or "").partition(":")[0] for example in written)
    kept = reasons.pop("", 0)
    rows = [("kept", count(kept), percent(kept / len(written)))]
    rows += [(f"refused: {name}", count(n), percent(n / len(written))) for name, n in reasons.most_common()]
    return Table(("", "examples", "share"), tuple(rows))


def strata(group: Group) -> list[tuple[str, Table, bool]]:
    """For each tag its name, a row per value, and whether there are only a few."""
    base = outcomes(group, "base")
    adapted = outcomes(group, "adapted") if group.adapts else {}
    members: dict[str, dict[str, set[Key]]] = {}
    for row in group.rows:
        if row.key in base:
            for tag, value in row.tags.items():
                members.setdefault(tag, {}).setdefault(value, set()).add(row.key)
    head = ("", "n", "model alone", "improved", "gain, points") if group.adapts else ("", "n", "model alone")
    return [
        (
            tag,
            Table(head, tuple(_stratum(value, values[value], base, adapted) for value in sorted(values))),
            len(values) <= FEW,
        )
        for tag, values in sorted(members.items(), key=lambda pair: len(pair[1]))
        if len(values) > 1
    ]


def _stratum(name: str, keys: set[Key], base: dict[Key, float], adapted: dict[Key, float]) -> tuple[str, ...]:
    ordered = sorted(keys)
    row = (name, count(len(keys)), _mean([base[key] for key in ordered]))
    if not adapted:
        return row
    gap = pairing.difference({key: base[key] for key in ordered}, {key: adapted[key] for key in ordered})
    return (*row, _mean([adapted[key] for key in ordered]), f"{signed(gap.points)}\n{between_points(gap)}")


def _mean(values: Sequence[float]) -> str:
    return f"{percent(sum(values) / len(values))}\n{between(stats.share(values))}"


def closeness(group: Group) -> Table | None:
    """How close the kept examples came to the questions and to their gold; None where the questions are not kept."""
    found = leaks.check(group.rows, group.matcher)
    if not found.rows:
        return None
    rows = [
        ("near copies of the input's own request", found.near_copy, found.examples, "examples"),
        ("the same call as the gold", found.same_call, found.examples, "examples"),
        ("the request of another input", found.other_input, found.examples, "examples"),
        ("inputs with the gold call among their examples", found.rows_same_call, found.rows, "inputs"),
        ("fixed inputs with the gold call among their examples", found.fixed_same_call, found.fixed, "inputs"),
    ]
    return Table(
        ("", "count", "share"),
        tuple((name, f"{count(n)} of {count(of)} {what}", share_of(n, of)) for name, n, of, what in rows),
    )


def costs(group: Group) -> Table | None:
    """Seconds per stage, and what an input costs that is adapted and one that is not; None where no run has its own."""
    timed = [row for run in group.timed for row in run.rows]
    if not timed:
        return None
    n = len(timed)
    spent: Counter[str] = Counter()
    for row in timed:
        spent.update(row.episode.seconds)
    total = sum(spent.values())
    rows = [
        (stage, seconds(spent[stage]), seconds(spent[stage] / n), percent(spent[stage] / total if total else 0))
        for stage in STAGES
    ]
    rows.append(("together", seconds(total), seconds(total / n), percent(1 if total else 0)))
    adapted = [sum(row.episode.seconds.values()) for row in timed if row.episode.adaptation.status != "none"]
    plain = [sum(row.episode.seconds.values()) for row in timed if row.episode.adaptation.status == "none"]
    for name, part in (("an input that is adapted", adapted), ("an input that is not", plain)):
        if part:
            rows.append(
                (name, seconds(sum(part)), seconds(sum(part) / len(part)), percent(sum(part) / total if total else 0))
            )
    return Table(("", "in all", "per input", "share"), tuple(rows))


def settings(found: Sequence[Group]) -> tuple[Table, Table]:
    """What differs between the groups, and everything."""
    flats = [_settings(group) for group in found]
    names = list(dict.fromkeys(name for one in flats for name in one))
    rows = [(name, *(one.get(name, "-") for one in flats)) for name in names]
    head = ("", *(group.letter for group in found))
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    return Table(head, differing, words=True), Table(head, tuple(rows), words=True)


def _settings(group: Group) -> dict[str, str]:
    found = {name: _value(value) for name, value in flat(group.config) if name not in PRIVATE}
    found["settings.loop.seed"] = listing([_value(run.config["settings"]["loop"]["seed"]) for run in group.runs])
    return found | {"folder": listing([run.name for run in group.runs])}


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
