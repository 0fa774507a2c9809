"""Examples from the input itself: its request and the model's own call, with other values in both.

Inputs: an input and the base's answer to it. Outputs: examples in which every value that the request states is replaced
by another of the same type, in the request and in the call alike. The label is as right as the model's own call is, and
no example is the input itself. A call with a value that the request does not state gives no example.

A value with digits keeps its layout (a date stays a date), any other is drawn from its schema
or by its name (`ttsi.synthesis.schema_values`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ttsi.call_equality import whole_numbers
from ttsi.chat.grounding import StatedValues, normalise, omit_unstated, unstated_arguments
from ttsi.config import SynthesisConfig
from ttsi.synthesis.example_filters import refusal
from ttsi.synthesis.schema_values import NoValueError, sample_value
from ttsi.types import Answer, Example, Input, Tool, ToolCall, last_request
from ttsi.words import words

ATTEMPTS = 8
"""Draws of a value until one differs from the old one."""
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\.?\d)")
_PARTS = re.compile(
    r"\b(?P<year>\d{4})(?P<ymd>[-/.])\d{2}(?P=ymd)\d{2}\b"
    r"|\b\d{1,2}(?P<dmy>[-/.])\d{1,2}(?P=dmy)\d{4}\b"
    r"|\b\d{1,2}:\d{2}\b"
    r"|\d+"
)
"""A date, a time, or a run of digits."""


def own_value_examples(item: Input, answer: Answer, config: SynthesisConfig, seed: int) -> tuple[Example, ...]:
    """Up to `config.k` kept examples; those that the usual filters refuse are among them, with the reason."""
    request = last_request(item)
    stated = StatedValues.of(request)
    calls = [omit_unstated(call, item.tools, stated) for call in answer.calls]
    if answer.error or not calls or any(unstated_arguments(call, item.tools, stated) for call in calls):
        return ()
    draw = random.Random(seed)
    made: list[Example] = []
    for _ in range(config.k * config.max_rounds):
        kept = [example for example in made if example.refused is None]
        if len(kept) == config.k:
            break
        example = _with_other_values(request, calls, item.tools, draw)
        made.append(replace(example, refused=example.refused or refusal(example, item, kept, config)))
    return tuple(made)


def _with_other_values(request: str, calls: Sequence[ToolCall], tools: Sequence[Tool], draw: random.Random) -> Example:
    """The request and its calls with each stated value replaced; refused where one has no other value."""
    schemas = {tool.name: tool.parameters for tool in tools}
    values = _Replacement(StatedValues.of(request), draw)
    try:
        new_calls = tuple(
            replace(call, arguments=values.of(call.name, call.arguments, schemas[call.name], schemas[call.name]))
            for call in calls
        )
    except NoValueError as error:
        return Example("", (), "", f"control: {error}")
    query = replace_values(request, values.pairs)
    return Example(query, new_calls, query)


@dataclass
class _Replacement:
    """Old values and the new ones that take their place; a value has the same one wherever it stands."""

    stated: StatedValues
    draw: random.Random
    pairs: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Normalised text of the old value -> old value, new value."""

    def of(self, name: str, value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
        """A JSON value with new values at its leaves; what the request does not state stays."""
        schema = schema if isinstance(schema, Mapping) else {}
        if isinstance(value, Mapping):
            inner = schema.get("properties") or {}
            return {key: self.of(key, part, inner.get(key), root) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(name, part, schema.get("items"), root) for part in value]
        if value is None or isinstance(value, bool) or value not in self.stated:
            return value
        key = normalise(str(whole_numbers(value)))
        if key not in self.pairs:
            self.pairs[key] = value, other_value(name, value, schema, root, self.draw)
        new = self.pairs[key][1]
        return str(new) if isinstance(value, str) else new


def other_value(name: str, value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], draw: random.Random) -> Any:
    """Another value of the same type for a parameter.

    Every second draw leaves out the examples that the schema gives: there are seldom more than two.

    >>> other_value("day", "2024-05-01", {"type": "string"}, {}, random.Random(0))
    '2026-07-01'

    Raises:
        NoValueError: the schema has no other.
    """
    layout = isinstance(value, str) and re.search(r"\d", value) and not schema.get("enum")
    plain = {key: part for key, part in schema.items() if key not in ("examples", "description")}
    for _ in range(ATTEMPTS):
        new = _same_layout(value, draw) if layout else sample_value(name, draw.choice((schema, plain)), root, draw)
        same_type = isinstance(new, str) == isinstance(value, str) and not isinstance(new, bool | list | dict)
        if same_type and normalise(str(whole_numbers(new))) != normalise(str(whole_numbers(value))):
            return new
    raise NoValueError(f"{name} has no other value of its type")


def _same_layout(text: str, draw: random.Random) -> str:
    def new(match: re.Match[str]) -> str:
        old = match.group()
        separator = match["ymd"] or match["dmy"]
        if separator:
            year, month, day = str(draw.randint(2020, 2027)), f"{draw.randint(1, 12):02}", f"{draw.randint(1, 12):02}"
            return separator.join((year, month, day) if match["ymd"] else (day, month, year))
        if ":" in old:
            return f"{draw.randint(0, 23):02}:{draw.randint(0, 59):02}"
        first = "123456789" if old[0] != "0" else "0"
        return draw.choice(first) + "".join(draw.choice("0123456789") for _ in old[1:])

    return _PARTS.sub(new, text)


def replace_values(text: str, pairs: Mapping[str, tuple[Any, Any]]) -> str:
    """The text with new values in all places of the old ones; of places that overlap, the longest counts.

    Args:
        text: a request.
        pairs: normalised old value -> old value, new value.

    >>> replace_values("1,500 to Rome, from Rome, 5", {"1500": (1500, 20), "rome": ("Rome", "Oslo")})
    '20 to Oslo, from Oslo, 5'
    """
    places = [(start, end, str(new)) for old, new in pairs.values() for start, end in _places(text, old) if end > start]
    taken: list[tuple[int, int, str]] = []
    for place in sorted(places, key=lambda place: place[0] - place[1]):
        if all(place[1] <= other[0] or other[1] <= place[0] for other in taken):
            taken.append(place)
    for start, end, new in sorted(taken, reverse=True):
        text = f"{text[:start]}{new}{text[end:]}"
    return text


def _places(text: str, value: Any) -> Iterator[tuple[int, int]]:
    """Where a text states a value, by the rules of `StatedValues`."""
    if isinstance(value, int | float):
        for match in _NUMBER.finditer(text):
            if float(match.group().replace(",", "")) == value:
                yield match.span()
        return
    pattern = r"[\W_]+".join(map(re.escape, words(value)))
    for match in re.finditer(rf"(?<![^\W_]){pattern}(?![^\W_])", text, re.IGNORECASE):
        yield match.span()
