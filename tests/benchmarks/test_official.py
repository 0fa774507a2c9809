"""The owners' rules: every change by the table of `mutations`, and NexusRaven's by Python itself, too."""

from __future__ import annotations

import inspect
from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.benchmarks.mutations import RULES, mutants
from ttsi.benchmarks.matching import Calls, grade, lenient, strict
from ttsi.benchmarks.official import Keyless, NexusRaven, ToolRL, bind_arguments
from ttsi.types import Answer, Tool, ToolCall

KEYS = frozenset({"api_key"})
LANES = Tool(
    "book_lanes",
    "Books lanes of a pool.",
    {
        "type": "object",
        "properties": {
            "pool": {"type": "string"},
            "lanes": {"type": "integer"},
            "quiet": {"type": "boolean"},
            "guests": {"type": "array"},
            "address": {"type": "object"},
            "code": {"type": "string", "default": None},
            "api_key": {"type": "string", "default": None},
        },
        "required": ["pool", "lanes"],
    },
)
HOURS = Tool("get_hours", "Opening hours.", {"type": "object", "properties": {"day": {"type": "string"}}})
TOOLS = (LANES, HOURS)
FULL = ToolCall(
    "book_lanes",
    {"pool": "Old Bath", "lanes": 2, "quiet": True, "guests": ["Ann", "Bo"], "address": {"no": 7}, "api_key": "?"},
)
GOLDS = [
    (FULL,),
    (ToolCall("book_lanes", {"pool": "12", "lanes": 3}),),
    (ToolCall("get_hours", {}),),
    (ToolCall("get_hours", {"day": "Sunday"}), FULL),
]


def by_signature(gold: ToolCall, tools: tuple[Tool, ...], calls: Calls | None) -> bool:
    """NexusRaven's verdict by Python's own machinery: bind the call, apply the defaults, compare the dictionaries."""
    if not calls or calls[0].name != gold.name:
        return False
    schema = next(tool.parameters for tool in tools if tool.name == gold.name)
    try:
        return bool(arguments(schema, calls[0]) == arguments(schema, gold))
    except TypeError:
        return False


def arguments(schema: Any, call: ToolCall) -> dict[str, Any]:
    names = sorted(schema["properties"], key=lambda name: name not in schema.get("required", ()))
    signature = inspect.Signature(
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty
            if name in schema.get("required", ())
            else schema["properties"][name].get("default"),
        )
        for name in names
    )
    bound_values = signature.bind(**call.arguments)
    bound_values.apply_defaults()
    return dict(bound_values.arguments)


def verdicts(gold: tuple[ToolCall, ...], tools: tuple[Tool, ...], calls: Calls | None) -> dict[str, bool]:
    by_rule = {"strict": strict(calls, gold), "lenient": lenient(calls, gold), "keyless": Keyless(gold, KEYS)(calls)}
    if len(gold) == 1:
        by_rule |= {"nexusraven": NexusRaven(gold[0], tools)(calls), "toolrl": ToolRL(gold[0])(calls)}
    return by_rule


def test_every_change_is_judged_as_the_table_says() -> None:
    seen: Counter[str] = Counter()
    random = Random(0)
    for gold in GOLDS:
        for mutant in mutants(gold, TOOLS, random, KEYS):
            for rule, by_rule in verdicts(gold, TOOLS, mutant.calls).items():
                assert by_rule is (rule in mutant.right_by), (rule, mutant)
            if len(gold) == 1:
                assert by_signature(gold[0], TOOLS, mutant.calls) is ("nexusraven" in mutant.right_by), mutant
            seen[mutant.change] += 1
    # Every change of the table is tried.
    assert set(seen) >= {
        "right", "reordered", "number as text", "text as number", "spaces round text", "integer as float",
        "truth as number", "default given", "key left out", "key invented", "calls reordered", "one call too many",
        "one call missing", "wrong tool", "tool in other case", "other case", "nested change", "items reordered",
        "no call", "missing argument", "extra argument", "wrong type", "another text", "another number",
    }  # fmt: skip
    assert set(RULES) == set(verdicts(GOLDS[0], TOOLS, ()))


def test_control_a_wrong_rule_breaks_the_table() -> None:
    changes = list(mutants((FULL,), TOOLS, Random(0), KEYS))
    for rule in RULES:
        assert any((rule in mutant.right_by) is not strict(mutant.calls, (FULL,)) for mutant in changes) is (
            rule != "strict"
        )


def test_what_cannot_be_read_is_wrong_under_every_rule() -> None:
    for gold in GOLDS:
        assert not any(verdicts(gold, TOOLS, None).values())


def test_a_call_is_bound_or_refused() -> None:
    assert bind_arguments(ToolCall("book_lanes", {"lanes": 1, "pool": "x"}), TOOLS) == {
        "pool": "x", "lanes": 1, "quiet": None, "guests": None, "address": None, "code": None, "api_key": None,
    }  # fmt: skip
    assert bind_arguments(ToolCall("book_lanes", {"lanes": 1}), TOOLS) is None
    assert bind_arguments(ToolCall("book_lanes", {"lanes": 1, "pool": "x", "y": 1}), TOOLS) is None
    assert bind_arguments(ToolCall("no_such_tool", {}), TOOLS) is None


@pytest.mark.parametrize("official", [None, ToolRL(FULL)])
def test_grade_reports_the_owners_rule_where_there_is_one(official: ToolRL | None) -> None:
    two = Answer("", (ToolCall("get_hours", {}), FULL))
    graded = grade(two, (FULL,), official)
    assert graded["strict"] is False
    assert graded.get("official") is (None if official is None else True)
    # Control: unreadable is wrong by the owners' rule, too.
    assert grade(Answer("", (FULL,), error="broken"), (FULL,), ToolRL(FULL))["official"] is False
    assert grade(None, (FULL,), ToolRL(FULL))["official"] is False
