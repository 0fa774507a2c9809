"""The tool-call format of the embedded model, `marked`.

    <reason><|call|> name<|args|> key<|=|> value<|,|> key<|=|> value<|,|>

`<|call|>` and the other marks are tokens of their own, so that no text can imitate them. A string is written bare,
after one space. A list of strings is written as items separated by `<|;|>`, a nested object as dotted keys
(`address.city`), any other value as JSON. The reason, where there is one, quotes the end of the tool's description,
from a word that the request contains. With this short "think, then act" a two-million-parameter model can choose tools.

Inputs -> outputs: calls -> text (`render`) and text -> calls (`parse_calls`), typed by the tools' JSON Schemas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from ttsi.chat.marked_layout import BARE, Slot, layout, plain
from ttsi.types import Tool, ToolCall
from ttsi.words import WORD, words

CALL, ARGS, IS, OPTIONAL, NEXT, ITEM = "<|call|>", "<|args|>", "<|=|>", "<|?|>", "<|,|>", "<|;|>"
MARKS = (CALL, ARGS, IS, OPTIONAL, NEXT, ITEM)
NO_TOOL_TEXT = " no tool fits"

_STOP_WORDS = frozenset((
    "a", "an", "the", "of", "for", "to", "in", "on", "at", "and", "or", "with", "by", "from", "is", "are", "be", "it",
    "its", "that", "this", "my", "me", "i", "you", "your", "so", "as", "up",
))  # fmt: skip
LONGEST_QUOTE = 16
"""Most content words of a reason. Any content word may begin a reason, so the cost of all reasons grows with the square
of their number. The descriptions in the model's training data have at most 7."""


def content_words(text: str) -> list[str]:
    """The words of a text without stop words (the, of, ...), in lower case."""
    return [word for word in words(text) if word not in _STOP_WORDS]


def flatten(properties: Mapping[str, Any], required: Sequence[str]) -> list[tuple[str, Mapping[str, Any], bool]]:
    """The leaves of an object schema as (dotted key, schema, required), in the schema's order."""
    leaves: list[tuple[str, Mapping[str, Any], bool]] = []
    for key, given in properties.items():
        schema = given if isinstance(given, Mapping) else {}  # `true` and `false` are schemas, too
        inner = schema.get("properties") if schema.get("type") == "object" else None
        if inner and "." not in key:
            needed = schema.get("required", []) if key in required else []
            leaves += [(f"{key}.{sub}", s, r) for sub, s, r in flatten(inner, needed)]
        else:
            leaves.append((key, schema, key in required))
    return leaves


def leaves_of(tool: Tool) -> list[tuple[str, Mapping[str, Any], bool]]:
    """`flatten` of a tool's parameters."""
    return flatten(tool.parameters.get("properties") or {}, tool.parameters.get("required") or [])


_LOOKS_LIKE_JSON = re.compile(
    r'["\[{].*|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null', re.DOTALL
)
_BARE = re.compile(BARE)


def render(calls: Sequence[ToolCall], reasons: Sequence[str] = (), tools: Sequence[Tool] = ()) -> str:
    """Calls as the embedded model writes them, each behind its reason; NO_TOOL_TEXT without a call.

    With the tools, a value of an argument of several types is written so that `parse_calls` reads it back. Without
    them, every string and every list of strings is written bare.
    """
    if not calls:
        return NO_TOOL_TEXT
    by_name = {tool.name: tool for tool in tools}
    text = ""
    for call, reason in zip_longest(calls, reasons[: len(calls)], fillvalue=""):
        assert isinstance(call, ToolCall)
        top = layout(by_name[call.name]) if call.name in by_name else None
        pairs = [pair for name, value in call.arguments.items() for pair in _pairs(_key(name, top), name, value, top)]
        text += f"{reason}{CALL} {call.name}{ARGS}"
        text += "".join(f" {key}{IS} {value}{NEXT}" for key, value in pairs)
    return text


def _key(name: str, top: Slot | None) -> str:
    """A top-level key, in quotation marks where it would be read as another key."""
    odd = not plain(name.replace(".", "_")) or name.startswith(".")
    free = top is not None and name not in top.names and "." in name
    return _json(name) if odd or free else name


def key_text(name: str) -> str:
    """A listed top-level key."""
    return _key(name, None)


def _pairs(key: str, name: str, value: Any, above: Slot | None) -> list[tuple[str, str]]:
    """(key, value as text) of one name; several pairs for an object of dotted keys."""
    slot = above.child(name) if above else None
    if isinstance(value, dict) and (slot.is_dotted(value) if slot else _all_plain(key, value) and above is None):
        return [pair for inner, one in value.items() for pair in _pairs(f"{key}.{inner}", inner, one, slot)]
    return [(key, render_value(value, slot))]


def _all_plain(key: str, value: Mapping[str, Any]) -> bool:
    return bool(value) and "." not in key.rpartition(".")[2] and all(map(plain, value))


