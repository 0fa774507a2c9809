"""Nouns behind a number: one input, two inputs.

Inputs: a number, a noun. Outputs: the noun, or a verb, in the form that stands with the number. Standard library only.
"""

from __future__ import annotations


def plural(number: float, one: str, many: str = "") -> str:
    """The form of a word that stands with a number; the plural has an s where no other is given.

    >>> plural(1, "input"), plural(0, "input"), plural(1.5, "input"), plural(2, "entry", "entries")
    ('input', 'inputs', 'inputs', 'entries')
    """
    return one if number == 1 else many or f"{one}s"


def with_noun(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> with_noun(1, "input"), with_noun(12, "input"), with_noun(2, "entry", "entries")
    ('1 input', '12 inputs', '2 entries')
    """
    return f"{number} {plural(number, one, many)}"
