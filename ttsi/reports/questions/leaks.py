"""Leak check: how close the written examples came to the questions and to their right answers.

Inputs: the rows of a run with their questions and gold. Outputs: counts, and for each example the rules that it meets:

    near copy      the request of a kept example and the input's own share at least 80 % of their distinct words
                   (Jaccard; lower case, letters and digits)
    same call      a kept example's calls equal the input's gold calls: same names, arguments equal as JSON, any order
    other input    a kept example's request has exactly the words, in order, of another input of the benchmark

Gold answers never reach what writes the examples (`ttsi.types.Input` has no field for them), so a "same call" was
found without them; the counts show how much of a gain could come from it. Examples that are rows of the training data
have a gold of their own. Only where the gold has calls can an example have the same call, so it is counted there.
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
from ttsi.reports.phrases import count, number_of, share_cell
from ttsi.types import Example, ToolCall, last_request
from ttsi.words import jaccard, words

NEAR = 0.8
_TRAINING_ROWS = "The examples are rows of the training data, with gold answers of their own; this counts how close"
ORIGINS = {
    "writer": "Gold answers never reach the writer; this counts how close its kept examples came by themselves.",
    "schema": "The examples are made from the tools' schemas, and gold answers have no part in them; this counts how "
    "close the kept ones came by themselves.",
    "nearest": f"{_TRAINING_ROWS} those nearest to an input's request came to the input and its gold.",
    "random": f"{_TRAINING_ROWS} those drawn at random came to an input and its gold.",
}
"""Source of the examples -> what they know of the gold."""
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
    gold_rows: int
    """Of `rows`, those whose gold has calls."""
    gold_examples: int
    """Of `examples`, those of `gold_rows`."""
    fixed: int
    """Of `gold_rows`, those that adapting fixed."""


def leaks(group: Group) -> Finding:
    """How close the kept examples came; nothing where the questions are not recorded."""
    check = check_leaks(group.rows, group.matcher)
    rows = [
        ("near copies of the input's own request", check.near_copy, check.examples, "example"),
        ("the same call as the gold", check.same_call, check.gold_examples, "example"),
        ("the request of another input", check.other_input, check.examples, "example"),
        ("inputs with the gold call among their examples", check.rows_same_call, check.gold_rows, "input"),
        ("fixed inputs with the gold call among their examples", check.fixed_same_call, check.fixed, "input"),
    ]
    cells = tuple((name, _count_cell(n, of, what), share_cell(n, of)) for name, n, of, what in rows)
    return Finding(
        "Leak check",
        f"{ORIGINS[group.config.loop.synthesis.source]} Near copy: at least 80 % shared distinct words (Jaccard; lower "
        "case). Same call: equal names and arguments in any order, where the gold has calls. Another input: the same "
        "words in the same order.",
        Table(("", "count", "share"), cells) if check.rows else None,
    )


def _count_cell(n: int, of: int, what: str) -> str:
    return f"{count(n)} of {number_of(of, what)}" if of else "-"


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
    """Count over all rows; a row is fixed by a grading rule, and has the gold call only where its gold has calls."""
    requests = requests_of(rows)
    usable = [row for row in rows if row.question is not None and any(e.refused is None for e in row.episode.examples)]
    met = [[rules_met(example, row, requests) for example in row.episode.examples] for row in usable]
    copied = [row for row, rules in zip(usable, met, strict=True) if any("same call" in one for one in rules)]
    with_gold = [row for row in usable if row.question is not None and row.question.gold]
    counts = Counter(rule for rules in met for one in rules for rule in one)
    return LeakCheck(
        rows=len(usable),
        examples=_count_kept(usable),
        near_copy=counts["near copy"],
        same_call=counts["same call"],
        other_input=counts["other input"],
        rows_same_call=len(copied),
        fixed_same_call=pairing.count_changes(copied, rule)[0],
        gold_rows=len(with_gold),
        gold_examples=_count_kept(with_gold),
        fixed=pairing.count_changes(with_gold, rule)[0],
    )


def _count_kept(rows: Sequence[RunRow]) -> int:
    return sum(example.refused is None for row in rows for example in row.episode.examples)
