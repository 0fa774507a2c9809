"""LangChain's chat model for OpenAI: `invoke` and `stream`, tools bound to it and run by LangChain.

Inputs: a base URL, a model's name, the cinema. Outputs: the text that the user read.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from clients.cinema import MOST_STEPS, TURNS, Cinema

WAYS = ("invoke", "stream")


def converse(url: str, model: str, cinema: Cinema, way: str, apart: bool) -> list[str]:
    """The conversation; with `apart`, a conversation for each turn, up to its calls."""
    functions = (cinema.rate_film, cinema.list_showtimes)
    tools = {function.__name__: StructuredTool.from_function(function) for function in functions}
    chat_model = ChatOpenAI(base_url=url, api_key=SecretStr("none"), model=model, max_retries=0)
    bound = chat_model.bind_tools(list(tools.values()))
    messages: list[Any] = []
    words: list[str] = []
    for turn in TURNS:
        messages = [*([] if apart else messages), HumanMessage(turn)]
        for _ in range(MOST_STEPS):
            answer: Any = bound.invoke(messages) if way == "invoke" else reduce(add, bound.stream(messages))
            messages.append(answer)
            words += [answer.content] if answer.content else []
            messages += [tools[call["name"]].invoke(call) for call in answer.tool_calls]
            if apart or not answer.tool_calls:
                break
    return words
