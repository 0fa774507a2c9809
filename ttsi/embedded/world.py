"""Where does the embedded model's experience come from?

An unlimited, seeded tool-calling world. Inputs: a random generator and a split. Outputs: a `Scene` (the tools on offer)
and `Exchange` objects (a conversation and the calls it asks for), from hand-written domains (`domains.py`) and from
tools invented on the spot, with opaque and telling names and near-miss distractors.

Splits: training domains are answered and written; `*_REVERSE` domains are only written (call -> request), `*_NEVER`
domains are not seen at all. Ways of asking are split in `styles.py`. No benchmark text enters here.

Not in the paper: its models learned from the web. What this stands for: a model that knows more ways in which things
are said than it can act on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from ttsi.chat.ours import words
from ttsi.embedded import values
from ttsi.embedded.domains import (
    OPTIONAL_PART,
    SLOT,
    Argument,
    Domain,
    DomainTool,
    all_domains,
    slots,
)
from ttsi.embedded.styles import Way
from ttsi.types import Message, Tool, ToolCall

VALIDATION_REVERSE = ("cinema", "gardening", "warehouse")
VALIDATION_NEVER = ("museum", "fitness")
TEST_REVERSE = ("banking", "cooking", "hotels", "library", "support_tickets")
TEST_NEVER = ("chess_club", "energy_bills", "insurance", "trains", "veterinary")
HELD_OUT = VALIDATION_REVERSE + VALIDATION_NEVER + TEST_REVERSE + TEST_NEVER
REVERSE_ASKS = 4
"""Of a held-out domain's phrasings, only the first four are met in writing."""

Source = Literal["invented", "training", "validation", "test", "reverse"]


@dataclass(frozen=True)
class Offer:
    """A tool on offer in a scene: what the model sees, and how to ask for it."""

    tool: Tool
    behind: DomainTool
    domain: str


