"""Invented tools, and tools of the domains under other words.

Inputs: `Words` and a random generator. Outputs: `DomainTool` objects made of random words and requested by skeletons
(`invent`), or the tools of a domain with other words in descriptions and phrasings (`rename`). Such tools cannot be
remembered, so the model has to learn to match the request with the descriptions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from toolworld import values
from toolworld.domains import SLOT, Argument, DomainTool
from toolworld.lexicon import Words, synonym
from ttsi.chat.marked import content_words

Pool = list[tuple[DomainTool, str]]
"""Tools with the names of their domains."""
INVENTED = "invented"


def invent(count: int, rng: random.Random, source: Words) -> Pool:
    """Invented tools; half of them share one word, which therefore cannot tell them apart.

    Some are near misses (`Words.siblings`): they differ from another tool in the first word only, as "trim the apple
    tree" and "sell the apple tree" do. Only that word identifies the tool.
    """
    shared = source.draw(rng)
    pool: Pool = []
    lines: list[list[str]] = []
    for _ in range(count):
        common = shared if rng.random() < 0.5 else None
        lines.append(_words(lines, rng, source))
        pool.append((_tool(lines[-1], common, rng, source), INVENTED))
    return pool


def _words(before: Sequence[list[str]], rng: random.Random, source: Words) -> list[str]:
    if before and source.siblings and rng.random() < source.siblings:
        return [source.draw(rng), *rng.choice(before)[1:]]
    return [source.draw(rng) for _ in range(rng.randint(2, 5))]


def _tool(own: list[str], shared: str | None, rng: random.Random, source: Words) -> DomainTool:
    line = own if shared is None else [*own[:1], shared, *own[1:]]
    joiner = rng.choice(["", "", "the ", "a "])
    does = " ".join([line[0], joiner + line[1], *line[2:]])
    keys = rng.sample([_key(rng, source) for _ in range(8)], rng.choice([0, 1, 1, 2, 2, 3]))
    arguments = tuple(Argument(key, _kind(rng, source), rng.random() < 0.2) for key in dict.fromkeys(keys))
    name = "_".join(rng.sample(own, min(2, len(own)))) if rng.random() < 0.5 else values.nonsense_word(rng)
    short = " ".join([own[0], *rng.sample(own[1:], rng.randint(1, len(own) - 1))]) if len(own) > 1 else own[0]
    return DomainTool(name, does, source.phrase(short, rng), arguments, ())


def _key(rng: random.Random, source: Words) -> str:
    parts = [source.draw(rng) for _ in range(rng.choice([1, 1, 2]))]
    return "_".join(parts).lower()


def _kind(rng: random.Random, source: Words) -> Any:
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(
            ["person", "city", "title", "word", "code", "date", "time", "digits4", "phrase", "place", "email", "food"]
        )
    if roll < 0.65:
        return {"int": [1, rng.choice([10, 100, 2000])]}
    if roll < 0.74:
        return {"number": [0.5, rng.choice([10, 500])]}
    if roll < 0.8:
        return "bool"
    if roll < 0.9:
        return [source.draw(rng) for _ in range(rng.randint(2, 4))]
    if roll < 0.95:
        return {"list": rng.choice(["person", "word", "food", "city"])}
    return {"object": {_key(rng, source): "city", _key(rng, source): {"int": [1, 50]}}}


def rename(pool: Pool, rng: random.Random, source: Words) -> Pool:
    """The pool with new words for the content words of its descriptions, in descriptions and phrasings alike.

    A phrasing that shares no word with its tool's description identifies nothing after that. It is left out where
    others remain.
    """
    lines = sorted({word for tool, _ in pool for word in content_words(tool.does)})
    other = {word: source.draw(rng) for word in lines}
    return [(_rename_tool(tool, other, rng, source), domain) for tool, domain in pool]


def _rename_tool(tool: DomainTool, other: dict[str, str], rng: random.Random, source: Words) -> DomainTool:
    mine = set(content_words(tool.does))
    telling = tuple(ask for ask in tool.asks if mine & set(content_words(SLOT.sub("", ask)))) or tool.asks
    spoken = other
    if source.paraphrased and rng.random() < source.paraphrased:
        spoken = {word: synonym(new, rng) for word, new in other.items()}
    return replace(
        tool,
        name=_swap(tool.name, other),
        does=_swap(tool.does, other),
        short=_swap(tool.short, spoken),
        asks=tuple(_swap(ask, spoken) for ask in telling),
    )


def _swap(text: str, other: dict[str, str]) -> str:
    parts = re.split(r"(\{[^{}]*\}|[^\W_]+)", text)
    return "".join(other.get(part, part) for part in parts)
