"""Examples from which an adapter learns a list of tools ahead of any request, and those that test it.

Examples by rule come from a tool's schema alone (`ttsi.synthesis.schema_examples`). So what a request of this list
would teach can be learned before it comes: some examples of every tool. Others are held back and test the adapter, each
as one bet (`ttsi.library.admission`): they are drawn independently, in the same way as those that it learned.

Inputs: tools, a seed. Outputs: examples. The paper (arXiv:2510.07841) writes examples for one request at a time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ttsi.library.admission import is_admitted
from ttsi.synthesis.schema_examples import schema_example
from ttsi.types import Example, Tool, stage_seed

EXAMPLES_PER_TOOL = 4
MOST_EXAMPLES = 64
"""Most examples to learn; a longer list has fewer of each tool, and a still longer one none of some tools."""
EXAMPLES_PER_STEP = 4
FEWEST_TESTS, MOST_TESTS = 8, 16
"""Examples that are held back: one of each tool, in turn, within these bounds."""
TESTS_TO_ADMIT = next(wins for wins in range(1, MOST_TESTS) if is_admitted(wins, 0))
"""Tests that an adapter has to win in a row. Tools with hardly any parameters may have fewer different examples."""


@dataclass(frozen=True)
class PreparationExamples:
    """What is learned of a list of tools, and what tests it."""

    learned: tuple[Example, ...]
    held_back: tuple[Example, ...]
    """None of them is learned."""


def preparation_examples(tools: Sequence[Tool], seed: int) -> PreparationExamples:
    """Examples of all tools; none of a tool for which no value can be made by rule.

    >>> city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    >>> tools = [Tool("get_weather", "Get the weather", city)]
    >>> made = preparation_examples(tools, 0)
    >>> len(made.learned), {example.calls[0].name for example in made.held_back}
    (4, {'get_weather'})
    """
    order = list(tools)
    random.Random(seed).shuffle(order)
    order = order[:MOST_EXAMPLES]
    count = max(1, min(EXAMPLES_PER_TOOL, MOST_EXAMPLES // max(1, len(order))))
    made = [_example(tool, seed, number) for number in range(count) for tool in order]
    learned = {_identity(example): example for example in made if example.refused is None}
    number_of_tests = min(MOST_TESTS, max(FEWEST_TESTS, len(order)))
    tests = [_example(order[n % len(order)], seed, count + n // len(order)) for n in range(number_of_tests) if order]
    held_back = [example for example in tests if example.refused is None and _identity(example) not in learned]
    return PreparationExamples(tuple(learned.values()), tuple(held_back))


def _identity(example: Example) -> tuple[str, str]:
    return example.calls[0].name, example.query


def _example(tool: Tool, seed: int, number: int) -> Example:
    return schema_example(tool, stage_seed(seed, tool.name, number, "preparation"))