@dataclass(frozen=True)
class Scene:
    """The tools on offer in one prompt, and others that are not."""

    offers: tuple[Offer, ...]
    absent: tuple[Offer, ...]

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model sees."""
        return tuple(offer.tool for offer in self.offers)


@dataclass(frozen=True)
class Exchange:
    """A conversation and the calls it asks for."""

    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...]
    kind: str
    ask: int
    """Index of the hand-written phrasing, -1 for a skeleton."""

    @property
    def request(self) -> str:
        """The last thing the user said."""
        return self.messages[-1].content


def training_domains() -> list[Domain]:
    """The domains that are answered in training."""
    return [domain for name, domain in all_domains().items() if name not in HELD_OUT]


@lru_cache
def lexicon() -> tuple[str, ...]:
    """Words of the training domains, for invented tools."""
    text = " ".join(f"{t.does} {' '.join(t.asks)}" for d in training_domains() for t in d.tools)
    return tuple(sorted({word for word in words(SLOT.sub("", text)) if len(word) > 2 and word.isalpha()}))


def scene(source: Source, rng: random.Random, renamed: float = 0.0, blended: float = 0.0) -> Scene:
    """Draw the tools of one prompt.

    Args:
        renamed: share of scenes in which the content words of the tools' lines become other words, in the lines and
            in every phrasing alike. Then only matching helps, and no memory of the domain.
        blended: share of the invented words that are two words' halves, which no tokenizer holds in one piece.
    """
    count = rng.choice([1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8])
    pool = _invented(count + 1, rng, blended) if source == "invented" else _from_domains(source, count + 1, rng)
    if renamed and rng.random() < renamed:
        pool = _rename(pool, rng, blended)
    opaque = rng.random() < 0.3
    offers = tuple(_offer(tool, domain, opaque, rng) for tool, domain in pool)
    shown = offers[: max(1, min(count, len(offers) - 1))]
    absent = offers[len(shown) :]
    return Scene(tuple(rng.sample(shown, len(shown))), absent)


def _from_domains(source: Source, count: int, rng: random.Random) -> list[tuple[DomainTool, str]]:
    known = all_domains()
    names = {
        "training": [d.name for d in training_domains()],
        "validation": [*VALIDATION_REVERSE, *VALIDATION_NEVER],
        "test": [*TEST_REVERSE, *TEST_NEVER],
        "reverse": [*VALIDATION_REVERSE, *TEST_REVERSE],
    }[source]
    first, *others = rng.sample(names, 3)
    mine = [(tool, first) for tool in rng.sample(known[first].tools, len(known[first].tools))]
    fill = [(tool, name) for name in others for tool in rng.sample(known[name].tools, 2)]
    return (mine + rng.sample(fill, len(fill)))[:count]


def _rename(pool: list[tuple[DomainTool, str]], rng: random.Random, blended: float) -> list[tuple[DomainTool, str]]:
    lines = sorted({word for tool, _ in pool for word in words(tool.does)})
    other = {word: _word(rng, blended) for word in lines}

    def swap(text: str) -> str:
        parts = re.split(r"(\{[^{}]*\}|[^\W_]+)", text)
        return "".join(other.get(part, part) for part in parts)

    return [
        (replace(t, name=swap(t.name), does=swap(t.does), short=swap(t.short), asks=tuple(map(swap, t.asks))), domain)
        for t, domain in pool
    ]


def _offer(behind: DomainTool, domain: str, opaque: bool, rng: random.Random) -> Offer:
    name = values.made_up(rng) if opaque else behind.name
    fields = {argument.key: values.schema(argument.kind) for argument in behind.arguments}
    required = [argument.key for argument in behind.arguments if not argument.optional]
    does = behind.does.capitalize() if rng.random() < 0.15 else behind.does
    return Offer(Tool(name, does, {"type": "object", "properties": fields, "required": required}), behind, domain)


def _invented(count: int, rng: random.Random, blended: float) -> list[tuple[DomainTool, str]]:
    shared = _word(rng, blended)
    return [(_invent(shared if rng.random() < 0.5 else None, rng, blended), "invented") for _ in range(count)]


def _word(rng: random.Random, blended: float) -> str:
    if blended and rng.random() < blended:
        first, second = rng.choice(lexicon()), rng.choice(lexicon())
        return first[: rng.randint(2, 4)] + second[-rng.randint(2, 4) :]
    return values.made_up(rng) if rng.random() < 0.25 else rng.choice(lexicon())


def _invent(shared: str | None, rng: random.Random, blended: float) -> DomainTool:
    own = [_word(rng, blended) for _ in range(rng.randint(2, 5))]
    line = own if shared is None else [*own[:1], shared, *own[1:]]
    joiner = rng.choice(["", "", "the ", "a "])
    does = " ".join([line[0], joiner + line[1], *line[2:]])
    keys = rng.sample([_key(rng, blended) for _ in range(8)], rng.choice([0, 1, 1, 2, 2, 3]))
    arguments = tuple(Argument(key, _kind(rng, blended), rng.random() < 0.2) for key in dict.fromkeys(keys))
    name = "_".join(rng.sample(own, min(2, len(own)))) if rng.random() < 0.5 else values.made_up(rng)
    short = " ".join([own[0], *rng.sample(own[1:], rng.randint(1, len(own) - 1))]) if len(own) > 1 else own[0]
    return DomainTool(name, does, short, arguments, ())


def _key(rng: random.Random, blended: float) -> str:
    parts = [_word(rng, blended) for _ in range(rng.choice([1, 1, 2]))]
    return "_".join(parts).lower()


def _kind(rng: random.Random, blended: float) -> Any:
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
        return [_word(rng, blended) for _ in range(rng.randint(2, 4))]
    if roll < 0.95:
        return {"list": rng.choice(["person", "word", "food", "city"])}
    return {"object": {_key(rng, blended): "city", _key(rng, blended): {"int": [1, 50]}}}


def exchange(offer: Offer, way: Way, rng: random.Random, asks: int | None = None) -> Exchange:
    """One request for a tool, in a way of asking, and the call it means.

    Args:
        asks: use only the first so many hand-written phrasings.
    """
    given = _draw_arguments(offer.behind.arguments, rng)
    core, index = _core(offer.behind, way, given, rng, asks)
    request = way.frame.replace("{core}", core).replace("??", "?").replace("?, ", ", ")
    if rng.random() < 0.25:
        request = request[:1].upper() + request[1:]
    call = ToolCall(offer.tool.name, given)
    return Exchange((Message("user", request),), (call,), "single", index)


def _draw_arguments(arguments: Sequence[Argument], rng: random.Random) -> dict[str, Any]:
    return {a.key: values.draw(a.kind, rng) for a in arguments if not a.optional or rng.random() < 0.5}


def _core(tool: DomainTool, way: Way, given: dict[str, Any], rng: random.Random, asks: int | None) -> tuple[str, int]:
    if (way.skeleton is None or not given) and tool.asks:
        fitting = [i for i, ask in enumerate(tool.asks[:asks]) if slots(ask) >= set(given)]
        index = rng.choice(fitting or list(range(len(tool.asks[:asks]))))
        _keep_only(given, slots(tool.asks[index]))
        return fill(tool.asks[index], given), index
    skeleton = way.skeleton
    if skeleton is None or not given:
        pairs = " and ".join(_pair("{key} {value}", given))
        return (f"{tool.short} with {pairs}" if pairs else tool.short), -1
    pairs = skeleton.join.join(_pair(skeleton.pair, given))
    return skeleton.text.replace("{short}", tool.short).replace("{pairs}", pairs), -1


def _keep_only(given: dict[str, Any], keys: set[str]) -> None:
    for key in set(given) - keys:
        del given[key]


def _pair(pattern: str, given: dict[str, Any]) -> list[str]:
    leaves: list[tuple[str, Any]] = []
    for key, value in given.items():
        leaves += value.items() if isinstance(value, dict) else [(key, value)]
    return [pattern.replace("{key}", k.replace("_", " ")).replace("{value}", values.say(v)) for k, v in leaves]


def fill(ask: str, given: dict[str, Any]) -> str:
    """Put values into a phrasing; parts whose arguments are not given are left out."""

    def part(match: re.Match[str]) -> str:
        return match.group(1) if slots(match.group(1)) <= set(given) else ""

    def slot(match: re.Match[str]) -> str:
        path, yes, no = match.groups()
        value: Any = given
        for step in path.split("."):
            value = value[step]
        return (yes if value else no) if yes is not None else values.say(value)

    return SLOT.sub(slot, OPTIONAL_PART.sub(part, ask))
