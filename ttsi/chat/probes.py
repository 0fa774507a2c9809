"""Short conversations that show what a chat template carries.

Inputs: a template. Outputs: what it carries of a plain conversation (`carried_of_words`) and of calls and their results
(`probe_calls`): each is rendered, and everything said must be in the text. Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from ttsi.chat.families import FORMATS
from ttsi.chat.format import Format
from ttsi.chat.template_source import OTHER_DAY, Render
from ttsi.chat.template_turns import Carries, Turn, fit_turns
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
"""Words that must arrive as they are: some templates escape them for HTML, or cut what is long."""
_SYSTEM, _LATER, _WORDS = "Be brief.", "Be polite, too.", "Let me look."


def user(text: str) -> Turn:
    """A user's turn."""
    return {"role": "user", "content": text}


def assistant(text: str, calls: Sequence[ToolCall] = ()) -> Turn:
    """An assistant's turn, with its calls."""
    turn: Turn = {"role": "assistant", "content": text}
    if calls:
        turn["tool_calls"] = [
            {"id": f"call{i:05d}", "type": "function", "function": {"name": c.name, "arguments": dict(c.arguments)}}
            for i, c in enumerate(calls)
        ]
    return turn


def result(text: str, number: int = 0) -> Turn:
    """The result of a turn's call."""
    return {"role": "tool", "content": text, "tool_call_id": f"call{number:05d}", "name": TOOL.name}


def text_of(render: Render, turns: Sequence[Turn], tools: Sequence[Any] = (), **more: Any) -> str:
    """The text; empty where the template refuses."""
    try:
        return render(turns, tools, **more)
    except ModelError:
        return ""


def _in_order(text: str, wanted: Sequence[str]) -> bool:
    at = 0
    for part in wanted:
        place = text.find(part, at)
        if place < 0:
            return False
        at = place + len(part)
    return True


def dated(render: Render, tools: Sequence[Any]) -> bool:
    """Whether the text depends on the day."""
    return text_of(render, [user(USER)], tools) != text_of(render, [user(USER)], tools, now=OTHER_DAY)


def holds(
    render: Render,
    turns: Sequence[Turn],
    tools: Sequence[Any],
    wanted: Sequence[str],
    carries: Carries,
    fmt: Format | None = None,
) -> bool:
    """Whether every wanted text is in the prompt of these turns, the turns' own in their order."""
    shaped, offered = fit_turns(turns, tools, fmt or FORMATS["plain"], carries)
    text = text_of(render, shaped, offered)
    return bool(text) and all(part in text for part in wanted)


def carried_of_words(render: Render) -> Carries:
    """What is carried of plain conversations.

    Raises:
        ModelError: not even the user's words.
    """
    carries = Carries()
    if not holds(render, [user(USER)], [], [USER], carries):
        carries = Carries(content="parts")
        if not holds(render, [user(USER)], [], [USER], carries):
            render([user(USER)], [])  # raises where the template refuses, with its own words
            raise ModelError("its chat template does not carry what the user says")
    if not holds(render, [user(_VERBATIM)], [], [_VERBATIM], carries):
        raise ModelError("its chat template changes what the user says: it escapes quotation marks, or cuts long texts")
    talk = [user(USER), assistant(_WORDS), user(_FOLLOW_UP)]
    if not holds(render, talk, [], [USER, _WORDS, _FOLLOW_UP], carries):
        raise ModelError("its chat template does not carry a conversation of three turns")
    if not holds(render, [{"role": "system", "content": _SYSTEM}, *talk], [], [_SYSTEM, USER], carries):
        carries = replace(carries, system="user")
    if not holds(render, [user(USER), user(_FOLLOW_UP)], [], [USER, _FOLLOW_UP], carries):
        carries = replace(carries, roles="alternate")
    later = [{"role": "system", "content": _SYSTEM}, {"role": "system", "content": _LATER}, *talk]
    middle = [{"role": "system", "content": _SYSTEM}, *talk[:2], {"role": "system", "content": _LATER}, talk[2]]
    if carries.system == "user" or not all(
        holds(render, turns, [], [_SYSTEM, _LATER, _FOLLOW_UP], carries) for turns in (later, middle)
    ):
        carries = replace(carries, later_system="first")
    return carries


def probe_calls(render: Render, fmt: Format, carries: Carries, template_calls: bool) -> Carries:
    """How earlier calls and their results reach the text."""
    tools = [to_openai(TOOL)]
    ways: list[tuple[Any, Any]] = [("template", "template"), ("template", "words")] if template_calls else []
    ways += [("words", "template"), ("words", "words")]
    closings: tuple[Literal["template", "closed"], ...] = ("template", "closed")
    for (calls, results), closing in ((way, closing) for way in ways for closing in closings):
        trial = replace(carries, calls=calls, results=results, unanswered=closing)
        turns = [user(USER), assistant("", [OSLO]), result(_RESULT), user(_FOLLOW_UP)]
        bare = [user(USER), assistant("", [OSLO]), user(_FOLLOW_UP)]
        if all(_carried(render, probe, tools, trial, fmt) for probe in (turns, bare)):
            carries = trial
            break
    else:
        carries = replace(carries, calls="words", results="words", roles="alternate")
        if not _carried(render, turns, tools, carries, fmt):
            raise ModelError("its chat template carries neither a call and its result nor words in their place")
    if carries.calls == "template":
        two = [
            user(USER),
            assistant("", [OSLO, _ROME]),
            result(_RESULT),
            result(_OTHER_RESULT, 1),
            user(_FOLLOW_UP),
        ]
        if not _carried(render, two, tools, carries, fmt):
            carries = replace(carries, several_calls=False)
            if not _carried(render, two, tools, carries, fmt):
                carries = replace(carries, calls="words", results="words", roles="alternate")
    beside = [user(USER), assistant(_WORDS, [OSLO]), result(_RESULT), user(_FOLLOW_UP)]
    if carries.calls == "template" and not _carried(render, beside, tools, carries, fmt):
        carries = replace(carries, words_beside_call=False)
    return carries


def _carried(render: Render, turns: Sequence[Turn], tools: Sequence[Any], carries: Carries, fmt: Format) -> bool:
    """Whether all that these turns say is in their text, in order."""
    wanted: list[str] = []
    for turn in turns:
        wanted += [turn["content"]] if turn["content"] and turn["role"] != "tool" else []
        wanted += [call["function"]["arguments"]["city"] for call in turn.get("tool_calls", [])]
        wanted += [turn["content"]] if turn["role"] == "tool" else []
    shaped, offered = fit_turns(turns, tools, fmt, carries)
    text = text_of(render, shaped, offered)
    start = text.find(USER)
    return start >= 0 and (_in_order(text[start:], wanted) or all(text[start:].count(part) for part in wanted))
