"""Does a mask let every legal call of a composed schema through, in at least one order of its keys?

Schemas are drawn at random from all applicators, calls from a small world of names and values; `jsonschema` says which
calls are legal.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import llguidance
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ttsi.chat import ours
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import tool_grammar
from ttsi.chat.schema import normalise, problem
from ttsi.types import Tool, ToolCall

PLAIN = FORMATS["plain"]


@cache
def tokenizer() -> tuple[Tokenizer, llguidance.LLTokenizer]:
    """One token per byte."""
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<eos>"]
    bpe = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in ours.MARKS])
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


def admitted(tool: Tool, arguments: dict[str, Any]) -> bool:
    grammar = tool_grammar(PLAIN, tool)
    return any(accepts(grammar, PLAIN.render([ToolCall(tool.name, one)])) for one in orders(arguments))


def admitted_by_ours(tool: Tool, arguments: dict[str, Any]) -> bool:
    grammar = tool_grammar(FORMATS["ours"], tool)
    some = (ours.render([ToolCall(tool.name, one)], tools=[tool]) for one in orders(arguments))
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
    drawn = chosen.flatmap(lambda keys: st.fixed_dictionaries({key: keywords[key] for key in keys}))
    return drawn.map(lambda schema: {**schema, "type": "object"} if "properties" in schema else schema)


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
@settings(max_examples=100, deadline=None)
def test_every_legal_call_of_a_composed_schema_passes(schema: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
    tool = tool_of(schema)
    tool_grammar(PLAIN, tool)
    for one in arguments:
        if problem(ToolCall("f", one), [tool]) is None:
            assert admitted(tool, one), (json.dumps(tool.parameters), one)


@given(schema=objects(schemas), arguments=calls)
@settings(max_examples=100, deadline=None)
def test_our_format_reads_back_every_legal_call(schema: dict[str, Any], arguments: list[dict[str, Any]]) -> None:
    tool = tool_of(schema)
    for one in arguments:
        call = ToolCall("f", one)
        if problem(call, [tool]) is None:
            text = ours.render([call], tools=[tool])
            assert json.dumps(ours.parse_calls(text, [tool])[0].arguments) == json.dumps(one), text
            assert admitted_by_ours(tool, one), (json.dumps(tool.parameters), text)
