"""Examples from the tools' own schemas, by rule: a call with plausible values, and a request that states them.

Inputs: a tool and a generator of random numbers. Outputs: an `Example`. Its call is legal and its request states every
value, so that nothing has to be thrown away, and an optional argument that the request does not state is not in the
call. The request takes its words from the tool's description. No model writes: this is the simplest rival of examples
that a model writes (arXiv:2510.07841), at no cost.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.synthesis.parameter_words import name_words
from ttsi.synthesis.schema_values import UNUSABLE, NoValueError, sample_arguments
from ttsi.synthesis.state_values import StateValues
from ttsi.types import Example, Tool, ToolCall

_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)\. ")
OPTIONAL_SHARE = 0.35
"""Probability that an optional argument is in a call."""

_SUBJECT = re.compile(
    r"(?:(?:this|the|an?)\s+)?(?:api|tool|function|endpoint|service|method|helper)\s+(?:that\s+|which\s+)?"
    r"(?:(?:is\s+used|can\s+be\s+used|allows\s+(?:you|users)|will|can|lets\s+you|helps\s+you|helps)\s+(?:to\s+)?)?",
    re.IGNORECASE,
)
"""What stands before the verb in "This API is used to find books"."""
_NO_IMPERATIVE = frozenset({"this", "the", "a", "an", "it", "api", "tool", "function", "used", "for", "to", "given"})
"""First words of a description that is no command."""
_VERBS = frozenset(
    "add apply book buy calculate cancel change check clear close compare compute convert count create delete detect "
    "download edit estimate fetch filter find generate get identify insert list load log lookup make modify move open "
    "order parse play post predict query read record register remove rename reserve reset retrieve run save schedule "
    "search select send set show sort start stop store submit summarize track translate update upload validate verify "
    "view write".split()
)
"""First words of a tool's name that is a command."""
_KEPT = ("ss", "us", "is", "as")
"""Ends of verbs that are no third person."""


def schema_example(tool: Tool, seed: int, state: StateValues | None = None) -> Example:
    """One example of a tool; refused where a required argument has no value that can be made by rule.

    Args:
        tool: the tool to call.
        seed: draws the values and the words.
        state: values of an environment's state; an argument of like name takes one of them.
    """
    draw = random.Random(seed)
    try:
        arguments = sample_arguments(tool.parameters, draw, OPTIONAL_SHARE, (state or StateValues()).like)
    except NoValueError as error:
        return Example("", (), "", f"schema: {error}")
    except UNUSABLE as error:
        return Example("", (), "", f"schema: the schema of {tool.name} cannot be used ({type(error).__name__})")
    request = _request(tool, arguments, draw)
    return Example(request, (ToolCall(tool.name, arguments),), request)


def joined_example(first: Example, second: Example) -> Example:
    """Two examples as one request for two calls; the second as it is where either was refused."""
    if first.refused is not None or second.refused is not None:
        return second
    query = f"{first.query.rstrip('.?')}, and after that: {second.query[:1].lower()}{second.query[1:]}"
    return Example(query, (*first.calls, *second.calls), query)


def _request(tool: Tool, arguments: Mapping[str, Any], draw: random.Random) -> str:
    command = _command(tool)
    details = [(name_words(key), _text(value, draw)) for key, value in _leaves(arguments)]
    sentence = command[:1].upper() + command[1:]
    if not details:
        return draw.choice((f"{sentence}.", f"Please {command}.", f"Can you {command}?"))
    plain, stated = (
        _enumeration([f"{key} {value}" for key, value in details]),
        _enumeration([f"{k} is {v}" for k, v in details]),
    )
    listed = _enumeration([f"{key}: {value}" for key, value in details])
    return draw.choice((
        f"Please {command} with {plain}.",
        f"{sentence} for the {plain}.",
        f"I need {'' if command.startswith('help ') else 'to '}{command}. The {stated}.",
        f"Can you {command}? {listed}",
    ))  # fmt: skip


def _command(tool: Tool) -> str:
    """What the tool does, as a command: the first sentence of its description, or the words of its name.

    >>> descriptions = ("This API finds tables.", "API for finding one", "Tables")
    >>> [_command(Tool("TableFinder", text, {})) for text in descriptions]
    ['find tables', 'help with finding one', 'use table finder']
    """
    text = _SENTENCE_END.split(" ".join(tool.description.split()))[0].rstrip(".:")
    text = _SUBJECT.sub("", text, count=1) if _SUBJECT.match(text) else text
    first, _, rest = text.partition(" ")
    if first.lower() == "for" and rest.partition(" ")[0].endswith("ing"):
        return f"help with {rest}"
    if rest and first.isalpha() and first.lower() not in _NO_IMPERATIVE:
        return f"{_imperative(first)} {rest}"
    name = name_words(tool.name)
    return name if name.partition(" ")[0] in _VERBS else f"use {name}"


def _imperative(verb: str) -> str:
    """A verb without the ending of the third person.

    >>> [_imperative(verb) for verb in ("Retrieves", "Searches", "Applies", "Process", "Book", "API")]
    ['retrieve', 'search', 'apply', 'process', 'book', 'API']
    """
    if verb[1:] != verb[1:].lower():
        return verb
    low = verb.lower()
    if low.endswith("ies"):
        return f"{low[:-3]}y"
    if low.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return low[:-2]
    return low[:-1] if low.endswith("s") and not low.endswith(_KEPT) else low


def _leaves(arguments: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything that a request states."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
            for inner in value:
                yield from _leaves(inner if isinstance(inner, Mapping) else {name: inner}, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any, draw: random.Random) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return " and ".join(_text(inner, draw) for inner in value)
    return f'"{value}"' if isinstance(value, str) and draw.random() < 0.5 else str(value)


def _enumeration(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
