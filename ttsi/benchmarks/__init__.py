"""Which questions with known answers are there?

Inputs: a benchmark's name or the path of a `.jsonl` file, and the folder that holds downloaded data. Outputs: a
`Benchmark`, whose samples pair an `Input` with its gold calls.

Gold lives here and nowhere below: the loop receives `sample.input` only, so it cannot see an answer. The paper
(arXiv:2510.07841) reports accuracy per row on four public sets; each module here names its source, licence, rule
and known defects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ttsi.errors import ConfigError, unknown_name
from ttsi.types import Input, ToolCall


class Official(Protocol):
    """The verdict of a benchmark's own scorer on one row."""

    def __call__(self, calls: Sequence[ToolCall] | None) -> bool:
        """Are these calls right? None when the answer could not be read as calls."""
        ...


@dataclass(frozen=True)
class Sample:
    """One question: what the model sees, and apart from it what would be right."""

    input: Input
    gold: tuple[ToolCall, ...] | None
    """The right calls in any order; an empty tuple means "call nothing"; None means that nobody knows."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Strata for the report, such as {"kind": "single"}."""
    official: Official | None = None
    """The owners' rule for this row; None where it is one of `ttsi.benchmarks.matching.MATCHERS` or cannot be run."""


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
    "sealtool": "ttsi.benchmarks.sealtools:load",
    "sealtool-dev": "ttsi.benchmarks.sealtools:load_dev",
    "seal-tools-in": "ttsi.benchmarks.sealtools:load_in",
    "seal-tools-out": "ttsi.benchmarks.sealtools:load_out",
    "seal-tools-dev": "ttsi.benchmarks.sealtools:load_all_dev",
    "bfcl": "ttsi.benchmarks.bfcl:load",
    "nexusraven": "ttsi.benchmarks.nexusraven:load",
    "apibank-l1": "ttsi.benchmarks.apibank:load_l1",
    "apibank-l2": "ttsi.benchmarks.apibank:load_l2",
    "apibank-l3": "ttsi.benchmarks.apibank:load_l3",
    "toolalpaca": "ttsi.benchmarks.toolalpaca:load",
    "toolalpaca-simulated": "ttsi.benchmarks.toolalpaca:load_simulated",
}
"""Name -> "module:function"; the function takes (data_dir, split) and returns a Benchmark."""

BENCHMARK_GLOSS = {
    "toolworld": "640 frozen inputs with tools the embedded model was never trained on; ships with the package",
    "toolworld-validation": "400 inputs made the same way, for choosing settings; ships with the package",
    "sealtool": "Seal-Tools, 294 single-call test rows (Hammer's cut); ttsi data get hammer-eval",
    "sealtool-dev": "Seal-Tools, 200 single-call dev rows, for choosing settings; ttsi data get seal-tools",
    "seal-tools-in": "Seal-Tools, 700 test rows of known domains, one to six calls; ttsi data get seal-tools",
    "seal-tools-out": "Seal-Tools, 654 test rows of new domains; ttsi data get seal-tools",
    "seal-tools-dev": "Seal-Tools, 700 dev rows, for choosing settings; ttsi data get seal-tools",
    "bfcl": "BFCL V4, 3,641 single-turn rows (--split live, parallel, ... for parts); ttsi data get bfcl",
    "nexusraven": "NexusRaven, 318 calls of 65 functions; non-commercial; ttsi data import nexusraven DIR",
    "apibank-l1": "API-Bank level 1, 399 turns of dialogues (--split toolrl, hammer); ttsi data get api-bank",
    "apibank-l2": "API-Bank level 2, 135 turns that may search tools (--split toolrl, hammer); ttsi data get api-bank",
    "apibank-l3": "API-Bank level 3, 245 steps of plans (--split toolrl: 131); ttsi data get api-bank",
    "toolalpaca": "ToolAlpaca, 114 questions about 11 real APIs, keys ignored; ttsi data get toolalpaca",
    "toolalpaca-simulated": "ToolAlpaca, 100 questions about 10 simulated APIs; ttsi data get toolalpaca",
    "FILE.jsonl": "your own inputs, graded where a line has gold",
}
"""One line per benchmark, for `ttsi ls benchmarks`."""


def load(name_or_path: str, data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """Find a benchmark and read it.

    Args:
        name_or_path: a name of BENCHMARKS, or the path of a .jsonl (or .jsonl.gz) file.
        data_dir: the folder with downloaded data, for benchmarks that do not ship; None is the cache (`ttsi data`).
        split: "test", or another split that the benchmark has.

    Raises:
        ConfigError: there is no such benchmark.
        DataError: its data are missing or cannot be read.
    """
    if name_or_path.endswith((".jsonl", ".jsonl.gz")):
        from ttsi.benchmarks import jsonl

        return jsonl.load(Path(name_or_path))
    from ttsi.benchmarks import places

    return loader("benchmark", name_or_path, BENCHMARKS)(places.cache() if data_dir is None else data_dir, split)


def loader(what: str, name: str, table: Mapping[str, str]) -> Callable[..., Benchmark]:
    """The function that a table of "module:function" has under a name.

    Raises:
        ConfigError: the table has no such name.
    """
    if name not in table:
        raise ConfigError(f"{unknown_name(what, name, table)} (or give the path of a .jsonl file)")
    module, _, function = table[name].partition(":")
    found: Callable[..., Benchmark] = getattr(import_module(module), function)
    return found
