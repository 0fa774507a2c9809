"""Plausible texts for a JSON Schema, drawn by a seed: dates, addresses, codes, names of places and people.

Inputs: a parameter's name, its plain schema with its description, a generator of random numbers. Outputs: a text. What
kind it is, the first of these says: the schema's `format`, a layout in words ("HH:MM", "ISO 8601"), the parameter's
name, the head noun of its description. No other word of the description counts: "the subject of the email" is no e-mail
address. Where nothing says it, the text is neutral.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttsi.chat.date_formats import layout_of
from ttsi.synthesis.described_values import sample_in_layout
from ttsi.synthesis.parameter_words import head_of_name, head_words, name_words, thing_words

_PLACES = (
    "Lisbon", "Toronto", "Nairobi", "Osaka", "Vienna", "Denver", "Cape Town", "Helsinki", "Bogota", "Seoul", "Chicago",
    "Marseille", "Krakow", "Auckland", "Lima", "Dublin",
)  # fmt: skip
_COUNTRIES = ("Brazil", "Norway", "Kenya", "Canada", "Japan", "Portugal", "Chile", "Poland", "Vietnam", "Morocco")
_PEOPLE = (
    "Lena Fischer", "Omar Haddad", "Grace Miller", "Ivan Petrov", "Mei Tanaka", "Carlos Ruiz", "Nora Lind",
    "Samuel Okoye", "Priya Nair", "Tom Becker", "Ana Costa", "Jonas Weber",
)  # fmt: skip
_TITLES = (
    "Silver River", "Blue Harbor", "North Gate", "Green Valley", "Open Sky", "First Light", "Red Maple", "Iron Bridge",
    "Quiet Hills", "Bright Path", "Stone House", "Winter Garden",
)  # fmt: skip
_TOPICS = (
    "morning routine", "local market", "short report", "public garden", "new model", "sample set", "long river",
    "early spring", "small group", "basic plan", "daily summary", "open format",
)  # fmt: skip
_PHONES = ("+1 555 0142", "+44 20 7946 0958", "+1 555 0199")
_COLOURS = ("red", "dark blue", "green", "orange", "white", "light gray")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "March", "April", "June", "September", "October", "December")
_ANIMALS = ("red fox", "barn owl", "brown bear", "honey bee", "gray wolf", "sea otter")
_SPORTS = ("tennis", "football", "swimming", "basketball", "cycling", "hockey")
_GENRES = ("jazz", "thriller", "comedy", "rock", "fantasy", "documentary")
_UNITS = ("kilometers", "kilograms", "hours", "liters", "miles", "degrees")
_LANGUAGES = ("English", "Spanish", "German", "Japanese", "Arabic", "French", "Hindi", "Swedish")
_CURRENCIES = ("EUR", "USD", "JPY", "GBP", "CHF", "CAD", "SEK", "INR")

_KINDS: tuple[tuple[frozenset[str], Sequence[str]], ...] = tuple(
    (frozenset(names.split()), values)
    for names, values in (
        ("country nation nationality", _COUNTRIES),
        ("language languages locale", _LANGUAGES),
        ("currency currencies", _CURRENCIES),
        ("phone telephone mobile", _PHONES),
        ("color colour colors colours", _COLOURS),
        ("gender sex", ("female", "male")),
        ("weekday day days", _DAYS),
        ("month months", _MONTHS),
        ("animal species", _ANIMALS),
        ("sport sports", _SPORTS),
        ("genre genres", _GENRES),
        ("unit units", _UNITS),
        ("city location place region area origin destination venue town state address departure arrival", _PLACES),
        ("person author artist employee user username student patient customer player speaker actor director", _PEOPLE),
        ("title name company organization brand team event product project", _TITLES),
    )
)
"""Words of a parameter's name or description, and values for it; the first that applies counts."""

