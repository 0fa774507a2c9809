"""How do runs become tables that can stand in a README or in `docs/results.md`?

Inputs: runs, the command that asks for the page, the version that made it. Outputs: Markdown. For every set of inputs
that was run with more than one setting: the questions of `ttsi.reports.experiments`, each with one line saying what is
asked, its table, the commands that make its runs again, and on what they were made. Then every benchmark by every rule.

Texts from runs (names, models) are escaped, so that they can neither end a cell nor become markup. The paper
(arXiv:2510.07841) prints means without intervals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ttsi import stats
from ttsi.errors import ConfigError
from ttsi.reports import choices, experiments, pairing, words
from ttsi.reports.command import commands, made_with
from ttsi.reports.experiments import ASKS, Finding, per_input, points, references
from ttsi.reports.naming import with_decoding
from ttsi.reports.record import Group, Run, groups, outcomes
from ttsi.reports.sections import Table
from ttsi.reports.words import count, percent

RULES = ("strict", "lenient", "official")
"""The rules that a benchmark may be judged by, the headline's beside them where it is another."""
QUESTIONS = (
    experiments.methods, experiments.costs, choices.gates, choices.thresholds, experiments.measures, choices.checks,
    experiments.samples,
)  # fmt: skip
"""What is asked about inputs that were run with more than one setting, in the order of the page."""
NEEDED = "Missing: "
F1_KINDS, F1_SIDES = ("tools", "arguments"), ("base", "adapted", "gain")
_MARKS = re.compile(r"([\\`*_\[\]<>|#&])")


def page(runs: Sequence[Run], version: str) -> str:
    """The whole page.

    Raises:
        ConfigError: a run is there twice; it would count twice.
    """
    found = groups(runs)
    _once(found)
    return "\n".join(_lines(found, version)) + "\n"


def _once(found: Sequence[Group]) -> None:
    for group in found:
        seen: dict[int, str] = {}
        for run in group.runs:
            seed = int(run.config["settings"]["loop"]["seed"])
            if seed in seen:
                raise ConfigError(f"{seen[seed]} and {run.name} are the same run with the same seed: name one of them")
            seen[seed] = run.name


def _lines(found: Sequence[Group], version: str) -> Iterator[str]:
    yield "# Results\n"
    yield (
        f"Made from run folders by `ttsi report RUN... --output FILE.md` (ttsi {escaped(version)}), not by hand. "
        "Scores are percent of inputs whose calls are all right; in brackets stand 95 % intervals. Runs that differ "
        "only in the seed are averaged input by input first.\n"
    )
    for group in found:
        if warning := words.unfinished(group):
            yield f"{escaped(warning)}\n"
    for same in experiments.same_inputs(found):
        if len(same) > 1:
            config = same[0].config
            name = f"{config['data']['benchmark']}, {count(config['data']['n'])} inputs, {config['settings']['model']}"
            yield f"## {escaped(name)}\n"
            yield from _answered([question(same) for question in QUESTIONS])
    yield "## Every benchmark\n"
    for finding in (by_rule(found), over_all_calls(found), by_benchmark(found)):
        yield from _told(finding)


def _answered(findings: Sequence[Finding]) -> Iterator[str]:
    """What these runs answer; the questions that would need others are named together behind it."""
    for finding in findings:
        if finding.table is not None:
            yield from _told(finding)
    unanswered = [finding for finding in findings if finding.table is None]
    owed = [f"* {finding.title}: {finding.missing.removeprefix(NEEDED)}" for finding in unanswered]
    if owed:
        yield "### Not answered by these runs\n\n" + "\n".join(owed) + "\n"


def by_rule(found: Sequence[Group]) -> Finding:
    """Base and improved under each rule."""
    chosen = [group for group in references(found) if group.adapts]
    rows = []
    for group in chosen:
        known = {rule for row in group.rows for rule in row.grades or {}}
        for rule in sorted({*RULES, group.matcher} & known, key=[*RULES, group.matcher].index):
            base, adapted = outcomes(group, "base", rule), outcomes(group, "adapted", rule)
            headline = " (headline)" if rule == group.matcher else ""
            scores = [f"{percent(sum(v) / len(v))}\n{words.between(stats.share(v))}" for v in _values(base, adapted)]
            gain = points(pairing.difference(base, adapted))
            rows.append((_data(group), f"{rule}{headline}", count(len(base)), *scores, gain))
    return Finding(
        "By rule",
        Table(("benchmark, model", "rule", "n", "base", "ttsi", "gain, points"), tuple(rows)) if rows else None,
        tuple(chosen),
        "" if rows else "Missing: `ttsi run --benchmark NAME` (configs/results/benchmarks.yaml).",
    )


