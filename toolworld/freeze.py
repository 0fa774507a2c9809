"""The frozen inputs of the toolworld benchmark.

`python -m toolworld.freeze` writes the validation and test files: held-out domains, invented tools, trained and
held-out phrasing styles, all kinds of conversation, each input with its strata as tags. The files are committed;
running it again writes the same bytes. Inputs: a seed. Outputs: `toolworld-{validation,test}.jsonl.gz` in
`ttsi/embedded/data`, and the ban list of training (every request, by hash).
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from toolworld import conversations
from toolworld.corpus import request_hash
from toolworld.domains import all_domains
from toolworld.lexicon import Words, words_of
from toolworld.styles import Way, held_out_way, trained_way
from toolworld.world import (
    REVERSE_ASKS,
    TEST_REVERSE,
    VALIDATION_REVERSE,
    Exchange,
    Scene,
    draw_scene,
)
from ttsi.chat.marked import content_words
from ttsi.embedded import DATA
from ttsi.types import ToolCall, to_openai

SIZES: dict[Literal["validation", "test"], int] = {"validation": 400, "test": 640}
KINDS = {"single": 78, "clarified": 4, "follow-up": 6, "no-tool": 6, "two-calls": 6}
SEEDS = {"validation": 11, "test": 12}
WORDS_FROM = (
    "astronomy", "calendar", "car_repair", "charity", "code_hosting", "email", "farm", "flights", "harbour",
    "human_resources", "laundry", "lottery", "music", "news", "notes", "parcels", "pets", "pharmacy", "photos",
    "real_estate", "restaurants", "school", "shopping", "smart_home", "stocks", "tax_office", "taxis", "theatre",
    "translation", "weather",
)  # fmt: skip
"""The training domains when the files were frozen: they supply the words of the invented tools."""


def rows(split: Literal["validation", "test"]) -> Iterator[dict[str, Any]]:
    """The inputs of a split, each with gold and tags."""
    return (row for row, _, _ in draw_rows(split))


def draw_rows(split: Literal["validation", "test"]) -> Iterator[tuple[dict[str, Any], Scene, Way]]:
    """The inputs of a split, each with the scene and the phrasing style it comes from."""
    rng = random.Random(SEEDS[split])
    domains = all_domains()
    invention = Words(words_of(domains[name] for name in WORDS_FROM))
    seen: set[str] = set()
    while len(seen) < SIZES[split]:
        scene = draw_scene("invented" if rng.random() < 0.15 else split, rng, invention)
        way = held_out_way(split, rng) if rng.random() < 0.5 else trained_way(rng)
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        exchange = conversations.draw(kind, scene, way, rng)
        if exchange is None or request_hash(exchange.request) in seen:
            continue
        seen.add(request_hash(exchange.request))
        yield _row(f"{split}-{len(seen):04d}", scene, exchange, way), scene, way


def _row(name: str, scene: Scene, exchange: Exchange, way: Way) -> dict[str, Any]:
    return {
        "id": name,
        "messages": [_message(m.role, m.content, m.tool_calls) for m in exchange.messages],
        "tools": [to_openai(tool) for tool in scene.tools],
        "gold": [{"name": call.name, "arguments": call.arguments} for call in exchange.calls],
        "tags": _tags(scene, exchange, way),
    }


def _message(role: str, content: str, calls: tuple[ToolCall, ...]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": content}
    if calls:
        message["tool_calls"] = [
            {"type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}} for c in calls
        ]
    return message


def _tags(scene: Scene, exchange: Exchange, way: Way) -> dict[str, str]:
    domain = scene.offers[0].domain
    kind = (
        "invented" if domain == "invented" else "reverse" if domain in (*TEST_REVERSE, *VALIDATION_REVERSE) else "never"
    )
    phrasing = (
        "skeleton" if exchange.ask < 0 else "reverse" if kind == "reverse" and exchange.ask < REVERSE_ASKS else "never"
    )
    return {
        "domain": domain,
        "domain_seen": kind,
        "phrasing_seen": phrasing,
        "way": way.seen if exchange.kind != "clarified" else "trained",
        "lexical": "clear" if _is_clear(scene, exchange) else "unclear",
        "kind": exchange.kind,
        "tools": str(len(scene.offers)),
    }


def _is_clear(scene: Scene, exchange: Exchange) -> bool:
    """Whether the called tool's description shares more words with the request than any other."""
    if len(exchange.calls) != 1:
        return False
    spoken = {word for m in exchange.messages if m.role == "user" for word in content_words(m.content)}
    overlap = {tool.name: len(spoken & set(content_words(tool.description))) for tool in scene.tools}
    mine = overlap.pop(exchange.calls[0].name)
    return mine > max(overlap.values(), default=0)


def text(split: Literal["validation", "test"]) -> str:
    """A split as JSONL."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split))


def path(split: str) -> Path:
    """The file of a split."""
    return DATA / f"toolworld-{split}.jsonl.gz"


def banned_hashes() -> frozenset[str]:
    """Hashes of all user turns in the frozen files."""
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
        # mtime 0: the same rows are the same bytes.
        path(split).write_bytes(gzip.compress(text(split).encode(), mtime=0))


if __name__ == "__main__":
    main()
