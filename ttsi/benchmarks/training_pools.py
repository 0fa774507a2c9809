"""Training pools: requests with right calls to learn from before the test.

Inputs: the name of a training pool (or the path of a `.jsonl` file of one's own) and the data folder. Outputs: a
`Benchmark` whose samples are requests with their right calls, for supervised fine-tuning and few-shot prompts
(`--train-data NAME`), never for testing:

* `seal-tools-dev`: Seal-Tools' 636 dev rows, in the form of its tests (`ttsi.benchmarks.sealtools`).
* `api-bank-l3`: 907 steps of API-Bank's level-3 training data (`ttsi.benchmarks.apibank_train`).
* `toolrl-400`: the 400 rows that ToolRL fine-tunes on (`ttsi.benchmarks.toolrl_train`).

`contaminated_ids` finds what a pool shares with a benchmark, in any script; `check_separate` refuses a pool that shares
anything with the benchmark it is to be tested on. API-Bank's level-1 and level-2 dialogues are no pool: the test rows
are cut from them.

The paper (arXiv:2510.07841) compares with fine-tuning on 13k rows of Seal-Tools, most of which are not available.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Literal

from ttsi.benchmarks import Benchmark, read_named
from ttsi.errors import DataError
from ttsi.plurals import with_noun
from ttsi.types import Input, Message
from ttsi.words import count_words, fold, whole_words

POOLS: dict[str, str] = {
    "seal-tools-dev": "ttsi.benchmarks.sealtools:DEV_POOL",
    "api-bank-l3": "ttsi.benchmarks.apibank_train:LEVEL_3_TRAIN",
    "toolrl-400": "ttsi.benchmarks.toolrl_train:TOOLRL_400",
}
"""Name -> the reference of its record."""
FILE_SUMMARY = "your own inputs with gold"
"""The line about a file FILE.jsonl."""

MIN_WORDS = 4
"""A shorter message ("Yes, please.") does not show where it came from: it counts in an equal conversation only."""


def load(name: str, data_dir: Path | None = None, test: Benchmark | None = None) -> Benchmark:
    """Read a pool.

    Args:
        name: a name of POOLS, the path of a .jsonl (or .jsonl.gz) file whose lines all have gold, or
            `package.module:object`.
        data_dir: the folder with the data; None is the cache (`ttsi data`).
        test: the benchmark to be tested on, which the pool must not share a request with.

    Raises:
        ConfigError: there is no such pool.
        DataError: its data are missing, cannot be read, or hold requests of the test.
    """
    pool = read_named("training pool", name, POOLS, data_dir=data_dir)
    if any(sample.gold is None for sample in pool.samples):
        raise DataError(f"{name} has lines without gold: nothing can be learned from them, leave them out")
    if test is not None:
        check_separate(pool, test, name)
    return pool


def check_separate(pool: Benchmark, test: Benchmark, name: str) -> None:
    """Refuse to learn from rows that ask what a test asks.

    Args:
        pool: the rows to learn from.
        test: the benchmark to be tested on.
        name: how the user named the pool.

    Raises:
        DataError: they share requests, or are the same data; one line.
    """
    shared = contaminated_ids(pool, test)
    if not shared:
        return
    if pool.checksum == test.checksum:
        raise DataError(f"{name} holds the very data of the test {test.name}: train on other rows")
    some = ", ".join(map(repr, shared[:3])) + (", ..." if len(shared) > 3 else "")
    where = f"in {len(shared)} of {with_noun(len(pool.samples), 'row')}"
    raise DataError(f"{name} asks {where} what the test {test.name} asks ({some}): train on other rows")


def contaminated_ids(pool: Benchmark, test: Benchmark) -> tuple[str, ...]:
    """Ids of pool rows that repeat a user's request of the test, or a whole conversation of it, however short.

    Only words count in a request, not case, marks and spaces. Conversations with tools of other names are others, and
    so are requests behind an answer in both ("on second thought, cancel it"): what they ask depends on what was before.
    """
    questions = {question for sample in test.samples for question in _questions(sample.input, "test")}
    return tuple(s.input.id for s in pool.samples if not questions.isdisjoint(_questions(s.input, "pool")))


def _questions(item: Input, side: Literal["test", "pool"]) -> Iterator[Hashable]:
    # A tool more or less, or a tool that is described in other words, makes no other question.
    tools, answered = {tool.name for tool in item.tools} or {""}, False
    for message in item.messages:
        answered = answered or message.role == "assistant"
        words = whole_words(_text(message)) if message.role == "user" else []
        if count_words(words) < MIN_WORDS:
            continue
        request = "".join(words)
        # A request that opens a conversation meets every other one; two that follow an answer meet through a tool.
        yield request, side
        if not answered:
            yield request, "pool" if side == "test" else "test"
        yield from ((request, "with", name) for name in tools)
    conversation = tuple((message.role, _plain(_text(message)), _calls(message)) for message in item.messages)
    yield from ((conversation, name) for name in tools)


def _text(message: Message) -> str:
    """The text, without the time stamp that API-Bank puts behind a request: it would hide that it was made before."""
    return message.content.partition("TIME: ")[0] if message.role == "user" else message.content


def _plain(text: str) -> str:
    """A text without case, line breaks and its last marks. Marks within it stay: 7-3 is not 7+3."""
    return " ".join(fold(text).split()).rstrip(" .!?;。…")


def _calls(message: Message) -> str:
    return json.dumps([(call.name, call.arguments) for call in message.tool_calls], sort_keys=True)
