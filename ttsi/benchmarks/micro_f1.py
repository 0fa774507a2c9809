"""Micro F1 of tool names and arguments over a whole file, as Hammer and as Seal-Tools count it.

Inputs: the calls of each answer (None when it could not be read) and the gold calls. Outputs: counts per row, which add
up, and F1 in percent of tool names and of arguments ("func" and "func + args" in the Hammer paper, arXiv:2410.04587).

Both take a predicted call's name for right when the row's gold has a call of that name, however often it is repeated,
and values for equal when their texts are, so 1 equals "1", and case and spaces matter. They differ in four points:

                                Hammer                                  Seal-Tools
    an unreadable answer        is one predicted tool                   is nothing; Format ACC counts it
    an empty text               is not counted as an argument           is an argument
    a call is compared with     the first gold call of its name         the first gold call of its name
                                that shares an argument with it
    two calls without           share one, although neither side        share none
    arguments                   counted any, so that F1 can pass 100

Sources: evaluation/evaluate.py of github.com/MadeAgents/Hammer, LLM_Evaluation/src/calculate_pluginscore_detailed.py of
github.com/fairyshine/Seal-Tools (arXiv:2405.08355). An answer without calls is nothing to both; Seal-Tools, which looks
for a list of calls in the text, also calls it unreadable. The paper (arXiv:2510.07841) reports a share of rows; F1 is
here to compare with the papers that do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ttsi.benchmarks.matching import Calls
from ttsi.types import ToolCall

KINDS = ("tools", "arguments")


@dataclass(frozen=True)
class Counts:
    """How many names and arguments gold has, the answer has, and are right."""

    gold_tools: int = 0
    predicted_tools: int = 0
    right_tools: int = 0
    gold_arguments: int = 0
    predicted_arguments: int = 0
    right_arguments: int = 0


class CountingRule(Protocol):
    """A way of counting one row."""

    def __call__(self, calls: Calls | None, gold: Calls) -> Counts:
        """The counts of one row; calls are None when the answer could not be read."""
        ...


def count(calls: Calls | None, gold: Calls) -> Counts:
    """The counts of one row, as Hammer counts.

    >>> gold = [ToolCall("f", {"n": 1, "unit": ""}), ToolCall("g", {})]
    >>> count([ToolCall("f", {"n": "1", "m": 2})], gold)
    Counts(gold_tools=2, predicted_tools=1, right_tools=1, gold_arguments=1, predicted_arguments=2, right_arguments=1)
    >>> count(None, gold).predicted_tools, count([], gold).predicted_tools
    (1, 0)
    """
    predicted = () if calls is None else calls
    matched = [call for call in predicted if any(call.name == right.name for right in gold)]
    return Counts(
        gold_tools=len(gold),
        predicted_tools=1 if calls is None else len(predicted),
        right_tools=len(matched),
        gold_arguments=sum(len(_nonempty(call.arguments)) for call in gold),
        predicted_arguments=sum(len(_nonempty(call.arguments)) for call in predicted),
        right_arguments=sum(_right_arguments(call, gold) for call in matched),
    )


def count_seal_tools(calls: Calls | None, gold: Calls) -> Counts:
    """The counts of one row, as Seal-Tools counts.

    >>> gold = [ToolCall("f", {"n": 1, "unit": ""}), ToolCall("f", {"n": 2})]
    >>> counts = count_seal_tools([ToolCall("f", {"n": "2", "unit": ""})], gold)
    >>> counts.gold_arguments, counts.predicted_arguments, counts.right_arguments
    (3, 2, 1)
    """
    predicted = calls or ()
    first = {call.name: call.arguments for call in reversed(gold)}
    matched = [call for call in predicted if call.name in first]
    return Counts(
        gold_tools=len(gold),
        predicted_tools=len(predicted),
        right_tools=len(matched),
        gold_arguments=sum(len(call.arguments) for call in gold),
        predicted_arguments=sum(len(call.arguments) for call in predicted),
        right_arguments=sum(_equal_texts(call.arguments, first[call.name]) for call in matched),
    )


OFFICIAL: Mapping[str, CountingRule] = dict.fromkeys(
    ("sealtool", "sealtool-dev", "sealtool-sample", "seal-tools-in", "seal-tools-out", "seal-tools-dev"),
    count_seal_tools,
)
"""Benchmark -> its owners' way of counting, where that is their score."""


def f1(counts: Counts) -> dict[str, float | None]:
    """F1 of tool names and of arguments in percent; None where neither gold nor answers have any.

    >>> f1(Counts(gold_tools=2, predicted_tools=2, right_tools=1))
    {'f1_tools': 50.0, 'f1_arguments': None}
    """
    return {
        f"f1_{kind}": 100 * twice / both if both else None for kind in KINDS for twice, both in [ratio(counts, kind)]
    }


def ratio(counts: Counts, kind: str) -> tuple[int, int]:
    """F1 of "tools" or "arguments" as numerator and denominator, which add up over rows.

    2PR / (P + R) with P = right / predicted and R = right / gold is 2 right / (predicted + gold).
    """
    if kind == "tools":
        return 2 * counts.right_tools, counts.predicted_tools + counts.gold_tools
    return 2 * counts.right_arguments, counts.predicted_arguments + counts.gold_arguments


def _equal_texts(predicted: Mapping[str, Any], gold: Mapping[str, Any]) -> int:
    return sum(key in gold and str(value) == str(gold[key]) for key, value in predicted.items())


def _nonempty(arguments: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in arguments.items() if value != ""}


def _right_arguments(call: ToolCall, gold: Calls) -> int:
    shared = (_count_shared(call.arguments, right.arguments) for right in gold if right.name == call.name)
    return next((n for n in shared if n), 0)


def _count_shared(predicted: Mapping[str, Any], gold: Mapping[str, Any]) -> int:
    predicted_texts, gold_texts = _nonempty(predicted), _nonempty(gold)
    if not gold and not predicted_texts:
        return 1
    return sum(predicted_texts.get(key) == value for key, value in gold_texts.items())
