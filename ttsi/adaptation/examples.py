"""How does an example become something to learn from?

Inputs: kept examples and the input they were written for, or rows of a training file. Outputs: `TrainingExample`s (prompt and
target text; the model's tokenizer makes tokens and the loss mask of them: only the target counts), or the input with
the examples as earlier turns.

An example stands alone: the input's system message, the written request, the same tools. The paper does not say how its
pairs are laid out; ordinary supervised fine-tuning on the response is inferred. How few-shot demonstrations with tools
of their own are laid out is open, too: ours names the called tools before the request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ttsi.chat.calls import Format
from ttsi.types import (
    Answer,
    Example,
    GoldExample,
    Input,
    Message,
    Prompt,
    TrainingExample,
    last_request,
    standalone_prompt,
    to_openai,
)

DOUBT = (
    "Check this answer against the request and the tools once more. If it is right, give it again; if not, give the "
    "right one. Write nothing else."
)
"""What "ask again when unsure" says; ours, since that work's own words (arXiv:2602.08520) are for multiple choice."""


def training_examples(form: Format, item: Input, examples: Sequence[Example]) -> list[TrainingExample]:
    """One lesson per example; the target is the call as the model's family writes it, behind its reason."""
    return [_lesson(form, item, example) for example in examples]


def _lesson(form: Format, item: Input, example: Example) -> TrainingExample:
    tools = example.tools or item.tools
    by_name = {tool.name: tool for tool in tools}
    reasons = [form.reason(by_name[call.name], example.query, tools) for call in example.calls]
    return TrainingExample(standalone_prompt(item, example.query, tools), form.render(example.calls, reasons, tools))


def gold_training_examples(form: Format, pairs: Sequence[GoldExample]) -> list[TrainingExample]:
    """Rows of a training file as lessons, whole conversations; rows whose answer the family cannot write are left out.

    That is: a call of a tool that is not on offer, and "no tool fits" where the family has no words for it.
    """
    made = []
    for pair in pairs:
        tools = {tool.name: tool for tool in pair.input.tools}
        if not all(call.name in tools for call in pair.calls) or not (pair.calls or form.no_tool):
            continue
        asked = last_request(pair.input)
        reasons = [form.reason(tools[call.name], asked, pair.input.tools) for call in pair.calls]
        target = form.render(pair.calls, reasons, pair.input.tools) if pair.calls else str(form.no_tool)
        made.append(TrainingExample(Prompt(pair.input.messages, pair.input.tools), target))
    return made


def with_demonstrations(item: Input, examples: Sequence[Example]) -> Input:
    """The input with the examples as earlier turns, in the order they were written, behind the system message."""
    turns: list[Message] = []
    for example in examples:
        turns += [Message("user", _request(example)), Message("assistant", "", example.calls)]
    system = tuple(message for message in item.messages if message.role == "system")
    rest = tuple(message for message in item.messages if message.role != "system")
    return Input(item.id, (*system, *turns, *rest), item.tools)


def _request(example: Example) -> str:
    """The request; with the tools it is about where the input does not offer them."""
    called = {call.name for call in example.calls}
    foreign = [to_openai(tool)["function"] for tool in example.tools if tool.name in called]
    if not foreign:
        return example.query
    return f"For this request other tools are on offer: {json.dumps(foreign, ensure_ascii=False)}\n{example.query}"


def with_self_doubt_turn(item: Input, first: Answer) -> Input:
    """The input with the model's first answer behind it, and the request to look again."""
    said = Message("assistant", "", first.calls) if first.calls else Message("assistant", first.text)
    return Input(item.id, (*item.messages, said, Message("user", DOUBT)), item.tools)
