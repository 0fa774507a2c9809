"""Which kinds of conversation does the world hold?

Single requests, answers to a question back, follow-ups after a finished call, demonstrations before the request,
requests that no tool fits, requests for two calls, and requests whose keys alone tell the tool. Inputs: a `Scene`, a
way of asking, a random generator. Outputs: an `Exchange`: the conversation up to the user's last turn, and the calls it
asks for.

Not in the paper: part of the embedded model's world.
"""

from __future__ import annotations

import random

from ttsi.embedded import values
from ttsi.embedded.styles import Way, trained_way, wordless_way
from ttsi.embedded.world import Exchange, Offer, Scene, exchange
from ttsi.types import Message

KINDS = ("single", "clarified", "follow-up", "no-tool", "two-calls", "demonstrated", "wordless")
_JOINERS = (" and also ", ", then ", ". also, ", " and after that ", ". second thing: ")


def draw(kind: str, scene: Scene, way: Way, rng: random.Random) -> Exchange | None:
    """One exchange of a kind, or None when the scene has no room for it."""
    offer = rng.choice(scene.offers)
    if kind == "clarified":
        return _clarified(scene, rng)
    if kind == "follow-up":
        return _after(_history(scene, rng, 1, with_result=True), exchange(offer, way, rng), kind)
    if kind == "demonstrated":
        return _after(_history(scene, rng, rng.randint(2, 4), with_result=False), exchange(offer, way, rng), kind)
    if kind == "no-tool":
        return _unanswerable(scene, way, rng)
    if kind == "two-calls":
        return _two_calls(scene, offer, way, rng)
    if kind == "wordless":
        return _wordless(scene, offer, rng)
    return exchange(offer, way, rng)


def _after(history: tuple[Message, ...], now: Exchange, kind: str) -> Exchange:
    return Exchange(history + now.messages, now.calls, kind, now.ask)


def _history(scene: Scene, rng: random.Random, count: int, with_result: bool) -> tuple[Message, ...]:
    turns: list[Message] = []
    for _ in range(count):
        past = exchange(rng.choice(scene.offers), trained_way(rng), rng)
        turns += [*past.messages, Message("assistant", "", past.calls)]
        if with_result:
            turns += [Message("tool", rng.choice(["ok", "done", values.made_up(rng)])), Message("assistant", "done.")]
    return tuple(turns)


def _clarified(scene: Scene, rng: random.Random) -> Exchange | None:
    drawn = [(offer, exchange(offer, trained_way(rng), rng)) for offer in scene.offers]
    fitting = [(offer, asked) for offer, asked in drawn if _one_plain_argument(asked)]
    if not fitting:
        return None
    offer, asked = rng.choice(fitting)
    key, value = next(iter(asked.calls[0].arguments.items()))
    spoken = values.say(value)
    reply = rng.choice(["{}", "it is {}", "{} please", "make it {}"]).format(spoken)
    question = f"what is the {key.replace('_', ' ')}?"
    messages = (Message("user", offer.behind.short), Message("assistant", question), Message("user", reply))
    return Exchange(messages, asked.calls, "clarified", -1)


def _one_plain_argument(asked: Exchange) -> bool:
    given = list(asked.calls[0].arguments.values())
    return len(given) == 1 and not isinstance(given[0], dict | bool)


def _unanswerable(scene: Scene, way: Way, rng: random.Random) -> Exchange | None:
    if not scene.absent:
        return None
    asked = exchange(rng.choice(scene.absent), way, rng)
    return Exchange(asked.messages, (), "no-tool", asked.ask)


def _two_calls(scene: Scene, offer: Offer, way: Way, rng: random.Random) -> Exchange | None:
    others = [other for other in scene.offers if other is not offer]
    if not others:
        return None
    first, second = exchange(offer, way, rng), exchange(rng.choice(others), trained_way(rng), rng)
    request = first.request.rstrip("?!.") + rng.choice(_JOINERS) + second.request
    return Exchange((Message("user", request),), first.calls + second.calls, "two-calls", -1)


def _wordless(scene: Scene, offer: Offer, rng: random.Random) -> Exchange | None:
    """Keys and values and not a word about what to do, where no other tool on offer has one of the keys."""
    asked = exchange(offer, wordless_way(rng), rng)
    given = set(asked.calls[0].arguments)
    others = {argument.key for other in scene.offers if other is not offer for argument in other.behind.arguments}
    return Exchange(asked.messages, asked.calls, "wordless", -1) if given and not given & others else None
