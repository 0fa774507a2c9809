"""OpenAI's own client: `create`, `parse` and `stream` in a hand-written loop.

Inputs: a base URL, a model's name, the cinema. Outputs: the text that the user read. Every message goes back as the
client returned it.
"""

from __future__ import annotations

import json
from typing import Any

import openai
from pydantic import BaseModel

from clients.cinema import MOST_STEPS, TURNS, Cinema

WAYS = ("create", "parse", "stream")


class RateFilm(BaseModel):
    """give stars to a film you saw"""

    film: str
    stars: float


class ListShowtimes(BaseModel):
    """list when a film is shown in a city"""

    film: str
    city: str


def converse(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    """The conversation; with `apart`, a conversation for each turn, up to its calls."""
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    tools = [
        openai.pydantic_function_tool(RateFilm, name="rate_film"),
        openai.pydantic_function_tool(ListShowtimes, name="list_showtimes"),
    ]
    messages: list[Any] = []
    words: list[str] = []
    for turn in TURNS:
        messages = [*([] if apart else messages), {"role": "user", "content": turn}]
        for _ in range(MOST_STEPS):
            message = _answer(client, way, {"model": model, "messages": messages, "tools": tools})
            messages.append(message)
            words += [message.content] if message.content else []
            for call in message.tool_calls or ():
                result = cinema.run(call.function.name, json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
            if apart or not message.tool_calls:
                break
    return words


def _answer(client: openai.OpenAI, way: str, request: dict[str, Any]) -> Any:
    if way == "create":
        return client.chat.completions.create(**request).choices[0].message
    if way == "parse":
        return client.chat.completions.parse(**request).choices[0].message
    with client.chat.completions.stream(**request) as events:
        for _ in events:
            pass
        return events.get_final_completion().choices[0].message
