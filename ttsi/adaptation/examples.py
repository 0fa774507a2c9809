"""Training examples and demonstrations, made from written examples or from rows of a training file.

Inputs: kept examples and the input they were written for, or rows of a training file. Outputs: `TrainingExample`s
(prompt and target text, of which only the target counts in the loss), or the input with the examples as earlier turns.

A training example stands alone: the input's system message, the written request, the same tools. The paper does not
describe the layout of its pairs; supervised fine-tuning on the response is inferred. The layout of demonstrations with
tools of their own is open, too: ours names the called tools before the request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from ttsi.chat.calls import Format
from ttsi.config import LoopConfig
from ttsi.models import Model
from ttsi.types import (
    DONE,
    END_TURN,
    NO_CLOSING,
    Answer,
    Example,
    GoldExample,
    Input,
    Message,
    Prompt,
    Tool,
    ToolCall,
    ToolResult,
    TrainingExample,
    last_request,
    standalone_prompt,
    to_openai,
)

DOUBT = (
    "Check this answer against the request and the tools once more. If it is right, give it again; if not, give the "
    "right one. Write nothing else."
)
"""The user's turn of "ask again"; ours, because the words of arXiv:2602.08520 are for multiple choice."""


def training_examples(fmt: Format, item: Input, examples: Sequence[Example]) -> list[TrainingExample]:
    """One per example, or one per step of an example that is a whole turn.

    The target is the call as the model's family writes it, behind its reason.
    """
    return [lesson for example in examples for lesson in _lessons(fmt, item, example)]


def _lessons(fmt: Format, item: Input, example: Example) -> list[TrainingExample]:
    prompt = standalone_prompt(item, example.query, example.tools)
    steps = _executed_steps(example)
    if not steps:
        return [TrainingExample(prompt, _target(fmt, example.calls, example.query, prompt.tools))]
    lessons = []
    for call, result, messages in steps:
        if not result.error:
            lessons.append(TrainingExample(prompt, _target(fmt, [call], example.query, prompt.tools)))
        prompt = replace(prompt, messages=(*prompt.messages, *messages))
    if example.closing == NO_CLOSING:
        return lessons
    end = ToolCall(END_TURN, {})
    ends_by_call = example.closing == END_TURN
    closing = _target(fmt, [end], example.query, prompt.tools) if ends_by_call else example.closing
    return [*lessons, TrainingExample(prompt, closing)]


def _executed_steps(example: Example) -> list[tuple[ToolCall, ToolResult, tuple[Message, Message]]]:
    """The calls of an example that is a whole turn, each with its result and both as messages; [] of any other one."""
    if not example.closing or len(example.results) != len(example.calls):
        return []
    steps = []
    for number, (call, result) in enumerate(zip(example.calls, example.results, strict=True), start=1):
        call = replace(call, id=f"call_{number}")
        messages = Message("assistant", "", (call,)), Message("tool", result.content, tool_call_id=call.id)
        steps.append((call, result, messages))
    return steps


def _target(fmt: Format, calls: Sequence[ToolCall], request: str, tools: Sequence[Tool]) -> str:
    by_name = {tool.name: tool for tool in tools}
    return fmt.render(calls, [fmt.reason(by_name[call.name], request, tools) for call in calls], tools)


def gold_training_examples(fmt: Format, pairs: Sequence[GoldExample]) -> list[TrainingExample]:
    """Rows of a training file, as whole conversations.

    Left out are rows whose answer the family cannot write: a call of a tool that is not on offer, and "no tool fits"
    where the family has no words for it.
    """
    examples = []
    for pair in pairs:
        tools = {tool.name: tool for tool in pair.input.tools}
        if not all(call.name in tools for call in pair.calls) or not (pair.calls or fmt.no_tool):
            continue
        request = last_request(pair.input)
        reasons = [fmt.reason(tools[call.name], request, pair.input.tools) for call in pair.calls]
        target = fmt.render(pair.calls, reasons, pair.input.tools) if pair.calls else str(fmt.no_tool)
        examples.append(TrainingExample(Prompt(pair.input.messages, pair.input.tools), target))
    return examples


def with_demonstrations(item: Input, examples: Sequence[Example]) -> Input:
    """The input with the examples as earlier turns, in their order, behind the system message."""
    turns: list[Message] = []
    for example in examples:
        turns += [Message("user", _request(example)), *_turn_messages(example)]
    system = tuple(message for message in item.messages if message.role == "system")
    rest = tuple(message for message in item.messages if message.role != "system")
    return Input(item.id, (*system, *turns, *rest), item.tools)


def _turn_messages(example: Example) -> list[Message]:
    """What follows the request: the calls in one answer, or one by one with the results that they had."""
    steps = _executed_steps(example)
    if not steps:
        return [Message("assistant", "", example.calls)]
    return [*(message for _, _, messages in steps for message in messages), Message("assistant", DONE)]


def fitting_demonstrations(model: Model, item: Input, examples: Sequence[Example], config: LoopConfig) -> list[Example]:
    """The examples that fit the context as demonstrations, together with the input and its answer."""
    fitting = list(examples)
    worst = 0 if config.synthesis.source == "nearest" else -1  # the nearest stands last, next to the question
    while fitting:
        candidate = with_demonstrations(item, fitting)
        if model.fits(Prompt(candidate.messages, candidate.tools), config.answer.max_tokens) is None:
            break
        fitting.pop(worst)
    return fitting


def _request(example: Example) -> str:
    """The request, behind its tools where the input does not offer them."""
    called = {call.name for call in example.calls}
    foreign = [to_openai(tool)["function"] for tool in example.tools if tool.name in called]
    if not foreign:
        return example.query
    return f"For this request other tools are on offer: {json.dumps(foreign, ensure_ascii=False)}\n{example.query}"


def with_self_doubt_turn(item: Input, first: Answer) -> Input:
    """The input with the model's first answer behind it, and the request to check it."""
    answer = Message("assistant", "", first.calls) if first.calls else Message("assistant", first.text)
    return Input(item.id, (*item.messages, answer, Message("user", DOUBT)), item.tools)
