"""Names of tools that a hosted model would refuse.

Inputs: a benchmark. Outputs: one line of warning, or nothing. OpenAI's endpoint takes letters, digits, `_`
and `-`, 64 at most; here every name is taken, and production would be the place to find out. Not in the paper
(arXiv:2510.07841).
"""

from __future__ import annotations

import re

from ttsi.benchmarks import Benchmark

ACCEPTED = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def is_file(name_or_path: str) -> bool:
    """Is this somebody's own file, and no name of a benchmark?"""
    return name_or_path.endswith((".jsonl", ".jsonl.gz"))


def odd_names(benchmark: Benchmark) -> str:
    """A warning where tools have names that OpenAI's endpoint refuses; empty where all are fine."""
    found = [
        (sample.input.id, tool.name)
        for sample in benchmark.samples
        for tool in sample.input.tools
        if not ACCEPTED.fullmatch(tool.name)
    ]
    if not found:
        return ""
    (first, name), rows = found[0], len({item for item, _ in found})
    return (
        f"{benchmark.name}: in {rows} of {len(benchmark.samples)} inputs a tool has a name that OpenAI refuses (the "
        f"first: {name!r} in input {first!r}): use letters, digits, _ and -, 64 at most"
    )
