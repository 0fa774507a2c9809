"""Training examples of when not to call a tool.

Inputs: the kept examples and the input they were written for. Outputs: `TrainingExample`s with an example's request and
without the tool that it calls; the right answer is that no tool fits.

Written examples are all calls, so an adapter that learns nothing else learns to call always. Removing the tool makes
the opposite example at no cost, and the two differ only in what should decide: whether a tool fits. Hammer
(arXiv:2410.04587) made training data for irrelevance this way; the paper (arXiv:2510.07841) has none. Where no other
tool is on offer, everyday tools that have little to do with the request stand in.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ttsi.chat.calls import Format
from ttsi.chat.marked import content_words
from ttsi.types import Example, Input, Tool, TrainingExample, standalone_prompt

DECLINED = "None of these tools can do that."
"""The target where the model's family has no words for "no tool fits" (`Format.no_tool`)."""


def no_tool_examples(fmt: Format, item: Input, examples: Sequence[Example], count: int) -> list[TrainingExample]:
    """The first `count` examples without the tools that they call."""
    return [_no_tool_example(fmt, item, example) for example in examples[:count]]


def _no_tool_example(fmt: Format, item: Input, example: Example) -> TrainingExample:
    called = {call.name for call in example.calls}
    others = tuple(tool for tool in example.tools or item.tools if tool.name not in called)
    prompt = standalone_prompt(item, example.query, others or distractor_tools(example.query, called))
    return TrainingExample(prompt, fmt.no_tool or DECLINED)


def distractor_tools(request: str, called: Container[str] = (), count: int = 2) -> tuple[Tool, ...]:
    """The everyday tools whose descriptions share the fewest words with a request; none has the name of a called one.

    >>> [tool.name for tool in distractor_tools("convert 20 euros and play a song", called=["set_reminder"])]
    ['translate_text', 'measure_distance']
    """
    request_words = set(content_words(request))
    others = [tool for tool in _EVERYDAY if tool.name not in called]
    shared = {tool.name: len(request_words & set(content_words(f"{tool.name} {tool.description}"))) for tool in others}
    return tuple(sorted(others, key=lambda tool: shared[tool.name]))[:count]


def _tool(name: str, description: str, **types: str) -> Tool:
    properties = {key: {"type": kind} for key, kind in types.items()}
    return Tool(name, description, {"type": "object", "properties": properties, "required": [next(iter(types))]})


_EVERYDAY = (
    _tool("convert_currency", "convert an amount of money into another currency", amount="number", currency="string"),
    _tool("play_song", "play a song by its title", title="string", artist="string"),
    _tool("translate_text", "translate a text into another language", text="string", language="string"),
    _tool("set_reminder", "set a reminder for a day and time", day="string", time="string"),
    _tool("measure_distance", "measure the distance between two places", start="string", end="string"),
    _tool("book_table", "book a table in a restaurant", restaurant="string", guests="integer"),
)
