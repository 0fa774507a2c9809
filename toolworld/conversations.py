"""The kinds of conversation in the world.

Single requests, answers to a clarifying question, follow-ups after a finished call, demonstrations before the request,
requests that no tool fits, requests for two calls, and requests whose argument names alone identify the tool.
Inputs: a `Scene`, a phrasing style, a random generator. Outputs: an `Exchange`: the conversation up to the user's last
turn, and the calls it asks for.
"""

from __future__ import annotations

import random

from toolworld import values
from toolworld.styles import Way, trained_way, wordless_way
from toolworld.world import Exchange, Offer, Scene, draw_exchange
from ttsi.types import Message

KINDS = ("single", "clarified", "follow-up", "no-tool", "two-calls", "demonstrated", "wordless")
_JOINERS = (" and also ", ", then ", ". also, ", " and after that ", ". second thing: ")


def draw(kind: str, scene: Scene, way: Way, rng: random.Random) -> Exchange | None:
    """One exchange of a kind, or None when the scene has no room for it."""
    offer = rng.choice(scene.offers)
    if kind == "clarified":
        return _draw_clarified(scene, rng)
    if kind == "follow-up":
        return _append_exchange(_history(scene, rng, 1, with_result=True), draw_exchange(offer, way, rng), kind)
    if kind == "demonstrated":
        return _append_exchange(
            _history(scene, rng, rng.randint(2, 4), with_result=False), draw_exchange(offer, way, rng), kind
        )
    if kind == "no-tool":
        return _draw_unanswerable(scene, way, rng)
    if kind == "two-calls":
        return _draw_two_calls(scene, offer, way, rng)
    if kind == "wordless":
        return _draw_wordless(scene, offer, rng)
    return draw_exchange(offer, way, rng)


def _append_exchange(history: tuple[Message, ...], now: Exchange, kind: str) -> Exchange:
    return Exchange(history + now.messages, now.calls, kind, now.ask)


def _history(scene: Scene, rng: random.Random, count: int, with_result: bool) -> tuple[Message, ...]:
    turns: list[Message] = []
    for _ in range(count):
        past = draw_exchange(rng.choice(scene.offers), trained_way(rng), rng)
        turns += [*past.messages, Message("assistant", "", past.calls)]
        if with_result:
            turns += [
                Message("tool", rng.choice(["ok", "done", values.nonsense_word(rng)])),
                Message("assistant", "done."),
            ]
    return tuple(turns)


def _draw_clarified(scene: Scene, rng: random.Random) -> Exchange | None:
    candidates = [(offer, draw_exchange(offer, trained_way(rng), rng)) for offer in scene.offers]
    fitting = [(offer, exchange) for offer, exchange in candidates if _has_one_plain_argument(exchange)]
    if not fitting:
        return None
    offer, exchange = rng.choice(fitting)
    key, value = next(iter(exchange.calls[0].arguments.items()))
    spoken = values.verbalise(value)
    reply = rng.choice(["{}", "it is {}", "{} please", "make it {}"]).format(spoken)
    question = f"what is the {key.replace('_', ' ')}?"
    messages = (Message("user", offer.behind.short), Message("assistant", question), Message("user", reply))
    return Exchange(messages, exchange.calls, "clarified", -1)


def _has_one_plain_argument(exchange: Exchange) -> bool:
    given = list(exchange.calls[0].arguments.values())
    return len(given) == 1 and not isinstance(given[0], dict | bool)


def _draw_unanswerable(scene: Scene, way: Way, rng: random.Random) -> Exchange | None:
    if not scene.absent:
        return None
    exchange = draw_exchange(rng.choice(scene.absent), way, rng)
    return Exchange(exchange.messages, (), "no-tool", exchange.ask)


def _draw_two_calls(scene: Scene, offer: Offer, way: Way, rng: random.Random) -> Exchange | None:
    others = [other for other in scene.offers if other is not offer]
    if not others:
        return None
    first, second = draw_exchange(offer, way, rng), draw_exchange(rng.choice(others), trained_way(rng), rng)
    request = first.request.rstrip("?!.") + rng.choice(_JOINERS) + second.request
    return Exchange((Message("user", request),), first.calls + second.calls, "two-calls", -1)


def _draw_wordless(scene: Scene, offer: Offer, rng: random.Random) -> Exchange | None:
    """Argument names and values only, where no other tool on offer has one of the names."""
    exchange = draw_exchange(offer, wordless_way(rng), rng)
    given = set(exchange.calls[0].arguments)
    others = {argument.key for other in scene.offers if other is not offer for argument in other.behind.arguments}
    return Exchange(exchange.messages, exchange.calls, "wordless", -1) if given and not given & others else None
