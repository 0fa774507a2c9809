"""Leak check: how close the written examples came to the questions and to their right answers.

Inputs: the rows of a run with their questions and gold. Outputs: counts, and for each example the rules that it meets:

    near copy      the request of a kept example and the input's own share at least 80 % of their distinct words
                   (Jaccard; lower case, letters and digits)
    same call      a kept example's calls equal the input's gold calls: same names, arguments equal as JSON, any order
    other input    a kept example's request has exactly the words, in order, of another input of the benchmark

Gold answers never reach the writer (`ttsi.types.Input` has no field for them), so a "same call" is a call that the
model wrote by itself; the counts show how much of a gain could come from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ttsi.call_equality import canonical_calls
from ttsi.record import RunRow
from ttsi.reports import pairing
from ttsi.reports.finding import Finding, Table
from ttsi.reports.groups import Group
from ttsi.reports.phrases import count, share_cell
from ttsi.types import Example, ToolCall, last_request
from ttsi.words import jaccard, words

NEAR = 0.8
RULES = ("near copy", "same call", "other input")
Requests = dict[tuple[str, ...], set[str]]
"""The words of each request -> the hashes of the inputs that ask it."""


@dataclass(frozen=True)
class LeakCheck:
    """Counts over the kept examples of the rows whose question is recorded."""

    rows: int
    """Rows with kept examples and a question."""
    examples: int
    near_copy: int
    same_call: int
    other_input: int
    rows_same_call: int
    """Rows in which at least one kept example has the gold call."""
    fixed_same_call: int
    fixed: int


def leaks(group: Group) -> Finding:
    """How close the kept examples came; nothing where the questions are not recorded."""
    check = check_leaks(group.rows, group.matcher)
    rows = [
        ("near copies of the input's own request", check.near_copy, check.examples, "examples"),
        ("the same call as the gold", check.same_call, check.examples, "examples"),
        ("the request of another input", check.other_input, check.examples, "examples"),
        ("inputs with the gold call among their examples", check.rows_same_call, check.rows, "inputs"),
        ("fixed inputs with the gold call among their examples", check.fixed_same_call, check.fixed, "inputs"),
    ]
    cells = tuple((name, f"{count(n)} of {count(of)} {what}", share_cell(n, of)) for name, n, of, what in rows)
    return Finding(
        "Leak check",
        "Gold answers never reach the writer; this counts how close its kept examples came by themselves. Near copy: "
        "at least 80 % shared distinct words (Jaccard; lower case). Same call: equal names and arguments in any order. "
        "Another input: the same words in the same order.",
        Table(("", "count", "share"), cells) if check.rows else None,
    )


def same_calls(left: Sequence[ToolCall], right: Sequence[ToolCall]) -> bool:
    """Equal calls in any order; 1 and 1.0 are the same number, as for the graders.

    >>> same_calls([ToolCall("f", {"a": 1.0})], [ToolCall("f", {"a": 1})])
    True
    """
    return canonical_calls(left) == canonical_calls(right)


def rules_met(example: Example, row: RunRow, requests: Requests) -> list[str]:
    """The RULES that a kept example meets."""
    if row.question is None or example.refused is not None:
        return []
    query, gold = tuple(words(example.query)), row.question.gold
    met = (
        jaccard(example.query, last_request(row.question.input), empty=1.0) >= NEAR,
        bool(gold) and same_calls(example.calls, gold or ()),
        bool(query) and bool(requests.get(query, set()) - {row.episode.input_hash}),
    )
    return [rule for rule, is_met in zip(RULES, met, strict=True) if is_met]


def requests_of(rows: Sequence[RunRow]) -> Requests:
    """Every request of the rows."""
    requests: Requests = {}
    for row in rows:
        if row.question is not None:
            requests.setdefault(tuple(words(last_request(row.question.input))), set()).add(row.episode.input_hash)
    return requests


def check_leaks(rows: Sequence[RunRow], rule: str) -> LeakCheck:
    """Count over all rows; a row is fixed by a grading rule."""
    requests = requests_of(rows)
    usable = [row for row in rows if row.question is not None and any(e.refused is None for e in row.episode.examples)]
    met = [[rules_met(example, row, requests) for example in row.episode.examples] for row in usable]
    copied = [row for row, rules in zip(usable, met, strict=True) if any("same call" in one for one in rules)]
    counts = Counter(rule for rules in met for one in rules for rule in one)
    return LeakCheck(
        rows=len(usable),
        examples=sum(example.refused is None for row in usable for example in row.episode.examples),
        near_copy=counts["near copy"],
        same_call=counts["same call"],
        other_input=counts["other input"],
        rows_same_call=len(copied),
        fixed_same_call=pairing.count_changes(copied, rule)[0],
        fixed=pairing.count_changes(usable, rule)[0],
    )
