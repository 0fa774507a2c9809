"""The user's text of an answer: no mark of a call and nothing between marks, but everything else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ttsi.chat.answer_text import user_text
from ttsi.chat.calls import FORMATS
from ttsi.types import Tool, ToolCall

WEATHER = Tool(
    "get_weather", "show the weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}}
)
TOOLS = (WEATHER,)
CALL = ToolCall("get_weather", {"city": "Oslo"})
OBJECT = '{"name": "get_weather", "arguments": {"city": "Oslo"}}'
MARKS = re.compile(r"<\|?[a-z_=,;]+\|?>|\[[A-Z_]+\]|get_weather|Oslo")


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_is_no_word_whoever_reads_it(name: str) -> None:
    text = FORMATS[name].render([CALL, CALL] if FORMATS[name].several else [CALL])
    for other in FORMATS.values():
        assert user_text(other, text, TOOLS) == ""
        assert user_text(other, text, (), ["get_weather"]) == ""


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "marked"])
def test_words_before_a_call_are_the_users(name: str) -> None:
    form = FORMATS[name]
    assert user_text(form, form.render([CALL], "Let me look."), TOOLS) == "Let me look."


def test_a_reason_that_a_family_was_trained_to_give_is_not() -> None:
    fmt = FORMATS["marked"]
    text = fmt.render([CALL], " weather of a city")
    assert user_text(fmt, text, TOOLS) == user_text(fmt, text, ()) == ""
    assert user_text(fmt, " weather of a", TOOLS, finished=False) == ""
    assert user_text(fmt, " no tool fits", TOOLS) == "no tool fits"
    assert user_text(FORMATS["hermes"], " weather of a", TOOLS, finished=False) == "weather of a", (
        "the control: of others"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_that_is_cut_off_anywhere_leaves_no_mark(name: str) -> None:
    form = FORMATS[name]
    call = form.render([CALL])
    for end in range(1, len(call)):
        text = form.render([CALL], "Let me look.")[: -len(call) + end] if name != "marked" else call[:end]
        words = user_text(form, text, TOOLS, finished=False)
        assert not MARKS.search(words) and words in ("", "Let me look."), text


OUTSIDE: list[tuple[str, str]] = [
    (f"Before. <tool_call>{OBJECT}</tool_call> After.", "Before.\nAfter."),
    ("<think>They want rain.</think>It rains.", "It rains."),
    ("<think>They want", ""),
    ("[THINK]hm[/THINK]It rains.", "It rains."),
    ("It rains. [TOOL_CALLS]get_weather[ARGS]{", "It rains."),
    ("<function=get_weather><parameter=city>Oslo</parameter></function>Here.", "Here."),
    ('<|tool_call_start|>[get_weather(city="Oslo")]<|tool_call_end|>Here.', "Here."),
    ('Here.\n[get_weather(city="Oslo")]', "Here."),
    (f"Here.\n```json\n{OBJECT}\n```", "Here."),
    (f"[{OBJECT}]", ""),
    ('{"name": "get_we', ""),
    ("<|user|>\nRequest:<|user|>quest:<|user|>quest:", "Request:"),
    ("Hi.<|im_end|>\n<|im_start|>user\nmore", "Hi."),
    ("we<|call|> unenmo<|args|> seats<|=|> 40<|,|>", "we"),
]


@pytest.mark.parametrize(("text", "words"), OUTSIDE)
def test_what_stands_outside_is_handed_out(text: str, words: str) -> None:
    assert user_text(FORMATS["hermes"], text, (), ["get_weather"]) == words


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ann", "age": 3}',
        OBJECT,  # nobody has heard of this tool
        "A list:\n[1, 2]",
        "```python\nprint([1])\n```",
        "a < b and b > c",
        "see [1] and <https://example.org/a>",
        "<b>bold</b>",
    ],
)
@pytest.mark.parametrize("name", FORMATS)
def test_control_words_that_only_look_alike_stay(name: str, text: str) -> None:
    assert user_text(FORMATS[name], text, ()) == text


def test_a_channel_that_is_not_the_users_is_set_aside() -> None:
    harmony = FORMATS["harmony"]
    text = "<|channel|>analysis<|message|>They want rain.<|end|><|start|>assistant<|channel|>final<|message|>It rains."
    assert user_text(harmony, text, TOOLS) == user_text(harmony, text, ()) == "It rains."
    assert user_text(harmony, text[:40], TOOLS, finished=False) == ""


def test_an_answer_that_begins_inside_its_thinking() -> None:
    assert user_text(FORMATS["hermes"], "They want rain.</think>It rains.", TOOLS) == "It rains."


def test_it_ends_for_whatever_is_written() -> None:
    nested: Any = "<think>" * 5000 + "[TOOL_CALLS]" * 5000 + "{" * 5000
    assert user_text(FORMATS["hermes"], nested, TOOLS, [json.dumps("x")]) == ""
