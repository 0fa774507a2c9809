"""Which words does the world know, and which of them belong together?

A hand-written thesaurus of everyday English (`thesaurus/*.txt`, one group a line: a word, then words that are said
instead of it or point at it). It was written for this project without sight of the held-out domains. Inputs: words.
Outputs: words to invent tools with (`Words`), and whether a word of a request speaks of a word of a tool's line
(`related`).

Not in the paper, whose models know English; a model of two million parameters has to be told.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ttsi.chat.marked import words
from ttsi.embedded.domains import SLOT, Domain
from ttsi.embedded.values import made_up

FOLDER = Path(__file__).parent / "thesaurus"
_ENDINGS = ("ings", "ing", "ers", "er", "ed", "es", "s", "d", "e")


@lru_cache
def groups() -> tuple[tuple[str, ...], ...]:
    """Every group of the thesaurus, its head first."""
    lines = [line for path in sorted(FOLDER.glob("*.txt")) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(tuple(line.replace(":", ",").replace(",", " ").split()) for line in lines if line)


def heads() -> tuple[str, ...]:
    """The word that each group explains, each once."""
    return tuple(dict.fromkeys(group[0] for group in groups()))


def words_of(domains: Iterable[Domain]) -> tuple[str, ...]:
    """Every content word of some domains' lines and phrasings, in alphabetical order."""
    text = " ".join(f"{tool.does} {' '.join(tool.asks)}" for domain in domains for tool in domain.tools)
    return tuple(sorted({word for word in words(SLOT.sub("", text)) if len(word) > 2 and word.isalpha()}))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its inflection, roughly: "bookings", "booked" and "book" are one."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@lru_cache
def _stand_ins() -> dict[str, tuple[str, ...]]:
    """For each head and member: what may be said instead. A head stands for its members and they for it."""
    found: dict[str, dict[str, None]] = {}
    for head, *members in groups():
        for member in members:
            found.setdefault(head, {})[member] = None
            found.setdefault(member, {})[head] = None
    return {word: tuple(others) for word, others in found.items()}


@lru_cache
def _stems_of_stand_ins() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for word, others in _stand_ins().items():
        found.setdefault(stem(word), set()).update(stem(other) for other in others)
    return {word: frozenset(others) for word, others in found.items()}


def related(said: str, written: str) -> bool:
    """Does a word of a request speak of a word of a tool's line: by inflection, or by the thesaurus?"""
    mine, its = stem(said), stem(written)
    return mine == its or its in _stems_of_stand_ins().get(mine, ())


def stand_in(word: str, rng: random.Random) -> str:
    """Another word that speaks of this one; the word itself when the thesaurus has none."""
    others = _stand_ins().get(word)
    return rng.choice(others) if others else word


@dataclass(frozen=True)
class Words:
    """Where the words of invented tools come from."""

    known: tuple[str, ...]
    blended: float = 0.0
    """Share of words that are two words' halves, which no tokenizer holds in one piece."""
    paraphrased: float = 0.0
    """Share of invented tools, and of phrasings in renamed scenes, that are asked for in other words."""
    siblings: float = 0.0
    """Share of invented tools that differ from another one in a single word."""

    def draw(self, rng: random.Random) -> str:
        """One word: known, blended or made up."""
        if self.blended and rng.random() < self.blended:
            first, second = rng.choice(self.known), rng.choice(self.known)
            return first[: rng.randint(2, 4)] + second[-rng.randint(2, 4) :]
        return made_up(rng) if rng.random() < 0.25 else rng.choice(self.known)

    def phrase(self, text: str, rng: random.Random) -> str:
        """`text` with stand-ins for every word, or for some, or as it is."""
        if not self.paraphrased or rng.random() >= self.paraphrased:
            return text
        share = rng.choice([1.0, 0.5])
        return " ".join(stand_in(word, rng) if rng.random() < share else word for word in text.split(" "))
