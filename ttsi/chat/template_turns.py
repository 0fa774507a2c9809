"""Conversations as turns that a chat template can carry.

Inputs: turns in OpenAI's form, and what the template carries (`Carries`). Outputs: turns for the template. Parts that
it would drop or refuse stand in words: tools and later system messages in the system message, calls in the assistant's
words as its family writes them, results in the user's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ttsi.chat.format import Format
from ttsi.chat.json_text import json_text
from ttsi.types import ToolCall

Turn = dict[str, Any]
How = Literal["template", "words"]
CLOSING_TURN = "Done."
"""The assistant's turn after a call without a result, for a template in which roles must take turns."""


@dataclass(frozen=True)
class Carries:
    """What a chat template does with a conversation."""

    content: Literal["text", "parts"] = "text"
    """How it takes a turn's words: as text, or as a list of parts."""
    system: Literal["template", "user"] = "template"
    """Where the system message goes: its own place, or the head of the user's first turn."""
    later_system: Literal["template", "first"] = "template"
    """Where further system messages go: where they stand, or into the first."""
    tools: How = "template"
    instruction: How = "template"
    """Whether the template explains how to write a call."""
    calls: How = "template"
    results: How = "template"
    words_beside_call: bool = True
    """Whether words in a turn with calls reach the text; where not, such a turn is written in words."""
    several_calls: bool = True
    """Whether a turn may hold several calls; where not, it is split."""
    unanswered: Literal["template", "closed"] = "template"
    """Whether the next turn follows a call without a result directly, or after a short turn of the assistant."""
    roles: Literal["any", "alternate"] = "any"
    arguments: Literal["object", "text"] = "object"
    """How it takes a call's arguments."""
    ids: Literal["plain", "functions"] = "plain"
    """The form of call ids: nine letters and digits, as Mistral's templates require, or functions.NAME:0, which Kimi's
    template writes in place of the name."""


NOTHING = Carries(tools="words", instruction="words", calls="words", results="words", roles="alternate")
"""A template that carries only roles and words."""


def openai_call(call: ToolCall, number: int) -> dict[str, Any]:
    """A call in OpenAI's form, except that its arguments are an object, and its id is made of its number."""
    function = {"name": call.name, "arguments": dict(call.arguments)}
    return {"id": f"call{number:05d}", "type": "function", "function": function}


def fit_turns(
    turns: Sequence[Turn], tools: Sequence[Any], fmt: Format, carries: Carries
) -> tuple[list[Turn], list[Any]]:
    """Turns and tools as this template carries them."""
    result = [dict(turn) for turn in turns]
    if not carries.several_calls and carries.calls == "template":
        result = _split(result)
    result = _write_out(result, fmt, carries)
    if carries.unanswered == "closed" and carries.calls == "template":
        result = _answer_calls(result)
    if carries.roles == "alternate":
        result = _merge_neighbours(result)
    if carries.later_system == "first":
        result = _merge_system(result)
    if tools and carries.tools == "words":
        result = _add_system(result, "Tools:\n" + json.dumps([tool["function"] for tool in tools], ensure_ascii=False))
    if tools and carries.instruction == "words" and fmt.instruction:
        result = _add_system(result, fmt.instruction)
    if carries.system == "user":
        result = _fold_system(result)
    if carries.ids == "functions":
        result = _number_calls(result)
    result = [_shape(turn, carries) for turn in result]
    return result, list(tools) if carries.tools == "template" else []


def _split(turns: Sequence[Turn]) -> list[Turn]:
    """One call a turn, each followed by its result."""
    result: list[Turn] = []
    at = 0
    while at < len(turns):
        turn = turns[at]
        at += 1
        calls = turn.get("tool_calls") or []
        if len(calls) < 2:
            result.append(turn)
            continue
        answers: list[Turn] = []
        while at < len(turns) and turns[at]["role"] == "tool":
            answers.append(turns[at])
            at += 1
        for number, call in enumerate(calls):
            own = [answer for answer in answers if answer.get("tool_call_id") == call["id"]]
            result += [{**turn, "content": turn["content"] if number == 0 else "", "tool_calls": [call]}, *own]
        result += [answer for answer in answers if answer.get("tool_call_id") not in {call["id"] for call in calls}]
    return result


