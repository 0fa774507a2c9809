"""The thesaurus of the world: everyday words, their synonyms, and words for invented tools.

The thesaurus (`thesaurus/*.txt`) is written by hand, one group a line: a word, then words that replace it or point to
it. It was written without sight of the held-out domains. Inputs: words. Outputs: words for invented tools (`Words`),
and whether a word of a request refers to a word of a tool's description (`is_related`).

How it differs from the paper: there, the models know English from pre-training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from toolworld.domains import SLOT, Domain
from toolworld.values import nonsense_word
from ttsi.chat.marked import content_words

FOLDER = Path(__file__).parent / "thesaurus"
_ENDINGS = ("ings", "ing", "ers", "er", "ed", "es", "s", "d", "e")


@lru_cache
def groups() -> tuple[tuple[str, ...], ...]:
    """Every group of the thesaurus, its head first."""
    lines = [line for path in sorted(FOLDER.glob("*.txt")) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(tuple(line.replace(":", ",").replace(",", " ").split()) for line in lines if line)


def heads() -> tuple[str, ...]:
    """The first word of each group, each once."""
    return tuple(dict.fromkeys(group[0] for group in groups()))


def words_of(domains: Iterable[Domain]) -> tuple[str, ...]:
    """Every content word of some domains' lines and phrasings, in alphabetical order."""
    text = " ".join(f"{tool.does} {' '.join(tool.asks)}" for domain in domains for tool in domain.tools)
    return tuple(sorted({word for word in content_words(SLOT.sub("", text)) if len(word) > 2 and word.isalpha()}))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its inflection, roughly: "bookings", "booked" and "book" are one."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@lru_cache
def _synonyms() -> dict[str, tuple[str, ...]]:
    """The synonyms of each head and member. A head stands for its members and they for it."""
    others: dict[str, dict[str, None]] = {}
    for head, *members in groups():
        for member in members:
            others.setdefault(head, {})[member] = None
            others.setdefault(member, {})[head] = None
    return {word: tuple(synonyms) for word, synonyms in others.items()}


@lru_cache
def _synonym_stems() -> dict[str, frozenset[str]]:
    stems: dict[str, set[str]] = {}
    for word, others in _synonyms().items():
        stems.setdefault(stem(word), set()).update(stem(other) for other in others)
    return {word: frozenset(others) for word, others in stems.items()}


def is_related(spoken: str, written: str) -> bool:
    """Whether a word of a request refers to a word of a description, by inflection or by the thesaurus."""
    mine, its = stem(spoken), stem(written)
    return mine == its or its in _synonym_stems().get(mine, ())


def synonym(word: str, rng: random.Random) -> str:
    """A synonym drawn at random, or the word itself where the thesaurus has none."""
    others = _synonyms().get(word)
    return rng.choice(others) if others else word


@dataclass(frozen=True)
class Words:
    """The source of words for invented tools."""

    vocabulary: tuple[str, ...]
    blended: float = 0.0
    """Share of words made of the halves of two words, which no tokenizer holds in one piece."""
    paraphrased: float = 0.0
    """Share of invented tools, and of phrasings in renamed scenes, whose requests use synonyms."""
    siblings: float = 0.0
    """Share of invented tools that differ from another one in a single word."""

    def draw(self, rng: random.Random) -> str:
        """One word: of the vocabulary, blended or a nonsense word."""
        if self.blended and rng.random() < self.blended:
            first, second = rng.choice(self.vocabulary), rng.choice(self.vocabulary)
            return first[: rng.randint(2, 4)] + second[-rng.randint(2, 4) :]
        return nonsense_word(rng) if rng.random() < 0.25 else rng.choice(self.vocabulary)

    def phrase(self, text: str, rng: random.Random) -> str:
        """`text` with synonyms for every word, for half of them, or for none."""
        if not self.paraphrased or rng.random() >= self.paraphrased:
            return text
        share = rng.choice([1.0, 0.5])
        return " ".join(synonym(word, rng) if rng.random() < share else word for word in text.split(" "))
