"""Words of a text, how many of them two texts share, and scripts that mark no words.

Inputs: texts. Outputs: lower-case runs of letters and digits; the Jaccard index of two texts; texts with scripts kept
apart; words with their vowel signs, and how many they are in any script. Filters of examples, retrieval, training pools
and the leak check all compare texts by these words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

WORD = re.compile(r"[^\W_]+")
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30fa\u30fc-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""A letter of a script that writes words side by side, or particles on words: Thai, Lao, Burmese, Khmer, kana, Chinese
characters, Hangul."""
_SCRIPT_EDGE = re.compile(
    rf"(?<={_SPACELESS.pattern})(?!{_SPACELESS.pattern})(?=[^\W_])"
    rf"|(?<=[^\W_])(?<!{_SPACELESS.pattern})(?={_SPACELESS.pattern})"
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order.

    >>> words("  Where's  A-12?")
    ['where', 's', 'a', '12']
    """
    return WORD.findall(text.lower())


def jaccard(left: str, right: str, empty: float = 0.0) -> float:
    """Distinct words that two texts share, as a share of all words of both; `empty` where neither has any.

    >>> jaccard("book a flight", "Book a hotel!")
    0.5
    """
    left_words, right_words = set(words(left)), set(words(right))
    either = left_words | right_words
    return len(left_words & right_words) / len(either) if either else empty


_NO_PLURALS = frozenset("always does less lens mars news perhaps plus".split())


def stem(text: str) -> str:
    """A normalised text without the endings of English plurals: singular and plural become the same.

    >>> stem("two comedies and movies on buses"), stem("comedy movie bus")
    ('two comedi and movi on bus', 'comedi movi bus')
    """
    return " ".join(map(_stem_word, text.split(" ")))


def _stem_word(word: str) -> str:
    if word in _NO_PLURALS or not word.isascii() or not word.isalpha():
        return word
    if len(word) > 3 and word[-1] == "s" and word[-2] not in "sui":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return f"{word[:-1]}i" if len(word) > 2 and word[-1] == "y" else word


def fold(text: str) -> str:
    """The text in lower case, without accents.

    >>> fold("São Paulo, STRASSE"), fold("straße")
    ('sao paulo, strasse', 'strasse')
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", _ACCENT.sub("", apart))


_ACCENT = re.compile("[\u0300-\u036f]")


def separate_scripts(text: str) -> str:
    """The text with a space where a script without spaces meets letters or digits of others.

    >>> separate_scripts("Tokyo駅まで10分")
    'Tokyo 駅まで 10 分'
    """
    return _SCRIPT_EDGE.sub(" ", text) if _SPACELESS.search(text) else text


def is_spaceless(character: str) -> bool:
    """Whether a character is a letter of a script without spaces."""
    return _SPACELESS.match(character) is not None


_NOT_IDEOGRAM = re.compile("[^\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
IDEOGRAMS_PER_WORD = 2
LETTERS_PER_WORD = 5
"""Of kana, Hangul, Thai and the like, vowel signs counted."""


def whole_words(text: str) -> list[str]:
    """The words of a folded text in order, each with its vowel signs, which `words` takes for edges.

    >>> whole_words("Café: हाँ, 東京駅 TOKYO")
    ['cafe', 'हाँ', '東京駅', 'tokyo']
    """
    folded = fold(text)
    if folded.isascii():
        return WORD.findall(folded)
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded).split()


def count_words(words: Iterable[str]) -> float:
    """How many words these are, where a script without spaces writes several as one: those count by their letters.

    >>> count_words(["weather", "in", "oslo"]), count_words(["奥斯陆今天天气怎么样"])
    (3.0, 5.0)
    """
    return sum(map(_words_in, words), 0.0)


def _words_in(word: str) -> float:
    if _SPACELESS.search(word) is None:
        return 1.0
    others = len(_NOT_IDEOGRAM.findall(word))
    return max(1.0, (len(word) - others) / IDEOGRAMS_PER_WORD + others / LETTERS_PER_WORD)