def _write_out(turns: Sequence[Turn], fmt: Format, carries: Carries) -> list[Turn]:
    result, results, several = [], carries.results, False
    for turn in turns:
        calls = turn.get("tool_calls")
        if turn["role"] != "tool":
            several = len(calls or ()) > 1  # then a result names its tool
            # Where the words beside a call would be lost, the call and its results are written in words, too.
            beside = bool(calls and turn["content"]) and not carries.words_beside_call
            results = "words" if beside else carries.results
            if calls and (carries.calls == "words" or beside):
                made = [ToolCall(call["function"]["name"], call["function"]["arguments"]) for call in calls]
                turn = {"role": turn["role"], "content": call_text(fmt, made, turn["content"])}
        elif results == "words":
            of = f" of {turn['name']}" if turn.get("name") and several else ""
            turn = {"role": "user", "content": f"Result{of}: {turn['content']}"}
        result.append(turn)
    return result


def call_text(fmt: Format, calls: Sequence[ToolCall], words: str = "") -> str:
    """Calls as the assistant's words, a line each where the format holds one a turn; JSON where it cannot hold one."""
    if fmt.several or len(calls) == 1:
        try:
            return fmt.render(calls, words)
        except ValueError:  # a client's earlier call may hold what the format cannot
            pass
    return "\n".join([*([words] if words else []), *(_one_call_text(fmt, call) for call in calls)])


def _one_call_text(fmt: Format, call: ToolCall) -> str:
    try:
        return fmt.render([call])
    except ValueError:
        return json_text({"name": call.name, "arguments": call.arguments})


def _answer_calls(turns: Sequence[Turn]) -> list[Turn]:
    """Add a short turn of the assistant between a call or its result and the user's next turn."""
    result: list[Turn] = []
    for turn in turns:
        if result and turn["role"] == "user" and (result[-1].get("tool_calls") or result[-1]["role"] == "tool"):
            result.append({"role": "assistant", "content": CLOSING_TURN})
        result.append(turn)
    return result


def _merge_neighbours(turns: Sequence[Turn]) -> list[Turn]:
    """Merge neighbouring turns of one role, except calls and results."""
    result: list[Turn] = []
    for turn in turns:
        plain = turn["role"] != "tool" and not turn.get("tool_calls")
        if result and plain and result[-1]["role"] == turn["role"] and not result[-1].get("tool_calls"):
            result[-1] = {**result[-1], "content": result[-1]["content"] + "\n" + turn["content"]}
        else:
            result.append(turn)
    return result


def _merge_system(turns: Sequence[Turn]) -> list[Turn]:
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    rest = [turn for turn in turns if turn["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(system)}, *rest] if system else rest


def _add_system(turns: Sequence[Turn], text: str) -> list[Turn]:
    if turns and turns[0]["role"] == "system":
        return [{**turns[0], "content": f"{turns[0]['content']}\n\n{text}"}, *turns[1:]]
    return [{"role": "system", "content": text}, *turns]


def _fold_system(turns: Sequence[Turn]) -> list[Turn]:
    """Move the system message to the head of the user's first turn."""
    if not turns or turns[0]["role"] != "system":
        return list(turns)
    system, rest = turns[0], list(turns[1:])
    if rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [{"role": "user", "content": system["content"]}, *rest]


def _number_calls(turns: Sequence[Turn]) -> list[Turn]:
    """Give calls ids of the form functions.NAME:N, counted over the conversation."""
    ids: dict[str, str] = {}
    result = []
    for turn in turns:
        calls = turn.get("tool_calls") or []
        for call in calls:
            ids[call["id"]] = f"functions.{call['function']['name']}:{len(ids)}"
        if calls:
            turn = {**turn, "tool_calls": [{**call, "id": ids[call["id"]]} for call in calls]}
        if turn.get("tool_call_id") in ids:
            turn = {**turn, "tool_call_id": ids[turn["tool_call_id"]]}
        result.append(turn)
    return result


def _with_text_arguments(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}


def _shape(turn: Turn, carries: Carries) -> Turn:
    if carries.arguments == "text" and turn.get("tool_calls"):
        turn = {**turn, "tool_calls": list(map(_with_text_arguments, turn["tool_calls"]))}
    if carries.content == "parts":
        turn = {**turn, "content": [{"type": "text", "text": turn["content"]}] if turn["content"] else []}
    return turn
