"""Grammars admit every legal text and nothing else.

A small byte-level BPE stands in for a model's tokenizer; llguidance compiles each grammar and is fed texts token by
token.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import llguidance
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ttsi.chat import marked
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import Demand, answer_grammar, call_then_text_grammar, localise, tool_grammar
from ttsi.chat.tool_schema import normalise, problem
from ttsi.types import Tool, ToolCall

CONTROL = ("<eos>", *marked.MARKS, "[TOOL_CALLS]", "<|tool_call>", '<|"|>', "</arg_value>")
"""Control tokens here: marks of some families are, of others not, as in real tokenizers."""


def tool(name: str, properties: dict[str, Any], required: Sequence[str] = (), does: str = "") -> Tool:
    return Tool(name, does, normalise({"type": "object", "properties": properties, "required": list(required)}))


WEATHER = tool(
    "get.weather",
    {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "wind": {"type": "number"},
        "exact": {"type": "boolean"},
        "unit": {"enum": ["C", 'F"\\'], "type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "hours": {"type": "array", "items": {"type": "integer"}},
        "place": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "number": {"type": "integer"}},
            "required": ["street"],
        },
    },
    ["city"],
    does="show the weather of a city",
)
PING = tool("ping", {}, does="see whether anybody is there")
TOOLS = (PING, WEATHER)


@cache
def tokenizer() -> tuple[Tokenizer, llguidance.LLTokenizer]:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    call = ToolCall("get.weather", {"city": "Oslo", "days": 3})
    texts = [form.render([call]) for name, form in FORMATS.items() if name != "marked"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=list(CONTROL), initial_alphabet=alphabet)
    )
    return bpe, llguidance.LLTokenizer(bpe.to_str(), eos_token=bpe.token_to_id("<eos>"))


def special_ids() -> dict[str, int]:
    ids = ((text, tokenizer()[0].token_to_id(text)) for text in CONTROL)
    return {text: i for text, i in ids if i is not None}


def accepts(grammar: str, text: str) -> bool:
    """Whether the grammar lets every token of `text` through and the answer end there."""
    bpe, masks = tokenizer()
    matcher = llguidance.LLMatcher(masks, localise(grammar, special_ids()), log_level=0)
    assert not matcher.is_error(), matcher.get_error() + "\n" + grammar
    ids = bpe.encode(text).ids
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


LEGAL = [
    ToolCall("ping", {}),
    ToolCall("get.weather", {"city": "Oslo"}),
    ToolCall("get.weather", {"city": "A Coruña / 東京", "days": -3, "wind": 2.5, "exact": True, "unit": 'F"\\'}),
    ToolCall("get.weather", {"city": "Rome", "days": 0, "tags": ["a b", "c"], "hours": [1, 2]}),
    ToolCall("get.weather", {"city": "Rome", "tags": [], "hours": [], "place": {"street": "Main St", "number": 4}}),
    ToolCall("get.weather", {"city": "Rome", "tags": ["one"], "place": {"street": "Main St"}}),
]
ILLEGAL = [
    ToolCall("get.rain", {"city": "Oslo"}),
    ToolCall("ping", {"city": "Oslo"}),
    ToolCall("get.weather", {}),
    ToolCall("get.weather", {"days": 3}),
    ToolCall("get.weather", {"city": "Oslo", "mood": "good"}),
    ToolCall("get.weather", {"city": "Oslo", "days": "three"}),
    ToolCall("get.weather", {"city": "Oslo", "days": 2.5}),
    ToolCall("get.weather", {"city": "Oslo", "exact": "yes"}),
    ToolCall("get.weather", {"city": "Oslo", "unit": "K"}),
    ToolCall("get.weather", {"city": "Oslo", "hours": [1, "x"]}),
    ToolCall("get.weather", {"city": "Oslo", "place": {"number": 4}}),
    ToolCall("get.weather", {"city": "Oslo", "place": {"street": "x", "floor": 4}}),
]


def _tool_of(call: ToolCall) -> Tool:
    return next(tool for tool in TOOLS if tool.name == call.name)


@pytest.mark.parametrize("name", FORMATS)
def test_every_legal_call_passes(name: str) -> None:
    fmt = FORMATS[name]
    for call in LEGAL:
        assert problem(call, TOOLS) is None
        assert accepts(answer_grammar(fmt, TOOLS), fmt.render([call])), call
        words = "well, let me see" if name != "marked" else marked.suffixes(_tool_of(call).description)[-1]
        assert accepts(answer_grammar(fmt, TOOLS), fmt.render([call], words)), call


@pytest.mark.parametrize("name", FORMATS)
def test_no_illegal_call_passes(name: str) -> None:
    fmt = FORMATS[name]
    for call in ILLEGAL:
        assert problem(call, TOOLS) is not None
        assert not accepts(answer_grammar(fmt, TOOLS), fmt.render([call])), call


@pytest.mark.parametrize("name", FORMATS)
def test_answers_may_hold_several_calls_or_none(name: str) -> None:
    fmt, grammar = FORMATS[name], answer_grammar(FORMATS[name], TOOLS)
    if not fmt.several:
        with pytest.raises(ValueError, match="one call a turn"):
            fmt.render(LEGAL)
        return
    assert accepts(grammar, fmt.render(LEGAL))
    assert accepts(grammar, "There is nothing to call,\n\nreally <b>nothing</b>.") == (name != "marked")
    assert accepts(grammar, fmt.no_tool or "")
    assert not accepts(grammar, fmt.render(LEGAL) + " and so on")
    assert not accepts(grammar, fmt.render([LEGAL[1], ILLEGAL[0]]))


@pytest.mark.parametrize("name", FORMATS)
def test_a_demanded_call_comes_at_once(name: str) -> None:
    fmt, call = FORMATS[name], LEGAL[1]
    required, one = answer_grammar(fmt, TOOLS, "required"), answer_grammar(fmt, TOOLS, "one")
    for grammar in (required, one):
        assert accepts(grammar, fmt.render([call])) and accepts(grammar, fmt.render([LEGAL[0]]))
        assert not accepts(grammar, fmt.render([ILLEGAL[0]]))
        for words in ("", "no tool fits", fmt.no_tool or "none", "well, " + fmt.render([call])):
            assert not accepts(grammar, words)
    if fmt.several:
        assert accepts(required, fmt.render(LEGAL)) and not accepts(one, fmt.render(LEGAL))
    assert accepts(answer_grammar(fmt, TOOLS), fmt.no_tool or "none")  # control: undemanded, words are an answer
    with pytest.raises(ValueError, match="no tool to call"):
        answer_grammar(fmt, (), "required")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("calls", ["auto", "required", "one"])
def test_only_tools_that_may_be_called_pass(name: str, calls: Demand) -> None:
    fmt, (ping, weather) = FORMATS[name], LEGAL[:2]
    more, texts = [replace(PING, name="pong"), *TOOLS], [fmt.render([c]) for c in (ToolCall("pong", {}), ping, weather)]
    for only, passes in (
        ([ping.name, weather.name], [False, True, True]),
        ([weather.name], [False, False, True]),
        ([], [True, True, True]),  # the control
    ):
        grammar = answer_grammar(fmt, more, calls, only)
        assert [accepts(grammar, text) for text in texts] == passes
        assert accepts(grammar, fmt.no_tool or "none") == (calls == "auto"), "words, where no call is demanded"
    with pytest.raises(ValueError, match="none of the tools that may be called is on offer: nowhere"):
        answer_grammar(fmt, more, calls, ["nowhere"])


BEFORE = ("", "I look it up.\n", "```python\nx = {}\n```\n")
SPACED = '{{\n  "name": "get.weather",\n  "arguments": {}\n}}'


@pytest.mark.parametrize("before", BEFORE)
def test_a_call_without_the_fence_is_limited_to_legal_ones_too(before: str) -> None:
    fmt = FORMATS["fenced"]
    grammar = answer_grammar(fmt, TOOLS)
    for arguments in ('{"city": "Oslo"}', '{"town": "Oslo"}', '{"city": 3}', "{}"):
        text = before + SPACED.format(arguments)
        assert fmt.parse(text, TOOLS).calls, "it is read as a call"
        assert accepts(grammar, text) == ('"Oslo"' in arguments and "city" in arguments), text
    two = before + FORMATS["plain"].render(LEGAL[:2])
    assert fmt.parse(two, TOOLS).calls == tuple(LEGAL[:2]) and accepts(grammar, two)
    assert not accepts(grammar, before + SPACED.format('{"city": "Oslo"}').replace("get.weather", "unknown"))


@pytest.mark.parametrize("before", BEFORE)
def test_control_json_that_is_no_call_stays_words(before: str) -> None:
    grammar = answer_grammar(FORMATS["fenced"], TOOLS)
    for words in ('{"city": "Oslo"}', "{ x = 1; }", 'The object {"name": "x"} stands in a line.', "{"):
        assert accepts(grammar, before + words), words


@pytest.mark.parametrize(
    ("name", "words"),
    [("hermes", "</tool_call>"), ("mistral", "[ARGS]"), ("llama3", "<|python_tag|>"), ("plain", " {")],
)
def test_words_hold_no_mark(name: str, words: str) -> None:
    fmt, grammar = FORMATS[name], answer_grammar(FORMATS[name], TOOLS)
    assert accepts(grammar, "so\n") and accepts(grammar, fmt.render([LEGAL[1]], "so"))
    assert not accepts(grammar, words)
    assert not accepts(grammar, fmt.render([LEGAL[1]], words))


@pytest.mark.parametrize("name", FORMATS)
def test_without_tools_there_is_only_text(name: str) -> None:
    grammar = answer_grammar(FORMATS[name], ())
    assert accepts(grammar, "Hello there.")
    assert not accepts(grammar, FORMATS[name].render([LEGAL[0]]))


@pytest.mark.parametrize("name", ["hermes", "llama3", "mistral", "plain", "json-list", "granite3", "phi4-mini"])
def test_json_has_no_free_white_space_and_a_fixed_order(name: str) -> None:
    fmt, grammar = FORMATS[name], answer_grammar(FORMATS[name], TOOLS)
    text = fmt.render([ToolCall("get.weather", {"city": "Oslo", "days": 3})])
    assert accepts(grammar, text)
    assert not accepts(grammar, text.replace(", ", ",  "))
    assert not accepts(grammar, text.replace(": ", ":"))
    assert not accepts(grammar, fmt.render([ToolCall("get.weather", {"days": 3, "city": "Oslo"})]))


@pytest.mark.parametrize("name", FORMATS)
def test_tool_grammar_forces_one_call_of_one_tool(name: str) -> None:
    fmt = FORMATS[name]
    call, other = LEGAL[1], LEGAL[0]
    grammar = tool_grammar(fmt, WEATHER)
    assert accepts(grammar, fmt.render([call]))
    two = fmt.render([call, call]) if fmt.several else fmt.render([call]) * 2
    for refused in ("", "why " + fmt.render([call]), fmt.render([other]), two):
        assert not accepts(grammar, refused)


@pytest.mark.parametrize("name", FORMATS)
def test_tool_grammar_forces_one_of_the_reasons(name: str) -> None:
    fmt, call = FORMATS[name], LEGAL[1]
    grammar = tool_grammar(fmt, WEATHER, (' it says "rain"', " it says\nsun"))
    assert accepts(grammar, fmt.render([call], ' it says "rain"'))
    assert accepts(grammar, fmt.render([call], " it says\nsun"))
    assert not accepts(grammar, fmt.render([call]))
    assert not accepts(grammar, fmt.render([call], " it says snow"))
    assert accepts(tool_grammar(fmt, WEATHER, (" rain", "")), fmt.render([call]))
    with pytest.raises(ValueError, match="at least one reason"):
        tool_grammar(fmt, WEATHER, ())


def _rest_of_stop(bpe: Tokenizer, ids: list[int], stops: Sequence[str]) -> int:
    """The token that goes on towards one of the texts that end a free string."""
    written = bpe.decode(ids, skip_special_tokens=False)
    for stop in stops:
        begun = next(n for n in range(len(stop) - 1, -1, -1) if written.endswith(stop[:n]))
        token = bpe.token_to_id(bpe.pre_tokenizer.pre_tokenize_str(stop[begun])[0][0])
        if token is not None:
            return int(token)
    return -1


def walk(grammar: str, seed: int, stops: Sequence[str] = ()) -> str | None:
    """A text drawn token by token from the mask, leaning towards what closes things; None when it got too long."""
    bpe, masks = tokenizer()
    draw = random.Random(seed)
    matcher = llguidance.LLMatcher(masks, localise(grammar, special_ids()), log_level=0)
    closing = {bpe.token_to_id(text) for text in ('"', "}", "]", ",", '<|"|>', "</arg_value>", *marked.MARKS)}
    ids: list[int] = []
    while not (matcher.is_accepting() and draw.random() < 0.5):
        mask = matcher.compute_bitmask()
        allowed = [i for i in range(bpe.get_vocab_size()) if mask[i // 8] >> (i % 8) & 1]
        preferred = [i for i in allowed if i in closing]
        stop = _rest_of_stop(bpe, ids, stops)
        if stop in allowed and draw.random() < 0.8:
            ids.append(stop)
        else:
            ids.append(draw.choice(preferred if preferred and draw.random() < 0.5 else allowed))
        if ids[-1] == bpe.token_to_id("<eos>"):
            return bpe.decode(ids[:-1], skip_special_tokens=False)
        assert matcher.consume_token(ids[-1])
        if len(ids) > 300:
            return None
    return bpe.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_the_mask_lets_through_is_a_legal_call(name: str) -> None:
    fmt, grammar = FORMATS[name], tool_grammar(FORMATS[name], WEATHER)
    stops = {"qwen3-coder": ["\n</parameter>\n"], "functiongemma": ["<escape>"], "gemma4": ['<|"|>']}.get(name, [])
    texts = [text for text in (walk(grammar, seed, stops) for seed in range(30)) if text is not None]
    assert len(texts) > 15
    for text in texts:
        parsed = fmt.parse(text, TOOLS)
        assert parsed.error is None, text
        assert [problem(call, TOOLS) for call in parsed.calls] == [None], text


def test_our_calls_may_each_have_a_reason() -> None:
    grammar = answer_grammar(FORMATS["marked"], TOOLS)
    reasons = [marked.suffixes(_tool_of(call).description)[-1] for call in LEGAL[:2]]
    assert accepts(grammar, marked.render(LEGAL[:2], reasons))
    assert not accepts(grammar, marked.render(LEGAL[:2], reasons) + " behind")


def test_our_reason_quotes_the_line_of_the_tool_that_is_called() -> None:
    grammar = answer_grammar(FORMATS["marked"], TOOLS)
    mine, other = (marked.suffixes(tool.description)[0] for tool in (_tool_of(LEGAL[1]), _tool_of(LEGAL[0])))
    assert accepts(grammar, marked.render([LEGAL[1]], [mine]))
    assert not accepts(grammar, marked.render([LEGAL[1]], [other]))
    assert not accepts(grammar, marked.render([LEGAL[1]], [" because"]))


LEAD = "\nRequest: "


@pytest.mark.parametrize("name", FORMATS)
def test_call_then_text_goes_on_after_the_name(name: str) -> None:
    fmt = FORMATS[name]
    for call, schema in ((LEGAL[0], PING), (LEGAL[2], WEATHER)):
        rest = fmt.render([call]).removeprefix("".join(fmt.name_span(call.name)))
        grammar = call_then_text_grammar(fmt, schema, TOOLS, LEAD)
        assert accepts(grammar, rest + LEAD + "how is the weather?")
        refused = [rest, rest + LEAD, rest + LEAD + "no", rest + LEAD + "two\nlines", rest + "how is the weather?"]
        for text in [*refused, fmt.render([call]) + LEAD + "how is the weather?"]:
            assert not accepts(grammar, text), text


@pytest.mark.parametrize("name", FORMATS)
def test_call_then_text_may_choose_its_tool(name: str) -> None:
    fmt, grammar = FORMATS[name], call_then_text_grammar(FORMATS[name], None, TOOLS, LEAD)
    for call in LEGAL:
        assert accepts(grammar, fmt.render([call]) + LEAD + "how is the weather?")
    assert not accepts(grammar, fmt.render([ILLEGAL[0]]) + LEAD + "how is the weather?")
    with pytest.raises(ValueError, match="no tool"):
        call_then_text_grammar(fmt, None, (), LEAD)


def test_a_request_holds_no_marks() -> None:
    for name, marks in (
        ("hermes", ("<tool_call>", "</tool_call>")),
        ("mistral", ("[ARGS]",)),
        ("marked", marked.MARKS),
    ):
        grammar = call_then_text_grammar(FORMATS[name], PING, TOOLS, LEAD)
        rest = FORMATS[name].render([LEGAL[0]]).removeprefix("".join(FORMATS[name].name_span("ping")))
        assert accepts(grammar, rest + LEAD + "a <b> [c] {d} request")
        for mark in marks:
            assert not accepts(grammar, rest + LEAD + f"a {mark} request")


def test_localise_names_control_tokens_by_id() -> None:
    bpe, masks = tokenizer()
    grammar, text = answer_grammar(FORMATS["mistral"], TOOLS), FORMATS["mistral"].render([LEGAL[1]])
    # Control: as text the mark can never be matched by the one token that the tokenizer makes of it.
    ids = bpe.encode(text).ids
    assert ids[0] == bpe.token_to_id("[TOOL_CALLS]")
    assert llguidance.LLMatcher(masks, grammar, log_level=0).try_consume_tokens(ids) == 0
    assert accepts(grammar, text)
    assert localise(grammar, {}) == grammar
    named = {"<tool_call>": 7, "</tool_call>": 8}
    assert localise(answer_grammar(FORMATS["hermes"], TOOLS), named).count("<[7]>") == 2


ODD: list[dict[str, Any]] = [
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"type": "string"}, {"type": "string", "minLength": 2}]},
    {"allOf": [{"type": "string"}, {"minLength": 1}]},
    {"$ref": "#/$defs/text"},
    {"$ref": "#/$defs/tree"},
    {"$ref": "#/$defs/loop"},
    {"$ref": "#/$defs/maybe"},
    {"$ref": "#"},
    {"type": ["string", "null"]},
    {"type": "string", "format": "no-such-format", "pattern": "(?=x)x|a"},
    {"type": "string", "pattern": "^[A-Za-z]+$", "minLength": 900, "maxLength": 3},
    {"type": "string", "pattern": r"^\w+x{|^y\b"},
    {"type": "object", "patternProperties": {"^a": {"type": "integer"}}},
    {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
    {"type": "array", "uniqueItems": True, "contains": {"const": "a"}},
    {"type": "array", "items": False, "minItems": 9, "maxItems": 3},
    {"type": "array", "prefixItems": [{"type": "string"}]},
    {"type": "array", "items": {"type": "string", "enum": ["[a", "a"]}, "minItems": 1, "maxItems": 2},
    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100000},
    {"not": {"type": "integer"}},
    {"if": {"type": "string"}, "then": {"minLength": 1}},
    {"enum": ["a", 3, None, {"k": [1]}]},
    {"const": "a", "description": "%json <|call|> \n // # \"'"},
    {"type": "integer", "minimum": 5, "maximum": 1},
    {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
    {"type": "number", "multipleOf": 0.01, "minimum": -1e300},
    {},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_odd_schemas_still_make_a_grammar(name: str, odd: dict[str, Any]) -> None:
    fmt = FORMATS[name]
    definitions = {
        "text": {"type": "string"},
        "loop": {"$ref": "#/$defs/loop"},
        "maybe": {"anyOf": [{"$ref": "#/$defs/maybe"}, {"type": "string"}]},
        "tree": {"type": "object", "properties": {"leaf": {"$ref": "#/$defs/tree"}}},
    }
    parameters = {"type": "object", "properties": {"v": odd, "w": True}, "$defs": definitions}
    schema = Tool("odd", "", normalise(parameters))
    assert accepts(tool_grammar(fmt, schema), fmt.render([ToolCall("odd", {})]))
    assert accepts(answer_grammar(fmt, [schema]), fmt.render([ToolCall("odd", {})]))
    assert not accepts(tool_grammar(fmt, schema), fmt.render([ToolCall("odd", {"x": 1})]))
    text = fmt.render([ToolCall("odd", {"v": "a"})])
    if problem(ToolCall("odd", {"v": "a"}), [schema]) is None and name not in (
        "marked",
        "qwen3-coder",
        "glm",
        "glm-4.7",
    ):
        assert accepts(tool_grammar(fmt, schema), text)


@pytest.mark.parametrize("name", FORMATS)
def test_names_cannot_break_out_of_the_grammar(name: str) -> None:
    fmt = FORMATS[name]
    for odd in ('a"b', "a\\", "a/b//c #d", "a\nstart: /.*/", "naïve 東京", "<|call|>", "%json {"):
        schema = tool(odd, {odd: {"type": "string", "enum": [odd]}})
        try:
            fmt.render([ToolCall(odd, {odd: odd})])
        except ValueError as error:
            assert "cannot hold" in str(error)  # a name that this format has no way to spell
            continue
        grammar = tool_grammar(fmt, schema)
        assert not accepts(grammar, "anything")
        if "<|" not in odd:  # a spelled mark in our format would be read as the mark by this test's tokenizer
            assert accepts(grammar, fmt.render([ToolCall(odd, {odd: odd})]))
