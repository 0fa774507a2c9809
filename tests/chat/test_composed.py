"""Masks of composed schemas admit every legal call, in at least one order of its keys.

Schemas are drawn at random from all applicators, calls from a small world of names and values; `jsonschema` says which
calls are legal.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ttsi.chat import marked
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import tool_grammar
from ttsi.chat.tool_schema import normalise, problem
from ttsi.types import Tool, ToolCall

PLAIN = FORMATS["plain"]


@cache
def tokenizer() -> tuple[Tokenizer, llguidance.LLTokenizer]:
    """One token per byte."""
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<eos>"]
    bpe = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marked.MARKS])
    return bpe, llguidance.LLTokenizer(bpe.to_str(), eos_token=bpe.token_to_id("<eos>"))


def accepts(grammar: str, text: str) -> bool:
    bpe, masks = tokenizer()
    matcher = llguidance.LLMatcher(masks, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error() + "\n" + grammar
    ids = bpe.encode(text).ids
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


def orders(value: Any) -> Iterator[Any]:
    """The value with the keys of its objects in every order."""
    if isinstance(value, list):
        yield from map(list, itertools.product(*map(orders, value)))
    elif isinstance(value, dict):
        for keys in itertools.permutations(value):
            for inner in itertools.product(*(orders(value[key]) for key in keys)):
                yield dict(zip(keys, inner, strict=True))
    else:
        yield value


def plain_admits(tool: Tool, arguments: dict[str, Any]) -> bool:
    grammar = tool_grammar(PLAIN, tool)
    return any(accepts(grammar, PLAIN.render([ToolCall(tool.name, one)])) for one in orders(arguments))


def marked_admits(tool: Tool, arguments: dict[str, Any]) -> bool:
    grammar = tool_grammar(FORMATS["marked"], tool)
    some = (marked.render([ToolCall(tool.name, one)], tools=[tool]) for one in orders(arguments))
    return any(accepts(grammar, text) for text in some)


NAMES = ("a", "b", "xc")
TEXT = {"type": "string"}
names = st.sampled_from(NAMES)
leaves = st.sampled_from([
    TEXT, {"type": "integer"}, {"type": "number", "minimum": 0}, {"type": "boolean"}, {"type": "null"},
    {"type": ["string", "null"]}, {"enum": ["x", 3, None]}, {"const": "x"}, {"type": "string", "pattern": "^x"},
    {"type": "string", "minLength": 1}, {"type": "array", "items": TEXT}, {"type": "object"}, {}, True,
    {"$ref": "#/$defs/text"}, {"$ref": "#/$defs/node"}, {"$ref": "#/$defs/maybe", "description": "d"},
    {"type": "array", "prefixItems": [TEXT], "items": {"type": "integer"}},
])  # fmt: skip
DEFINITIONS = {
    "text": TEXT,
    "node": {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}, "b": TEXT}},
    "maybe": {"oneOf": [{"$ref": "#/$defs/node"}, {"type": "integer"}]},
    "loop": {"allOf": [{"$ref": "#/$defs/loop"}]},
    "open": {"type": "object", "properties": {"a": TEXT}, "patternProperties": {"^x": {"type": "integer"}}},
}


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    parts = st.sampled_from([{"required": ["a"]}, {"$ref": "#/$defs/node"}, {"$ref": "#/$defs/loop"}, {}, True]) | inner
    some = st.lists(parts, min_size=1, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "properties": st.dictionaries(names, inner, min_size=1, max_size=3),
        "required": st.lists(names, max_size=1),
        "additionalProperties": st.booleans() | inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^x", "c$"]), inner, min_size=1, max_size=2),
        "minProperties": st.just(1),
        "maxProperties": st.integers(1, 3),
        "allOf": some,
        "anyOf": some,
        "oneOf": some,
        "if": parts,
        "then": parts,
        "else": parts,
        "not": st.just({"required": ["b"]}),
        "dependentRequired": st.just({"a": ["b"]}),
        "dependentSchemas": st.fixed_dictionaries({"a": parts}),
        "$ref": st.sampled_from(["#/$defs/node", "#/$defs/open", "#/$defs/loop"]),
    }
    chosen = st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=3, unique=True)
    parts = chosen.flatmap(lambda keys: st.fixed_dictionaries({key: keywords[key] for key in keys}))
    return parts.map(lambda schema: {**schema, "type": "object"} if "properties" in schema else schema)


schemas = st.recursive(leaves, objects, max_leaves=8)
values = st.recursive(
    st.sampled_from(["x", "", "y z", "3", "null", "[x", '"', "a\nb", 3, 0.5, -1, True, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=3,
)
calls = st.lists(st.dictionaries(names, values, min_size=1, max_size=3), min_size=20, max_size=20)


def tool_of(schema: Any) -> Tool:
    return Tool("f", "", normalise({**schema, "type": "object", "$defs": DEFINITIONS}))


@given(schema=objects(schemas), arguments=calls)
@settings(max_examples=60, deadline=None)
def test_every_legal_call_of_a_composed_schema_passes(schema: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
    tool = tool_of(schema)
    tool_grammar(PLAIN, tool)
    for one in arguments:
        if problem(ToolCall("f", one), [tool]) is None:
            assert plain_admits(tool, one), (json.dumps(tool.parameters), one)


@given(schema=objects(schemas), arguments=calls)
@settings(max_examples=60, deadline=None)
def test_our_format_reads_back_every_legal_call(schema: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
    tool = tool_of(schema)
    for one in arguments:
        call = ToolCall("f", one)
        if problem(call, [tool]) is None:
            text = marked.render([call], tools=[tool])
            assert json.dumps(marked.parse_calls(text, [tool])[0].arguments) == json.dumps(one), text
            assert marked_admits(tool, one), (json.dumps(tool.parameters), text)


BY_CITY = {"type": "object", "properties": {"city": TEXT}, "required": ["city"]}
BY_CODE = {"type": "object", "properties": {"code": TEXT}, "required": ["code"]}
LABELS = {"type": "object", "patternProperties": {"^x-": TEXT}, "additionalProperties": False, "minProperties": 1}
SHAPES: list[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = [
    ({"oneOf": [BY_CITY, BY_CODE]}, [{"city": "Oslo"}, {"code": "1"}], [{}, {"town": "x"}]),
    ({"anyOf": [BY_CITY, BY_CODE]}, [{"city": "Oslo"}, {"city": "Oslo", "code": "1"}], [{}, {"city": "x", "day": 1}]),
    ({"allOf": [BY_CITY, BY_CODE]}, [{"city": "Oslo", "code": "1"}], [{}, {"city": "Oslo"}]),
    ({"properties": {"day": TEXT}, "allOf": [{"$ref": "#/$defs/c"}]}, [{"day": "1", "city": "x"}], [{"day": "1"}]),
    ({"properties": {"day": TEXT}, "$ref": "#/$defs/c"}, [{"day": "1", "city": "x"}], [{"day": "1"}]),
    ({"properties": {"place": {"type": "object", "allOf": [BY_CITY]}}}, [{"place": {"city": "x"}}], [{"place": {}}]),
    ({"properties": {"labels": LABELS}}, [{"labels": {"x-a": "b"}}], [{"labels": {}}, {"labels": {"y": "b"}}]),
    (
        {
            "properties": {"how": {"enum": ["air", "sea"]}, "port": TEXT},
            "required": ["how"],
            "if": {"properties": {"how": {"const": "sea"}}},
            "then": {"required": ["port"]},
        },
        [{"how": "sea", "port": "x"}, {"how": "air"}],
        [{}, {"how": "rail"}],
    ),
    (
        {"properties": {"card": TEXT, "owner": TEXT}, "dependentRequired": {"card": ["owner"]}},
        [{}, {"owner": "x"}, {"card": "1", "owner": "x"}],
        [{"card": "1"}],
    ),
    ({"properties": {"a": TEXT, "b": TEXT}, "minProperties": 1}, [{"a": "x"}, {"b": "x"}, {"a": "", "b": ""}], [{}]),
]


@pytest.mark.parametrize(("schema", "legal", "illegal"), SHAPES)
def test_the_mask_tells_legal_from_illegal_where_it_can(
    schema: dict[str, Any], legal: list[dict[str, Any]], illegal: list[dict[str, Any]]
) -> None:
    tool = Tool("f", "", normalise({"type": "object", **schema, "$defs": {"c": BY_CITY}}))
    for one in (*legal, *illegal):
        text = PLAIN.render([ToolCall("f", one)])
        assert (problem(ToolCall("f", one), [tool]) is None) == (one in legal)
        assert accepts(tool_grammar(PLAIN, tool), text) == (one in legal), one


def test_control_the_keys_of_one_schema_alone_forbid_legal_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(schema: Any, root: Any) -> list[dict[str, Any]]:
        return [{"type": "object", "properties": schema.get("properties", {}), "additionalProperties": False}]

    schema, [legal, *_], _ = SHAPES[0]
    tool = Tool("f", "", normalise(schema))
    assert plain_admits(tool, legal)
    monkeypatch.setattr("ttsi.chat.schema_mask.alternatives", alone)
    assert not plain_admits(tool, legal) and plain_admits(tool, {})


def test_a_schema_that_grows_at_each_reference_makes_a_mask_in_the_end() -> None:
    twice = {
        f"d{n}": {"properties": {k: {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {}]} for k in "ab"}} for n in range(40)
    }
    doubled = {f"e{n}": {"anyOf": [{"$ref": f"#/$defs/e{n + 1}"}] * 2} for n in range(40)}
    last = {"d40": TEXT, "e40": TEXT}
    for first in ("d0", "e0"):
        parameters = {
            "properties": {"v": {"$ref": f"#/$defs/{first}", "minLength": 0}},
            "$defs": twice | doubled | last,
        }
        tool = Tool("f", "", normalise(parameters))
        for name in ("plain", "marked"):
            assert len(tool_grammar(FORMATS[name], tool)) < 2_000_000


PLACE = {"$ref": "#/$defs/place"}
HERE = {"city": "Oslo"}


@pytest.mark.parametrize("place", ["$defs", "definitions"])
@pytest.mark.parametrize(
    ("schema", "wrap"),
    [
        (PLACE, lambda one: one),
        ({"anyOf": [PLACE, {"type": "null"}], "default": None}, lambda one: one),
        ({"anyOf": [BY_CITY, {"type": "null"}]}, lambda one: one),
        ({"allOf": [PLACE], "description": "where"}, lambda one: one),
        ({"oneOf": [PLACE, {"$ref": "#/$defs/list"}], "discriminator": {"propertyName": "k"}}, lambda one: one),
        ({"$ref": "#/$defs/alias"}, lambda one: one),
        ({"type": "array", "items": PLACE}, lambda one: [one]),
        ({"$ref": "#/$defs/list"}, lambda one: [one]),
        ({"type": "array", "prefixItems": [PLACE]}, lambda one: [one]),
        ({"type": "object", "additionalProperties": PLACE}, lambda one: {"home": one}),
        ({"type": "object", "patternProperties": {"^h": PLACE}}, lambda one: {"home": one}),
        ({"$ref": "#/$defs/node"}, lambda one: {"place": HERE, "next": {"place": one}}),
    ],
)
def test_a_definition_that_lists_its_names_takes_no_other(
    schema: dict[str, Any], wrap: Callable[[Any], Any], place: str
) -> None:
    node = {"properties": {"place": PLACE, "next": {"$ref": "#/$defs/node"}}, "type": "object"}
    definitions = {"place": BY_CITY, "alias": PLACE, "list": {"type": "array", "items": PLACE}, "node": node}
    whole = {"properties": {"v": schema}, "required": ["v"], "$defs": definitions}
    tool = Tool("f", "", normalise(json.loads(json.dumps(whole).replace("$defs", place))))
    for value, legal in ((HERE, True), ({**HERE, "zip": 1}, False)):
        one = {"v": wrap(value)}
        assert (problem(ToolCall("f", one), [tool]) is None) == legal
        assert accepts(tool_grammar(PLAIN, tool), PLAIN.render([ToolCall("f", one)])) == legal


ZIP = {"type": "object", "properties": {"zip": {"type": "integer"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [PLACE, ZIP]},
        {"allOf": [{"$ref": "#/$defs/alias"}, ZIP]},
        {"allOf": [{"$ref": "#/$defs/p~1q"}, ZIP]},
        {"allOf": [{"$ref": "#by_name"}, ZIP]},
        {**PLACE, **ZIP},
        {**ZIP, "if": {"required": ["city"]}, "then": PLACE},
        {**ZIP, "anyOf": [PLACE, {"required": ["zip"]}]},
        {"$ref": "#/$defs/open"},
    ],
)
def test_control_definitions_that_are_joined_with_others_take_the_names_of_both(schema: dict[str, Any]) -> None:
    definitions = {
        "place": {**BY_CITY, "$anchor": "by_name"}, "alias": {"allOf": [PLACE]}, "p/q": PLACE,
        "open": {**BY_CITY, "additionalProperties": True},
    }  # fmt: skip
    tool = Tool("f", "", normalise({"properties": {"v": schema}, "required": ["v"], "$defs": definitions}))
    one = {"v": {"city": "Oslo", "zip": 1}}
    assert problem(ToolCall("f", one), [tool]) is None
    assert plain_admits(tool, one)


LIST = {"type": "array", "items": TEXT}
SLOTS: list[tuple[Any, list[Any], list[str]]] = [
    ({"anyOf": [TEXT, {"type": "null"}]}, ["Oslo", "null", None, "3 apples", '"', ""], ["Oslo", '"null"', "null"]),
    ({"type": ["string", "integer"]}, ["3", 3, "three", "2024-01-02", "v1.2"], ['"3"', "3", "three"]),
    ({"anyOf": [TEXT, LIST]}, [["Oslo"], "Oslo", ["a", "b"], [], ["[x"]], ["Oslo", '"Oslo"', "a<|;|> b", "[]"]),
    ({"type": ["array", "null"], "items": TEXT}, [["Oslo"], ["null"], None, [""]], ["Oslo", '["null"]', "null"]),
    (LIST, [["a"], ["a", "b"], [], ["[a", ""], ["null"], ['"[a"']], ["a", "a<|;|> b", "[]", '"[a"<|;|> ""', "null"]),
    (TEXT, ["3", "null", '"x"', "", '""', "a\nb", '"a\\nb"'], ["3", "null", '"x"', '""', '"\\"\\""', '"a\\nb"']),
    ({"enum": ["a", 3, "3", None]}, ["a", 3, "3", None], ["a", "3", '"3"', "null"]),
    ({}, ["Oslo", 3, ["a"], {"b": {"c": 1}}, True], ["Oslo", "3", '["a"]']),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"rooms": 2}, {}, {"a.b": 1}, {" ": 1}], []),
    ({"$ref": "#/$defs/open"}, [{"city": "Oslo"}, {"city": "Oslo", "zip": [1]}], []),
    ({"oneOf": [BY_CITY, BY_CODE]}, [{"city": "Oslo"}, {"code": "3"}], []),
    ({"type": "object", "properties": {"b.c": TEXT, "d": TEXT}}, [{"b.c": "x"}, {"d": "x"}, {}], []),
]


@pytest.mark.parametrize(("schema", "some", "texts"), SLOTS)
def test_our_format_tells_the_values_of_one_slot_apart(schema: Any, some: list[Any], texts: list[str]) -> None:
    definitions = {"c": BY_CITY, "open": {**BY_CITY, "additionalProperties": True}}
    parameters = {"properties": {"v": schema}, "required": ["v"], "$defs": definitions}
    tool = Tool("f", "", normalise(parameters))
    written = [marked.render([ToolCall("f", {"v": value})], tools=[tool]) for value in some]
    for value, text in zip(some, written, strict=True):
        assert problem(ToolCall("f", {"v": value}), [tool]) is None
        assert json.dumps(marked.parse_calls(text, [tool])[0].arguments["v"]) == json.dumps(value)
        assert accepts(tool_grammar(FORMATS["marked"], tool), text), text
    if texts:  # the surface that the embedded model has learnt stays: text and items without quotation marks
        assert [text[len("<|call|> f<|args|> v<|=|> ") : -len("<|,|>")] for text in written[: len(texts)]][:1] == texts[
            :1
        ]
        assert {f"<|call|> f<|args|> v<|=|> {text}<|,|>" for text in texts} <= set(written)


def test_control_without_its_tool_our_format_cannot_tell_text_from_a_number() -> None:
    tool = Tool("f", "", normalise({"properties": {"v": {"type": ["string", "integer"]}}}))
    assert marked.parse_calls(marked.render([ToolCall("f", {"v": "3"})]), [tool])[0].arguments == {"v": 3}


def test_our_format_keeps_names_apart_that_look_alike() -> None:
    place = {"type": "object", "properties": {"b": TEXT}}
    tool = Tool(
        "f", "", normalise({"properties": {"a": place, "a.b": TEXT, " c ": TEXT}, "additionalProperties": True})
    )
    for one in ({"a": {"b": "x"}}, {"a.b": "x"}, {" c ": "x"}, {"d.e": "x"}, {"d": {"e": 1}}, {"": 1}, {'"': 1}):
        text = marked.render([ToolCall("f", one)], tools=[tool])
        assert marked.parse_calls(text, [tool])[0].arguments == one, text
        assert accepts(tool_grammar(FORMATS["marked"], tool), text), text


def test_no_string_can_be_read_as_a_mark() -> None:
    tool = Tool("f", "", normalise({"properties": {"v": TEXT, "w": LIST, "x": {}}}))
    for value in (*marked.MARKS, '"<|,|>"', "a<|call|> g<|args|>"):
        one = {"v": value, "w": [value, "b"], "x": {"k": [value]}}
        assert marked.parse_calls(marked.render([ToolCall("f", one)], tools=[tool]), [tool])[0].arguments == one


def test_our_format_reads_the_parts_of_an_old_draft() -> None:
    pair = {"anyOf": [{"type": "array", "items": [TEXT, {"type": "integer"}]}, {"type": "null"}]}
    parameters = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"v": pair}}
    tool = Tool("f", "", normalise(parameters))
    for value, legal in ((["a", 1], True), (None, True), (["a", "b"], False)):
        assert (problem(ToolCall("f", {"v": value}), [tool]) is None) == legal
    text = marked.render([ToolCall("f", {"v": ["a", 1]})], tools=[tool])
    assert accepts(tool_grammar(FORMATS["marked"], tool), text)
    assert not accepts(tool_grammar(FORMATS["marked"], tool), text.replace('["a", 1]', '["a", "b"]'))


NUMBER = {"type": "integer"}
CHOICE = {"enum": ["red", "blue"]}


def tuple_of(*items: Any, **more: Any) -> dict[str, Any]:
    """A tuple's schema, as pydantic makes it."""
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items), **more}


