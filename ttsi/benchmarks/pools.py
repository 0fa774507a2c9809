"""From what may a model be trained, or shown examples, before the test?

Inputs: the name of a training pool (or the path of a `.jsonl` file of one's own) and the data folder. Outputs: a
`Benchmark` whose samples are requests with their right calls, for supervised fine-tuning and few-shot prompts
(`--train-data NAME`), never for testing:

* `seal-tools-dev`: Seal-Tools' 700 dev rows, in the form of its tests (`ttsi.benchmarks.sealtools`).
* `api-bank-l3`: 907 steps of API-Bank's level-3 training data (`ttsi.benchmarks.apibank_train`).
* `toolrl-400`: the 400 rows that ToolRL fine-tunes on (`ttsi.benchmarks.toolrl`).

`overlap` finds what a pool shares with a benchmark; `load` refuses a pool that shares anything with the benchmark it is
to be tested on. API-Bank's level-1 and level-2 dialogues are no pool, since the test rows are cut from them.

The paper (arXiv:2510.07841) compares with fine-tuning on 13k rows of Seal-Tools, most of which are not available.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ttsi.benchmarks import Benchmark, Sample, jsonl, loader, places
from ttsi.errors import DataError

POOLS: dict[str, str] = {
    "seal-tools-dev": "ttsi.benchmarks.sealtools:load_all_dev",
    "api-bank-l3": "ttsi.benchmarks.apibank_train:load",
    "toolrl-400": "ttsi.benchmarks.toolrl:load",
}
"""Name -> "module:function"; the function takes a data folder and returns a Benchmark."""

POOL_GLOSS = {
    "seal-tools-dev": "Seal-Tools' 700 dev rows; only for tests other than seal-tools-dev and sealtool-dev",
    "api-bank-l3": "907 steps of API-Bank's level-3 training data",
    "toolrl-400": "400 mixed rows that ToolRL fine-tunes on, out of every benchmark's domain",
    "FILE.jsonl": "your own inputs with gold",
}
"""One line per pool, for `ttsi ls pools`."""

SHORTEST = 4
"""Words; a shorter message ("Yes, please.") says nothing about where it came from."""
_WORD = re.compile(r"[^\W_]+")


def load(name_or_path: str, data_dir: Path | None = None, test: Benchmark | None = None) -> Benchmark:
    """Read a pool.

    Args:
        name_or_path: a name of POOLS, or the path of a .jsonl (or .jsonl.gz) file whose lines all have gold.
        data_dir: the folder with the data; None is the cache (`ttsi data`).
        test: the benchmark that is asked afterwards, which the pool must not share a request with.

    Raises:
        ConfigError: there is no such pool.
        DataError: its data are missing, cannot be read, or hold requests of the test.
    """
    pool = _read(name_or_path, data_dir)
    if any(sample.gold is None for sample in pool.samples):
        raise DataError(f"{name_or_path} has lines without gold: nothing can be learned from them, leave them out")
    shared = overlap(pool, test) if test is not None else ()
    if test is not None and shared:
        some = ", ".join(shared[:3])
        raise DataError(
            f"{len(shared)} rows of {name_or_path} ask what {test.name} asks ({some}, ...): train on other rows"
        )
    return pool


def _read(name_or_path: str, data_dir: Path | None) -> Benchmark:
    if name_or_path.endswith((".jsonl", ".jsonl.gz")):
        return jsonl.load(Path(name_or_path))
    return loader("training pool", name_or_path, POOLS)(places.cache() if data_dir is None else data_dir)


def overlap(pool: Benchmark, test: Benchmark) -> tuple[str, ...]:
    """The ids of the pool's rows in which the user says something that a user of the test says.

    Only words count, not case, marks and spaces.
    """
    asked = {words for sample in test.samples for words in _requests(sample)}
    return tuple(sample.input.id for sample in pool.samples if any(words in asked for words in _requests(sample)))


def _requests(sample: Sample) -> Iterator[tuple[str, ...]]:
    for message in sample.input.messages:
        # API-Bank puts a time stamp behind a request, which would hide that it was made before.
        words = tuple(_WORD.findall(message.content.partition("TIME: ")[0].lower()))
        if message.role == "user" and len(words) >= SHORTEST:
            yield words
