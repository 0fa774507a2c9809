"""Which inputs make up the toolworld benchmark?

Writes the frozen validation and test files once, before training: held-out domains, freshly invented tools, trained
and held-out ways of asking, all kinds of conversation, each input with its strata as tags. Inputs: a seed. Outputs:
`data/toolworld-{validation,test}.jsonl.gz`, and the ban list that training obeys (every request, by hash).

Run: `python -m ttsi.embedded.freeze` (the files are committed; running it again writes the same bytes).
Not in the paper, which used public benchmarks (`ttsi.benchmarks`).
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ttsi.chat.marked import words
from ttsi.embedded import conversations
from ttsi.embedded.corpus import request_hash
from ttsi.embedded.domains import all_domains
from ttsi.embedded.lexicon import Words, words_of
from ttsi.embedded.styles import Way, held_out_way, trained_way
from ttsi.embedded.world import (
    REVERSE_ASKS,
    TEST_REVERSE,
    VALIDATION_REVERSE,
    Exchange,
    Scene,
    scene,
)
from ttsi.types import ToolCall, to_openai

DATA = Path(__file__).parent / "data"
SIZES: dict[Literal["validation", "test"], int] = {"validation": 400, "test": 640}
KINDS = {"single": 78, "clarified": 4, "follow-up": 6, "no-tool": 6, "two-calls": 6}
SEEDS = {"validation": 11, "test": 12}
WORDS_FROM = (
    "astronomy", "calendar", "car_repair", "charity", "code_hosting", "email", "farm", "flights", "harbour",
    "human_resources", "laundry", "lottery", "music", "news", "notes", "parcels", "pets", "pharmacy", "photos",
    "real_estate", "restaurants", "school", "shopping", "smart_home", "stocks", "tax_office", "taxis", "theatre",
    "translation", "weather",
)  # fmt: skip
"""The training domains of the day the files were frozen: the words of the invented tools in them come from these."""


def rows(split: Literal["validation", "test"]) -> Iterator[dict[str, Any]]:
    """The inputs of a split, each with gold and tags."""
    return (row for row, _, _ in drawn(split))


def drawn(split: Literal["validation", "test"]) -> Iterator[tuple[dict[str, Any], Scene, Way]]:
    """The inputs of a split with what they were drawn from: the scene and the way of asking."""
    rng = random.Random(SEEDS[split])
    known = all_domains()
    invention = Words(words_of(known[name] for name in WORDS_FROM))
    seen: set[str] = set()
    while len(seen) < SIZES[split]:
        shown = scene("invented" if rng.random() < 0.15 else split, rng, invention)
        way = held_out_way(split, rng) if rng.random() < 0.5 else trained_way(rng)
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        asked = conversations.draw(kind, shown, way, rng)
        if asked is None or request_hash(asked.request) in seen:
            continue
        seen.add(request_hash(asked.request))
        yield _row(f"{split}-{len(seen):04d}", shown, asked, way), shown, way


def _row(name: str, shown: Scene, asked: Exchange, way: Way) -> dict[str, Any]:
    return {
        "id": name,
        "messages": [_message(m.role, m.content, m.tool_calls) for m in asked.messages],
        "tools": [to_openai(tool) for tool in shown.tools],
        "gold": [{"name": call.name, "arguments": call.arguments} for call in asked.calls],
        "tags": _tags(shown, asked, way),
    }


def _message(role: str, content: str, calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": content}
    if calls:
        message["tool_calls"] = [
            {"type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}} for c in calls
        ]
    return message


def _tags(shown: Scene, asked: Exchange, way: Way) -> dict[str, str]:
    domain = shown.offers[0].domain
    kind = (
        "invented" if domain == "invented" else "reverse" if domain in (*TEST_REVERSE, *VALIDATION_REVERSE) else "never"
    )
    phrasing = "skeleton" if asked.ask < 0 else "reverse" if kind == "reverse" and asked.ask < REVERSE_ASKS else "never"
    return {
        "domain": domain,
        "domain_seen": kind,
        "phrasing_seen": phrasing,
        "way": way.seen if asked.kind != "clarified" else "trained",
        "lexical": "clear" if _clear(shown, asked) else "unclear",
        "kind": asked.kind,
        "tools": str(len(shown.offers)),
    }


def _clear(shown: Scene, asked: Exchange) -> bool:
    """Does the called tool's line share more words with the request than any other line?"""
    if len(asked.calls) != 1:
        return False
    said = {word for m in asked.messages if m.role == "user" for word in words(m.content)}
    overlap = {tool.name: len(said & set(words(tool.description))) for tool in shown.tools}
    mine = overlap.pop(asked.calls[0].name)
    return mine > max(overlap.values(), default=0)


def path(split: str) -> Path:
    """Where a split's file lies."""
    return DATA / f"toolworld-{split}.jsonl.gz"


def banned_hashes() -> frozenset[str]:
    """Hashes of everything that a user says in the frozen files."""
    hashes = set()
    for split in SIZES:
        with gzip.open(path(split), "rt", encoding="utf-8") as lines:
            for line in lines:
                hashes |= {request_hash(m["content"]) for m in json.loads(line)["messages"] if m["role"] == "user"}
    return frozenset(hashes)


def main() -> None:
    """Write both files."""
    DATA.mkdir(exist_ok=True)
    for split in SIZES:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split))
        # mtime 0: the same rows are the same bytes.
        path(split).write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
