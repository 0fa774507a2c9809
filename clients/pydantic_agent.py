"""pydantic-ai with its OpenAI-compatible provider: whole answers and streams.

Inputs: a base URL, a model's name, the cinema. Outputs: the text that the user read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import Agent, UsageLimits
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from clients.cinema import MOST_STEPS, TURNS, Cinema

WAYS = ("run", "run_stream_events")


def converse(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    """The conversation; with `apart`, a conversation for each turn, up to its calls."""
    return asyncio.run(_conversation(url, model, cinema, way, apart))


async def _conversation(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    chat_model = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))
    agent: Any = Agent(chat_model, tools=[cinema.rate_film, cinema.list_showtimes])
    history: list[ModelMessage] = []
    words: list[str] = []
    limits = UsageLimits(request_limit=1 if apart else MOST_STEPS)
    for turn in TURNS:
        try:
            result = await _result(agent, way, turn, message_history=history, usage_limits=limits)
        except UsageLimitExceeded:
            if apart:  # the calls were run, and their results would go into a second request
                continue
            raise
        words.append(str(result.output))
        history = [] if apart else result.all_messages()
    return words


async def _result(agent: Any, way: str, turn: str, **more: Any) -> Any:
    if way == "run":
        return await agent.run(turn, **more)
    result = None
    async with agent.run_stream_events(turn, **more) as events:
        async for event in events:
            result = getattr(event, "result", result)
    return result