_CODES: tuple[tuple[re.Pattern[str], Sequence[str]], ...] = tuple(
    (re.compile(pattern), values)
    for pattern, values in (
        (r"\nwhether\b", ("true", "false")),
        (r"\bphone number|\bmobile number", _PHONES),
        (r"\bcountry code|\biso 3166|\balpha-2", ("US", "DE", "JP", "BR", "FR", "CA", "IN", "KE")),
        (r"\blanguage code|\blang code|\biso 639", ("en", "fr", "es", "de", "ja", "ar")),
        (r"\bcurrency code|\biso 4217", _CURRENCIES),
        (r"\bairport code|\biata\b", ("LIS", "YYZ", "NBO", "KIX", "VIE", "DEN", "HEL", "ORD")),
        (r"\bticker\b|\bstock symbol", ("AAPL", "NVDA", "SAP", "TSM", "SONY", "SHOP")),
        (r"\b(?:zip|postal) code|\bpostcode\b", ("94110", "10115", "60614", "75011")),
        (r"\bip address|\bipv4\b|^ip\n", ("192.0.2.17", "198.51.100.4", "203.0.113.80")),
        (r"\btime ?zone\b", ("Europe/Lisbon", "America/Toronto", "Asia/Seoul", "UTC")),
        (r"\bdomain name|\bhostname\b", ("example.com", "example.org", "shop.example.net")),
    )
)
"""Phrases in a parameter's name or in the head of its description (a line each), and the codes that they ask for."""
_STANDARDS = re.compile(r"\biso 3166|\biso 639|\biso 4217|\biata\b|\balpha-2")
"""Standards say what form a value has, wherever in a description they stand."""

_DATE_TIME = "YYYY-MM-DDTHH:MM:SSZ"
_ISO = re.compile(r"\b(?:iso[- ]?8601|rfc[- ]?3339)\b", re.IGNORECASE)
_ISO_DATE = re.compile(r"8601(?:[- ]\w+)?[- ]date\b(?![- /]?(?:and )?time)", re.IGNORECASE)
_DATE_AND_TIME = re.compile(r"\bdate(?:/|-| |\s+and\s+)?time\b", re.IGNORECASE)
_EPOCH = re.compile(r"\b(?:unix|epoch)\b", re.IGNORECASE)


def _day(draw: random.Random) -> str:
    return sample_in_layout("YYYY-MM-DD", draw)


def _moment(draw: random.Random) -> str:
    return sample_in_layout(_DATE_TIME, draw)


def _clock(draw: random.Random) -> str:
    return f"{draw.randint(0, 23):02}:{draw.choice((0, 15, 30, 45)):02}"


def _email(draw: random.Random) -> str:
    return f"{draw.choice(_PEOPLE).split()[0].lower()}@example.com"


def _page(draw: random.Random) -> str:
    return f"https://example.com/{draw.choice(_TOPICS).split()[1]}{draw.randint(1, 99)}"


def _identifier(draw: random.Random) -> str:
    return "".join(draw.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(2)) + str(draw.randint(1000, 99999))


def _uuid(draw: random.Random) -> str:
    digits = f"{draw.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{draw.choice('89ab')}{digits[17:20]}-{digits[20:]}"


def _duration(draw: random.Random) -> str:
    return draw.choice((f"P{draw.randint(1, 30)}D", f"PT{draw.randint(1, 12)}H", f"PT{draw.choice((15, 30, 45))}M"))


_Maker = Callable[[random.Random], str]
_FORMATS: Mapping[str, _Maker] = {
    "date": _day,
    "time": _clock,
    "duration": _duration,
    "email": _email,
    "idn-email": _email,
    "uri": _page,
    "url": _page,
    "iri": _page,
    "uri-reference": _page,
    "uuid": _uuid,
    "ipv4": lambda draw: f"{draw.choice(('192.0.2', '198.51.100', '203.0.113'))}.{draw.randint(1, 254)}",
    "ipv6": lambda draw: f"2001:db8::{draw.randint(1, 0xFFFF):x}",
    "hostname": lambda draw: f"{draw.choice(_TOPICS).split()[1]}{draw.randint(1, 99)}.example.com",
}
"""The value of `format` -> how such a text is made; the hosts are those that RFC 2606, 3849 and 5737 reserve."""
_HEADS: Mapping[str, _Maker] = {
    head: make
    for heads, make in (
        ("timestamp datetime", _moment),
        ("date dates", _day),
        ("email emails mail", _email),
        ("url urls uri link links website", _page),
    )
    for head in heads.split()
}
"""The head noun of a name or of a description -> how such a text is made."""


