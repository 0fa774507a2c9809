"""Java and JavaScript literals as BFCL reads them.

Inputs: the text that a model gave for an argument, the declared type ("long", "ArrayList", "Boolean", ...) and the type
of its elements. Outputs: a JSON value; text that is no literal of the type stays text, since BFCL then takes it for
the name of a variable. `write` goes the other way, so that gold answers can be shown as a model would have to give
them.

The reading is that of BFCL V4 (bfcl-eval 2026.3.23), peculiarities included: a Java float needs its `f` and a long its
`L`, an array ends at the first closing bracket, the elements of a map are guessed one by one. `tests/agreement/bfcl.py`
compares both on thousands of texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

JAVA, JAVASCRIPT = "java", "javascript"
COLLECTIONS = ("Array", "ArrayList", "array")
"""Types whose elements have a declared type of their own."""
LONGEST = 4000
"""A longer text is no literal: some of the patterns below take time that grows with a power of the length."""

_INTEGER = re.compile(r"-?\d+$")
_DECIMAL = re.compile(r"-?\d+(\.\d+)?$")
_BIGINT = re.compile(r"-?\d+n$")
_LONG = re.compile(r"-?\d+[lL]$")
_DOUBLE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?$")
_FLOAT = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$")

_JS_ROWS = re.compile(
    r"\[\s*\[.*?\]\s*(?:,\s*\[.*?\]\s*)*+\]"  # possessive: else a row without its end takes exponential time
    r"|\bnew\s+Array\(\s*\[.*?\]\s*(?:,\s*\[.*?\]\s*)*+\)"
)
_JS_ROW = re.compile(r"\[(.*?)\]")
_JS_LIST = re.compile(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)")
_JS_MAP = re.compile(r"\{(.*?)\}")
_JS_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")
_JAVA_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_JAVA_ADDS = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}", re.DOTALL)
_JAVA_ADD = re.compile(r"add\((.+?)\)")
_JAVA_NO_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_JAVA_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_JAVA_PUTS = re.compile(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}", re.DOTALL)
_JAVA_PUT = re.compile(r"put\(\"(.*?)\",\s*(.*?)\)")
_JAVA_NO_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")


def read(text: str, kind: str, language: str, inner: str | None = None) -> Any:
    """The value of a literal.

    >>> read("42L", "long", JAVA), read("42", "long", JAVA), read("new int[]{1, 2}", "Array", JAVA, "integer")
    (42, '42', [1, 2])
    >>> read("true", "Boolean", JAVASCRIPT), read("{a: 1, 'b': [2, x]}", "dict", JAVASCRIPT)
    (True, {'a': 1, 'b': [2, 'x']})

    Raises:
        KeyError: the language has no such type.
    """
    reader = _READERS[language][kind]
    return text if len(text) > LONGEST else reader(text, inner)


def write(value: Any, kind: str, language: str, inner: str | None = None) -> str:
    """A literal of this type and value; a text that stands for a variable is written as it is.

    >>> write([1, 2], "ArrayList", JAVA, "long"), write(42, "long", JAVA), write({"a": [True]}, "dict", JAVASCRIPT)
    ('new ArrayList<>(Arrays.asList(1L, 2L))', '42L', '{"a": [true]}')
    """
    if isinstance(value, str):
        return value
    if language == JAVASCRIPT:
        return _plain(value) + ("n" if kind == "Bigint" else "")
    if isinstance(value, Mapping):
        puts = " ".join(f'put("{key}", {_plain(item)});' for key, item in value.items())
        return f"new HashMap<>() {{{{ {puts} }}}}"
    if not isinstance(value, list):
        return _plain(value) + _SUFFIX.get(kind, "")
    if kind == "Array":
        # Without quotation marks: BFCL leaves them on the texts of an array, and they would not be the same text.
        return "new Object[]{" + ", ".join(write(item, inner or "any", JAVA) for item in value) + "}"
    items = ", ".join(_plain(item) + _SUFFIX.get(inner or "", "") for item in value)
    return f"new ArrayList<>(Arrays.asList({items}))"


_SUFFIX = {"long": "L", "float": "f"}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {_plain(item)}' for key, item in value.items()) + "}"
    return str(value)


Reader = Callable[[str, str | None], Any]


def _number(pattern: re.Pattern[str], convert: Callable[[str], Any], suffix: int = 0) -> Reader:
    def reader(text: str, inner: str | None) -> Any:
        return convert(text[: len(text) - suffix]) if pattern.match(text) else text

    return reader


def _truth(text: str, inner: str | None) -> Any:
    return {"true": True, "false": False}.get(text, text)


def _as_is(text: str, inner: str | None) -> str:
    return text


def _has_quotes(text: str) -> bool:
    return any(text.startswith(mark) and text.endswith(mark) for mark in "\"'")


def _guess_number(text: str) -> int | float | str:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _js_string(text: str, inner: str | None) -> str:
    return text[1:-1] if _has_quotes(text) else text


def _js_guess(text: str) -> Any:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _has_quotes(text) else _guess_number(text)


def _js_list(text: str, inner: str | None) -> Any:
    text = text.strip()
    if rows := _JS_ROWS.match(text):
        texts = [row.strip() for row in _JS_ROW.findall(rows.group())]
        texts[0] = texts[0].removeprefix("[")
        return [[_js_guess(item) for item in row.split(",")] for row in texts]
    if not (match := _JS_LIST.match(text)):
        return text
    items = (match[1] if match[1] is not None else match[2]).strip()
    parts = [part.strip() for part in items.split(",")] if items else []
    if not inner:
        return [_js_guess(part) for part in parts]
    if parts and inner not in _READERS[JAVASCRIPT]:
        return text
    try:
        return [_READERS[JAVASCRIPT][inner](part, "String" if part[:1] in ("'", '"') else None) for part in parts]
    except ValueError:
        return text


def _js_map(text: str, inner: str | None) -> Any:
    text = text.strip()
    if text == "{}":
        return {}
    match = _JS_MAP.match(text)
    if not match:
        return text
    return {key.strip().strip("'\""): _js_item(value.strip()) for key, value in _JS_PAIR.findall(match[1])}


def _js_item(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return _js_list(text, None)
    if text.startswith("{") and text.endswith("}"):
        return _js_map(text, None)
    return _js_guess(text.strip("'\""))


def _java_guess(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.match(text):
        return int(text[:-1])
    return float(text[:-1]) if _FLOAT.match(text) else _guess_number(text)


def _java_items(parts: list[str], inner: str | None) -> list[Any]:
    return [_java_guess(part) if not inner else _READERS[JAVA][inner](part, None) for part in parts]


def _java_list(text: str, inner: str | None) -> Any:
    parts: list[str]
    if match := _JAVA_AS_LIST.search(text):
        parts = match[1].split(",")
    elif match := _JAVA_ADDS.search(text[: text.rfind("}}") + 2]) if "}}" in text else None:
        parts = _JAVA_ADD.findall(match[1])
    else:
        return [] if _JAVA_NO_LIST.search(text) else text
    parts = [part.strip() for part in parts]
    # Here, and not in an array, texts lose their first and last character, whatever they are.
    return [part[1:-1] for part in parts] if inner in ("char", "String") else _java_items(parts, inner)


def _java_array(text: str, inner: str | None) -> Any:
    match = _JAVA_ARRAY.search(text)
    return _java_items([part.strip() for part in match[1].split(",") if part.strip()], inner) if match else text


def _java_map(text: str, inner: str | None) -> Any:
    # A map ends with a brace: what follows the last one cannot match and would only cost time.
    if match := _JAVA_PUTS.search(text[: text.rfind("}") + 1]):
        return {key: _java_guess(value.strip()) for key, value in _JAVA_PUT.findall(match[1])}
    return {} if _JAVA_NO_MAP.search(text) else text


_READERS: dict[str, dict[str, Reader]] = {
    JAVA: {
        "byte": _number(_INTEGER, int),
        "short": _number(_INTEGER, int),
        "integer": _number(_INTEGER, int),
        "long": _number(_LONG, int, suffix=1),
        "float": _number(_FLOAT, float, suffix=1),
        "double": _number(_DOUBLE, float),
        "boolean": _truth,
        "char": _as_is,
        "String": _as_is,
        "any": _as_is,
        "Array": _java_array,
        "ArrayList": _java_list,
        "HashMap": _java_map,
    },
    JAVASCRIPT: {
        "String": _js_string,
        "integer": _number(_INTEGER, int),
        "float": _number(_DECIMAL, float),
        "Bigint": _number(_BIGINT, int, suffix=1),
        "Boolean": _truth,
        "dict": _js_map,
        "array": _js_list,
        "any": _as_is,
    },
}
