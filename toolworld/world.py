"""Seeded generator of tool-calling scenes.

Inputs: a random generator and a split. Outputs: a `Scene` (the tools on offer) and `Exchange` objects (a conversation
and the calls it asks for), from hand-written domains (`domains.py`) and from invented tools (`invention.py`), with
meaningful or opaque names and near-miss distractors.

Splits: training domains are answered and written; `*_REVERSE` domains are only written (call -> request); `*_NEVER`
domains do not appear. Phrasing styles are split in `styles.py`. No text of a public benchmark enters.

How it differs from the paper: its models were pre-trained on the web. This world stands for a model that can phrase
more requests than it can answer.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from toolworld import values
from toolworld.domains import (
    OPTIONAL_PART,
    SLOT,
    Argument,
    Domain,
    DomainTool,
    all_domains,
    slots,
)
from toolworld.invention import INVENTED, Pool, invent, rename
from toolworld.lexicon import Words, heads, words_of
from toolworld.styles import Way
from ttsi.types import Message, Tool, ToolCall

VALIDATION_REVERSE = ("cinema", "gardening", "warehouse")
VALIDATION_NEVER = ("museum", "fitness")
TEST_REVERSE = ("banking", "cooking", "hotels", "library", "support_tickets")
TEST_NEVER = ("chess_club", "energy_bills", "insurance", "trains", "veterinary")
HELD_OUT = VALIDATION_REVERSE + VALIDATION_NEVER + TEST_REVERSE + TEST_NEVER
REVERSE_ASKS = 4
"""How many of a held-out domain's phrasings training may write: the first four."""

SceneSource = Literal["invented", "training", "validation", "test", "reverse"]


@dataclass(frozen=True)
class Offer:
    """A tool on offer in a scene: its description, its phrasings and its domain."""

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
        """The tools on offer, as the model gets them."""
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
        """The user's last turn."""
        return self.messages[-1].content


def training_domains() -> list[Domain]:
    """The domains that are answered in training."""
    return [domain for name, domain in all_domains().items() if name not in HELD_OUT]


@lru_cache
def training_words() -> Words:
    """Words for the invented tools of training: the heads of the thesaurus and the words of the training domains."""
    vocabulary = sorted({*heads(), *words_of(training_domains())})
    return Words(tuple(vocabulary), blended=0.25, paraphrased=0.5, siblings=0.35)


def draw_scene(source: SceneSource, rng: random.Random, invention: Words | None = None, renamed: float = 0.0) -> Scene:
    """Draw the tools of one prompt.

    Args:
        invention: where new words come from; by default those of training.
        renamed: share of scenes in which the tools' words are replaced (`invention.rename`).
    """
    count = rng.choice([1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8])
    new = invention or training_words()
    pool = invent(count + 1, rng, new) if source == INVENTED else _from_domains(source, count + 1, rng)
    if renamed and rng.random() < renamed:
        pool = rename(pool, rng, new)
    opaque = rng.random() < 0.3
    offers = _offers(pool, opaque, rng)
    offered = offers[: max(1, min(count, len(offers) - 1))]
    absent = offers[len(offered) :]
    return Scene(tuple(rng.sample(offered, len(offered))), absent)


def _from_domains(source: SceneSource, count: int, rng: random.Random) -> Pool:
    domains = all_domains()
    names = {
        "training": [d.name for d in training_domains()],
        "validation": [*VALIDATION_REVERSE, *VALIDATION_NEVER],
        "test": [*TEST_REVERSE, *TEST_NEVER],
        "reverse": [*VALIDATION_REVERSE, *TEST_REVERSE],
    }[source]
    first, *others = rng.sample(names, 3)
    mine = [(tool, first) for tool in rng.sample(domains[first].tools, len(domains[first].tools))]
    fill = [(tool, name) for name in others for tool in rng.sample(domains[name].tools, 2)]
    return (mine + rng.sample(fill, len(fill)))[:count]


def _offers(pool: Pool, opaque: bool, rng: random.Random) -> tuple[Offer, ...]:
    offers: dict[str, Offer] = {}
    for behind, domain in pool:
        offer = _offer(behind, domain, opaque, rng)
        while offer.tool.name in offers:
            offer = _offer(behind, domain, True, rng)
        offers[offer.tool.name] = offer
    return tuple(offers.values())


def _offer(behind: DomainTool, domain: str, opaque: bool, rng: random.Random) -> Offer:
    name = values.nonsense_word(rng) if opaque else behind.name
    fields = {argument.key: values.schema(argument.kind) for argument in behind.arguments}
    required = [argument.key for argument in behind.arguments if not argument.optional]
    does = behind.does.capitalize() if rng.random() < 0.15 else behind.does
    return Offer(Tool(name, does, {"type": "object", "properties": fields, "required": required}), behind, domain)


def draw_exchange(offer: Offer, way: Way, rng: random.Random, asks: int | None = None) -> Exchange:
    """One request for a tool in a phrasing style, and its call.

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
    return [pattern.replace("{key}", k.replace("_", " ")).replace("{value}", values.verbalise(v)) for k, v in leaves]


def fill(ask: str, given: dict[str, Any]) -> str:
    """Put values into a phrasing; parts whose arguments are not given are left out."""

    def part(match: re.Match[str]) -> str:
        return match.group(1) if slots(match.group(1)) <= set(given) else ""

    def slot(match: re.Match[str]) -> str:
        path, yes, no = match.groups()
        value: Any = given
        for step in path.split("."):
            value = value[step]
        return (yes if value else no) if yes is not None else values.verbalise(value)

    return SLOT.sub(slot, OPTIONAL_PART.sub(part, ask))