LISTS: list[tuple[dict[str, Any], list[list[Any]], list[list[Any]]]] = [
    (tuple_of(NUMBER, TEXT), [[1, "a"]], [["Oslo"], ["a", "b"], [1], [], [1, "a", "b"]]),
    (tuple_of(TEXT, TEXT), [["a", "b"], ["[a", ""]], [["a"], ["a", "b", "c"], [], ["a", 1]]),
    (tuple_of({"type": ["string", "integer"]}, TEXT), [["a", "b"], [1, "b"]], [["a"], ["a", 1], ["a", "b", "c"]]),
    (tuple_of(CHOICE, TEXT), [["red", "b"]], [["green", "b"], ["red"]]),
    (tuple_of(TEXT, TEXT, minItems=1), [["a"], ["a", "b"]], [[], ["a", "b", "c"]]),
    (tuple_of(TEXT, NUMBER, minItems=0), [["a"], ["a", 1], []], [["a", "b"], [1]]),
    (tuple_of(TEXT, maxItems=3, items=CHOICE), [["a"], ["a", "red", "blue"]], [["a", "b"], ["a", *["red"] * 3]]),
    ({"type": "array", "prefixItems": [TEXT], "items": False}, [["a"], []], [["a", "b"]]),
    ({"type": "array", "minItems": 2, "maxItems": 3}, [["a", "b"], [1, "b", None]], [["a"], ["a"] * 4]),
    ({"type": "array", "items": {"type": ["string", "null"]}, "maxItems": 1}, [["a"], [None]], [["a", "b"], [1]]),
    ({"type": "array", "items": {"enum": ["red", 3]}}, [["red", "red"], ["red", 3]], [["green"], [4]]),
    ({"type": "array", "items": TEXT, "maxItems": 0}, [[]], [["a"]]),
    ({"anyOf": [tuple_of(TEXT, TEXT), tuple_of(NUMBER)]}, [["a", "b"], [1]], [["a"], [1, 2]]),
    ({"anyOf": [{"type": "array", "enum": [["a"]]}, tuple_of(NUMBER)]}, [["a"], [1]], [["b"], ["a", "a"]]),
    ({"anyOf": [tuple_of(NUMBER, TEXT), {"type": "null"}]}, [[1, "a"]], [["a", "b"], [1]]),
]


