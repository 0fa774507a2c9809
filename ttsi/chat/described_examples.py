"""Examples that a description gives after "e.g.", "such as" and the like, each whole.

Inputs: the text of a description. Outputs: the values that it gives as examples. What stands in quotation marks is one
value, whatever it has inside; a place with its state, an address, a grouped number and a URL are one value without
them. Kinds of values ("such as a hostname"), examples of what is forbidden and layouts ("City, State") are none.
The paper (arXiv:2510.07841) has a model write the values.
"""

from __future__ import annotations

import re

LONGEST_VALUE = 40
"""Characters of a value that a description names, or of a layout."""
MOST_WORDS = 4
"""Words of a value that stands without quotation marks; prose is longer."""
MOST_WORDS_TOGETHER, LONGEST_TOGETHER = 8, 60
"""Words and characters of a value of which the ends are sure: by quotation marks, or because it is an address."""

OPENING, CLOSING = "\"'`\u2018\u201c", "\"'`\u2019\u201d"
_MARKER = r"(?:\be\.?g\b\.?|\bsuch as\b|\bfor example\b|\bfor instance\b|\bexamples?:)[,:]?\s*"
_PASSAGE = re.compile(
    rf"(?P<marker>{_MARKER})(?P<passage>(?:[^().;:\n]|[.:](?=[^\s)\]\"'])|\([^()\n]*\))+)", re.IGNORECASE
)
"""The dots and colons of "10.0.0.0/16" and "09:00" belong to the example."""

# Before a passage is cut, what must stay whole is masked by characters that no separator has.
_COMMA, _COMMA_SPACE, _DOT, _HELD, _RELEASED = "\ue000\ue001\ue002\ue003\ue004"
_MASK = re.compile(f"{_HELD}(\\d+){_RELEASED}")
_QUOTE = re.compile(
    r"(?<!\w)(?:\"([^\"\n]+)\"|`([^`\n]+)`|\u201c([^\u201d\n]+)\u201d"
    r"|['\u2018]((?:[^'\u2018\u2019\n]|(?<=\w)['\u2019](?=\w))+)['\u2019])(?!\w)"
)
"""The apostrophe of "O'Hare" does not close."""
_ADDRESS_OF_PAGE = re.compile(r"\b[A-Za-z][\w+.-]*://[^\s,;()\"'\]]*[^\s,;()\"'\].?!]")
_ABBREVIATION = re.compile(r"\b(St|Mt|Ft|Dr|Mr|Mrs|Ms|Jr|Sr|Inc|Ltd|Ave|Blvd|vs)\.(?= [A-Z0-9])")
_GROUPED = re.compile(r"(?<=\d),(?=[-+]?\d)")
_TAILED_PLACE = re.compile(r"([A-Z][\w'\u2019-]*[a-z]), (?=([A-Z]{2}|USA)\b(?!['\u2019-]))")
_COUNTRY_AFTER_STATE = re.compile(rf"({_COMMA_SPACE}[A-Z]{{2}}), (?=(?:USA|US|UK)\b)")
_STATES = frozenset(
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY DC AB BC MB NB NL NS ON PE QC SK UK USA".split()
)
_OF_PLACES = re.compile(
    r"\b(?:cit(?:y|ies)|states?|locations?|places?|address(?:es)?|town|venue|region)\b", re.IGNORECASE
)
_CITY_AND_MORE = re.compile(
    r"\bcity(?: name)?(?:,| and|/)\s*(?:the )?(?:state|country|region|province)\b", re.IGNORECASE
)
_TWO_NAMES = re.compile(r"\s*([A-Z][^,]*), ([A-Z][^,]*?)\s*")
_STREET = re.compile(r"\s*\d+\w* [A-Z]")
_PARTS_OF_PLACES = frozenset(
    "city state country street address province region location place town zip code zipcode postal postcode name full "
    "abbr abbreviation".split()
)

_MEANING = re.compile(r"(\S+) (?:for|means|meaning|is|=|(?:represent|indicate|denote)s?|corresponds? to) .+")
"""An example with its meaning: "GOOG for Google"."""
_REMARK = re.compile(r"\s+\([^()]*\)")
_AND_SO_ON = re.compile(r"[\s,]*\b(?:etc|and so on|and so forth|and more|and others|among others)\b.*$")
_KIND = re.compile(r"(?:an?|any|some|another|other|your) ")
"""What begins so is a kind of values. Lower case: "A Minor" is a value."""
_PROSE = re.compile(
    r"(?:you|it|this(?! (?:week(?:end)?|month|year|morning|afternoon|evening))|that|these|those|which|where|when|if|as|"
    r"is|are|should|must|will|can|but|please|because|while|since|so|not|defaults? (?:is|to|value)|"
    r"(?:in|with|for|from|to|by|of) (?:the|this))\b"
)
"""What begins so explains, and so does all that follows."""
_NO_VALUE = frozenset(
    {"", "...", "\u2026", "etc", "none", "null", "undefined", "so on", "so forth", "more", "others", "similar"}
)
_PLACEHOLDER = re.compile(r"[YMDHSymdhsTZ\W]*([YMDHSymdhs])\1[YMDHSymdhsTZ\W]*")
"""An example that is a layout, with at least one letter twice: "DD/MM", and not "MD"."""

_NEGATION = re.compile(r"\b(?:not|never|(?<!to )avoid|cannot)\b|n't\b", re.IGNORECASE)
_NO_SUCH = re.compile(r"\b(?:no|without)\b[^,]*$", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|when|where|whether|unless|or not)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|[;\n]")


