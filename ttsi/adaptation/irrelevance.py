"""How does an adapter learn when not to call?

Inputs: the kept examples and the input they were written for. Outputs: `TrainingExample`s that ask an example's request once
more with the called tool off the list; the right answer is that no tool fits.

Written examples are calls, all of them: whoever learns nothing else learns to call. Taking the tool away makes the
opposite example without anybody having to write or know one, and what differs is what should decide: whether a tool
fits. Hammer (arXiv:2410.04587) made training data for irrelevance this way. The paper (arXiv:2510.07841) has none.
Where nothing else is on offer, everyday tools that have little to do with the request stand in.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ttsi.chat.calls import Format
from ttsi.chat.marked import words
from ttsi.types import Example, Input, Tool, TrainingExample, standalone_prompt

DECLINED = "None of these tools can do that."
"""How a model is taught to decline where its family has no words for it (`Format.no_tool`)."""


def no_tool_examples(form: Format, item: Input, examples: Sequence[Example], count: int) -> list[TrainingExample]:
    """The first `count` examples without the tools that they call."""
    return [_declined(form, item, example) for example in examples[:count]]


def _declined(form: Format, item: Input, example: Example) -> TrainingExample:
    called = {call.name for call in example.calls}
    others = tuple(tool for tool in example.tools or item.tools if tool.name not in called)
    prompt = standalone_prompt(item, example.query, others or distractor_tools(example.query, called))
    return TrainingExample(prompt, form.no_tool or DECLINED)


def distractor_tools(request: str, called: Container[str] = (), count: int = 2) -> tuple[Tool, ...]:
    """The everyday tools whose lines share the fewest words with a request; none by the name of a called one.

    >>> [tool.name for tool in distractor_tools("convert 20 euros and play a song", called=["set_reminder"])]
    ['translate_text', 'measure_distance']
    """
    said = set(words(request))
    others = [tool for tool in _EVERYDAY if tool.name not in called]
    return tuple(sorted(others, key=lambda tool: len(said & set(words(f"{tool.name} {tool.description}")))))[:count]


def _tool(name: str, description: str, **kinds: str) -> Tool:
    properties = {key: {"type": kind} for key, kind in kinds.items()}
    return Tool(name, description, {"type": "object", "properties": properties, "required": [next(iter(kinds))]})


_EVERYDAY = (
    _tool("convert_currency", "convert an amount of money into another currency", amount="number", currency="string"),
    _tool("play_song", "play a song by its title", title="string", artist="string"),
    _tool("translate_text", "translate a text into another language", text="string", language="string"),
    _tool("set_reminder", "set a reminder for a day and time", day="string", time="string"),
    _tool("measure_distance", "measure the distance between two places", start="string", end="string"),
    _tool("book_table", "book a table in a restaurant", restaurant="string", guests="integer"),
)
