"""How much of all the calls is right, counted over a whole file? (Hammer's and Seal-Tools' micro F1)

Inputs: the calls of each answer (None when it could not be read) and the gold calls. Outputs: counts per row, which add
up, and F1 in percent of tool names and of arguments ("func" and "func + args" in the Hammer paper, arXiv:2410.04587).

As github.com/MadeAgents/Hammer counts (evaluation/evaluate.py):

* an answer that cannot be read is one predicted tool; an answer without calls is nothing;
* a predicted call is right when the row's gold has a call of that name, however often it is repeated;
* arguments whose value is the empty text are not counted; values are equal when their texts are, so 1 equals "1", and
  case and spaces matter;
* a predicted call is compared with the first gold call of its name that shares an argument with it; two calls without
  arguments share one, although neither side counted any, so that F1 can pass 100.

Not in the paper (arXiv:2510.07841), which reports a share of rows; it is here to compare with the papers that do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from ttsi.benchmarks.matching import Calls
from ttsi.types import ToolCall


@dataclass(frozen=True)
class Counts:
    """What was asked for, what was said and what of it was right."""

    gold_tools: int = 0
    said_tools: int = 0
    right_tools: int = 0
    gold_arguments: int = 0
    said_arguments: int = 0
    right_arguments: int = 0


def count(calls: Calls | None, gold: Calls) -> Counts:
    """The counts of one row.

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


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of many rows."""
    return Counts(*(sum(column) for column in zip(astuple(Counts()), *map(astuple, counts), strict=True)))


def f1(counts: Counts) -> dict[str, float | None]:
    """F1 of tool names and of arguments in percent; None where there was neither anything to say nor anything said.

    >>> f1(Counts(gold_tools=2, said_tools=2, right_tools=1))
    {'f1_tools': 50.0, 'f1_arguments': None}
    """
    return {
        "f1_tools": _f1(counts.right_tools, counts.gold_tools + counts.said_tools),
        "f1_arguments": _f1(counts.right_arguments, counts.gold_arguments + counts.said_arguments),
    }


def _f1(right: int, both: int) -> float | None:
    """2PR / (P + R) with P = right / said and R = right / gold."""
    return 200 * right / both if both else None


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
