"""BFCL: every row becomes a sample, the rule says what its header says, and golds survive every tool-call format."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.places import DATA, needs
from ttsi.benchmarks import Benchmark, Sample, bfcl, load
from ttsi.benchmarks.bfcl_literals import JAVA, JAVASCRIPT, LONGEST, read, write
from ttsi.benchmarks.bfcl_rule import AstRule
from ttsi.benchmarks.matching import grade
from ttsi.chat.calls import FORMATS
from ttsi.chat.tool_schema import problem
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, Message, ToolCall

UNSOLVABLE = {
    "simple_java_36", "simple_java_65", "live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3",
    "live_multiple_964-207-0",
}  # fmt: skip

POOL = {
    "name": "pool.hours",
    "description": "When the pool is open.",
    "parameters": {
        "type": "dict",
        "required": ["day"],
        "properties": {
            "day": {"type": "string", "description": "The day.", "enum": ["Sunday", "Monday"]},
            "lane": {"type": "integer", "default": 1},
            "water": {"type": "float"},
            "at": {"type": "tuple", "items": {"type": "float"}},
            "names": {"type": "array", "items": {"type": "string"}},
            "guest": {"type": "dict", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}},
            "guests": {"type": "array", "items": {"type": "dict"}},
            "heated": {"type": "boolean"},
            "note": {"type": "any"},
        },
    },
}


def verdict(accepted: dict[str, list[Any]], category: str = "simple_python", **given: Any) -> bool:
    """The rule on one call of pool.hours, whose day is Sunday on both sides unless told otherwise."""
    function = copy.deepcopy(POOL)
    rule = AstRule(category, (function,), ({"pool.hours": {"day": ["Sunday"], **accepted}},))
    return rule([ToolCall("pool.hours", {"day": "Sunday", **given})])


@pytest.mark.parametrize(
    ("accepted", "given", "right"),
    [
        ({}, {}, True),
        ({}, {"day": "sun-day."}, True),
        ({}, {"day": "Monday"}, False),
        ({}, {"day": None}, False),
        ({}, {"lane": 1}, False),  # the gold does not have it
        ({"pond": [1]}, {"pond": 1}, False),  # the schema does not have it
        ({"lane": [2]}, {}, False),
        ({"lane": ["", 2]}, {}, True),
        ({"lane": [2, 3]}, {"lane": 3}, True),
        ({"lane": [2]}, {"lane": "2"}, False),
        ({"lane": [2]}, {"lane": 2.0}, False),
        ({"lane": [1]}, {"lane": True}, False),
        ({"lane": ["", "dontcare"]}, {"lane": "dontcare"}, True),  # the type of the gold, taken for a variable
        ({"lane": ["", "dontcare"]}, {"lane": "Dontcare"}, False),  # and compared as it is
        ({"water": [20.0]}, {"water": 20}, True),
        ({"water": [20.5]}, {"water": "20.5"}, False),
        ({"at": [[1.0, 2.5]]}, {"at": [1.0, 2.5]}, True),
        ({"at": [[1.0, 2.5]]}, {"at": [1, 2.5]}, False),  # an integer for a float only at the top level
        ({"at": [[1.0, 2.5]]}, {"at": [2.5, 1.0]}, False),
        ({"names": [["Ann Lee", "Bo"]]}, {"names": ["ann_lee", "BO"]}, True),
        ({"names": [["Ann", "Bo"]]}, {"names": ["Bo", "Ann"]}, False),
        ({"names": ["", ["Ann"]]}, {"names": []}, True),  # "" allows the empty list, as in the official checker
        ({"names": [["Ann"]]}, {"names": []}, False),
        ({"guest": [{"name": ["Ann", "A."], "age": ["", 9]}]}, {"guest": {"name": "a"}}, True),
        ({"guest": [{"name": ["Ann"], "age": [9]}]}, {"guest": {"name": "Ann"}}, False),
        ({"guest": [{"name": ["Ann"]}]}, {"guest": {"name": "Ann", "age": 9}}, False),
        ({"guests": [[{"name": ["Ann"]}, {"name": ["Bo"]}]]}, {"guests": [{"name": "Ann"}, {"name": "bo"}]}, True),
        ({"guests": [[{"name": ["Ann"]}, {"name": ["Bo"]}]]}, {"guests": [{"name": "Bo"}, {"name": "Ann"}]}, False),
        ({"guests": [[{"name": ["Ann"]}]]}, {"guests": ["Ann"]}, False),
        ({"heated": [True]}, {"heated": True}, True),
        ({"heated": [True]}, {"heated": 1}, False),
        ({"heated": [True]}, {"heated": "true"}, False),
        ({"note": ["it's warm"]}, {"note": 'It"s warm'}, True),
        ({"water": [1.0]}, {"water": 10**400}, False),
    ],
)
def test_a_call_is_right_by_the_documented_rule(accepted: dict[str, Any], given: dict[str, Any], right: bool) -> None:
    assert verdict(accepted, **given) is right


def test_a_required_argument_must_be_given_whatever_the_gold_says() -> None:
    rule = AstRule("simple_python", (POOL,), ({"pool.hours": {"day": ["", "Sunday"]}},))
    assert rule([ToolCall("pool.hours", {"day": "Sunday"})])
    assert not rule([ToolCall("pool.hours", {})])


def test_names_and_numbers_of_calls_count_and_their_order_does_not() -> None:
    rule = AstRule("parallel", (POOL,), ({"pool.hours": {"day": ["Sunday"]}}, {"pool.hours": {"day": ["Monday"]}}))
    sunday, monday = ToolCall("pool.hours", {"day": "Sunday"}), ToolCall("pool.hours", {"day": "Monday"})
    assert rule([sunday, monday])
    assert rule([monday, sunday])
    for wrong in (None, [], [sunday], [sunday, sunday], [sunday, monday, monday]):
        assert not rule(wrong)
    assert not rule([sunday, ToolCall("pool_hours", {"day": "Monday"})])


def test_no_call_is_right_where_no_tool_fits_and_any_call_where_one_does() -> None:
    irrelevance, relevance = AstRule("live_irrelevance", (), ()), AstRule("live_relevance", (), ())
    call = [ToolCall("x", {})]
    assert (irrelevance([]), irrelevance(None), irrelevance(call)) == (True, True, False)
    assert (relevance([]), relevance(None), relevance(call)) == (False, False, True)


@pytest.mark.parametrize(
    ("language", "kind", "inner", "text", "value"),
    [
        (JAVA, "integer", None, "42", 42),
        (JAVA, "integer", None, "42L", "42L"),
        (JAVA, "long", None, "42L", 42),
        (JAVA, "float", None, "1.5f", 1.5),
        (JAVA, "double", None, "1.5", 1.5),
        (JAVA, "boolean", None, "True", "True"),
        (JAVA, "String", None, '"x"', '"x"'),
        (JAVA, "Array", "integer", "new int[]{1, 2}", [1, 2]),
        (JAVA, "ArrayList", "String", 'new ArrayList<>(Arrays.asList("a", "b"))', ["a", "b"]),
        (JAVA, "ArrayList", "integer", "new ArrayList<>() {{ add(1); add(2); }}", [1, 2]),
        (JAVA, "ArrayList", "integer", "numbers", "numbers"),
        (JAVA, "HashMap", None, 'new HashMap<>() {{ put("a", 1); put("b", "x"); }}', {"a": 1, "b": "x"}),
        (JAVASCRIPT, "String", None, "'x'", "x"),
        (JAVASCRIPT, "Bigint", None, "7n", 7),
        (JAVASCRIPT, "Boolean", None, "false", False),
        (JAVASCRIPT, "array", "String", "['a', \"b\"]", ["a", "b"]),
        (JAVASCRIPT, "array", "float", "[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        (JAVASCRIPT, "dict", None, "{a: 1, 'b': [true, x]}", {"a": 1, "b": [True, "x"]}),
        (JAVASCRIPT, "dict", None, "options", "options"),
    ],
)
def test_literals_are_read(language: str, kind: str, inner: str | None, text: str, value: Any) -> None:
    assert read(text, kind, language, inner) == value


@pytest.mark.parametrize("text", ["[[1]" + ",[1]" * 900, "new HashMap<>() {" + " " * 3900, "{" + "a:" * 1900])
def test_hostile_literals_are_read_at_all(text: str) -> None:
    # With plain backtracking the first would take longer than anybody waits: the test ends, or it does not.
    assert len(text) < LONGEST
    for language, kind in ((JAVASCRIPT, "array"), (JAVASCRIPT, "dict"), (JAVA, "HashMap"), (JAVA, "ArrayList")):
        assert read(text, kind, language, None) is not None
    assert read("1" * (LONGEST + 1), "integer", JAVA) == "1" * (LONGEST + 1)


def test_writing_a_literal_and_reading_it_gives_the_value() -> None:
    cases: list[tuple[Any, str, str, str | None]] = [
        ([1, 2], "ArrayList", JAVA, "long"), (["a", "b"], "ArrayList", JAVA, "String"), ([1], "Array", JAVA, "integer"),
        (2.5, "float", JAVA, None), ({"a": 1, "b": "x"}, "HashMap", JAVA, None), (True, "boolean", JAVA, None),
        ([1.5, 2.0], "array", JAVASCRIPT, "float"), ({"a": [1, "x"]}, "dict", JAVASCRIPT, None),
        (7, "Bigint", JAVASCRIPT, None), ("name", "dict", JAVASCRIPT, None),
    ]  # fmt: skip
    for value, kind, language, inner in cases:
        assert read(write(value, kind, language, inner), kind, language, inner) == value


def folder_with(tmp_path: Path, category: str, row: dict[str, Any], truth: list[Any] | None = None) -> Path:
    """A data folder with one row of a category, and empty files for nothing else."""
    folder = tmp_path / "bfcl" / "possible_answer"
    folder.mkdir(parents=True)
    (tmp_path / "bfcl" / f"BFCL_v4_{category}.json").write_text(json.dumps({"id": f"{category}_0", **row}) + "\n")
    if truth is not None:
        key = {"id": f"{category}_0", "ground_truth": truth}
        (folder / f"BFCL_v4_{category}.json").write_text(json.dumps(key) + "\n")
    return tmp_path


def question_row(function: dict[str, Any], text: str = "Is it open?") -> dict[str, Any]:
    return {"question": [[{"role": "user", "content": text}]], "function": [function]}


def test_a_python_row_becomes_a_sample(tmp_path: Path) -> None:
    truth = [
        {"pool.hours": {"day": ["Sunday"], "lane": ["", None], "water": ["", 20.0], "guest": [{"name": ["", "A"]}]}}
    ]
    [sample] = load("bfcl", folder_with(tmp_path, "simple_python", question_row(POOL), truth), "simple_python").samples
    assert sample.input.messages == (Message("user", "Is it open?"),)
    assert sample.input.tools[0].parameters == {
        "type": "object",
        "required": ["day"],
        "properties": {
            "day": {"type": "string", "description": "The day.", "enum": ["Sunday", "Monday"]},
            "lane": {"type": "integer", "default": 1},
            "water": {"type": "number"},
            "at": {"type": "array", "items": {"type": "number"}},
            "names": {"type": "array", "items": {"type": "string"}},
            "guest": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                "required": [],
            },
            "guests": {"type": "array", "items": {"type": "object"}},
            "heated": {"type": "boolean"},
            "note": {"type": "string"},
        },
    }
    assert sample.gold == (ToolCall("pool.hours", {"day": "Sunday", "water": 20.0, "guest": {"name": "A"}}),)
    assert dict(sample.tags) == {"category": "simple_python", "group": "non-live", "solvable": "yes"}


@pytest.mark.parametrize(
    ("category", "kind", "value", "literal", "hint"),
    [
        ("simple_java", "long", 42, "42L", "a Java long"),
        ("simple_javascript", "Bigint", 7, "7n", "a JavaScript Bigint"),
    ],
)
def test_java_and_javascript_arguments_are_texts(
    tmp_path: Path, category: str, kind: str, value: int, literal: str, hint: str
) -> None:
    parameters = {"type": "dict", "required": ["n"], "properties": {"n": {"type": kind, "description": "How many."}}}
    function = {"name": "count", "description": "Count.", "parameters": parameters}
    data = folder_with(tmp_path, category, question_row(function), [{"count": {"n": [value]}}])
    [sample] = load("bfcl", data, category).samples
    schema = sample.input.tools[0].parameters["properties"]["n"]
    assert schema["type"] == "string"
    assert hint in schema["description"]
    assert sample.gold == (ToolCall("count", {"n": literal}),)
    assert sample.official is not None
    assert sample.official(sample.gold)
    assert not sample.official([ToolCall("count", {"n": value})])


def test_rows_without_a_right_call_are_graded_by_the_official_rule(tmp_path: Path) -> None:
    [none] = load("bfcl", folder_with(tmp_path / "a", "irrelevance", question_row(POOL)), "irrelevance").samples
    [some] = load("bfcl", folder_with(tmp_path / "b", "live_relevance", question_row(POOL)), "live_relevance").samples
    call, silence = Answer("", (ToolCall("pool.hours", {}),)), Answer("no", ())
    assert none.gold == ()
    assert some.gold is None
    assert grade(silence, none.gold, none.official)["official"]
    assert not grade(call, none.gold, none.official)["official"]
    # An input that failed has no answer, and that is no silence.
    assert not grade(None, none.gold, none.official)["official"]
    assert grade(call, some.gold, some.official) == {"official": True}
    assert grade(silence, some.gold, some.official) == {"official": False}


def test_what_is_missing_or_of_another_form_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ttsi data get bfcl"):
        load("bfcl", tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'parallel'"):
        load("bfcl", tmp_path, "paralel")
    data = folder_with(tmp_path, "simple_python", {"question": [[]], "function": [{}]}, [])
    with pytest.raises(DataError, match=r"simple_python\.json, row 1: .*this is not BFCL V4"):
        load("bfcl", data, "simple_python")
    (data / "bfcl" / "BFCL_v4_simple_python.json").write_text("{oops")
    with pytest.raises(DataError, match="not the expected JSON"):
        load("bfcl", data, "simple_python")


@pytest.fixture(scope="module")
def whole() -> Benchmark:
    return load("bfcl", DATA)


@needs("bfcl")
def test_every_row_becomes_one_sample(whole: Benchmark) -> None:
    row_counts = Counter(sample.tags["category"] for sample in whole.samples)
    assert row_counts == {
        "simple_python": 400, "simple_java": 100, "simple_javascript": 50, "multiple": 200, "parallel": 200,
        "parallel_multiple": 200, "live_simple": 258, "live_multiple": 1053, "live_parallel": 16,
        "live_parallel_multiple": 24, "irrelevance": 240, "live_irrelevance": 884, "live_relevance": 16,
    }  # fmt: skip
    assert len({sample.input.id for sample in whole.samples}) == 3641
    assert sum(sample.tags["solvable"] == "no" for sample in whole.samples) == len(UNSOLVABLE)
    assert {sample.input.id for sample in whole.samples if sample.tags["solvable"] == "no"} == UNSOLVABLE
    assert sum(not sample.input.tools for sample in whole.samples) == 4
    calls = Counter(dict.fromkeys(row_counts, 0))
    for sample in whole.samples:
        calls[sample.tags["category"]] += len(sample.gold or ())
    assert (calls["parallel"], calls["parallel_multiple"]) == (540, 607)
    assert (calls["live_parallel"], calls["live_parallel_multiple"]) == (39, 55)
    live = load("bfcl", DATA, "live").samples
    assert live == tuple(s for s in whole.samples if s.tags["category"] in bfcl.LIVE)


def _free_form(sample: Sample) -> bool:
    """Does the gold hold an object whose entries the schema does not list?"""
    return any(isinstance(value, dict) for call in sample.gold or () for value in call.arguments.values())


@needs("bfcl")
@pytest.mark.parametrize("name", FORMATS)
def test_the_gold_of_every_solvable_row_can_be_said_in_every_format(whole: Benchmark, name: str) -> None:
    spoken = FORMATS[name]
    lost = []
    for sample in whole.samples:
        if sample.gold and sample.tags["solvable"] == "yes" and (spoken.several or len(sample.gold) == 1):
            parsed = spoken.parse(spoken.render(sample.gold), sample.input.tools)
            if not grade(Answer("", parsed.calls, parsed.error), sample.gold, sample.official)["official"]:
                lost.append(sample)
    if name not in ("marked", "qwen3-coder", "glm", "glm-4.7"):
        assert lost == []
    # These read values by the schema: 27 rows hold what their schema does not describe.
    assert len(lost) <= 27
    assert all(_free_form(s) or any(problem(call, s.input.tools) for call in s.gold or ()) for s in lost)


MUTATIONS: list[Callable[[random.Random, list[ToolCall]], list[ToolCall]]] = [
    lambda rng, calls: calls[:-1],
    lambda rng, calls: [*calls, calls[0]],
    lambda rng, calls: [ToolCall(calls[0].name + "x", calls[0].arguments), *calls[1:]],
    lambda rng, calls: [ToolCall(calls[0].name, {**calls[0].arguments, "never heard of": 1}), *calls[1:]],
    lambda rng, calls: (
        [ToolCall(calls[0].name, {key: {"?": [value]} for key, value in calls[0].arguments.items()})]
        if calls[0].arguments
        else []
    ),
]


@needs("bfcl")
def test_control_mutated_golds_are_wrong(whole: Benchmark) -> None:
    rng = random.Random(0)
    for sample in whole.samples:
        if sample.gold:
            mutated = rng.choice(MUTATIONS)(rng, list(sample.gold))
            assert not grade(Answer("", tuple(mutated)), sample.gold, sample.official)["official"], sample.input.id
