"""How does the embedded model write tool calls?

    <reason><|call|> name<|args|> key<|=|> value<|,|> key<|=|> value<|,|>

`<|call|>` and the other marks are tokens of their own, so that no text can imitate them. A string is written as it is,
behind one space; other values as compact JSON; a list of strings as items separated by `<|;|>`; a nested object as
dotted keys (`address.city`). What this cannot hold is written as JSON. The reason, where there is one, quotes the
tool's own line: from a word of the request that occurs in it up to its name, then the call follows. That short
"think, then act" is what lets a two-million-parameter model choose tools at all.

Inputs -> outputs: calls -> text (`render`) and text -> calls (`parse_calls`), typed by the tools' JSON Schemas.
Not in the paper, whose models come with formats of their own (`ttsi.chat.calls`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from ttsi.types import Tool, ToolCall

CALL, ARGS, IS, OPTIONAL, NEXT, ITEM = "<|call|>", "<|args|>", "<|=|>", "<|?|>", "<|,|>", "<|;|>"
MARKS = (CALL, ARGS, IS, OPTIONAL, NEXT, ITEM)
NO_TOOL_TEXT = " no tool fits"

_STOP_WORDS = frozenset((
    "a", "an", "the", "of", "for", "to", "in", "on", "at", "and", "or", "with", "by", "from", "is", "are", "be", "it",
    "its", "that", "this", "my", "me", "i", "you", "your", "so", "as", "up",
))  # fmt: skip
_WORD = re.compile(r"[^\W_]+")
LONGEST_QUOTE = 16
"""Content words of a reason at most. Every word of a line may begin one, so that the cost of all reasons grows with the
square of its length; the lines that the model was trained on have at most 7."""


def words(text: str) -> list[str]:
    """The lower-case content words of a text."""
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]


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


def render_value(value: Any) -> str:
    """One argument value as text, without the leading space."""
    if isinstance(value, str):
        return value
    if _plain_list(value):
        return f"{ITEM} ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _plain_list(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, str) and item and not item.startswith("[") for item in value)


def _pairs(arguments: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in arguments.items():
        if isinstance(value, dict) and value and "." not in key:
            pairs += _pairs(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs


def render(calls: Sequence[ToolCall], reasons: Sequence[str] = ()) -> str:
    """Calls as the embedded model writes them, each behind its reason; no call at all is NO_TOOL_TEXT."""
    if not calls:
        return NO_TOOL_TEXT
    text = ""
    for call, reason in zip_longest(calls, reasons[: len(calls)], fillvalue=""):
        assert isinstance(call, ToolCall)
        text += f"{reason}{CALL} {call.name}{ARGS}"
        text += "".join(f" {key}{IS} {render_value(value)}{NEXT}" for key, value in _pairs(call.arguments))
    return text


def parse_calls(text: str, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
    """Read what `render` writes.

    Raises:
        ValueError: the text is no sequence of calls; the message says where.
    """
    known = {tool.name: tool for tool in tools}
    calls = []
    parts = text.split(CALL)[1:]
    for number, part in enumerate(parts, 1):
        name, mark, rest = part.partition(ARGS)
        if not mark:
            raise ValueError(f"a call without {ARGS}")
        tool = known.get(name.strip())
        leaves = {key: schema for key, schema, _ in leaves_of(tool)} if tool else {}
        *pairs, tail = rest.split(NEXT)
        # What follows a call that is not the last is the next call's reason.
        if tail.strip() and (number == len(parts) or IS in tail):
            raise ValueError(f"an argument without {NEXT} at its end")
        calls.append(ToolCall(name.strip(), _parse_arguments(pairs, leaves)))
    return tuple(calls)


def _parse_arguments(pairs: Sequence[str], leaves: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, mark, value = pair.partition(IS)
        key = key.strip()
        if not mark:
            raise ValueError(f"an argument without {IS}")
        # Dots lead into an object, also into one whose schema lists no keys.
        nested = key in leaves or leaves.get(key.partition(".")[0], {}).get("type") == "object"
        _place(arguments, key.split(".") if nested else [key], _typed(value[1:], leaves.get(key, {})))
    return arguments


def _place(arguments: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        arguments = arguments.setdefault(step, {})
    if path[-1] in arguments:
        raise ValueError(f"argument {path[-1]} is given twice")
    arguments[path[-1]] = value


def _typed(value: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "string":
        return value
    if kind == "array" and not value.startswith("["):
        return value.split(f"{ITEM} ")
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def quote(
    tool: Tool, request: str, others: Sequence[Tool] = (), speaks_of: Callable[[str, str], bool] = str.__eq__
) -> str:
    """The reason for calling `tool`: its description from a word that the request speaks of.

    The word that fewest other tools on offer share wins; among equals one that occurs in the request before one that
    it only `speaks_of`, then the later one. Where there is none, the last content word of the description stands alone.
    It is one of the last `LONGEST_QUOTE`.
    """
    spans = _content(tool.description)
    if not spans:
        return ""
    asked = set(words(request))
    lines = [set(words(other.description)) for other in others if other.name != tool.name]

    def meant(span: re.Match[str]) -> bool:
        return any(speaks_of(said, span.group().lower()) for said in asked)

    def rarity(span: re.Match[str]) -> tuple[int, bool, int]:
        word = span.group().lower()
        return sum(word in line for line in lines), word not in asked, -span.start()

    common = [span for span in spans if meant(span)]
    start = min(common, key=rarity).start() if common else spans[-1].start()
    return " " + tool.description[start:]


def suffixes(description: str) -> tuple[str, ...]:
    """Every reason that `quote` could give for a tool with this description, longest first."""
    return tuple(" " + description[span.start() :] for span in _content(description)) or ("",)


def _content(description: str) -> list[re.Match[str]]:
    """The content words that may begin a quotation."""
    return [match for match in _WORD.finditer(description) if words(match.group())][-LONGEST_QUOTE:]
