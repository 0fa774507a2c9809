"""Training pools: requests with right calls to learn from before the test.

Inputs: the name of a training pool (or the path of a `.jsonl` file of one's own) and the data folder. Outputs: a
`Benchmark` whose samples are requests with their right calls, for supervised fine-tuning and few-shot prompts
(`--train-data NAME`), never for testing:

* `seal-tools-dev`: Seal-Tools' 636 dev rows, in the form of its tests (`ttsi.benchmarks.sealtools`).
* `api-bank-l3`: 907 steps of API-Bank's level-3 training data (`ttsi.benchmarks.apibank_train`).
* `toolrl-400`: the 400 rows that ToolRL fine-tunes on (`ttsi.benchmarks.toolrl_train`).

`contaminated_ids` finds what a pool shares with a benchmark; `load` refuses a pool that shares anything with the
benchmark it is to be tested on. API-Bank's level-1 and level-2 dialogues are no pool: the test rows are cut from them.

The paper (arXiv:2510.07841) compares with fine-tuning on 13k rows of Seal-Tools, most of which are not available.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ttsi.benchmarks import Benchmark, Sample, read_named
from ttsi.errors import DataError
from ttsi.plurals import plural, with_noun
from ttsi.words import words

POOLS: dict[str, str] = {
    "seal-tools-dev": "ttsi.benchmarks.sealtools:DEV_POOL",
    "api-bank-l3": "ttsi.benchmarks.apibank_train:LEVEL_3_TRAIN",
    "toolrl-400": "ttsi.benchmarks.toolrl_train:TOOLRL_400",
}
"""Name -> the reference of its record."""
FILE_SUMMARY = "your own inputs with gold"
"""The line about a file FILE.jsonl."""

MIN_WORDS = 4
"""A shorter message ("Yes, please.") does not show where it came from."""


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
    shared = contaminated_ids(pool, test) if test is not None else ()
    if test is not None and shared:
        some = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
        rows, asks = with_noun(len(shared), "row"), plural(len(shared), "asks", "ask")
        raise DataError(f"{rows} of {name} {asks} what {test.name} asks ({some}): train on other rows")
    return pool


def contaminated_ids(pool: Benchmark, test: Benchmark) -> tuple[str, ...]:
    """Ids of pool rows that repeat a user's request of the test; only words count, not case, marks and spaces."""
    requests = {request for sample in test.samples for request in _user_requests(sample)}
    return tuple(s.input.id for s in pool.samples if any(request in requests for request in _user_requests(s)))


def _user_requests(sample: Sample) -> Iterator[tuple[str, ...]]:
    for message in sample.input.messages:
        # API-Bank puts a time stamp behind a request, which would hide that it was made before.
        request = tuple(words(message.content.partition("TIME: ")[0]))
        if message.role == "user" and len(request) >= MIN_WORDS:
            yield request
