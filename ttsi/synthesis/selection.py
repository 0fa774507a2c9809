"""Which written examples are good enough to learn from?

Inputs: one example, the input it was written for, the examples already kept. Outputs: None, or the first reason to
refuse it. Checks: the call fits the tool's schema; the request is neither the seed nor a repetition, nor too close to
either (`seed_overlap`, `overlap`: off until somebody has measured that they help); every argument value is stated in
the request; the request does not sound more like another tool. What only the model can say is asked in `trial.py`.

The paper trains on what was written, unchecked; set `grounded` and `unambiguous` to False and the schema check remains,
since a call of a tool that does not exist teaches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ttsi.chat.marked import leaves_of, words
from ttsi.chat.tool_schema import problem
from ttsi.config import SynthesisConfig
from ttsi.types import Example, Input, Tool, last_request

_GAPS = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"(?<![\w.])(?:(?<![\w)])-)?(?!0\d)\d+(?:,\d{3})*(?:\.\d+)?(?!\.?\d)")


def refusal(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """Why this example is refused, or None."""
    for call in example.calls:
        found = problem(call, item.tools)
        if found:
            return found if found.startswith("schema") else f"schema: {found}"
    if normal(example.query) == normal(last_request(item)):
        return "copy: the request is the input itself"
    if any(normal(example.query) == normal(other.query) for other in kept):
        return "copy: the request was written before"
    if config.seed_overlap < 1 and overlap(example.query, last_request(item)) > config.seed_overlap:
        return "copy: the request is nearly the input itself"
    if config.overlap < 1 and any(overlap(example.query, other.query) > config.overlap for other in kept):
        return "diversity: the request is nearly one that was written before"
    reason = ungrounded(example) if config.grounded else None
    return reason or (misleading(example, item.tools) if config.unambiguous else None)


def overlap(one: str, other: str) -> float:
    """Shared words as a share of all words of both (Jaccard); 0 when neither has any.

    >>> overlap("book a flight", "Book a hotel!")
    0.5
    """
    left, right = set(normal(one).split()), set(normal(other).split())
    return len(left & right) / len(left | right) if left | right else 0.0


def ungrounded(example: Example) -> str | None:
    """The first argument value that the request does not state, as a reason; booleans need no statement."""
    said, counted = f" {normal(example.query)} ", numbers(example.query)
    for call in example.calls:
        for key, value in leaves(call.arguments):
            stated = value in counted if isinstance(value, int | float) else f" {normal(str(value))} " in said
            if not stated:
                return f"grounded: the value of {key} is not in the request"
    return None


def numbers(text: str) -> set[float]:
    """The numbers that a text states in digits; parts of a date, a version or a code such as A-07 are none.

    >>> sorted(numbers("1,500 of 20.0 below -5, not 3.1.2 or 2027-05-03"))
    [-5.0, 20.0, 1500.0, 2027.0]
    """
    return {float(found.replace(",", "")) for found in _NUMBER.findall(text)}


def misleading(example: Example, tools: Sequence[Tool]) -> str | None:
    """The tool that the request points at more than at the called one, as a reason.

    A tool's line is its name, its description and its arguments' names; what counts is how many of its words the
    request holds. A request that holds none of any line may be another way of saying it and is kept.
    """
    said = set(words(example.query))
    shared = {tool.name: len(said & _line(tool)) for tool in tools}
    called = max((shared.get(call.name, 0) for call in example.calls), default=0)
    best = max(shared, key=lambda name: shared[name], default="")
    return f"unambiguous: the request sounds like {best}" if best and shared[best] > called else None


def _line(tool: Tool) -> set[str]:
    keys = " ".join(key for key, _, _ in leaves_of(tool))
    return set(words(f"{tool.name} {tool.description} {keys}"))


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every string and number in the arguments with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    elif value is not None and not isinstance(value, bool):
        yield key, value


def normal(text: str) -> str:
    """Lower case, with everything but letters and digits as one space: how texts are compared.

    >>> normal("  Where's  A-12?")
    'where s a 12'
    """
    return _GAPS.sub(" ", text.lower()).strip()
