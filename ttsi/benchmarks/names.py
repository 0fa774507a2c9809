"""Names of tools that a hosted model would refuse.

Inputs: a benchmark. Outputs: one line of warning, or nothing. OpenAI's endpoint takes letters, digits, `_`
and `-`, 64 at most; here every name is taken, so without the warning it would be noticed in production.
"""

from __future__ import annotations

import re

from ttsi.benchmarks import Benchmark
from ttsi.plurals import with_noun

ACCEPTED = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def names_notice(benchmark: Benchmark) -> str:
    """A warning where tools have names that OpenAI's endpoint refuses; empty where all are fine."""
    refused = [
        (sample.input.id, tool.name)
        for sample in benchmark.samples
        for tool in sample.input.tools
        if not ACCEPTED.fullmatch(tool.name)
    ]
    if not refused:
        return ""
    (first, name), rows = refused[0], len({item for item, _ in refused})
    inputs = with_noun(len(benchmark.samples), "input")
    return (
        f"{benchmark.name}: in {rows} of {inputs} a tool has a name that OpenAI refuses (the "
        f"first: {name!r} in input {first!r}): use letters, digits, _ and -, 64 at most"
    )
