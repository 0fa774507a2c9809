"""Plausible argument values for a JSON Schema, drawn by a seed. No model writes them.

Inputs: a parameter's name, its schema, a generator of random numbers. Outputs: a JSON value. A value comes from the
first of these that the schema has: `const`, `enum`, `examples`, the words of its description (`described_values`), a
format or a layout of dates and times, else a list of neutral values for parameters of such a name, else its default.
The paper (arXiv:2510.07841) has a model write the values.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttsi.chat.alternatives import alternatives
from ttsi.synthesis.described_examples import is_layout, is_value
from ttsi.synthesis.described_values import described_default, described_values, layout_of, sample_in_layout
from ttsi.words import words

Schema = Mapping[str, Any]

DEPTH = 4
"""Deepest nesting of objects and lists that is filled."""

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
_LANGUAGES = ("English", "Spanish", "German", "Japanese", "Arabic", "French", "Hindi", "Swedish")
_CURRENCIES = ("EUR", "USD", "JPY", "GBP", "CHF", "CAD", "SEK", "INR")

_KINDS: tuple[tuple[frozenset[str], Sequence[str]], ...] = tuple(
    (frozenset(names.split()), values)
    for names, values in (
        ("country nation nationality", _COUNTRIES),
        ("language languages locale", _LANGUAGES),
        ("currency currencies", _CURRENCIES),
        ("city location place region area origin destination venue town state address departure arrival", _PLACES),
        ("person author artist employee user student patient customer player speaker actor director", _PEOPLE),
        ("title name company organization brand team event product project", _TITLES),
    )
)
"""Words of a parameter's name or description, and values for it; the first that applies counts."""

_CODES: tuple[tuple[re.Pattern[str], Sequence[str]], ...] = tuple(
    (re.compile(pattern), values)
    for pattern, values in (
        (r"\nwhether\b", ("true", "false")),
        (r"\bphone number|\bmobile number", ("+1 555 0142", "+44 20 7946 0958", "+1 555 0199")),
        (r"\bcountry code|\biso 3166|\balpha-2", ("US", "DE", "JP", "BR", "FR", "CA", "IN", "KE")),
        (r"\blanguage code|\blang code|\biso 639", ("en", "fr", "es", "de", "ja", "ar")),
        (r"\bcurrency code|\biso 4217", _CURRENCIES),
        (r"\bairport code|\biata\b", ("LIS", "YYZ", "NBO", "KIX", "VIE", "DEN", "HEL", "ORD")),
        (r"\bticker\b|\bstock symbol", ("AAPL", "NVDA", "SAP", "TSM", "SONY", "SHOP")),
        (r"\b(?:zip|postal) code|\bpostcode\b", ("94110", "10115", "60614", "75011")),
        (r"\bip address", ("192.0.2.17", "198.51.100.4", "203.0.113.80")),
        (r"\btime ?zone\b", ("Europe/Lisbon", "America/Toronto", "Asia/Seoul", "UTC")),
        (r"\bdomain name|\bhostname\b", ("example.com", "example.org", "shop.example.net")),
    )
)
"""Phrases in a parameter's name or description (a line each), and the codes that they ask for."""

_NUMBERS = re.compile(r"\b(?:numbers|integers|floats|decimals|numeric|coordinates|scores)\b", re.IGNORECASE)
"""Words about a list whose items are numbers, where its schema does not say what they are."""


class NoValueError(Exception):
    """A schema of which no value can be made by rule."""


MOST_ITEMS = 8
"""Longest list that a request states."""
MOST_OPTIONAL = 3
"""Most optional arguments in one call."""
MOST_UNMARKED = 4
"""Most arguments in one call of a tool whose schema marks none as required."""


