"""Filters for written examples that need no model.

Inputs: one example, the input it was written for, the examples kept before, the settings. Outputs: None, or the first
reason to refuse it. The call must fit the tool's schema; the request must be neither the input's own nor a repetition,
nor too close to either (`seed_overlap`, `overlap`: off until measured to help); every argument value must be stated in
the request; the request must not resemble another tool more. Filters that use the model are in `model_filters.py`.

A filter of your own is a function like these: `--synthesis.filter my.module:short`. The paper trains on every written
example, unchecked; set `grounded` and `unambiguous` to False and the schema check remains, because a call of a tool
that does not exist teaches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ttsi.chat.grounding import StatedValues, is_boolean, leaves, normalise
from ttsi.chat.marked import content_words, leaves_of
from ttsi.chat.tool_schema import problem
from ttsi.config import SynthesisConfig
from ttsi.errors import WrongResult
from ttsi.object_reference import load_function, resolve
from ttsi.types import Example, Input, Tool, last_request
from ttsi.words import jaccard

ExampleFilter = Callable[[Example, Input, Sequence[Example], SynthesisConfig], str | None]
"""(example, input, examples kept before, settings) -> the reason to refuse it, or None."""


def active_filters(config: SynthesisConfig) -> list[ExampleFilter]:
    """The filters that the settings switch on, in order; your own come last.

    Raises:
        ConfigError: there is no such filter.
    """
    switches = {
        "schema": True,
        "copy": True,
        "seed_overlap": config.seed_overlap < 1,
        "overlap": config.overlap < 1,
        "grounded": config.grounded,
        "unambiguous": config.unambiguous,
    }
    names = [*(name for name, on in switches.items() if on), *config.filter]
    return [resolve("example filter", name, EXAMPLE_FILTERS, load_function) for name in names]


def refusal(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """The first reason to refuse this example, or None.

    Raises:
        ConfigError: a filter returns something else than a reason or None.
    """
    for refuses in active_filters(config):
        reason = refuses(example, item, kept, config)
        if reason is not None and not (isinstance(reason, str) and reason):
            name = getattr(refuses, "__name__", refuses)
            raise WrongResult(f"the example filter {name}", repr(reason), "return a reason (a str) or None")
        if reason is not None:
            return reason
    return None


def schema(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """A call that does not fit its tool's schema."""
    reason = next(filter(None, (problem(call, item.tools) for call in example.calls)), None)
    return reason if reason is None or reason.startswith("schema") else f"schema: {reason}"


def copy(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """A request that is the input's own, or was written before."""
    if normalise(example.query) == normalise(last_request(item)):
        return "copy: the request is the input itself"
    if any(normalise(example.query) == normalise(other.query) for other in kept):
        return "copy: the request was written before"
    return None


def seed_overlap(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """A request that shares too many words with the input's own."""
    near = jaccard(example.query, last_request(item)) > config.seed_overlap
    return "copy: the request is nearly the input itself" if near else None


def overlap(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """A request that shares too many words with one kept before."""
    near = any(jaccard(example.query, other.query) > config.overlap for other in kept)
    return "diversity: the request is nearly one that was written before" if near else None


def groundedness(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """An argument value that the request does not state; booleans need no statement, and "tomorrow" is no date."""
    stated = StatedValues.of(example.query, relative_dates=False)
    for call in example.calls:
        for key, value in leaves(call.arguments):
            if value not in stated and not is_boolean(value):
                return f"grounded: the value of {key} is not in the request"
    return None


def unambiguous(example: Example, item: Input, kept: Sequence[Example], config: SynthesisConfig) -> str | None:
    """A request that shares more words with another tool than with the called one.

    A tool's words are those of its name, its description and its arguments' names. A request that shares none with any
    tool may be another way to put it and is kept.
    """
    request_words = set(content_words(example.query))
    shared = {tool.name: len(request_words & _tool_words(tool)) for tool in item.tools}
    called = max((shared.get(call.name, 0) for call in example.calls), default=0)
    best = max(shared, key=lambda name: shared[name], default="")
    return f"unambiguous: the request sounds like {best}" if best and shared[best] > called else None


EXAMPLE_FILTERS: Mapping[str, ExampleFilter] = {
    "schema": schema,
    "copy": copy,
    "seed_overlap": seed_overlap,
    "overlap": overlap,
    "grounded": groundedness,
    "unambiguous": unambiguous,
}
"""Built-in filters by name."""


def _tool_words(tool: Tool) -> set[str]:
    keys = " ".join(key for key, _, _ in leaves_of(tool))
    return set(content_words(f"{tool.name} {tool.description} {keys}"))
