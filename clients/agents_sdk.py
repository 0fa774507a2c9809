"""OpenAI's Agents SDK with its chat completions model: whole answers and streams.

Inputs: a base URL, a model's name, the cinema. Outputs: the text that the user read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from clients.cinema import MOST_STEPS, TURNS, Cinema

WAYS = ("run", "run_streamed")


def converse(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    """The conversation; with `apart`, a conversation for each turn, up to the first tool's result."""
    set_tracing_disabled(True)  # traces go to OpenAI
    return asyncio.run(_conversation(url, model, cinema, way, apart))


async def _conversation(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    agent = Agent(
        name="desk",
        model=OpenAIChatCompletionsModel(model, AsyncOpenAI(base_url=url, api_key="none", max_retries=0)),
        tools=[function_tool(cinema.rate_film), function_tool(cinema.list_showtimes)],
        tool_use_behavior="stop_on_first_tool" if apart else "run_llm_again",
    )
    history: list[Any] = []
    words: list[str] = []
    for turn in TURNS:
        history = [*([] if apart else history), {"role": "user", "content": turn}]
        if way == "run":
            result: Any = await Runner.run(agent, history, max_turns=MOST_STEPS)
        else:
            result = Runner.run_streamed(agent, history, max_turns=MOST_STEPS)
            async for _ in result.stream_events():
                pass
        words.append(str(result.final_output))
        history = result.to_input_list()
    return words