def render_value(value: Any, slot: Slot | None = None) -> str:
    """One argument value as text, without the leading space."""
    if isinstance(value, str):
        if slot is None or slot.only_text:
            return _json(value) if _special(value) else value
        return value if not slot.owns_items and _BARE.fullmatch(value) and not _has_mark(value) else _json(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        items = f"{ITEM} ".join(map(_item, value))
        bare = items[0] not in '"{' if len(value) > 1 else _BARE.fullmatch(items)
        if slot is None or slot.only_lists or (slot.owns_items and bare):
            return items
    return _json(value)


def _item(item: str) -> str:
    return _json(item) if _special(item, "[") else item


def _json(value: Any) -> str:
    """JSON in which no string can be read as a mark."""
    return json.dumps(value, ensure_ascii=False).replace("<|", "\\u003c|")


def _has_mark(text: str) -> bool:
    return any(mark in text for mark in MARKS)


def _special(text: str, first: str = "") -> bool:
    """Whether bare text would be empty, longer than a line, or read as text in quotation marks."""
    odd = not text or "\n" in text or _has_mark(text) or bool(first and text.startswith(first))
    return odd or _unquote(text, first) != text


def _unquote(text: str, first: str = "") -> str:
    """The string of a text in quotation marks, where it could not have been written bare; else the text itself."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            value = json.loads(text)
        except ValueError:
            return text
        # The recursion ends, because `value` is shorter than `text`, its JSON string.
        if isinstance(value, str) and _special(value, first):
            return value
    return text


def parse_calls(text: str, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
    """The calls of a text that `render` wrote.

    Raises:
        ValueError: the text is no sequence of calls.
    """
    by_name = {tool.name: tool for tool in tools}
    calls = []
    parts = text.split(CALL)[1:]
    for number, part in enumerate(parts, 1):
        name, mark, rest = part.partition(ARGS)
        if not mark:
            raise ValueError(f"a call without {ARGS}")
        tool = by_name.get(name.strip())
        *pairs, tail = rest.split(NEXT)
        # The text behind a call is the reason of the next call.
        if tail.strip() and (number == len(parts) or IS in tail):
            raise ValueError(f"an argument without {NEXT} at its end")
        calls.append(ToolCall(name.strip(), _parse_arguments(pairs, layout(tool) if tool else None)))
    return tuple(calls)


def _parse_arguments(pairs: Sequence[str], top: Slot | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, mark, value = pair.partition(IS)
        if not mark:
            raise ValueError(f"an argument without {IS}")
        path = _path(key.strip(), top)
        slot = top
        for step in path:
            slot = slot.child(step) if slot else None
        _place(arguments, path, parse_value(value[1:], slot))
    return arguments


def _path(key: str, top: Slot | None) -> list[str]:
    """The names of a dotted key. Dots lead into an object, also into one whose schema lists no names."""
    if key.startswith('"'):
        try:
            return [str(json.loads(key))]
        except ValueError:
            return [key]
    if top is None or key in top.names:
        return [key]
    slot = top.child(key.partition(".")[0])
    return key.split(".") if slot is not None and "object" in slot.kinds else [key]


def _place(arguments: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        arguments = arguments.setdefault(step, {})
    if path[-1] in arguments:
        raise ValueError(f"argument {path[-1]} is given twice")
    arguments[path[-1]] = value


def parse_value(text: str, slot: Slot | None = None) -> Any:
    """The value of a text that `render_value` wrote."""
    if slot is not None and slot.only_text:
        return _unquote(text)
    only_lists = slot is not None and slot.only_lists
    if ITEM not in text and (text.startswith("[") if only_lists else _LOOKS_LIKE_JSON.fullmatch(text)):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass
    if ITEM in text or (slot is not None and slot.owns_items):
        return [_unquote(item, "[") for item in text.split(f"{ITEM} ")]
    return _unquote(text)


def quote(
    tool: Tool, request: str, others: Sequence[Tool] = (), speaks_of: Callable[[str, str], bool] = str.__eq__
) -> str:
    """The reason for calling `tool`: the end of its description, from a word that the request mentions.

    The word is one of the last `LONGEST_QUOTE`. The word in the fewest other tools' descriptions wins, then a word of
    the request before one that it only `speaks_of`, then the later one. Without such a word, the last one is quoted.
    """
    spans = _content(tool.description)
    if not spans:
        return ""
    request_words = set(content_words(request))
    lines = [set(content_words(other.description)) for other in others if other.name != tool.name]

    def is_in_request(span: re.Match[str]) -> bool:
        return any(speaks_of(word, span.group().lower()) for word in request_words)

    def rarity(span: re.Match[str]) -> tuple[int, bool, int]:
        word = span.group().lower()
        return sum(word in line for line in lines), word not in request_words, -span.start()

    common = [span for span in spans if is_in_request(span)]
    start = min(common, key=rarity).start() if common else spans[-1].start()
    return " " + tool.description[start:]


def suffixes(description: str) -> tuple[str, ...]:
    """Every reason that `quote` could return for this description, longest first."""
    return tuple(" " + description[span.start() :] for span in _content(description)) or ("",)


def _content(description: str) -> list[re.Match[str]]:
    """The content words that may begin a reason."""
    return [match for match in WORD.finditer(description) if content_words(match.group())][-LONGEST_QUOTE:]
