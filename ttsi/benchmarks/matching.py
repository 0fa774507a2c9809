"""Matching rules: when two lists of calls are the same.

Inputs: the calls a model made (None when its text could not be read as calls) and the gold calls. Outputs: True or
False by one of three rules. Calls are compared without order and one to one; arguments must agree key by key, and an
argument that one side lacks is a difference.

* `strict`: values equal as JSON. 1 and 1.0 are the same number, "1" is not 1, true is not 1.
* `lenient`: values equal as JSON, or as trimmed text: 40 and "40", true and "True". This is how Hammer and Seal-Tools
  compare values (github.com/MadeAgents/Hammer, github.com/fairyshine/Seal-Tools), and what is right strictly is
  right leniently.
* `tool_choice`: only the names count.

The paper (arXiv:2510.07841) reports accuracy without saying how values are compared, so every run reports all three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttsi.benchmarks import Official
from ttsi.types import Answer, ToolCall

Calls = Sequence[ToolCall]


def strict(predicted: Calls | None, gold: Calls) -> bool:
    """Same calls, values equal as JSON.

    >>> book = [ToolCall("book", {"seats": 2, "vip": True})]
    >>> strict([ToolCall("book", {"vip": True, "seats": 2.0})], book)
    True
    >>> strict([ToolCall("book", {"seats": "2", "vip": True})], book)
    False
    >>> strict([ToolCall("book", {"seats": 2, "vip": 1})], book)
    False
    >>> strict(None, [])
    False
    """
    return predicted is not None and _pairs_up(list(predicted), list(gold), same_json)


def lenient(predicted: Calls | None, gold: Calls) -> bool:
    """Same calls, values equal as JSON or as trimmed text.

    >>> lenient([ToolCall("book", {"seats": " 2 "})], [ToolCall("book", {"seats": 2})])
    True
    >>> lenient([ToolCall("book", {"vip": "true"})], [ToolCall("book", {"vip": True})])
    True
    >>> lenient([ToolCall("book", {"city": "Rome"})], [ToolCall("book", {"city": "rome"})])
    False
    """
    return predicted is not None and _pairs_up(list(predicted), list(gold), same_text)


def tool_choice(predicted: Calls | None, gold: Calls) -> bool:
    """Same tools, the same number of times each.

    >>> tool_choice([ToolCall("book", {})], [ToolCall("book", {"seats": 2})])
    True
    >>> tool_choice([ToolCall("book", {})], [ToolCall("book", {}), ToolCall("book", {})])
    False
    """
    return predicted is not None and Counter(c.name for c in predicted) == Counter(c.name for c in gold)


MATCHERS: dict[str, Callable[[Calls | None, Calls], bool]] = {
    "strict": strict,
    "lenient": lenient,
    "tool_choice": tool_choice,
}
"""Rules by name."""


OFFICIAL = "official"
"""The name of the owners' rule among the verdicts, for samples that have one."""


def grade(answer: Answer | None, gold: Calls | None, official: Official | None = None) -> dict[str, bool]:
    """One answer under every rule; no answer, and one that could not be read, is wrong under all of `MATCHERS`.

    Args:
        answer: the model's; None when the input failed, which is wrong under every rule.
        gold: the right calls; None when they are not known, and then `MATCHERS` have no verdict.
        official: the owners' rule for this row, which also judges what could not be read.

    >>> grade(Answer("", (), error="not JSON"), ())
    {'strict': False, 'lenient': False, 'tool_choice': False}
    >>> grade(Answer("I cannot", ()), None, official=lambda calls: not calls)
    {'official': True}
    """
    calls = readable(answer)
    verdicts = {} if gold is None else {name: matches(calls, gold) for name, matches in MATCHERS.items()}
    if official is not None:
        # A failed input is no call, and where no call is right it must not count as an answer.
        verdicts[OFFICIAL] = answer is not None and official(calls)
    return verdicts


def readable(answer: Answer | None) -> Calls | None:
    """The calls of an answer; None when there is no answer or its text could not be read as calls."""
    return None if answer is None or answer.error is not None else answer.calls


def same_json(left: Any, right: Any) -> bool:
    """Equal as JSON values, all the way down.

    >>> same_json([1, {"a": None}], [1.0, {"a": None}])
    True
    >>> same_json(True, 1)
    False
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return _same_items(left, right, same_json)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)


def same_text(left: Any, right: Any) -> bool:
    """Equal as JSON values, or as trimmed text, all the way down.

    >>> same_text({"a": [1, " x"]}, {"a": ["1", "x"]})
    True
    >>> same_text(True, 1)
    False
    """
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return _same_items(left, right, same_text)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same_text, left, right))
    if same_json(left, right):
        return True
    left_text, right_text = str(left).strip(), str(right).strip()
    if isinstance(left, bool) or isinstance(right, bool):
        # Python writes True and JSON writes true; a model may have read either.
        return left_text.lower() == right_text.lower()
    return left_text == right_text


def _same_items(left: Mapping[str, Any], right: Mapping[str, Any], same: Callable[[Any, Any], bool]) -> bool:
    return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)


def _pairs_up(predicted: list[ToolCall], gold: list[ToolCall], same: Callable[[Any, Any], bool]) -> bool:
    """Can every call be paired with its own gold call?

    `same_text` is not transitive ("1" ~ 1 ~ 1.0 but not "1" ~ 1.0), so a first fit could miss a pairing; lists are
    short, so all are tried.
    """
    if len(predicted) != len(gold):
        return False
    if not predicted:
        return True
    first, rest = predicted[0], predicted[1:]
    return any(
        first.name == call.name
        and _same_items(first.arguments, call.arguments, same)
        and _pairs_up(rest, gold[:i] + gold[i + 1 :], same)
        for i, call in enumerate(gold)
    )
