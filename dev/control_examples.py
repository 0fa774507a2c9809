"""The controls by name: for each, which examples an input learns in place of its own.

Inputs: a batch of inputs, with the base's answers and confidence. Outputs: per input its examples, kept and refused.
Each control takes away, or puts in, one property of the examples of TT-SI (arXiv:2510.07841), so that its gain beside
theirs shows what the property is worth. Gold is read by `nearest` alone, and only other rows'.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dev.control_values import own_value_examples
from ttsi.benchmarks import Sample
from ttsi.call_equality import canonical_calls
from ttsi.chat.grounding import normalise
from ttsi.config import SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models import Model
from ttsi.synthesis import synthesise
from ttsi.synthesis.example_filters import seed_overlap
from ttsi.synthesis.retrieval import demonstrations
from ttsi.types import (
    Answer,
    Awareness,
    Example,
    GoldExample,
    Input,
    ToolCall,
    TrainingData,
    last_request,
)
from ttsi.words import jaccard

NEAR = 0.7
"""Overlap of words with the request above which an example is a near-copy."""
VALIDATION = ("sealtool-dev", "seal-tools-dev", "toolworld-validation")
"""Benchmarks whose gold may be learned from: settings are chosen on them, and nothing is reported."""

Examples = tuple[Example, ...]


@dataclass(frozen=True)
class ExampleTask:
    """A batch of inputs; sequences have one entry per input."""

    model: Model
    rows: Sequence[Sample]
    """All rows of the benchmark."""
    config: SynthesisConfig
    inputs: Sequence[Input]
    answers: Sequence[Answer]
    """The base's."""
    awareness: Sequence[Awareness]
    seeds: Sequence[int]
    written: Sequence[Examples] = ()
    """The examples that a model wrote; only for controls that select from them."""


@dataclass(frozen=True)
class Control:
    """One control."""

    gloss: str
    examples: Callable[[ExampleTask], list[Examples]]
    writes: bool = False
    """A model writes the examples, and several controls share them."""


def near_copies(request: str, examples: Sequence[Example]) -> int:
    """Number of kept examples that are near-copies of a request."""
    return sum(example.refused is None and jaccard(example.query, request) > NEAR for example in examples)


def check_gold(benchmark: str) -> None:
    """Refuse to learn gold of a benchmark that is not for validation.

    Raises:
        ConfigError: it is not.
    """
    if benchmark not in VALIDATION:
        names = ", ".join(VALIDATION)
        raise ConfigError(f"nearest learns gold rows, and {benchmark} may be a test split: use one of {names}")


def _own_schema_examples(task: ExampleTask) -> list[Examples]:
    return _schema_examples(task, task.inputs, task.awareness)


def _schema_examples(task: ExampleTask, inputs: Sequence[Input], awareness: Sequence[Awareness]) -> list[Examples]:
    config = replace(task.config, source="schema")
    return synthesise(task.model, inputs, awareness, config, task.seeds)


def _all_written(task: ExampleTask) -> list[Examples]:
    return list(task.written)


def _drop_overlapping(limit: float, task: ExampleTask) -> list[Examples]:
    """The written examples that the filter `seed_overlap` lets through; none is written in place of the others."""
    config = replace(task.config, seed_overlap=limit)
    return _refuse(task, lambda example, item: seed_overlap(example, item, (), config))


def _near_copies_alone(task: ExampleTask) -> list[Examples]:
    return _refuse(
        task,
        lambda example, item: None if near_copies(last_request(item), [example]) else "control: no near-copy",
    )


def _refuse(task: ExampleTask, reason: Callable[[Example, Input], str | None]) -> list[Examples]:
    return [
        tuple(replace(example, refused=example.refused or reason(example, item)) for example in examples)
        for item, examples in zip(task.inputs, task.written, strict=True)
    ]


