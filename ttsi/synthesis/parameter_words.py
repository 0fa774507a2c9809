"""Words of a parameter's name, and of the noun phrase with which its description begins.

Inputs: a name ("getUserID") or a description. Outputs: words in lower case. The last word of a noun phrase is its head:
"The subject of the email" is about a subject, and not about an email.
"""

from __future__ import annotations

import re

from ttsi.words import words

_LEAD = re.compile(
    r"\s*(?:\(?\s*(?:optional|required)\b\W*(?:parameter\b\W*(?:to|that|which)?\W*)?)?"
    r"(?:(?:specif(?:y|ies)|indicates?|represents?|denotes?|defines?|sets?|determines?|provides?|enter|input|filters?|"
    r"search(?:es)?|sorts?|select|choose|limits?|returns?|contains?)\s+(?:(?:by|for|to|on|results by)\s+)?)?"
    r"(?:(?:an?|the|this|that|these|your|its|their|his|each|any|one or more)\s+)*",
    re.IGNORECASE,
)
"""What stands before the noun: "Optional. Specifies the"."""
_BREAK = re.compile(
    r"[.,;:()\[\]!?\n\"`=/]|\s[-\u2013\u2014]\s|"
    r"(?<![\w-])(?:of|for|when|where|on|at|in|to|that|which|who|whose|whom|from|by|with|as|until|if|is|are|was|were|be|being|"
    r"must|should|can|may|will|and|or|used|using|provided|given|after|before|during|into|about|between|per|within|"
    r"such|like|e\.g|under|over|upon|through|via|you|we|associated|belonging|linked|specified|entered|"
    r"representing|indicating|containing)(?![\w-])",
    re.IGNORECASE,
)
_LONGEST_PHRASE = 6
_NAME_OF = re.compile(r"\bnames? of\b", re.IGNORECASE)
_MEASURED = frozenset("value values coordinate coordinates number string field parameter".split())
"""Heads that leave it to the word before them: "the longitude value"."""
_AFTER_HEAD = frozenset("of for in at by with to from".split())
_SAYS_LITTLE = frozenset(
    "from to start end begin min max after before since until first last value values string str param parameter "
    "field input filter range address addresses utc iso new old".split()
)
"""Words at the end of a name that do not say what its value is: "date_from", "email_address"."""


def name_words(name: str) -> str:
    """The words of a name.

    >>> name_words("getUserID"), name_words("check-in_date2")
    ('get user id', 'check in date2')
    """
    return " ".join(words(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)))


def head_words(description: str, whole: bool = True) -> list[str]:
    """The words of the noun phrase with which a description begins; the last one is its head.

    Args:
        description: a text.
        whole: all words of the phrase, else the head alone, without "value" and the like behind it.

    >>> head_words("The subject of the email."), head_words("Optional. The new email address"), head_words("date when")
    (['subject'], ['new', 'email', 'address'], ['date'])
    """
    lead = _LEAD.match(description)
    rest = description[lead.end() if lead else 0 :]
    stop = _BREAK.search(rest)
    phrase = words(rest[: stop.start()] if stop else rest[:200])
    if len(phrase) > _LONGEST_PHRASE:
        return []
    while not whole and len(phrase) > 1 and phrase[-1] in _MEASURED:
        phrase.pop()
    return phrase if whole else phrase[-1:]


def head_of_name(name: str) -> str:
    """The word of a name that says what its value is; empty where none does.

    >>> [head_of_name(name) for name in ("email_subject", "emailAddress", "date_of_birth", "departure_date_2", "to")]
    ['subject', 'email', 'date', 'date', '']
    """
    parts = name_words(name).split()
    stop = next((place for place, word in enumerate(parts) if place and word in _AFTER_HEAD), len(parts))
    parts = parts[:stop]
    while parts and (parts[-1] in _SAYS_LITTLE or parts[-1].isdigit()):
        parts.pop()
    return parts[-1] if parts else ""


def thing_words(description: str) -> list[str]:
    """The words of what a description is about: its head, and with a name what is named.

    >>> thing_words("The name of the city to visit"), thing_words("the city name"), thing_words("the busy city")
    (['city', 'name'], ['city', 'name'], ['city'])
    """
    phrase = head_words(description)
    if phrase[-1:] not in (["name"], ["names"]):
        return phrase[-1:]
    named = _NAME_OF.search(description)
    return [*head_words(description[named.end() :])[-1:], "name"] if named else phrase
