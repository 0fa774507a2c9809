"""How close did the written examples come to the questions and to their right answers?

Inputs: the rows of a run with what was asked and its gold. Outputs: counts, and the rows behind them. The rule:

    near copy      the request of a kept example and the input's own share at least 80 % of their distinct words
                   (Jaccard; lower case, letters and digits)
    same call      a kept example's calls equal the input's gold calls: same names, arguments equal as JSON, any order
    other input    a kept example's request has exactly the words, in order, of another input of the benchmark

Gold answers never reach the writer (`ttsi.types.Input` has no field for them), so a "same call" is a call that the
model found by itself; the counts say how much of a gain could come from it. Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ttsi.record import RunRow
from ttsi.reports.record import right
from ttsi.types import Example, ToolCall, canonical_calls, last_request

NEAR = 0.8
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class LeakCheck:
    """Counts over the kept examples of rows whose question is known."""

    rows: int
    """Rows with kept examples and a known question."""
    examples: int
    near_copy: int
    same_call: int
    other_input: int
    rows_same_call: int
    """Rows in which at least one kept example has the gold call."""
    fixed_same_call: int
    fixed: int


def words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case.

    >>> words("Rain in OSLO, 2x?")
    ('rain', 'in', 'oslo', '2x')
    """
    return tuple(_WORDS.findall(text.lower()))


def likeness(one: str, other: str) -> float:
    """Shared words over all words (Jaccard).

    >>> likeness("rain in Oslo", "rain in Rome")
    0.5
    """
    left, right_ = set(words(one)), set(words(other))
    return len(left & right_) / len(left | right_) if left | right_ else 1.0


def same_calls(one: Sequence[ToolCall], other: Sequence[ToolCall]) -> bool:
    """Equal calls in any order; 1 and 1.0 are the same number, as for the graders.

    >>> same_calls([ToolCall("f", {"a": 1.0})], [ToolCall("f", {"a": 1})])
    True
    """
    return canonical_calls(one) == canonical_calls(other)


def found_in(example: Example, row: RunRow, asked: dict[tuple[str, ...], set[str]]) -> list[str]:
    """The rules that a kept example meets: "near copy", "same call", "other input"."""
    if row.question is None or example.refused is not None:
        return []
    said = words(example.query)
    gold = row.question.gold
    found = {
        "near copy": likeness(example.query, last_request(row.question.input)) >= NEAR,
        "same call": bool(gold) and same_calls(example.calls, gold or ()),
        "other input": bool(said) and bool(asked.get(said, set()) - {row.episode.input_hash}),
    }
    return [rule for rule, met in found.items() if met]


def questions(rows: Sequence[RunRow]) -> dict[tuple[str, ...], set[str]]:
    """The words of each request -> the inputs that ask it."""
    asked: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        if row.question is not None:
            asked.setdefault(words(last_request(row.question.input)), set()).add(row.episode.input_hash)
    return asked


def check(rows: Sequence[RunRow], matcher: str) -> LeakCheck:
    """Count over all rows."""
    asked = questions(rows)
    known = [row for row in rows if row.question is not None and any(e.refused is None for e in row.episode.examples)]
    met = {id(row): [found_in(example, row, asked) for example in row.episode.examples] for row in known}
    copied = [row for row in known if any("same call" in rules for rules in met[id(row)])]
    counts = {
        rule: sum(rule in rules for row in known for rules in met[id(row)])
        for rule in ("near copy", "same call", "other input")
    }
    return LeakCheck(
        rows=len(known),
        examples=sum(example.refused is None for row in known for example in row.episode.examples),
        near_copy=counts["near copy"],
        same_call=counts["same call"],
        other_input=counts["other input"],
        rows_same_call=len(copied),
        fixed_same_call=sum(_fixed(row, matcher) for row in copied),
        fixed=sum(_fixed(row, matcher) for row in known),
    )


def _fixed(row: RunRow, matcher: str) -> bool:
    return right(row, "base", matcher) is False and right(row, "adapted", matcher) is True