UNUSABLE = (NoValueError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a schema from outside may raise: bounds that no value meets, endless references, keywords of another type."""


StateLookup = Callable[[str, str | None], Sequence[Any]]
"""(a parameter's name, its JSON type) -> values that it may have in the state that was reached."""


def _nothing(name: str, kind: str | None) -> Sequence[Any]:
    return ()


def sample_arguments(
    parameters: Schema, draw: random.Random, optional: float, state: StateLookup = _nothing
) -> dict[str, Any]:
    """Arguments of a call: the required ones, and some of the optional ones.

    Optional booleans and objects are left out, because a request seldom states them. Where none is required, the
    author mostly did not mark them: then all are there, up to `MOST_UNMARKED` of them.

    Args:
        parameters: the tool's schema.
        draw: the random numbers.
        optional: the probability of each optional argument, up to `MOST_OPTIONAL` of them.
        state: values of an environment's state, which go before all others but those of an `enum`.

    Raises:
        Exception: one of `UNUSABLE`, where a required argument has no value that can be made by rule.
    """
    plain = _first(parameters, parameters)
    required, properties = set(plain.get("required") or ()), plain.get("properties") or {}
    unmarked = not required
    optional_names = [name for name in properties if name not in required and (unmarked or draw.random() < optional)]
    most = MOST_UNMARKED if unmarked else MOST_OPTIONAL
    chosen = required | set(draw.sample(optional_names, min(most, len(optional_names))))
    arguments: dict[str, Any] = {}
    for name, schema in properties.items():
        if name not in chosen:
            continue
        try:
            if name not in required and _type(_first(schema, parameters)) in ("boolean", "object"):
                continue
            arguments[name] = _in_state(name, schema, parameters, draw, state)
        except UNUSABLE:
            if name in required:
                raise
    return arguments


def _in_state(name: str, schema: Any, root: Schema, draw: random.Random, state: StateLookup) -> Any:
    """A value of the state, or of the schema where it has none or lists its values."""
    plain = _first(schema, root)
    values = [] if "const" in plain or plain.get("enum") else [*state(name, _type(plain))]
    return draw.choice(values) if values else sample_value(name, schema, root, draw)


def sample_value(name: str, schema: Any, root: Schema, draw: random.Random, depth: int = 0) -> Any:
    """One value for a parameter.

    Args:
        name: the parameter's name, which chooses the kind of a string.
        schema: the parameter's schema.
        root: the schema that its `$ref`s point into.
        draw: the random numbers; equal ones give the equal value.

    Raises:
        NoValueError: it is nested too deeply, has a pattern without an example, or admits nothing.
    """
    plain = _first(schema, root)
    listed = [value for value in plain.get("enum") or () if value is not None]
    if "const" in plain or listed:
        return plain["const"] if "const" in plain else draw.choice(listed)
    kind = _type(plain)
    if examples := _examples(schema, kind):
        return draw.choice(examples)
    if kind == "boolean":
        return draw.random() < 0.5
    if kind in ("integer", "number"):
        step = schema.get("multipleOf") if isinstance(schema, Mapping) else None
        return _number(name, plain, kind, step, draw)
    if depth >= DEPTH:
        raise NoValueError(f"{name} is nested too deeply")
    if kind == "array":
        count = max(int(plain.get("minItems") or 0), min(2, int(plain.get("maxItems", 2))))
        if count > MOST_ITEMS:
            raise NoValueError(f"{name} wants {count} items, more than a request states")
        return [sample_value(name, _items(plain, schema), root, draw, depth + 1) for _ in range(count)]
    if kind == "object":
        inner, required = plain.get("properties") or {}, plain.get("required") or ()
        return {key: sample_value(key, inner.get(key, {}), root, draw, depth + 1) for key in required}
    if "pattern" in plain:
        raise NoValueError(f"{name} has a pattern and no example")
    longest = plain.get("maxLength")
    return _string(name, schema if isinstance(schema, Mapping) else {}, draw)[:longest]


def _items(plain: Schema, schema: Any) -> Any:
    """The schema of a list's items; what it leaves out is in the words about the list."""
    items, text = plain.get("items"), schema.get("description") if isinstance(schema, Mapping) else None
    if items is False or not isinstance(text, str):
        return {"type": "string"} if items in (None, True) else items
    if not isinstance(items, Mapping) or not items:
        items = {"type": "number" if _NUMBERS.search(text) else "string"}
    return {"description": text, **items}


def _first(schema: Any, root: Schema) -> Schema:
    """The first plain alternative of a schema that is not null."""
    for plain in alternatives(schema, root):
        if plain.get("type") != "null":
            return {**plain, "const": schema["const"]} if isinstance(schema, Mapping) and "const" in schema else plain
    raise NoValueError("the schema admits no value")


def _type(plain: Schema) -> str | None:
    kind = plain.get("type")
    return next((one for one in kind if one != "null"), None) if isinstance(kind, list) else kind


def _examples(schema: Any, kind: str | None) -> list[Any]:
    """Values that the schema gives as examples, of the right type."""
    if not isinstance(schema, Mapping):
        return []
    given = schema.get("examples") or ()
    types: dict[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "string": (str,)}
    allowed = types.get(kind or "string", ())
    typed = [value for value in (_read(value, kind) for value in given) if isinstance(value, allowed)]
    description = schema.get("description")
    typed = [value for value in typed if not isinstance(value, bool)]
    typed = [value for value in typed if not isinstance(value, str) or not is_layout(value)]
    if typed or kind not in ("string", None) or not isinstance(description, str):
        return typed
    return described_values(description)


def _read(value: Any, kind: str | None) -> Any:
    """An example that was written as text, as the type that the schema wants."""
    if isinstance(value, str) and kind in ("integer", "number"):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value


def _number(name: str, plain: Schema, kind: str, step: float | None, draw: random.Random) -> int | float:
    low, high = _limit(plain, "minimum", "exclusiveMinimum", 1), _limit(plain, "maximum", "exclusiveMaximum", -1)
    if low is None and high is None:
        if "year" in words(name):
            return draw.randint(1990, 2026)
        low, high = draw.choice([(2, 9), (10, 99), (100, 999)])
    low = low if low is not None else min(1, high or 0)
    high = high if high is not None else max(low + 1, 10 * abs(low), 100)
    if kind == "integer" and not (step and float(step).is_integer()):
        step = 1
    if step is None:
        return round(draw.uniform(low, high), draw.choice([1, 2]))
    first, last = math.ceil(low / step), math.floor(high / step)
    value = round(step * draw.randint(first, max(first, last)), 10)
    return int(value) if float(value).is_integer() else value


def _limit(plain: Schema, inclusive: str, exclusive: str, inwards: int) -> float | None:
    """The tighter of two bounds, the exclusive one moved inwards by one."""
    bounds = [plain[inclusive]] if inclusive in plain else []
    bounds += [plain[exclusive] + inwards] if exclusive in plain else []
    return (max if inwards > 0 else min)(bounds, default=None)


def _string(name: str, schema: Schema, draw: random.Random) -> str:
    text = str(schema.get("description") or "")
    name_text = name_words(name)
    in_name = set(name_text.split())
    in_both = in_name | set(words(text))
    form = str(schema.get("format") or "")
    layout = layout_of(" ".join([text, *map(str, schema.get("examples") or ())]))
    if form == "date-time":
        return sample_in_layout("YYYY-MM-DDTHH:MM:SSZ", draw)
    if layout or form.startswith("date") or "date" in in_both:
        return sample_in_layout(layout or "YYYY-MM-DD", draw)
    if form == "time" or ("time" in in_name and "zone" not in in_name):
        return f"{draw.randint(0, 23):02}:{draw.choice((0, 15, 30, 45)):02}"
    if form == "email" or "email" in in_both:
        return f"{draw.choice(_PEOPLE).split()[0].lower()}@example.com"
    if form in ("uri", "url") or in_both & {"url", "link", "website"}:
        return f"https://example.com/{draw.choice(_TOPICS).split()[1]}{draw.randint(1, 99)}"
    described = f"{name_text}\n{text.lower()}"
    for pattern, values in _CODES:
        if pattern.search(described):
            return draw.choice(values)
    if in_name & {"id", "ids", "code", "number", "identifier", "token", "key"} or "identifier" in in_both:
        return "".join(draw.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(2)) + str(draw.randint(1000, 99999))
    if in_name & {"file", "path", "filename", "image", "photo"}:
        return f"{draw.choice(_TOPICS).split()[1]}{draw.randint(1, 99)}.{draw.choice(('png', 'csv', 'txt', 'pdf'))}"
    for kinds in (in_name, in_both):
        for names, values in _KINDS:
            if names & kinds:
                return draw.choice(values)
    default = schema.get("default") or described_default(text)
    usable = isinstance(default, str) and is_value(default)
    return str(default) if usable else draw.choice(draw.choice((_TITLES, _TOPICS)))


def _apart(name: str) -> str:
    """A name in camel case as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)


def name_words(name: str) -> str:
    """The words of a name: "getUserID" -> "get user id"."""
    return " ".join(words(_apart(name)))
