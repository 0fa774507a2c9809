"""Contrasts: beside each training example's call, the call that another tool would get for the same request.

Inputs: training examples, the written examples behind them, the candidates of awareness. Outputs: the same training
examples with (preferred, rejected), two texts of which the first is to become the likelier (`adaptation.objective`
contrast). The rejected tool is the likeliest other candidate for the input, or the next tool in turn where awareness
has none. Both texts are whole calls with the same values where the other tool takes them all, else the calls up to
their closed names: so neither is less likely just because it says more. The paper (arXiv:2510.07841) learns from right
calls alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.chat.calls import Format
from ttsi.types import Awareness, Example, Tool, ToolCall, TrainingExample


def with_contrasts(
    fmt: Format, examples: Sequence[Example], lessons: Sequence[TrainingExample], awareness: Awareness | None = None
) -> list[TrainingExample]:
    """Each training example with its contrast, except where there is no other tool or more than one call.

    Args:
        fmt: how the model writes calls.
        examples: written examples.
        lessons: the training examples that were made of them.
        awareness: of the input; None takes the next tool in turn.
    """
    return [
        replace(lesson, contrast=_contrast(fmt, example, lesson.prompt.tools, awareness))
        for example, lesson in zip(examples, lessons, strict=True)
    ]


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
