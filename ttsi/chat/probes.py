"""Short conversations that probe what a chat template carries.

Inputs: a template. Outputs: what it carries of a plain conversation (`probe_words`), and of calls and their results
(`probe_calls`). Each conversation is rendered, and all its words must be in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal

from ttsi.chat.families import FORMATS
from ttsi.chat.format import Format
from ttsi.chat.template_source import OTHER_DAY, Render
from ttsi.chat.template_turns import Carries, Turn, fit_turns, openai_call
from ttsi.errors import ModelError
from ttsi.types import Tool, ToolCall, to_openai

TOOL = Tool(
    "get_weather",
    "Show the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
"""The tool of the probes, and of the question to the model."""
QUESTION = "What is the weather in Oslo?"
OSLO, _ROME = ToolCall("get_weather", {"city": "Oslo"}), ToolCall("get_weather", {"city": "Rome"})
USER, _FOLLOW_UP, _RESULT, _OTHER_RESULT = "Is it cold there?", "And tomorrow?", "4 degrees", "19 degrees"
_VERBATIM = '"a" < b & c\'s\n' + 400 * "so it goes on " + "to the end"
"""Words that must be unchanged in the text: some templates escape HTML or cut long texts."""
_SYSTEM, _LATER, _WORDS = "Be brief.", "Be polite, too.", "Let me look."


def user(text: str) -> Turn:
    """A user's turn."""
    return {"role": "user", "content": text}


def assistant(text: str, calls: Sequence[ToolCall] = ()) -> Turn:
    """An assistant's turn, with its calls."""
    turn: Turn = {"role": "assistant", "content": text}
    return {**turn, "tool_calls": list(map(openai_call, calls, count()))} if calls else turn


def result(text: str, number: int = 0) -> Turn:
    """The result of a turn's call."""
    return {"role": "tool", "content": text, "tool_call_id": f"call{number:05d}", "name": TOOL.name}


def text_of(render: Render, turns: Sequence[Turn], tools: Sequence[Any] = (), **more: Any) -> str:
    """The rendered text; empty where the template refuses."""
    try:
        return render(turns, tools, **more)
    except ModelError:
        return ""


def _in_order(text: str, wanted: Sequence[str]) -> bool:
    for part in wanted:
        _, match, text = text.partition(part)
        if not match:
            return False
    return True


def depends_on_date(render: Render, tools: Sequence[Any]) -> bool:
    """Whether the template's text changes with the day."""
    return text_of(render, [user(USER)], tools) != text_of(render, [user(USER)], tools, now=OTHER_DAY)


def prompt_contains(
    render: Render,
    turns: Sequence[Turn],
    tools: Sequence[Any],
    wanted: Sequence[str],
    carries: Carries,
    fmt: Format | None = None,
) -> bool:
    """Whether every wanted text is in the prompt of these turns."""
    text = text_of(render, *fit_turns(turns, tools, fmt or FORMATS["plain"], carries))
    return bool(text) and all(part in text for part in wanted)


def probe_words(render: Render) -> Carries:
    """What the template carries of plain conversations.

    Raises:
        ModelError: the template does not carry the user's words unchanged.
    """
    carries = Carries()
    if not prompt_contains(render, [user(USER)], [], [USER], carries):
        carries = Carries(content="parts")
        if not prompt_contains(render, [user(USER)], [], [USER], carries):
            render([user(USER)], [])  # a template that refuses raises here, with its own message
            raise ModelError("its chat template drops the user's text")
    if not prompt_contains(render, [user(_VERBATIM)], [], [_VERBATIM], carries):
        raise ModelError("its chat template changes the user's text: it escapes quotation marks, or cuts long texts")
    talk = [user(USER), assistant(_WORDS), user(_FOLLOW_UP)]
    if not prompt_contains(render, talk, [], [USER, _WORDS, _FOLLOW_UP], carries):
        raise ModelError("its chat template does not carry a conversation of three turns")
    if not prompt_contains(render, [{"role": "system", "content": _SYSTEM}, *talk], [], [_SYSTEM, USER], carries):
        carries = replace(carries, system="user")
    if not prompt_contains(render, [user(USER), user(_FOLLOW_UP)], [], [USER, _FOLLOW_UP], carries):
        carries = replace(carries, roles="alternate")
    later = [{"role": "system", "content": _SYSTEM}, {"role": "system", "content": _LATER}, *talk]
    middle = [{"role": "system", "content": _SYSTEM}, *talk[:2], {"role": "system", "content": _LATER}, talk[2]]
    if carries.system == "user" or not all(
        prompt_contains(render, turns, [], [_SYSTEM, _LATER, _FOLLOW_UP], carries) for turns in (later, middle)
    ):
        carries = replace(carries, later_system="first")
    return carries


def probe_calls(render: Render, fmt: Format, carries: Carries, template_calls: bool) -> Carries:
    """What the template carries of earlier calls and their results, added to `carries`.

    Raises:
        ModelError: the template carries a call and its result neither itself nor in words.
    """
    tools = [to_openai(TOOL)]
    ways: list[tuple[Any, Any]] = [("template", "template"), ("template", "words")] if template_calls else []
    ways += [("words", "template"), ("words", "words")]
    closings: tuple[Literal["template", "closed"], ...] = ("template", "closed")
    for (calls, results), closing in ((way, closing) for way in ways for closing in closings):
        trial = replace(carries, calls=calls, results=results, unanswered=closing)
        turns = [user(USER), assistant("", [OSLO]), result(_RESULT), user(_FOLLOW_UP)]
        bare = [user(USER), assistant("", [OSLO]), user(_FOLLOW_UP)]
        if all(_contains_turns(render, probe, tools, trial, fmt) for probe in (turns, bare)):
            carries = trial
            break
    else:
        carries = replace(carries, calls="words", results="words", roles="alternate")
        if not _contains_turns(render, turns, tools, carries, fmt):
            raise ModelError("its chat template carries neither a call and its result nor words in their place")
    if carries.calls == "template":
        results = [result(_RESULT), result(_OTHER_RESULT, 1)]
        two = [user(USER), assistant("", [OSLO, _ROME]), *results, user(_FOLLOW_UP)]
        if not _contains_turns(render, two, tools, carries, fmt):
            carries = replace(carries, several_calls=False)
            if not _contains_turns(render, two, tools, carries, fmt):
                carries = replace(carries, calls="words", results="words", roles="alternate")
    beside = [user(USER), assistant(_WORDS, [OSLO]), result(_RESULT), user(_FOLLOW_UP)]
    if carries.calls == "template" and not _contains_turns(render, beside, tools, carries, fmt):
        carries = replace(carries, words_beside_call=False)
    return carries


def _contains_turns(render: Render, turns: Sequence[Turn], tools: Sequence[Any], carries: Carries, fmt: Format) -> bool:
    """Whether the words, arguments and results of these turns are in their text, in order."""
    wanted: list[str] = []
    for turn in turns:
        wanted += [turn["content"]] if turn["content"] and turn["role"] != "tool" else []
        wanted += [call["function"]["arguments"]["city"] for call in turn.get("tool_calls", [])]
        wanted += [turn["content"]] if turn["role"] == "tool" else []
    text = text_of(render, *fit_turns(turns, tools, fmt, carries))
    start = text.find(USER)
    return start >= 0 and (_in_order(text[start:], wanted) or all(text[start:].count(part) for part in wanted))
