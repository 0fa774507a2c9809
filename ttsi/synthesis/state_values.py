"""Values of an environment's state, leaves in the results of tools, as argument values of examples.

Inputs: results as texts, JSON or not. Outputs: for an argument's name and type, the values that stand under a key of
like name. So an example calls a tool with a file that is there, not with an invented one, and can be executed.

The paper (arXiv:2510.07841) has no state. In BFCL's multi-turn tasks 43 % of the gold's string values stand in no
user's words (measured; dev/log.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.synthesis.parameter_words import name_words

MOST_CHARACTERS = 40
"""Longest text that counts as a value."""
_GENERIC = frozenset(
    {"name", "id", "value", "list", "result", "results", "number", "new", "current", "the", "of", "to"}
)
"""Words that say nothing about which thing a name is of."""


@dataclass(frozen=True)
class StateValues:
    """Scalar values with the words of the keys above them."""

    leaves: tuple[tuple[frozenset[str], Any], ...] = ()

    @staticmethod
    def of(texts: Sequence[str]) -> StateValues:
        """The values in results; a text that is no JSON has none."""
        leaves = dict.fromkeys((words, value) for text in texts for words, value in _leaves(_read(text), frozenset()))
        return StateValues(tuple(leaves))

    def like(self, name: str, kind: str | None) -> list[Any]:
        """Values of this JSON type under keys that share a word with a parameter's name.

        >>> files = StateValues.of(['{"files": ["a.txt", "b.txt"], "count": 2}'])
        >>> files.like("file_name", "string"), files.like("file_count", "integer"), files.like("city", "string")
        (['a.txt', 'b.txt'], [2], [])
        """
        wanted = _words(name)
        return [value for words, value in self.leaves if words & wanted and _is_of(value, kind)]


def _words(name: str) -> frozenset[str]:
    every = frozenset(word[:-1] if word.endswith("s") and len(word) > 3 else word for word in name_words(name).split())
    return (every - _GENERIC) or every


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any, words: frozenset[str], depth: int = 0) -> Iterator[tuple[frozenset[str], Any]]:
    if depth > 8:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            # A name stands for the thing that its list is of: {"files": [{"name": ...}]}.
            own = _words(str(key))
            yield from _leaves(inner, (own | words) if own <= _GENERIC else own, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, words, depth + 1)
    elif isinstance(value, str | int | float) and words and (not isinstance(value, str) or _is_short(value)):
        yield words, value


def _is_short(text: str) -> bool:
    return 0 < len(text) <= MOST_CHARACTERS and "\n" not in text


def _is_of(value: Any, kind: str | None) -> bool:
    types: dict[str | None, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "string": (str,)}
    return isinstance(value, types.get(kind, ())) and not isinstance(value, bool)
