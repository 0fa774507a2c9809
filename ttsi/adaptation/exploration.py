"""Notes of an agent that tried its tools on a copy of the environment, put into the prompt. Nothing is trained.

Inputs: unsure inputs with their examples, executed ones and those that failed. Outputs: the inputs with one line per
call and result in the system message. The nearest rival of learning them (GTTA, arXiv:2511.04847, has a model write
rules from such trials; here the results themselves stand in the prompt).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ttsi.types import Adaptation, Example, Input, Message, Prompt, ToolCall, ToolResult

if TYPE_CHECKING:
    from ttsi.adaptation import AdaptationTask, Tuned

HEADING = "Notes from trying the tools on a copy of the present state:"
LONGEST_RESULT = 200
"""Characters of a result that a note repeats."""


@contextmanager
def explore(task: AdaptationTask) -> Iterator[Tuned]:
    """The calls that were tried, and what they returned, as notes in the system message."""
    from ttsi.adaptation import Tuned

    inputs, adaptations = [], []
    for item, examples in zip(task.inputs, task.examples, strict=True):
        tried = [example for example in examples if example.results]
        noted = list(tried)
        while noted and _too_long(task, with_notes(item, noted)):
            noted.pop()
        inputs.append(with_notes(item, noted) if noted else item)
        adaptations.append(_record(tried, noted))
    yield Tuned(tuple(inputs), (None,) * len(inputs), tuple(adaptations))


def _too_long(task: AdaptationTask, item: Input) -> bool:
    return task.model.fits(Prompt(item.messages, item.tools), task.config.answer.max_tokens) is not None


def _record(tried: Sequence[Example], noted: Sequence[Example]) -> Adaptation:
    if noted:
        return Adaptation("in-context", samples=len(noted), left_out=len(tried) - len(noted))
    nothing = "no call was tried: explore needs tools of an agent that a copy may call"
    reason = "no note fits the context" if tried else nothing
    return Adaptation("none", reason=reason, left_out=len(tried))


def with_notes(item: Input, examples: Sequence[Example]) -> Input:
    """The input with a note per call behind its system message.

    >>> from ttsi.types import ToolCall, ToolResult
    >>> tried = Example("", (ToolCall("read", {"file": "a"}),), "", results=(ToolResult("no such file", error=True),))
    >>> with_notes(Input("1", (Message("user", "hello"),), ()), [tried]).messages[0].content.splitlines()[1]
    '- read({"file": "a"}) fails: no such file'
    """
    tried = [pair for example in examples for pair in zip(example.calls, example.results, strict=False)]
    notes = "\n".join([HEADING, *dict.fromkeys(_note(call, result) for call, result in tried)])
    first = item.messages[0] if item.messages and item.messages[0].role == "system" else None
    rest = item.messages if first is None else item.messages[1:]
    text = notes if first is None else f"{first.content}\n\n{notes}"
    return replace(item, messages=(Message("system", text), *rest))


def _note(call: ToolCall, result: ToolResult) -> str:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    verb = "fails:" if result.error else "returns"
    return f"- {call.name}({arguments}) {verb} {' '.join(result.content.split())[:LONGEST_RESULT]}"
