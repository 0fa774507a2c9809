"""Runs as Markdown tables, for a README or `docs/results.md`.

Inputs: runs, the version of ttsi. Outputs: Markdown. For every set of inputs that was run with more than one setting
its findings, each with the question, its table, the commands that make its runs again, and what they were made with.
Then every benchmark. Texts from runs (names, models) are escaped: they can neither end a cell nor become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ttsi.record import Run
from ttsi.reports import questions
from ttsi.reports.command import commands, provenance
from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group, group_runs
from ttsi.reports.naming import unfinished_warning

_MARKS = re.compile(r"([\\`*_\[\]<>|#&])")


def page(runs: Sequence[Run], version: str) -> str:
    """The whole page.

    Raises:
        ConfigError: two runs have the same settings and seed.
    """
    return "\n".join(_lines(group_runs(runs), version)) + "\n"


def _lines(groups: Sequence[Group], version: str) -> Iterator[str]:
    yield "# Results\n"
    yield (
        f"Made from run folders by `ttsi report RUN... --output FILE.md` (ttsi {escape(version)}), not by hand. "
        "Scores are percent of inputs whose calls are all right; in brackets stand 95 % intervals. Runs that differ "
        "only in the seed are averaged input by input first.\n"
    )
    for group in groups:
        if warning := unfinished_warning(group):
            yield f"{escape(warning)}\n"
    for name, findings in questions.comparisons(groups):
        yield f"## {escape(name)}\n"
        for finding in findings:
            if finding.table is not None:
                yield from _finding(finding)
        yield from _missing_answers(findings)
    yield "## Every benchmark\n"
    for finding in questions.benchmarks(groups):
        yield from _finding(finding)


def _missing_answers(findings: Sequence[Finding]) -> Iterator[str]:
    """The questions that need other runs, together behind the others."""
    missing = [f"* {one.title}: {one.missing.removeprefix('Missing: ')}" for one in findings if one.table is None]
    if missing:
        yield "### Not answered by these runs\n\n" + "\n".join(missing) + "\n"


def _finding(finding: Finding) -> Iterator[str]:
    yield f"### {finding.title}\n\n{finding.reading}\n"
    if finding.table is not None:
        yield table(finding.table)
    if finding.groups:
        # Nothing in a command can end the block that it stands in.
        lines = "\n".join(commands(finding.groups)).replace("```", "'''")
        yield f"<details><summary>Commands</summary>\n\n```sh\n{lines}\n```\n"
        yield f"{escape(provenance(finding.groups))}\n\n</details>\n"
    if finding.missing:
        yield f"{finding.missing}\n"


def table(data: Table) -> str:
    r"""A table; the interval of a cell stands in brackets behind its number.

    >>> print(table(Table(("who", "score"), (("a|b", "1 %\n0 to 2"),))))
    | who | score |
    |---|---|
    | a\|b | 1 % [0 to 2] |
    <BLANKLINE>
    """
    head, *rows = [f"| {' | '.join(map(_cell, line))} |" for line in (data.head, *data.rows)]
    return "\n".join([head, f"|{'---|' * len(data.head)}", *rows]) + "\n"


def _cell(text: str) -> str:
    number, _, interval = text.partition("\n")
    return f"{escape(number)} [{escape(interval)}]" if interval else escape(number)


def escape(text: str) -> str:
    r"""Text that is nothing but text in Markdown.

    >>> print(escape("<b> a|b"))
    \<b\> a\|b
    """
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
