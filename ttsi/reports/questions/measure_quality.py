"""Quality of the measures: how well each predicts that the base is wrong.

Inputs: groups of runs; every run records every measure. Outputs: per measure the AUROC with DeLong's interval, the
error rate over all coverages (AURC), and the share of errors among the least confident inputs. What does not depend on
the seed is taken from the first run of a group.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi import stats
from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group, measured_verdicts
from ttsi.reports.naming import variations
from ttsi.reports.phrases import count, percent, share_cell
from ttsi.reports.questions.risk import area, risk_coverage
from ttsi.reports.reference import FITTED

CELLS = ("AUROC", "wrong", "caught", "n")
"""The columns of a measure, in the table over several decodings."""


def measures(groups: Sequence[Group]) -> Finding:
    """Every measure, for each way of decoding; from method `base` before others, from presets only."""
    tables: dict[str, tuple[Group, dict[str, tuple[str, ...]]]] = {}
    for group in sorted(groups, key=lambda one: (one.config.method != "base", len(variations(one)))):
        decoding = group.config.loop.answer.decoding
        if decoding not in tables and variations(group).keys() <= FITTED and (rows := _rows(group)):
            tables[decoding] = group, dict(rows)
    names = dict.fromkeys(name for _, rows in tables.values() for name in rows)
    cells = [
        (name, *(cell for _, rows in tables.values() for cell in rows.get(name, ("-",) * len(CELLS)))) for name in names
    ]
    absent = [name for name in ("constrained", "free") if name not in tables]
    missing = f"Missing: a run with `--decoding {absent[0]}`." if absent else ""
    head = ("measure", *(f"{cell}, {decoding}" for decoding in tables for cell in CELLS))
    return Finding(
        "Measures",
        "Which measure predicts that the base is wrong? AUROC: 0.5 is guessing, 1 is perfect. Wrong: the error rate "
        "when only the most confident inputs are answered, averaged over all shares of them. Caught: the part of the "
        "wrong answers among the least confident inputs, as many as the run's tau calls unsure.",
        Table(head, tuple(cells)) if tables else None,
        groups=tuple(group for group, _ in tables.values()),
        missing=missing if tables else "Missing: any graded run; every run records every measure.",
    )


def measures_of(group: Group) -> Finding:
    """Every measure of one group, the best first."""
    rows = [(f"{name} (decides)" if name == group.measure else name, *cells) for name, cells in _rows(group)]
    return Finding(
        "Which measure predicts an error",
        "AUROC: how often a wrong answer looks less confident than a right one; 0.5 is a coin. Wrong, over all "
        "coverages: the error rate when only the most confident inputs are answered, averaged over all shares of them "
        "(AURC). Caught: the part of the wrong answers among the least confident inputs, as many as tau calls unsure "
        "here.",
        Table(("measure", "AUROC", "wrong, over all coverages", "errors caught", "n"), tuple(rows)) if rows else None,
    )


def _rows(group: Group) -> list[tuple[str, tuple[str, ...]]]:
    """(measure, cells), the best measure first; a measure without an AUROC is left out."""
    estimated = [row for row in group.first.rows if row.episode.awareness is not None]
    names = sorted({name for row in estimated if row.episode.awareness for name in row.episode.awareness.measures})
    rows = []
    for name in names:
        pairs = measured_verdicts(group, name, group.matcher)
        values, wrong = [value for value, _ in pairs], [not right for _, right in pairs]
        doubts = [-value for value in values]
        auroc = stats.auroc(doubts, wrong)
        if auroc is not None:
            interval = stats.auroc_interval(doubts, wrong)
            bounds = f"{interval.low:.2f} to {interval.high:.2f}" if interval else "-"
            risk = area(risk_coverage(values, [right for _, right in pairs]))
            unsure = round(sum(row.unsure for row in estimated) / len(estimated) * len(pairs))
            least = sorted(pairs, key=lambda pair: pair[0])[:unsure]
            caught = share_cell(sum(not right for _, right in least), sum(wrong))
            rows.append((auroc, (name, (f"{auroc:.2f}\n{bounds}", f"{percent(risk)}\n-", caught, count(len(pairs))))))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def unsure_answers(group: Group) -> Finding:
    """How well the threshold separates: shares of wrong and of right base answers that were called unsure."""
    estimated = [row for row in group.first.rows if row.episode.awareness is not None]
    rows = []
    for name, right in (("wrong answers (caught)", False), ("right answers (false alarms)", True)):
        part = [row.unsure for row in estimated if row.right("base", group.matcher) is right]
        rows.append((name, f"{sum(part)} of {len(part)}", share_cell(sum(part), len(part)), len(part)))
    return Finding(
        "Which answers were called unsure",
        "Judged by whether the model alone was right.",
        Table(("", "unsure", "share"), tuple(row[:3] for row in rows)) if any(row[3] for row in rows) else None,
    )