def described_examples(text: str) -> list[str]:
    """The values that a text gives as examples.

    >>> described_examples("city, e.g. San Francisco, CA or Rome"), described_examples("a genre (e.g. rock and roll)")
    (['San Francisco, CA', 'Rome'], ['rock and roll'])
    >>> described_examples("such as a hostname or IP address"), described_examples("never use signs such as / or +")
    ([], [])
    """
    masked, quotes = _mask(text)
    values: list[str] = []
    for match in _PASSAGE.finditer(masked):
        if not is_negated(masked[: match.start()], match["marker"]):
            values += _values(match["passage"], masked, quotes)
    return values


def is_negated(before: str, marker: str = "") -> bool:
    """Whether the sentence that leads to a list forbids what it lists; one under a condition does not.

    >>> is_negated("A name. It must not have signs"), is_negated("the city, if it does not move")
    (True, False)
    """
    sentence = _SENTENCE_END.split(before.rstrip(" (,"))[-1]
    negation = _NEGATION.search(sentence)
    if negation and not _CONDITION.search(sentence):
        return True
    return marker.lower().startswith("such") and _NO_SUCH.search(sentence) is not None


def without_quotes(text: str) -> str:
    """A text without the quotation marks and brackets around it."""
    return text.strip(f" []{OPENING}{CLOSING}")


def is_layout(text: str) -> bool:
    """Whether an example is a layout itself, as "DD/MM" is.

    >>> is_layout("YYYY-MM-DD"), is_layout("MD"), is_layout("City, State"), is_layout("state")
    (True, False, True, False)
    """
    if not 2 < len(text) <= LONGEST_VALUE:
        return False
    parts = re.findall(r"[a-z]+", text.lower())
    return _PLACEHOLDER.fullmatch(text) is not None or (
        "," in text and _PARTS_OF_PLACES.issuperset(parts) and parts != []
    )


def is_value(text: str, together: bool = False) -> bool:
    """Whether a text may be a value: short, and neither a layout nor a word for none."""
    longest, most_words = (LONGEST_TOGETHER, MOST_WORDS_TOGETHER) if together else (LONGEST_VALUE, MOST_WORDS)
    return (
        0 < len(text) <= longest
        and len(text.split()) <= most_words
        and text.lower() not in _NO_VALUE
        and not is_layout(text)
    )


def _mask(text: str) -> tuple[str, list[str]]:
    """The text with masks for what separators must not cut, and what stood in quotation marks."""
    quotes: list[str] = []

    def hold(match: re.Match[str]) -> str:
        quotes.append(match[match.lastindex or 0])
        return f"{_HELD}{len(quotes) - 1}{_RELEASED}"

    masked = _QUOTE.sub(hold, text)
    masked = _ADDRESS_OF_PAGE.sub(hold, masked)
    masked = _ABBREVIATION.sub(rf"\1{_DOT}", masked)
    masked = _GROUPED.sub(_COMMA, masked)
    of_places = _OF_PLACES.search(masked) is not None

    def tail(match: re.Match[str]) -> str:
        return f"{match[1]}{_COMMA_SPACE}" if of_places or match[2] in _STATES else match[0]

    masked = _TAILED_PLACE.sub(tail, masked)
    return _COUNTRY_AFTER_STATE.sub(rf"\1{_COMMA_SPACE}", masked), quotes


def _unmask(text: str) -> str:
    """A value as it stood."""
    return text.replace(_COMMA_SPACE, ", ").replace(_COMMA, ",").replace(_DOT, ".")


def _values(passage: str, text: str, quotes: list[str]) -> list[str]:
    """The values of one passage: those in quotation marks alone, where it has any."""
    if passage.lstrip(f" {OPENING}").startswith("{"):
        return []  # an object with keys
    whole = _one_place(passage, text)
    items = [whole] if whole else _items(passage)
    in_quotes = [quotes[int(number)] for item in items for number in _MASK.findall(item)]
    if in_quotes:
        return [value for value in map(str.strip, in_quotes) if is_value(value, together=True)]
    items = _without_kinds(items)
    return [value for item in items if is_value(value := _unmask(item), together=_COMMA_SPACE in item)]


def _one_place(passage: str, text: str) -> str | None:
    """A passage that is one place, as a text with masked commas: "Paris, France", "1 Main St, Rome"."""
    if _MASK.search(passage) or re.search(r"\bor\b", passage):
        return None
    if _TWO_NAMES.fullmatch(passage) and _CITY_AND_MORE.search(text):
        return passage.strip().replace(", ", _COMMA_SPACE)
    streets = [part for part in passage.split(",") if _STREET.match(part)]
    if len(streets) == 1 and _STREET.match(passage) and "address" in text.lower():
        return passage.strip().replace(", ", _COMMA_SPACE)
    return None


def _items(passage: str) -> list[str]:
    """The parts of a passage; "and" parts only where something else does, too: "rock and roll" is one."""
    lists = "," in passage or _COMMA_SPACE in passage or _MASK.search(passage) is not None
    parts = re.split(r",|\bor\b|\band\b" if lists else r",|\bor\b", _REMARK.sub("", passage))
    bare = (without_quotes(_AND_SO_ON.sub("", part)) for part in parts)
    return [item for part in bare if (item := without_quotes(_MEANING.sub(r"\1", part)))]


def _without_kinds(items: list[str]) -> list[str]:
    """The items up to the first that explains; up to the first kind, those that look like no kind."""
    kept: list[str] = []
    for item in items:
        if _PROSE.match(item):
            return kept
        if _KIND.match(item):
            return [value for value in kept if re.search(r"[A-Z0-9]", value)]
        if not item.startswith("the "):
            kept.append(item.rstrip("."))
    return kept
