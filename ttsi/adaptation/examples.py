"""How does an example become something to learn from?

Inputs: kept examples and the input they were written for. Outputs: `Lesson`s (prompt and target text; the model's
tokenizer makes tokens and the loss mask of them: only the target counts), or the input with the examples as earlier
turns.

An example stands alone: the input's system message, the written request, the same tools. The paper does not say how its
pairs are laid out; ordinary supervised fine-tuning on the response is inferred.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.chat.calls import Format
from ttsi.models import Lesson, Prompt
from ttsi.types import Example, Input, Message


def lessons(form: Format, item: Input, examples: Sequence[Example]) -> list[Lesson]:
    """One lesson per example; the target is the call as the model's family writes it, behind its reason."""
    system = tuple(message for message in item.messages if message.role == "system")
    tools = {tool.name: tool for tool in item.tools}
    made = []
    for example in examples:
        reasons = [form.reason(tools[call.name], example.query, item.tools) for call in example.calls]
        prompt = Prompt((*system, Message("user", example.query)), item.tools)
        made.append(Lesson(prompt, form.render(example.calls, reasons)))
    return made


def with_demonstrations(item: Input, examples: Sequence[Example]) -> Input:
    """The input with the examples as earlier turns, in the order they were written, behind the system message."""
    turns: list[Message] = []
    for example in examples:
        turns += [Message("user", example.query), Message("assistant", "", example.calls)]
    system = tuple(message for message in item.messages if message.role == "system")
    rest = tuple(message for message in item.messages if message.role != "system")
    return Input(item.id, (*system, *turns, *rest), item.tools)
