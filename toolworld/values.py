"""Argument values of the world: JSON values, their wording in a request, and their JSON Schema.

Inputs: a kind (see `domains.STRING_KINDS`) and a random generator. Outputs: a JSON value, its wording, its schema. One
string in seven is a nonsense word, which the model can only copy.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

_SYLLABLES = (
    "ka mo re ti su la ne vo pi da gu fe zo ri ba nu che ol un ar is en tor mak wel bri sha quo dri gle".split()
)

POOLS: dict[str, list[str]] = {
    "person": "Anna Omar Li Priya Jonas Maria Kofi Elena Tom Yuki Sara Ivan Noor Peter Amara Lucas Ingrid Raj Chloe "
    "Mateo Fatima Erik Hana David Zoe Samuel Olga Ben Leila Hugo Marta Kenji Ruth Felix Nadia Oscar".split(),
    "city": "Lisbon Oslo Cairo Lima Kyoto Boston Madrid Vienna Nairobi Delhi Prague Dublin Hanoi Quito Zurich Athens "
    "Bergen Porto Tunis Krakow Austin Denver Leeds Lyon Seville Turin Ghent Malmo Accra Perth".split(),
    "country": "Spain Norway Kenya Japan Chile Poland Canada India Egypt Peru "
    "Greece Iceland Ghana Turkey Vietnam Brazil".split(),
    "language": "english spanish german french italian polish arabic hindi japanese "
    "swahili dutch greek turkish korean".split(),
    "currency": "EUR USD GBP JPY CHF SEK INR BRL CAD PLN".split(),
    "color": "red blue green yellow black white purple orange grey brown silver pink".split(),
    "animal": "dog cat rabbit parrot hamster horse turtle goat canary ferret snake pony".split(),
    "food": "pasta salad rice soup bread cheese tofu salmon lentils pancakes "
    "apples beans curry pizza dumplings".split(),
    "weekday": "monday tuesday wednesday thursday friday saturday sunday".split(),
    "month": "january february march april may june july august september october november december".split(),
    "company": "Acme Nordwind Solaris Bluepeak Verdano Kestrel Omnia Halden Tarkett Lumen Orbis Fjordly".split(),
    "product": "lamp kettle backpack printer headphones blanket keyboard tent bottle "
    "charger jacket scooter desk mixer".split(),
    "word": "river garden silver winter harbor thunder pepper lantern maple copper velvet meadow cotton marble".split(),
}
_ADJECTIVES = "quiet broken golden last hidden burning northern empty bright slow second distant wild paper".split()
_NOUNS = "river house summer letter mountain garden mirror train ocean bird road winter stone song window".split()
_STREETS = "oak mill church station park harbor king garden lake bridge market hill".split()
_PHRASES = (
    "the door does not close", "call me back later", "we ran out of milk", "meeting moved to noon",
    "it smells like smoke",
    "bring two chairs", "left side is loose", "happy birthday to you", "water the plants", "no nuts in it",
    "ask for the manager", "keep it very short", "the screen stays dark", "size was too small", "doors open at eight",
)  # fmt: skip


def nonsense_word(rng: random.Random, low: int = 2, high: int = 3) -> str:
    """A word of random syllables."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(low, high)))


def string(kind: str, rng: random.Random) -> str:
    """One string of a kind."""
    if rng.random() < 0.15 and kind not in ("date", "time", "weekday", "digits4", "email", "url"):
        word = nonsense_word(rng)
        return word.capitalize() if kind in ("person", "city", "company") else word
    if kind in POOLS:
        return _from_pool(kind, rng)
    return _MAKERS[kind](rng)


def _from_pool(kind: str, rng: random.Random) -> str:
    value = rng.choice(POOLS[kind])
    if kind == "person" and rng.random() < 0.3:
        return f"{value} {nonsense_word(rng).capitalize()}"
    return value


def _code(rng: random.Random) -> str:
    letters = "".join(rng.choice("ABCDEFGHKLMNPQRSTVWXZ") for _ in range(rng.randint(1, 2)))
    return f"{letters}{rng.randint(10, 9999)}"


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "place": lambda rng: f"{rng.randint(1, 99)} {rng.choice(_STREETS)} {rng.choice(['street', 'road', 'lane'])}",
    "title": lambda rng: f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}",
    "phrase": lambda rng: rng.choice(_PHRASES),
    "email": lambda rng: f"{nonsense_word(rng)}@{rng.choice(['mail.com', 'post.org', 'inbox.net'])}",
    "url": lambda rng: f"{nonsense_word(rng)}.{rng.choice(['com', 'org', 'net'])}",
    "date": lambda rng: f"20{rng.randint(24, 29)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
    "time": lambda rng: f"{rng.randint(0, 23):02d}:{rng.choice(['00', '15', '30', '45'])}",
    "code": _code,
    "digits4": lambda rng: f"{rng.randint(0, 9999):04d}",
}


def draw(kind: Any, rng: random.Random) -> Any:
    """A JSON value of a kind."""
    if isinstance(kind, list):
        return rng.choice(kind)
    if kind == "bool":
        return rng.random() < 0.5
    if isinstance(kind, str):
        return string(kind, rng)
    name, inner = next(iter(kind.items()))
    if name == "int":
        return rng.randint(*inner)
    if name == "number":
        return round(rng.uniform(*inner), rng.choice([1, 1, 2]))
    if name == "list":
        return [draw(inner, rng) for _ in range(rng.randint(1, 3))]
    return {key: draw(sub, rng) for key, sub in inner.items()}


def verbalise(value: Any) -> str:
    """The wording of a value in a request."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        spoken = [verbalise(item) for item in value]
        return spoken[0] if len(spoken) == 1 else f"{', '.join(spoken[:-1])} and {spoken[-1]}"
    return str(value)


def schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a kind."""
    if isinstance(kind, list):
        return {"type": "string", "enum": list(kind)}
    if isinstance(kind, str):
        return {"type": "boolean"} if kind == "bool" else {"type": "string"}
    name, inner = next(iter(kind.items()))
    if name in ("int", "number"):
        return {"type": "integer" if name == "int" else "number"}
    if name == "list":
        return {"type": "array", "items": schema(inner)}
    fields = {key: schema(sub) for key, sub in inner.items()}
    return {"type": "object", "properties": fields, "required": list(inner)}