@pytest.mark.parametrize(("schema", "legal", "illegal"), LISTS)
def test_our_format_admits_the_legal_lists_only(
    schema: dict[str, Any], legal: list[list[Any]], illegal: list[list[Any]]
) -> None:
    tool = Tool("f", "", normalise({"properties": {"v": schema}, "required": ["v"]}))
    for value in (*legal, *illegal):
        call = ToolCall("f", {"v": value})
        assert (problem(call, [tool]) is None) == (value in legal)
        text = marked.render([call], tools=[tool])
        assert json.dumps(marked.parse_calls(text, [tool])[0].arguments) == json.dumps(call.arguments)
        as_json = text.replace(marked.render_value(value), json.dumps(value))
        written = {text, as_json} if value in illegal else {text}
        assert [accepts(tool_grammar(FORMATS["marked"], tool), one) for one in written] == [value in legal] * len(
            written
        )


OPTIONAL = {"anyOf": [{"type": "string", "enum": ["a/b", "nought", "null", "3", 'q"']}, {"type": "null"}]}
CHOICES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    (OPTIONAL, ["a/b", "nought", "null", "3", 'q"', None], ["a", "no", "zero", 3, ["a/b"]]),
    ({"anyOf": [CHOICE, NUMBER]}, ["red", "blue", 3, -1], ["green", "redder", None, True]),
    ({"anyOf": [CHOICE, {"type": "string", "minLength": 1}, NUMBER]}, ["red", "green", 3], [None]),
    ({"anyOf": [CHOICE, tuple_of(NUMBER, TEXT)]}, ["red", [1, "a"]], ["green", ["red", "red"]]),
]


