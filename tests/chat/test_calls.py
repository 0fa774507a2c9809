"""Round trips through every format, and errors for broken text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsi.chat import marked
from ttsi.chat.calls import FORMATS, Format, Parsed
from ttsi.chat.tool_schema import normalise
from ttsi.errors import ConfigError
from ttsi.models import check_format, load
from ttsi.types import Tool, ToolCall

JSON_FAMILIES = (
    "hermes", "llama3", "mistral", "plain", "json-list", "granite3", "phi4-mini", "command",
    "mistral-v11", "mistral-v13", "deepseek-v3", "deepseek-v3.1", "kimi-k2",
)  # fmt: skip
"""Formats that hold any JSON value in any argument of any name, whether a tool is known or not."""
MARKS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|python_tag|>",
    "```",
    "; ",
    '"}',
    "\n{",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(MARKS)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
json_calls = st.builds(ToolCall, names, st.dictionaries(texts, values, max_size=4))
reasons = st.text("abc \n.,'", max_size=20).map(str.strip)


@pytest.mark.parametrize("name", JSON_FAMILIES)
@given(calls=st.lists(json_calls, min_size=1, max_size=3), reasoning=reasons)
@settings(max_examples=80, deadline=None)
def test_json_formats_read_back_what_they_write(name: str, calls: list[ToolCall], reasoning: str) -> None:
    fmt = FORMATS[name]
    assert fmt.parse(fmt.render(calls, reasoning), ()) == Parsed(reasoning, tuple(calls))


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
plain_words = words.filter(lambda text: not any(mark in text for mark in marked.MARKS))
KINDS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": ({"type": "string"}, plain_words),
    "count": ({"type": "integer"}, st.integers()),
    "size": ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
    "flag": ({"type": "boolean"}, st.booleans()),
    "names": ({"type": "array", "items": {"type": "string"}}, st.lists(plain_words, max_size=3)),
    "numbers": ({"type": "array", "items": {"type": "integer"}}, st.lists(st.integers(), max_size=3)),
    "place": (
        {"type": "object", "properties": {"street": {"type": "string"}, "no": {"type": "integer"}}},
        st.fixed_dictionaries({"street": plain_words}, optional={"no": st.integers()}),
    ),
}
TOOL = Tool("do.it", "", normalise({"properties": {key: schema for key, (schema, _) in KINDS.items()}}))
our_calls = st.builds(
    ToolCall, st.just("do.it"), st.fixed_dictionaries({}, optional={key: value for key, (_, value) in KINDS.items()})
)


@given(calls=st.lists(our_calls, min_size=1, max_size=3), reasoning=reasons)
@settings(max_examples=150, deadline=None)
def test_our_format_reads_back_what_it_writes(calls: list[ToolCall], reasoning: str) -> None:
    fmt = FORMATS["marked"]
    assert fmt.parse(fmt.render(calls, reasoning), [TOOL]) == Parsed(reasoning, tuple(calls))


def can_hold(fmt: Format, call: ToolCall) -> bool:
    try:
        fmt.render([call])
    except ValueError as error:
        assert "cannot hold" in str(error)
        return False
    return True


marked_words = st.lists(
    st.sampled_from(["a", " ", "\n", "'", '"', "\\", "{", "]", ",", ":", "="])
    | st.sampled_from([mark for form in FORMATS.values() for mark in form.marks if mark not in marked.MARKS]),
    max_size=6,
).map("".join)
marked_calls = st.builds(
    ToolCall,
    st.just("do.it"),
    st.fixed_dictionaries(
        {"text": marked_words},
        optional={key: value for key, (_, value) in KINDS.items() if key != "text"}
        | {"names": st.lists(marked_words, max_size=3), "place": st.fixed_dictionaries({"street": marked_words})},
    ),
)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "marked"])
@given(calls=st.lists(our_calls | marked_calls, min_size=1, max_size=2), reasoning=reasons)
@settings(max_examples=80, deadline=None)
def test_a_format_reads_back_a_legal_call_or_refuses_to_write_it(
    name: str, calls: list[ToolCall], reasoning: str
) -> None:
    fmt = FORMATS[name]
    calls = [call for call in calls if can_hold(fmt, call)][: None if fmt.several else 1]
    if calls:
        assert fmt.parse(fmt.render(calls, reasoning), [TOOL]) == Parsed(reasoning, tuple(calls))


def test_a_text_that_holds_the_closing_tag_is_refused_by_name() -> None:
    # Control of the property above: these formats do refuse something, and say what.
    for name, text in (("qwen3-coder", "</parameter>"), ("glm", "</arg_value>"), ("gemma4", '<|"|>')):
        with pytest.raises(ValueError, match=f"the {name} format cannot hold"):
            FORMATS[name].render([ToolCall("do.it", {"text": f"a{text}b"})])


def test_our_format_reads_back_an_object_whose_keys_no_schema_lists() -> None:
    call = ToolCall("do.it", {"free": {"kind": "note", "body": {"text": "dear all", "pages": [1, 2]}}})
    text = FORMATS["marked"].render([call])
    free = Tool("do.it", "", {"type": "object", "properties": {"free": {"type": "object"}}})
    assert FORMATS["marked"].parse(text, [free]).calls == (call,)
    # Control: a dot in the name of an argument that is no object leads nowhere.
    assert FORMATS["marked"].parse(text, []).calls[0].arguments.keys() == {
        "free.kind", "free.body.text", "free.body.pages",
    }  # fmt: skip


def test_our_format_needs_the_schema_to_tell_text_from_numbers() -> None:
    # Control: the round trip above is not trivial.
    text = FORMATS["marked"].render([ToolCall("do.it", {"text": "3"})])
    assert FORMATS["marked"].parse(text, [TOOL]).calls[0].arguments == {"text": "3"}
    assert FORMATS["marked"].parse(text, []).calls[0].arguments == {"text": 3}


@pytest.mark.parametrize("name", FORMATS)
@given(text=texts | st.text('{}[]":, aT<>|_\n;1e9', max_size=40))
@settings(max_examples=80, deadline=None)
def test_parsing_never_raises_and_an_error_means_no_calls(name: str, text: str) -> None:
    parsed = FORMATS[name].parse(text, [TOOL])
    assert parsed.error is None or (parsed.calls == () and parsed.error and "\n" not in parsed.error)


CALL = '{"name": "f", "arguments": {"a": 1}}'
LLAMA = CALL.replace("arguments", "parameters")
F = ToolCall("f", {"a": 1})


@pytest.mark.parametrize(
    ("name", "text", "parsed"),
    [
        ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", Parsed("", (F,))),
        (
            "hermes",
            f"so<tool_call>{CALL}</tool_call> and <tool_call>\n\n {CALL}</tool_call>!",
            Parsed("so\nand\n!", (F, F)),
        ),
        ("llama3", LLAMA, Parsed("", (F,))),
        ("llama3", f"<|python_tag|>{LLAMA}; {LLAMA}\n{LLAMA};{LLAMA}\n", Parsed("", (F, F, F, F))),
        ("llama3", f"sure:\n{LLAMA}", Parsed("sure:", (F,))),
        ("llama3", '{"type": "function", ' + LLAMA[1:], Parsed("", (F,))),
        ("mistral", f"[TOOL_CALLS] [{CALL}, {CALL}]", Parsed("", (F, F))),
        ("mistral", f'so [TOOL_CALLS][{CALL[:-1]}, "id": "123456789"}}]', Parsed("so", (F,))),
        ("mistral", '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]f[ARGS] {"a": 1}', Parsed("", (F, F))),
        ("plain", f"{CALL}\n\n{CALL}", Parsed("", (F, F))),
        ("plain", f"```json\n{CALL}\n{CALL}\n```", Parsed("", (F, F))),
        ("plain", f"```json\n{CALL}\n```\nthat is it", Parsed("that is it", (F,))),
        ("fenced", f"Sure:\n```\n[{CALL}]\n```", Parsed("Sure:", (F,))),
        ("fenced", '```json\n{\n  "name": "f",\n  "arguments": {\n    "a": 1\n  }\n}\n```', Parsed("", (F,))),
        ("fenced", CALL, Parsed("", (F,))),
        ("fenced", f"```py\nx = 1\n```\n{CALL}", Parsed("```py\nx = 1\n```", (F,))),
        ("fenced", f"```\nx = 1\n```\n```json\n{CALL}\n```", Parsed("```\nx = 1\n```", (F,))),
        ("fenced", f"```\nx = 1\n```json\n{CALL}\n```", Parsed("```\nx = 1", (F,))),
        ("fenced", '```json\n{"a": 1}\n```', Parsed('```json\n{"a": 1}\n```', ())),
        ("plain", "``` is a fence", Parsed("``` is a fence", ())),
        ("marked", " why<|call|> do.it<|args|> count<|=|> 3<|,|>", Parsed(" why", (ToolCall("do.it", {"count": 3}),))),
        ("marked", marked.NO_TOOL_TEXT, Parsed(marked.NO_TOOL_TEXT, ())),
    ],
)
def test_each_family_as_its_models_write_it(name: str, text: str, parsed: Parsed) -> None:
    assert FORMATS[name].parse(text, [TOOL]) == parsed


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", ["", "Hello.", "I would use {braces} and [brackets]\nand more"])
def test_text_without_a_call_is_no_error(name: str, text: str) -> None:
    assert FORMATS[name].parse(text, [TOOL]) == Parsed(text, ())


BROKEN_OBJECTS = {
    "cut": CALL[:-1],
    "two values": CALL + CALL,
    "garbage inside": CALL[:-1] + " x}",
    "garbage behind": CALL + " x",
    "no name": '{"arguments": {}}',
    "empty name": CALL.replace('"f"', '""'),
    "name is no text": CALL.replace('"f"', "3"),
    "no arguments": '{"name": "f"}',
    "arguments are text": CALL.replace('{"a": 1}', '"{}"'),
    "unknown field": '{"mood": 1, ' + CALL[1:],
    "doubled field": '{"name": "f", ' + CALL[1:],
    "doubled argument": CALL.replace('"a": 1', '"a": 1, "a": 2'),
    "not a number": CALL.replace("1", "NaN"),
    "infinite": CALL.replace("1", "-Infinity"),
    "too large": CALL.replace("1", "1e999"),
    "endless integer": CALL.replace("1", "1" * 9999),
    "half a character": CALL.replace("1", '"\\ud800"'),
    "single quotes": CALL.replace('"', "'"),
    "trailing comma": CALL.replace("1}", "1,}"),
    "deep": CALL.replace("1", "[" * 99999),
}
WRAPPED = {"hermes": "<tool_call>\n%s\n</tool_call>", "llama3": "%s", "mistral": "[TOOL_CALLS] [%s]", "plain": "%s"}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("kind", BROKEN_OBJECTS)
def test_broken_calls_are_errors(name: str, kind: str) -> None:
    fmt = FORMATS[name]

    def parse(body: str) -> Parsed:
        return fmt.parse((WRAPPED[name] % body).replace('"arguments"', json.dumps(getattr(fmt, "key", ""))), ())

    assert parse(CALL).calls == (F,)  # control: the frame itself is sound
    broken = BROKEN_OBJECTS[kind]
    if kind == "single quotes":
        broken = "{" + broken[1:]
    parsed = parse(broken)
    assert parsed.error and not parsed.calls and len(parsed.error) <= 160


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", f"<tool_call>\n{CALL}"),
        ("hermes", "</tool_call>"),
        ("hermes", f"<tool_call>{CALL}</tool_call></tool_call>"),
        ("hermes", "<tool_call>f</tool_call>"),
        ("mistral", "[TOOL_CALLS] f"),
        ("mistral", "[TOOL_CALLS] [3]"),
        ("mistral", 'f[ARGS]{"a": 1}'),
        ("mistral", '[TOOL_CALLS][ARGS]{"a": 1}'),
        ("mistral", f"[TOOL_CALLS] [{CALL}] and more"),
        ("llama3", '<|python_tag|>search.call(query="x")'),
        ("llama3", f"{LLAMA} {LLAMA}"),
        ("llama3", CALL),
        ("plain", LLAMA),
        ("plain", f"{CALL}; {CALL}"),
        ("marked", "<|call|> f"),
        ("marked", "<|call|><|args|>"),
        ("marked", "<|call|> f<|args|> a<|=|> 1"),
        ("marked", "<|call|> f<|args|> a<|,|>"),
        ("marked", "<|call|> f<|args|> a<|=|> 1<|,|> a<|=|> 2<|,|>"),
        ("marked", "<|call|> f<|args|> a<|=|> 1<|,|> and more"),
        ("marked", "<|call|> f<|args|> a<|=|> [NaN]<|,|>"),
        ("marked", "<|call|> do.it<|args|> place<|=|> 3<|,|> place.no<|=|> 4<|,|>"),
    ],
)
def test_broken_frames_are_errors(name: str, text: str) -> None:
    parsed = FORMATS[name].parse(text, [TOOL])
    assert parsed.error and not parsed.calls


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_that_is_no_json_cannot_be_written(name: str) -> None:
    with pytest.raises(ValueError, match="not a JSON number"):
        FORMATS[name].render([ToolCall("f", {"a": [float("nan")]})])


@pytest.mark.parametrize("name", FORMATS)
def test_the_name_span_begins_every_rendered_call(name: str) -> None:
    fmt = FORMATS[name]
    odd = [ToolCall(name, {}) for name in ('odd "name" \\ é',) if can_hold(fmt, ToolCall(name, {}))]
    for call in (F, *odd):
        before, span = fmt.name_span(call.name)
        assert fmt.render([call]).startswith(before + span)
        # GLM 4.7 writes nothing between a name and what follows: there, f begins fx.
        assert fmt.render([ToolCall(call.name + "x", {})]).startswith(before + span) == (name == "glm-4.7")


def test_only_our_format_gives_reasons_and_says_no_tool() -> None:
    tool = Tool("weather", "tell the weather in a city", normalise(None))
    for name, fmt in FORMATS.items():
        assert fmt.name == name
        assert (fmt.no_tool == marked.NO_TOOL_TEXT) == (name == "marked")
        assert (fmt.reason(tool, "how is the weather", []) != "") == (name == "marked")
        assert (fmt.instruction is None) == (name == "marked")
        assert fmt.render([F], ["words"]) == fmt.render([F], "words") != fmt.render([F], [""]) == fmt.render([F])
        assert fmt.render([], "words") == ("words" if name != "marked" else marked.NO_TOOL_TEXT)


def test_the_earlier_name_of_a_format_is_accepted(tmp_path: Path) -> None:
    check_format("ours")
    (tmp_path / "script.json").write_text(json.dumps({"replies": [""], "format": "ours"}))
    assert load(f"scripted:{tmp_path / 'script.json'}").format.name == "marked"
    with pytest.raises(ConfigError):  # the control
        check_format("theirs")
