"""Filling: a call that leaves out literals of its request is written again with all of its tool's arguments.

Inputs: answers. Outputs: the same answers, except where a single call leaves out a literal (`ttsi.chat.omission`)
although its tool has arguments left. There the model writes the same tool's call with every argument. Of these the
call takes what it lacks, or had invented, where the request states the value. It counts if it is legal and leaves out
less than before; else the answer stands.

Small models close a call too early: `calculate_grade(weights=[0.3, 0.3, 0.4])` for scores and weights. Nothing is
trained, and the base and the adapted model answer alike. The paper (arXiv:2510.07841) takes an answer as it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ttsi.answer.task import AnswerTask
from ttsi.chat.grounding import StatedValues, leaves, normalise
from ttsi.chat.omission import free_arguments, omitted_literals
from ttsi.chat.schema_choices import SchemaPlace
from ttsi.chat.tool_schema import problem
from ttsi.types import Answer, Tool, ToolCall

MOST_ARGUMENTS = 16
"""Most arguments of a tool whose call is written again: it is written with all of them."""
TOKENS_PER_ARGUMENT = 48
"""Most tokens that the whole call may have more than the first for each argument left, some ten numbers of a list: a
small model often never closes a text, and would write on to the end of `answer.max_tokens`."""


def fill_omitted(task: AnswerTask, answers: Sequence[Answer]) -> list[Answer]:
    """The answers, filled where they leave literals out: one more pass over these."""
    results = list(answers)
    tools = {i: tool for i, answer in enumerate(answers) if (tool := _tool_to_fill(task, i, answer))}
    requests = task.requests
    generations = task.model.generate([
        replace(
            requests[i],
            grammar=task.tool_grammar(tool),
            max_tokens=_most_tokens(task, i, answers[i]),
        )
        for i, tool in tools.items()
    ]) if tools else []  # fmt: skip
    for (i, tool), generation in zip(tools.items(), generations, strict=True):
        written = task.read(i, generation).calls
        if [call.name for call in written] == [tool.name]:
            filled = _merge(task, i, answers[i].calls[0], written[0])
            results[i] = replace(answers[i], calls=(filled,))
    return results


def _most_tokens(task: AnswerTask, i: int, answer: Answer) -> int:
    if not answer.tokens:  # a remote model that does not count them
        return task.config.max_tokens
    free = free_arguments(answer.calls[0], task.inputs[i].tools, task.stated[i])
    return min(task.config.max_tokens, answer.tokens + TOKENS_PER_ARGUMENT * len(free))


def _tool_to_fill(task: AnswerTask, i: int, answer: Answer) -> Tool | None:
    """The tool of the answer's call, all of whose arguments are required; None where there is nothing to fill."""
    item = task.inputs[i]
    if task.is_free_or_custom(item) or answer.error or len(answer.calls) != 1:
        return None
    tool = next((tool for tool in item.tools if tool.name == answer.calls[0].name), None)
    names = list(SchemaPlace.of(tool.parameters).names) if tool else []
    if not tool or len(names) > MOST_ARGUMENTS or not _literals_left(task, i, answer.calls[0]):
        return None
    return replace(tool, parameters={**tool.parameters, "required": names})


def _literals_left(task: AnswerTask, i: int, call: ToolCall) -> tuple[str, ...]:
    item = task.conversations[i]
    return omitted_literals([call], item.tools, item.messages)


def _merge(task: AnswerTask, i: int, call: ToolCall, written: ToolCall) -> ToolCall:
    tools, stated = task.inputs[i].tools, task.stated[i]
    free = free_arguments(call, tools, stated)
    used = {normalise(str(value)) for name, value in call.arguments.items() if name not in free}
    taken = {
        name: value
        for name, value in written.arguments.items()
        if name in free and _is_stated(value, stated) and normalise(str(value)) not in used
    }
    filled = replace(call, arguments={**call.arguments, **taken})
    better = len(_literals_left(task, i, filled)) < len(_literals_left(task, i, call))
    return filled if better and not problem(filled, tools) else call


def _is_stated(value: Any, stated: StatedValues) -> bool:
    """Whether the text states every string and number in a value, and there is one."""
    states = [leaf in stated for _, leaf in leaves(value)]
    return bool(states) and all(states)