@pytest.mark.parametrize(("schema", "legal", "illegal"), CHOICES)
def test_our_format_admits_the_legal_choices_only(schema: dict[str, Any], legal: list[Any], illegal: list[Any]) -> None:
    tool = Tool("f", "", normalise({"properties": {"v": schema}, "required": ["v"]}))
    for value in (*legal, *illegal):
        call = ToolCall("f", {"v": value})
        assert (problem(call, [tool]) is None) == any(value is one or value == one for one in legal)
        text = marked.render([call], tools=[tool])
        assert accepts(tool_grammar(FORMATS["marked"], tool), text) == (problem(call, [tool]) is None), text


def test_control_the_item_count_alone_lets_wrong_tuples_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    schema, _, [wrong, *_] = LISTS[0]
    tool = Tool("f", "", normalise({"properties": {"v": schema}, "required": ["v"]}))
    text = marked.render([ToolCall("f", {"v": wrong})], tools=[tool])
    assert not accepts(tool_grammar(FORMATS["marked"], tool), text)
    monkeypatch.setattr("ttsi.chat.marked_grammar._positions", lambda schema, root: (["/ .+/"], "/ .+/"))
    monkeypatch.setattr("ttsi.chat.marked_grammar._item_counts", lambda schema: (0, 9))
    assert accepts(tool_grammar(FORMATS["marked"], tool), text)


def test_a_long_tuple_makes_a_mask() -> None:
    tool = Tool("f", "", normalise({"properties": {"v": {"type": "array", "prefixItems": [TEXT] * 2_000}}}))
    assert accepts(
        tool_grammar(FORMATS["marked"], tool), marked.render([ToolCall("f", {"v": ["a", "b"]})], tools=[tool])
    )
