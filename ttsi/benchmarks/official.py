"""Official rules: when a benchmark's own scorer calls an answer right.

Inputs: the calls of a model, None when its text could not be read as calls. Outputs: True or False. Each rule is a
`ttsi.benchmarks.Official` for one row, made by `read_rule` from the row's `official`, its gold and its tools:

* `NexusRaven`: the call is bound to the function's signature, defaults filled in, and compared by Python's `==`.
* `ToolRL`: any of the calls equals the gold call by Python's `==` (API-Bank as ToolRL cuts and grades it).
* `Keyless`: our stand-in for ToolAlpaca, whose own score needs a GPT-4 judge: the lenient rule of
  `ttsi.benchmarks.matching` with the arguments left out that no model can know, which are third-party API keys.
* `AstRule`: lists of accepted values, as BFCL grades (`ttsi.benchmarks.bfcl_rule`).

The paper (arXiv:2510.07841) does not define its comparison, so the general rules are reported beside these. The code is
written from what the scorers do; `docs/benchmarks.md` has the number of verdicts on which each was compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.benchmarks import Official, bfcl_rule
from ttsi.benchmarks.matching import Calls, lenient
from ttsi.chat.conversation import expect
from ttsi.errors import DataError, unknown_name
from ttsi.types import Tool, ToolCall

_KEYS = {"nexusraven": set(), "toolrl": set(), "keyless": {"ignored"}, "bfcl": {"category", "functions", "accepted"}}
"""Rule -> the keys beside `rule` that it needs."""


def read_rule(value: Any, gold: Sequence[ToolCall] | None, tools: tuple[Tool, ...]) -> Official:
    """The rule that a row's `official` names: a name, or an object with `rule` and the rule's own keys.

    >>> right = read_rule({"rule": "keyless", "ignored": ["key"]}, (ToolCall("f", {"key": "?"}),), ())
    >>> right([ToolCall("f", {"key": "mine"})]), right([])
    (True, False)

    Raises:
        DataError: there is no such rule, or something that it needs is missing.
    """
    row = {"rule": value} if isinstance(value, str) else expect(value, dict, "official", 'a name or {"rule": ...}')
    name = expect(row.get("rule"), str, "official's rule", "a name such as nexusraven")
    if name not in _KEYS:
        raise DataError(unknown_name("official rule", name, _KEYS))
    if row.keys() - {"rule"} != _KEYS[name]:
        raise DataError(f"the rule {name} takes {', '.join(['rule', *sorted(_KEYS[name])])} and nothing else")
    if name == "bfcl":
        return bfcl_rule.read_rule(row["category"], row["functions"], row["accepted"])
    if gold is None:
        raise DataError(f"the rule {name} needs gold")
    if name == "keyless":
        return Keyless(tuple(gold), frozenset(map(str, expect(row["ignored"], list, "ignored", "a list of names"))))
    if len(gold) != 1:
        raise DataError(f"the rule {name} needs exactly one call in gold, not {len(gold)}")
    return NexusRaven(gold[0], tools) if name == "nexusraven" else ToolRL(gold[0])


@dataclass(frozen=True)
class NexusRaven:
    """NexusRaven's accuracy (github.com/nexusflowai/NexusRaven, raven/eval/evaluator.py).

    There the call runs against a stub that returns its name and all its arguments. So an argument may be left out where
    the gold has its default and given where the gold leaves it to the default; an unknown or a missing argument is an
    error, and an error is wrong. Only the first call counts. Equality is Python's: 1, 1.0 and True are equal, "1" is
    not one of them.

    >>> count = {"type": "object", "properties": {"of": {}, "step": {"default": None}}, "required": ["of"]}
    >>> right = NexusRaven(ToolCall("count", {"of": 2}), (Tool("count", "", count),))
    >>> right([ToolCall("count", {"step": None, "of": 2.0})]), right([ToolCall("count", {"of": "2"})])
    (True, False)
    >>> right([ToolCall("count", {})]), right([ToolCall("count", {"of": 2, "by": 1})])
    (False, False)
    """

    gold: ToolCall
    tools: tuple[Tool, ...]

    def __call__(self, calls: Calls | None) -> bool:
        """Whether these calls are right."""
        if not calls or calls[0].name != self.gold.name:
            return False
        predicted = bind_arguments(calls[0], self.tools)
        return predicted is not None and predicted == bind_arguments(self.gold, self.tools)


def bind_arguments(call: ToolCall, tools: Sequence[Tool]) -> Mapping[str, Any] | None:
    """Every parameter of the called tool with its value or its default; None where Python would raise a TypeError."""
    schema = next((tool.parameters for tool in tools if tool.name == call.name), None)
    if schema is None or not call.arguments.keys() <= schema["properties"].keys():
        return None
    if not set(schema.get("required", ())) <= call.arguments.keys():
        return None
    return {
        key: call.arguments.get(key, inner.get("default") if isinstance(inner, Mapping) else None)
        for key, inner in schema["properties"].items()
    }


@dataclass(frozen=True)
class ToolRL:
    """API-Bank as github.com/qiancheng0/ToolRL grades it: one call that is exactly the gold one, among any others.

    Its scorer also takes a bare object of arguments for a call of the gold tool. That is left out, since it knows the
    gold tool before it reads the answer: such an answer cannot be read as a call and is wrong here.

    >>> right = ToolRL(ToolCall("f", {"n": "1"}))
    >>> right([ToolCall("g", {}), ToolCall("f", {"n": "1"})]), right([ToolCall("f", {"n": 1})])
    (True, False)
    """

    gold: ToolCall

    def __call__(self, calls: Calls | None) -> bool:
        """Whether these calls are right."""
        return any(
            call.name == self.gold.name and dict(call.arguments) == dict(self.gold.arguments) for call in calls or ()
        )


@dataclass(frozen=True)
class Keyless:
    """Lenient equality in which some arguments, gold or predicted, do not count.

    >>> right = Keyless((ToolCall("f", {"n": 1, "api_key": "?"}),), frozenset({"api_key"}))
    >>> right([ToolCall("f", {"n": "1", "api_key": "YOUR_KEY"})]), right([ToolCall("f", {"api_key": "?"})])
    (True, False)
    """

    gold: tuple[ToolCall, ...]
    ignored: frozenset[str]

    def __call__(self, calls: Calls | None) -> bool:
        """Whether these calls are right."""
        return calls is not None and lenient(self._without(calls), self._without(self.gold))

    def _without(self, calls: Calls) -> list[ToolCall]:
        return [
            ToolCall(call.name, {key: value for key, value in call.arguments.items() if key not in self.ignored})
            for call in calls
        ]
