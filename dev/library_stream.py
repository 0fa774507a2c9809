"""A stream whose lists of tools come back, made from rows whose lists do not.

    python -m dev.library_stream toolworld OUTPUT.jsonl --tools 6 --seed 0
    ttsi run --benchmark OUTPUT.jsonl --model embedded --library DIR

Inputs: a benchmark. Outputs: its rows in a random order as one JSONL file. The tools that the rows of a domain (tag
`domain`) call are cut into lists of equal length, and each row gets the list with all the tools that it calls. Rows
without a call, of invented tools, or whose calls lie in several lists keep their own list: a stream has such rows, too.
Where there are no domains, all rows are of one. The gold is the benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Sample
from ttsi.benchmarks import load as load_benchmark
from ttsi.library import tools_hash
from ttsi.types import Tool, to_openai


def domain_of(sample: Sample) -> str:
    """A row's domain; "" where it has none."""
    return sample.tags.get("domain", "")


def domain_lists(samples: Sequence[Sample], size: int, chosen: random.Random) -> dict[str, list[tuple[Tool, ...]]]:
    """Domain -> lists of so many tools; of a tool's several descriptions the first."""
    called: defaultdict[str, dict[str, Tool]] = defaultdict(dict)
    for sample in samples:
        offered = {tool.name: tool for tool in sample.input.tools}
        for call in sample.gold or ():
            if call.name in offered:
                called[domain_of(sample)].setdefault(call.name, offered[call.name])
    lists = {}
    for domain, tools in called.items():
        order = sorted(tools)
        chosen.shuffle(order)
        count = max(1, round(len(order) / size))
        lists[domain] = [tuple(tools[name] for name in order[place::count]) for place in range(count)]
    return lists


def stream(samples: Sequence[Sample], size: int, seed: int) -> Iterator[dict[str, Any]]:
    """The rows in a random order."""
    chosen = random.Random(seed)
    lists = domain_lists([sample for sample in samples if domain_of(sample) != "invented"], size, chosen)
    order = list(samples)
    chosen.shuffle(order)
    for sample in order:
        names = {call.name for message in sample.input.messages for call in message.tool_calls}
        names |= {call.name for call in sample.gold or ()}
        own = lists.get(domain_of(sample), []) if sample.gold else []
        tools = next((tools for tools in own if names <= {tool.name for tool in tools}), sample.input.tools)
        yield _row(sample, tools)


def _row(sample: Sample, tools: Sequence[Tool]) -> dict[str, Any]:
    return {
        "id": sample.input.id,
        "messages": [_message(message) for message in sample.input.messages],
        "tools": [to_openai(tool) for tool in tools],
        "gold": [{"name": call.name, "arguments": call.arguments} for call in sample.gold or ()],
        "tags": {**sample.tags, "list": tools_hash(tools)[:8]},
    }


def _message(message: Any) -> dict[str, Any]:
    calls = [
        {"type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": message.content} | ({"tool_calls": calls} if calls else {})


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark")
    parser.add_argument("output", type=Path)
    parser.add_argument("--tools", type=int, default=6, help="tools per list")
    parser.add_argument("--data", type=Path, help="folder with downloaded benchmarks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rows = list(stream(load_benchmark(options.benchmark, options.data).samples, options.tools, options.seed))
    options.output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    sizes = Counter(row["tags"]["list"] for row in rows)
    back = [count for count in sizes.values() if count > 1]
    print(f"{len(rows)} rows, {sum(back)} of them on {len(back)} lists that come back", file=sys.stderr)


if __name__ == "__main__":
    main()
