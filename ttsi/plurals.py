"""Nouns behind a number or an article: one input, two inputs, an input.

Inputs: a number, a noun. Outputs: the noun, or a verb, in the form that stands with the number; a noun with its
article. Standard library only.
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


def with_article(noun: str) -> str:
    """A noun, such as the name of a type, behind "a" or "an".

    A leading u is mostly spoken like "you", as in the names UserDict and UUID.

    >>> with_article("int"), with_article("Input"), with_article("_Own"), with_article("dict"), with_article("UUID")
    ('an int', 'an Input', 'an _Own', 'a dict', 'a UUID')
    """
    return f"{'an' if noun.lstrip('_')[:1].lower() in tuple('aeio') else 'a'} {noun}"


def kind_of(value: object) -> str:
    """What a value is, for a line that says what is wanted instead.

    >>> kind_of(3), kind_of({}), kind_of(None)
    ('an int', 'a dict', 'None')
    """
    return "None" if value is None else with_article(type(value).__name__)