def _other_tools(task: ExampleTask) -> list[Examples]:
    """Examples of another input's tools, drawn from all rows; none where every row shares a tool with the input."""
    others = [_stranger(item, task.rows, seed) for item, seed in zip(task.inputs, task.seeds, strict=True)]
    items = [other or replace(item, tools=()) for other, item in zip(others, task.inputs, strict=True)]
    unknown = [Awareness((), "", 0.0, 0.0, unsure=True)] * len(items)
    return [
        tuple(replace(example, tools=other.tools) for example in examples) if other else ()
        for other, examples in zip(others, _schema_examples(task, items, unknown), strict=True)
    ]


def _stranger(item: Input, rows: Sequence[Sample], seed: int) -> Input | None:
    """An input that offers tools, and none of those that this one offers."""
    names = {tool.name for tool in item.tools}
    shuffled = random.Random(seed).sample(rows, len(rows))
    others = (row.input for row in shuffled if row.input.tools)
    return next((other for other in others if names.isdisjoint(tool.name for tool in other.tools)), None)


def _rotate(task: ExampleTask) -> list[Examples]:
    return [rotate_labels(examples) for examples in _own_schema_examples(task)]


def rotate_labels(examples: Sequence[Example]) -> Examples:
    """Each kept example with the calls of the next one; refused where they are its own calls all the same."""
    kept = [example for example in examples if example.refused is None]
    rest = tuple(example for example in examples if example.refused is not None)
    pairs = zip(kept, [*kept[1:], *kept[:1]], strict=True)
    return *(_with_label(example, following) for example, following in pairs), *rest


def _with_label(example: Example, other: Example) -> Example:
    if canonical_calls(example.calls) == canonical_calls(other.calls):
        return replace(example, refused="control: the next example has the same label")
    return replace(example, calls=other.calls)


def _own_values(task: ExampleTask) -> list[Examples]:
    entries = zip(task.inputs, task.answers, task.seeds, strict=True)
    return [own_value_examples(item, answer, task.config, seed) for item, answer, seed in entries]


def _reword(task: ExampleTask) -> list[Examples]:
    """As the method ttsi-written does with any model but the embedded one."""
    config = replace(preset("ttsi-written").synthesis, source="writer", order="schema-first", k=task.config.k)
    return synthesise(task.model, task.inputs, task.awareness, config, task.seeds)


def _nearest_rows(task: ExampleTask) -> list[Examples]:
    config = replace(task.config, source="nearest")
    rows = [GoldExample(row.input, row.gold) for row in task.rows if row.gold and _is_solvable(row.input, row.gold)]
    made: list[Examples] = []
    for item, seed in zip(task.inputs, task.seeds, strict=True):
        request = normalise(last_request(item))
        others = tuple(row for row in rows if normalise(last_request(row.input)) != request)
        made += demonstrations(TrainingData("other rows", "", others), [item], config, [seed])
    return made


def _is_solvable(item: Input, gold: Sequence[ToolCall]) -> bool:
    """Whether every right call is of a tool on offer; no model can learn the others."""
    return {call.name for call in gold} <= {tool.name for tool in item.tools}


CONTROLS: Mapping[str, Control] = {
    "schema": Control("made from the schemas of the input's own tools", _own_schema_examples),
    "written": Control("the model writes them", _all_written, writes=True),
    "written-overlap-0.5": Control(
        "those it writes that share at most half of their words with the request",
        partial(_drop_overlapping, 0.5),
        writes=True,
    ),
    "written-overlap-0.7": Control(
        "those it writes that are no near-copies of the request (overlap of words at most 0.7)",
        partial(_drop_overlapping, NEAR),
        writes=True,
    ),
    "written-near": Control(
        "only the near-copies among those it writes (overlap above 0.7)", _near_copies_alone, writes=True
    ),
    "other-tools": Control("another input's, made from its schemas, with its tools", _other_tools),
    "rotated": Control("as schema, each request with the call of the next", _rotate),
    "own-values": Control("the input's own request and the model's own call, with other values in both", _own_values),
    "reworded": Control("as schema, the requests reworded by the model", _reword),
    "nearest": Control("the most similar other rows of the benchmark, with their gold", _nearest_rows),
    "teacher": Control("another model writes them (--teacher)", _all_written, writes=True),
}
"""Controls by name."""
