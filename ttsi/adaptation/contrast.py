"""Contrasts: beside each training example's call, the call that another tool would get for the same request.

Inputs: written examples, their input, the candidates of awareness. Outputs: their training
examples with (preferred, rejected), two texts of which the first is to become the likelier (`adaptation.objective`
contrast). The rejected tool is the likeliest other candidate for the input, or the next tool in turn where awareness
has none. Both texts are whole calls with the same values where the other tool takes them all, else the calls up to
their closed names: so neither is less likely just because it says more. The paper (arXiv:2510.07841) learns from right
calls alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.adaptation.examples import training_examples
from ttsi.chat.calls import Format
from ttsi.types import Awareness, Example, Input, Tool, ToolCall, TrainingExample


def with_contrasts(
    fmt: Format, item: Input, examples: Sequence[Example], awareness: Awareness | None = None
) -> list[TrainingExample]:
    """The training examples of written examples, each call's with its contrast where the example has one call.

    An example that is a whole turn makes several training examples, of which the first is the call. There is no
    contrast without another tool.

    Args:
        fmt: how the model writes calls.
        item: the input that the examples were written for.
        examples: written examples.
        awareness: of the input; None takes the next tool in turn.
    """
    lessons: list[TrainingExample] = []
    for example in examples:
        for place, lesson in enumerate(training_examples(fmt, item, [example])):
            contrast = None if place else _contrast(fmt, example, lesson.prompt.tools, awareness)
            lessons.append(replace(lesson, contrast=contrast))
    return lessons


def _contrast(
    fmt: Format, example: Example, tools: Sequence[Tool], awareness: Awareness | None
) -> tuple[str, str] | None:
    right = next((tool for tool in tools if [call.name for call in example.calls] == [tool.name]), None)
    wrong = right and runner_up(right, tools, awareness)
    if right is None or wrong is None:
        return None
    [call] = example.calls
    reasons = [fmt.reason(tool, example.query, tools) for tool in (right, wrong)]
    if _takes(wrong, call):
        try:
            other = ToolCall(wrong.name, call.arguments)
            return fmt.render([call], reasons[:1], tools), fmt.render([other], reasons[1:], tools)
        except ValueError:
            pass  # the family cannot write these values for the other tool
    names = ["".join(fmt.name_span(tool.name)) for tool in (right, wrong)]
    return reasons[0] + names[0], reasons[1] + names[1]


def runner_up(right: Tool, tools: Sequence[Tool], awareness: Awareness | None) -> Tool | None:
    """The likeliest other candidate, else the next tool in turn; None where there is no other tool."""
    others = {tool.name: tool for tool in tools if tool.name != right.name}
    candidates = [candidate for candidate in awareness.candidates if candidate.action in others] if awareness else []
    if candidates:
        return others[max(candidates, key=lambda candidate: candidate.logprob).action]
    at = [tool.name for tool in tools].index(right.name)
    return next((tool for tool in (*tools[at + 1 :], *tools[:at]) if tool.name in others), None)


def _takes(tool: Tool, call: ToolCall) -> bool:
    """Whether a tool can be called with these arguments, as far as their names go."""
    names, required = set(call.arguments), set(tool.parameters.get("required", ()))
    return bool(names) and required <= names <= set(tool.parameters.get("properties", ()))