def _values(*found: dict[tuple[str, int], float]) -> list[list[float]]:
    return [list(one.values()) for one in found]


def over_all_calls(found: Sequence[Group]) -> Finding:
    """Base and improved by micro F1, where any gold has a call."""
    chosen = [group for group in references(found) if group.adapts]
    ways = (("", "Hammer"), ("official_", "official"))
    rows = [
        (
            _data(group),
            name,
            count(len(group.runs[0].rows)),
            *(_f1(group, f"{way}f1_{kind}", side) for kind in F1_KINDS for side in F1_SIDES),
        )
        for group in chosen
        for way, name in ways
        if _has_calls(group, way)
    ]
    head = (
        "benchmark, model",
        "as",
        "n",
        *(f"{kind}, {side}" for kind in F1_KINDS for side in ("base", "ttsi", "gain")),
    )
    # The commands stand under the table before.
    return Finding("Over all calls", Table(head, tuple(rows)) if rows else None)


def _has_calls(group: Group, way: str) -> bool:
    """Is there an F1 at all? Where no gold has a call it is 0 whatever is said."""
    metrics = group.runs[0].summary["metrics"]
    return any(metrics.get(f"{side}.{way}f1_tools") for side in ("base", "adapted"))


def _f1(group: Group, name: str, side: str) -> str:
    metrics = group.runs[0].summary["metrics"]
    value, stderr = metrics.get(f"{side}.{name}"), metrics.get(f"{side}.{name}_stderr")
    if value is None:
        return "-"
    show = words.signed if side == "gain" else "{:.1f}".format
    if not stderr:
        return f"{show(value)}\n-"
    reach = stats.Z95 * stderr
    low = value - reach if side == "gain" else max(value - reach, 0.0)
    return f"{show(value)}\n{show(low)} to {show(value + reach)}"


def by_benchmark(found: Sequence[Group]) -> Finding:
    """How many inputs failed, how many were unsure, and what each took."""
    chosen = [group for group in references(found) if group.adapts]
    rows = [
        (
            _data(group),
            count(len({row.key for row in group.rows})),
            count(len(group.runs)),
            count(_failed(group, "")),
            count(_failed(group, "prompt:")),
            percent(_unsure(group)),
            percent(experiments.adapted_share(group)),
            per_input(group),
        )
        for group in chosen
    ]
    head = (
        "benchmark, model",
        "n",
        "seeds",
        "failed",
        "of these too long",
        "unsure",
        "answered again",
        "time per input",
    )
    return Finding(
        "Failures",
        Table(head, tuple(rows)) if rows else None,
        # The commands stand under the table before.
    )


def _failed(group: Group, reason: str) -> float:
    failed = [row for row in group.rows if row.episode.error is not None and row.episode.error.startswith(reason)]
    return len(failed) / len(group.runs)


def _unsure(group: Group) -> float:
    unsure = sum(row.episode.awareness is not None and row.episode.awareness.unsure for row in group.rows)
    return unsure / max(len(group.rows), 1)


def _data(group: Group) -> str:
    return with_decoding(f"{group.config['data']['benchmark']}, {group.config['settings']['model']}", group)


def _told(finding: Finding) -> Iterator[str]:
    yield f"### {finding.title}\n\n{ASKS[finding.title]}\n"
    if finding.table is not None:
        yield table(finding.table)
    if finding.groups:
        lines = "\n".join(commands(finding.groups))
        yield f"<details><summary>Commands</summary>\n\n```sh\n{fenced(lines)}\n```\n"
        yield f"{escaped(made_with(finding.groups))}\n\n</details>\n"
    if finding.missing:
        yield f"{finding.missing}\n"


def table(found: Table) -> str:
    r"""A table; the interval of a cell stands in brackets behind its number.

    >>> print(table(Table(("who", "score"), (("a|b", "1 %\n0 to 2"),))))
    | who | score |
    |---|---|
    | a\|b | 1 % [0 to 2] |
    <BLANKLINE>
    """
    lines = [found.head, ("---",) * len(found.head), *found.rows]
    cells = [[cell if cell == "---" else _cell(cell) for cell in line] for line in lines]
    return "\n".join(f"|{'|'.join(line)}|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in cells) + "\n"


def _cell(text: str) -> str:
    number, _, interval = text.partition("\n")
    return f"{escaped(number)} [{escaped(interval)}]" if interval else escaped(number)


def escaped(text: str) -> str:
    r"""Text that is nothing but text in Markdown.

    >>> print(escaped("<b> a|b"))
    \<b\> a\|b
    """
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def fenced(text: str) -> str:
    """Text that cannot end the code block that it stands in."""
    return text.replace("```", "'''")
