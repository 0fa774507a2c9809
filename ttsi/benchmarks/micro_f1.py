"""How much of all the calls is right, counted over a whole file? (micro F1, as Hammer and as Seal-Tools count it)

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
github.com/fairyshine/Seal-Tools (arXiv:2405.08355). An answer without calls
is nothing to both; Seal-Tools, which looks for a list of calls in the text, also calls it unreadable. Not in the paper
(arXiv:2510.07841), which reports a share of rows; it is here to compare with the papers that do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from ttsi.benchmarks.matching import Calls
from ttsi.types import ToolCall

KINDS = ("tools", "arguments")


@dataclass(frozen=True)
class Counts:
    """What was asked for, what was said and what of it was right."""

    gold_tools: int = 0
    said_tools: int = 0
    right_tools: int = 0
    gold_arguments: int = 0
    said_arguments: int = 0
    right_arguments: int = 0


class Count(Protocol):
    """A way of counting one row."""

    def __call__(self, calls: Calls | None, gold: Calls) -> Counts:
        """The counts of one row; calls are None when the answer could not be read."""
        ...


def count(calls: Calls | None, gold: Calls) -> Counts:
    """The counts of one row, as Hammer counts.

    >>> gold = [ToolCall("f", {"n": 1, "unit": ""}), ToolCall("g", {})]
    >>> count([ToolCall("f", {"n": "1", "m": 2})], gold)
    Counts(gold_tools=2, said_tools=1, right_tools=1, gold_arguments=1, said_arguments=2, right_arguments=1)
    >>> count(None, gold).said_tools, count([], gold).said_tools
    (1, 0)
    """
    said = () if calls is None else calls
    known = [call for call in said if any(call.name == right.name for right in gold)]
    return Counts(
        gold_tools=len(gold),
        said_tools=1 if calls is None else len(said),
        right_tools=len(known),
        gold_arguments=sum(len(_told(call.arguments)) for call in gold),
        said_arguments=sum(len(_told(call.arguments)) for call in said),
        right_arguments=sum(_right_arguments(call, gold) for call in known),
    )


def count_seal_tools(calls: Calls | None, gold: Calls) -> Counts:
    """The counts of one row, as Seal-Tools counts.

    >>> gold = [ToolCall("f", {"n": 1, "unit": ""}), ToolCall("f", {"n": 2})]
    >>> counts = count_seal_tools([ToolCall("f", {"n": "2", "unit": ""})], gold)
    >>> counts.gold_arguments, counts.said_arguments, counts.right_arguments
    (3, 2, 1)
    """
    said = calls or ()
    first = {call.name: call.arguments for call in reversed(gold)}
    known = [call for call in said if call.name in first]
    return Counts(
        gold_tools=len(gold),
        said_tools=len(said),
        right_tools=len(known),
        gold_arguments=sum(len(call.arguments) for call in gold),
        said_arguments=sum(len(call.arguments) for call in said),
        right_arguments=sum(_equal_texts(call.arguments, first[call.name]) for call in known),
    )


OFFICIAL: Mapping[str, Count] = dict.fromkeys(
    ("sealtool", "sealtool-dev", "seal-tools-in", "seal-tools-out", "seal-tools-dev"), count_seal_tools
)
"""Benchmark -> its owners' way of counting, where that is their score."""


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of many rows."""
    return Counts(*(sum(column) for column in zip(astuple(Counts()), *map(astuple, counts), strict=True)))


def f1(counts: Counts) -> dict[str, float | None]:
    """F1 of tool names and of arguments in percent; None where there was neither anything to say nor anything said.

    >>> f1(Counts(gold_tools=2, said_tools=2, right_tools=1))
    {'f1_tools': 50.0, 'f1_arguments': None}
    """
    return {
        f"f1_{kind}": 100 * twice / both if both else None for kind in KINDS for twice, both in [ratio(counts, kind)]
    }


def ratio(counts: Counts, kind: str) -> tuple[int, int]:
    """F1 of "tools" or "arguments" as numerator and denominator, which add up over rows.

    2PR / (P + R) with P = right / said and R = right / gold is 2 right / (said + gold).
    """
    if kind == "tools":
        return 2 * counts.right_tools, counts.said_tools + counts.gold_tools
    return 2 * counts.right_arguments, counts.said_arguments + counts.gold_arguments


def _equal_texts(said: Mapping[str, Any], gold: Mapping[str, Any]) -> int:
    return sum(key in gold and str(value) == str(gold[key]) for key, value in said.items())


def _told(arguments: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in arguments.items() if value != ""}


def _right_arguments(call: ToolCall, gold: Calls) -> int:
    shared = (_shared(call.arguments, right.arguments) for right in gold if right.name == call.name)
    return next((n for n in shared if n), 0)


def _shared(said: Mapping[str, Any], gold: Mapping[str, Any]) -> int:
    told, known = _told(said), _told(gold)
    if not gold and not told:
        return 1
    return sum(told.get(key) == value for key, value in known.items())
