"""Benchmarks: questions with known right answers, from public data or from the user's own.

Inputs: a benchmark's name, the path of a `.jsonl` file or an object reference `package.module:object`, and the folder
that holds downloaded data. Outputs: a `Benchmark`, whose samples pair an `Input` with its gold calls.

Gold lives here and nowhere below: the loop receives `sample.input` only, so it cannot see an answer. The paper
(arXiv:2510.07841) reports accuracy per row on four public sets; each converter here names its source, licence, rule
and known defects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ttsi.chat.conversation import check_call, check_input, check_json, expect, read_each
from ttsi.environments.environment import Environment
from ttsi.errors import ConfigError, DataError, TTSIError, type_and_line, unknown_name
from ttsi.object_reference import is_reference, load_object, refuse_async
from ttsi.plurals import kind_of
from ttsi.types import Input, ToolCall, Trajectory


class Official(Protocol):
    """The verdict of a benchmark's own scorer on one row."""

    def __call__(self, calls: Sequence[ToolCall] | None) -> bool:
        """Whether these calls are right; None when the answer could not be read as calls."""
        ...


class Judge(Protocol):
    """The verdict on what an agent did in a task."""

    def __call__(self, trajectory: Trajectory) -> Mapping[str, bool]:
        """Rule -> whether it is right; the same rules for every trajectory. It executes the calls again, by itself."""
        ...


@dataclass(frozen=True)
class Sample:
    """One question: what the model sees, and apart from it what would be right."""

    input: Input
    gold: tuple[ToolCall, ...] | None
    """The right calls in any order; an empty tuple means "call nothing"; None means that they are not known."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Strata for the report, such as {"kind": "single"}."""
    official: Official | None = None
    """The owners' rule for this row; None where it is one of `ttsi.benchmarks.matching.MATCHERS` or cannot be run."""
    environment: Callable[[], Environment] | None = None
    """Makes the environment of an agent's task, new each time; None is a single request. `input` is then the task as it
    begins."""
    judge: Judge | None = None
    """Of an agent's task: whether what was done is right."""


@dataclass(frozen=True)
class Benchmark:
    """A named, checksummed list of samples with unique ids."""

    name: str
    samples: tuple[Sample, ...]
    checksum: str
    """SHA-256 (hex) of the uncompressed data."""
    source: str
    """Where the data came from: a path or an address."""
    matcher: str = "strict"
    """The headline's rule: one of `ttsi.benchmarks.matching.MATCHERS`, or "official" where every sample has such a
    rule; the other rules are reported beside it."""
    notice: str = ""
    """What a user must know before using the data, such as a licence that forbids something; one line."""


BENCHMARKS: dict[str, str] = {
    "toolworld": "ttsi.benchmarks.toolworld:load",
    "toolworld-validation": "ttsi.benchmarks.toolworld:load_validation",
    "toolworld-agents": "ttsi.benchmarks.toolworld_agents:load",
    "toolworld-agents-validation": "ttsi.benchmarks.toolworld_agents:load_validation",
    "toolworld-turns": "ttsi.benchmarks.toolworld_agents:load_turns",
    "toolworld-turns-validation": "ttsi.benchmarks.toolworld_agents:load_turns_validation",
    "sealtool": "ttsi.benchmarks.sealtools:SEALTOOL",
    "sealtool-dev": "ttsi.benchmarks.sealtools:SEALTOOL_DEV",
    "sealtool-sample": "ttsi.benchmarks.sealtools:load_sample",
    "seal-tools-in": "ttsi.benchmarks.sealtools:IN_DOMAIN",
    "seal-tools-out": "ttsi.benchmarks.sealtools:OUT_DOMAIN",
    "seal-tools-dev": "ttsi.benchmarks.sealtools:DEV",
    "bfcl": "ttsi.benchmarks.bfcl:BFCL",
    "bfcl-multi-turn": "ttsi.benchmarks.bfcl_multi_turn:load",
    "bfcl-turns": "ttsi.benchmarks.bfcl_multi_turn:load_turns",
    "nexusraven": "ttsi.benchmarks.nexusraven:NEXUSRAVEN",
    "apibank-l1": "ttsi.benchmarks.apibank:LEVEL_1",
    "apibank-l2": "ttsi.benchmarks.apibank:LEVEL_2",
    "apibank-l3": "ttsi.benchmarks.apibank:LEVEL_3",
    "toolalpaca": "ttsi.benchmarks.toolalpaca:REAL",
    "toolalpaca-simulated": "ttsi.benchmarks.toolalpaca:SIMULATED",
}
"""Name -> the reference of its record; `summaries` has a line about each."""
FILE_SUMMARY = "your own inputs, graded where a line has gold"
"""The line about a file FILE.jsonl."""


REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
WHOLE = "test"
"""The split where none is named; what is not divided has this one."""


def load(name: str, data_dir: Path | None = None, split: str = WHOLE) -> Benchmark:
    """Find a benchmark and read it.

    Args:
        name: a name of BENCHMARKS, the path of a .jsonl (or .jsonl.gz) file, or `package.module:object`, the reference
            of a `Benchmark` or of a function that returns one. The function gets `data_dir` and `split` where it has
            parameters of these names.
        data_dir: the folder with downloaded data, for benchmarks that do not ship; None is the cache (`ttsi data`).
        split: "test", or another split that the benchmark has.

    Raises:
        ConfigError: there is no such benchmark, or it has no such split.
        DataError: its data are missing or cannot be read.
    """
    return read_named("benchmark", name, BENCHMARKS, data_dir=data_dir, split=split)


def is_file(name: str) -> bool:
    """Whether a name is the path of a file in the JSONL form."""
    return name.endswith((".jsonl", ".jsonl.gz"))


def read_named(kind: str, name: str, table: Mapping[str, str], **options: Any) -> Benchmark:
    """The benchmark or training pool (`kind`) of a name, a file or an object reference; otherwise as `load`."""
    split = options.get("split", WHOLE)
    if is_file(name):
        from ttsi.benchmarks import jsonl

        refuse_split(name, split)
        return jsonl.load(Path(name))
    if name in table:
        value = _record(table[name])
    elif is_reference(name):
        value = load_object(kind, name)
        refuse_async(kind, name, value)
    else:
        raise ConfigError(f"{unknown_name(kind, name, table)} (or give the path of a .jsonl file)")
    if callable(value):
        parameters = inspect.signature(value).parameters
        if "split" not in parameters:
            refuse_split(name, split)
        for parameter in parameters.values() if is_reference(name) else ():
            if parameter.name not in options and parameter.default is parameter.empty and parameter.kind not in REST:
                given = " or ".join(options)
                raise ConfigError(f"{kind} {name!r} wants {parameter.name!r}: name its parameters {given}")
        try:
            value = value(**{key: option for key, option in options.items() if key in parameters})
        except TTSIError:
            raise
        except (Exception, SystemExit) as error:
            if not is_reference(name):
                raise
            raise ConfigError(f"{kind} {name!r}: {type_and_line(error)}") from error
    else:
        refuse_split(name, split)
    if not isinstance(value, Benchmark):
        what = kind_of(value)
        raise ConfigError(f"{kind} {name!r} is {what}; give a Benchmark or a function that returns one")
    if is_reference(name):
        if not value.samples:
            raise ConfigError(f"{kind} {name!r} has no samples: return a Benchmark with at least one")
        check_samples(value)
    return value


def refuse_split(name: str, split: str) -> None:
    """Refuse a part of a benchmark that is whole: it would stand in the record, and say what is not so.

    Raises:
        ConfigError: `split` names a part.
    """
    if split != WHOLE:
        raise ConfigError(f"{name} is not divided, so it has no split {split!r}: leave the split out")


def check_samples(benchmark: Benchmark) -> None:
    """Refuse a benchmark that was made in Python and holds what no reader of files lets through.

    Such a sample has no hash, or no place in a run's record.

    Raises:
        DataError: one line that names the first such sample.
    """
    for place, sample in enumerate(benchmark.samples):
        try:
            _check_sample(sample)
        except DataError as error:
            raise DataError(f"{benchmark.name}: samples[{place}]: {error}") from None


def _check_sample(sample: Sample) -> None:
    expect(sample, Sample, "a sample", "a ttsi.Sample")
    expect(sample.input, Input, "input", "a ttsi.Input")
    expect(sample.input.id, str, "id", "a string")
    check_input(sample.input)
    read_each(list(sample.gold or ()), "gold", check_call)
    for text in (text for tag in sample.tags.items() for text in tag):
        expect(text, str, "a tag", "a string")
    check_json([sample.input.id, dict(sample.tags)])


def _record(reference: str) -> Any:
    # Not `load_object`: only for objects of the user's own may modules of the current folder come first.
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def summaries(table: Mapping[str, str]) -> dict[str, str]:
    """One line for each name: the record's summary, or the first line of a function's docstring."""
    records = {name: _record(reference) for name, reference in table.items()}
    return {
        name: getattr(record, "summary", None) or (record.__doc__ or "").partition("\n")[0]
        for name, record in records.items()
    }
