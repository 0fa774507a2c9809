"""One model's plain answers under every way of demanding a call, each prompt read once.

    python -m dev.demands MODEL BENCHMARK[:SPLIT] LIMIT OUT.jsonl --data DIR [--ways free,auto,required]

Inputs: a model spec, a benchmark. Outputs: one line a row with text and verdicts of each way (resumes where OUT ends),
and a table on stdout: n, share right with its Wilson interval, by the lenient, strict, tool-choice and official rule.
The same answers as `ttsi run --method base` with --answer.decoding free, constrained, and constrained with
--answer.calls required; here they share the prompt's cache, which is most of the work on a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import ttsi
from ttsi.answer import generate_answers
from ttsi.benchmarks import Sample, load
from ttsi.benchmarks.matching import grade
from ttsi.config import AnswerConfig
from ttsi.models import prefix_cache
from ttsi.stats import wilson

WAYS = {
    "free": AnswerConfig(decoding="free"),
    "auto": AnswerConfig(),
    "required": AnswerConfig(calls="required"),
    "one": AnswerConfig(calls="one"),
}
BATCH = 8


def main() -> None:
    """Answer, write, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("benchmark")
    parser.add_argument("limit", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--ways", default="free,auto,required")
    parser.add_argument("--dtype", default="bfloat16")
    given = parser.parse_args()
    name, _, split = given.benchmark.partition(":")
    samples = load(name, given.data, **({"split": split} if split else {})).samples[: given.limit]
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    finished = {row["id"] for row in done}
    rest = [sample for sample in samples if sample.input.id not in finished]
    model = ttsi.load_model(given.model, dtype=given.dtype) if rest else None
    with given.out.open("a") as out:
        for start in range(0, len(rest), BATCH):
            began = time.perf_counter()
            for row in _answers(model, rest[start : start + BATCH], given.ways.split(",")):
                done.append(row)
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            print(f"{len(done)} of {len(samples)}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    _table(done, given.ways.split(","))


def _answers(model: Any, samples: list[Sample], ways: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"id": sample.input.id} for sample in samples]
    with prefix_cache(model):
        for way in ways:
            for row, sample, answer in zip(
                rows, samples, generate_answers(model, [sample.input for sample in samples], WAYS[way]), strict=True
            ):
                verdicts = grade(answer, sample.gold or (), sample.official)
                calls = [[call.name, dict(call.arguments)] for call in answer.calls]
                row[way] = {"text": answer.text, "calls": calls, "error": answer.error, **verdicts}
    return rows


def _table(rows: list[dict[str, Any]], ways: list[str]) -> None:
    for way in ways:
        for rule in ("lenient", "strict", "tool_choice", "official"):
            right = [bool(row[way][rule]) for row in rows if rule in row[way]]
            if right:
                interval = wilson(sum(right), len(right))
                low, high = 100 * interval.low, 100 * interval.high
                print(
                    f"{way:9} {rule:12} n {len(right):4}  {100 * sum(right) / len(right):5.1f} [{low:.1f}, {high:.1f}]"
                )
        errors = sum(row[way]["error"] is not None for row in rows)
        print(f"{way:9} unreadable   {errors}")


if __name__ == "__main__":
    main()
