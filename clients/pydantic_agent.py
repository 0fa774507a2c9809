"""pydantic-ai with its OpenAI-compatible provider: whole answers and streams.

Inputs: a base URL, a model's name, the cinema. Outputs: what the user read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import Agent, UsageLimits
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from clients.cinema import MOST_STEPS, TURNS, Cinema

WAYS = ("run", "run_stream_events")


def converse(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    """The conversation; `apart`, each turn is one of its own, and tools are ways to end it."""
    return asyncio.run(_conversation(url, model, cinema, way, apart))


async def _conversation(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    speaker = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=client))
    tools = [cinema.rate_film, cinema.list_showtimes]
    agent: Any = Agent(speaker, output_type=[*tools, str]) if apart else Agent(speaker, tools=tools)
    history: list[ModelMessage] = []
    words: list[str] = []
    limits = UsageLimits(request_limit=MOST_STEPS)
    for turn in TURNS:
        if way == "run":
            result = await agent.run(turn, message_history=history, usage_limits=limits)
        else:
            result = None
            async with agent.run_stream_events(turn, message_history=history, usage_limits=limits) as events:
                async for event in events:
                    result = getattr(event, "result", result)
        words.append(str(result.output))
        history = [] if apart else result.all_messages()
    return words