def sample_string(name: str, plain: Mapping[str, Any], draw: random.Random) -> str:
    """A text for a parameter.

    >>> sample_string("subject", {"description": "The subject of the email."}, random.Random(0))
    'long river'
    >>> sample_string("to", {"description": "The email address of the reader."}, random.Random(0))
    'nora@example.com'
    """
    text, form = str(plain.get("description") or ""), str(plain.get("format") or "")
    if form == "date-time":
        return _moment(draw)
    layout = layout_of(" ".join([text, *map(str, plain.get("examples") or ())])) or _layout_of_iso(name, text)
    if layout:
        return sample_in_layout(layout, draw)
    make = _FORMATS.get(form) or _maker_of_name(name, text)
    if make:
        return make(draw)
    in_name, codes = set(name_words(name).split()), _codes(name, text)
    if codes:
        return draw.choice(codes)
    if in_name & {"id", "ids", "code", "number", "identifier", "token", "key"} or _is_of_identifier(text):
        return _identifier(draw)
    make = _maker_of_words(text)
    if make:
        return make(draw)
    if in_name & {"file", "path", "filename", "image", "photo"}:
        return f"{draw.choice(_TOPICS).split()[1]}{draw.randint(1, 99)}.{draw.choice(('png', 'csv', 'txt', 'pdf'))}"
    for kinds in (in_name, set(thing_words(text))):
        for names, values in _KINDS:
            if names & kinds:
                return draw.choice(values)
    # Never the default: an example that states it teaches to copy it from the schema, whatever a request says.
    return draw.choice(draw.choice((_TITLES, _TOPICS)))


def _is_of_identifier(text: str) -> bool:
    return bool({"identifier", "id", "ids", "identifiers"} & set(head_words(text, whole=False)))


def _layout_of_iso(name: str, text: str) -> str | None:
    """The layout that a text names by its standard; a duration has none."""
    if not _ISO.search(text) or "duration" in f"{name} {text}".lower():
        return None
    with_time = not _ISO_DATE.search(text) and "time" in f"{name} {text}".lower()
    return _DATE_TIME if with_time else "YYYY-MM-DD"


def _maker_of_name(name: str, text: str) -> _Maker | None:
    """How to make a text of the kind that the name says, if it does."""
    head, parts = head_of_name(name), name_words(name).split()
    if _ISO.search(text):
        return _duration  # all else of the standard has a layout
    if _EPOCH.search(text) and (head in ("time", "timestamp", "date") or "timestamp" in head_words(text)):
        return lambda draw: str(draw.randint(1_600_000_000, 1_800_000_000))
    if _DATE_AND_TIME.search(" ".join(parts)):
        return _moment
    if head == "mail":
        return _email if parts[-2:-1] == ["e"] else None
    if head in _HEADS or parts[-2:] == ["email", "id"]:
        return _HEADS.get(head, _email)
    return _clock if "time" in parts and "zone" not in parts else None


def _maker_of_words(text: str) -> _Maker | None:
    """How to make a text of the kind that the head noun of a description says, if it does."""
    phrase = head_words(text)
    if phrase[-2:] in (["email", "address"], ["email", "addresses"], ["mail", "address"]):
        return _email
    head = phrase[-1] if phrase else ""
    if head == "date" and _DATE_AND_TIME.search(text):
        return _moment
    return _clock if head == "time" else _HEADS.get(head) if head != "mail" else None


def _codes(name: str, text: str) -> Sequence[str] | None:
    """Codes that the name or the head of the description asks for, or a standard that the description names."""
    head = " ".join(head_words(text))
    places = f"{name_words(name)}\n{head}\n{' '.join(_STANDARDS.findall(text.lower()))}"
    if text.lower().startswith("whether"):
        places += "\nwhether"
    return next((values for pattern, values in _CODES if pattern.search(places)), None)
