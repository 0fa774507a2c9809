"""Pieces of grammars in llguidance's dialect of Lark.

Inputs: literal text, a family's marks, a tool's JSON Schema. Outputs: grammar text. Some tokenizers have a mark as a
control token. Therefore each mark has a rule of its own (`mark_0`, `until_0`, `head`), which `localise` rewrites.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.chat.alternatives import alternatives, resolve_reference
from ttsi.types import Tool

ANY = "/(?s:.*)/"
_KIND_OF: tuple[tuple[Any, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (Mapping, "object"),
    (list | tuple, "array"),
)
_KINDS = frozenset(kind for _, kind in _KIND_OF) | {"null"}


@dataclass(frozen=True)
class Rule:
    """One grammar expression and the named rules that it refers to."""

    text: str
    named: tuple[str, ...] = ()


def localise(grammar: str, special_ids: Mapping[str, int]) -> str:
    """The grammar for a tokenizer whose control tokens are `special_ids`, text -> id.

    Text never matches a control token, so the rule of such a mark names the token's id. A mark that the tokenizer
    spells out stays text. The embedded format's marks are always control tokens, and its rules name them already.
    """

    def name_id(match: re.Match[str]) -> str:
        mark = json.loads(match["mark"])
        if mark not in special_ids:
            return match[0]
        return f"{match['rule']}: {match['before'] or ''}<[{special_ids[mark]}]>"

    rule = (
        r"^(?P<rule>mark_\d+|head|until_\w+)(?:\[lazy\])?: (?P<before>FREE(?:_\w+)? )?(?P<mark>\"(?:[^\"\\]|\\.)*\")$"
    )
    return re.sub(rule, name_id, grammar, flags=re.MULTILINE)


def string_literal(text: str) -> str:
    """A string literal of the grammar. llguidance reads it as JSON, so no line break or quotation mark escapes."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def literal(marks: Sequence[str], text: str) -> str:
    """A literal in which each mark is a reference to its own rule, for `localise`."""
    if not marks or not text:
        return string_literal(text)
    parts = re.split("(" + "|".join(map(re.escape, sorted(marks, key=len, reverse=True))) + ")", text)
    return " ".join(f"mark_{marks.index(part)}" if part in marks else string_literal(part) for part in parts if part)


def mark_rules(marks: Sequence[str]) -> list[str]:
    """The rule of each mark, which `literal` refers to."""
    return [f"mark_{i}: {string_literal(mark)}" for i, mark in enumerate(marks)]


def exclude_marks(marks: Sequence[str]) -> list[str]:
    """The terminals that match text without any of the marks, to be joined with "&"; none where there are no marks."""
    if not marks:
        return []
    # One expression: the product of one automaton per mark is more than the lexer's limit.
    listed = "|".join(re.escape(mark).replace("/", r"\/") for mark in marks)
    return [f"~/(?s:.*)({listed})(?s:.*)/"]


def text_until(stop: str, label: str, never: str = "") -> Rule:
    """Text up to and including the first `stop`, without `never` (or `stop`, spelled letter by letter) before it."""
    free = " & ".join([ANY, *exclude_marks([never or stop])])
    name = f"FREE_{label.upper()}"
    return Rule(f"until_{label}", (f"until_{label}[lazy]: {name} {string_literal(stop)}", f"{name}: {free}"))


def pairs(
    tool: Tool, label: str, pair: Callable[[str, Mapping[str, Any], str], Rule], separator: str = "", sort: bool = False
) -> Rule:
    """A tool's arguments one by one: required ones present, all in the schema's order.

    Args:
        tool: the tool that the call names.
        label: a prefix for the names of rules, unique in the grammar.
        pair: (name, schema, label) -> the grammar of one argument.
        separator: the text between two arguments.
        sort: whether the order is by name instead.
    """
    properties, required = arguments_of(tool)
    names = sorted(properties) if sort else list(properties)
    rules = [pair(name, properties[name], f"{label}_{i}") for i, name in enumerate(names)]
    named = [line for rule in rules for line in rule.named]
    needed = [name in required for name in names]
    named += [f"{label}_p{i}: {rule.text}" for i, rule in enumerate(rules)]
    # after[i]: the grammar of argument i and all behind it, once an argument stands before them
    between = string_literal(separator)
    after = [""] * (len(rules) + 1)
    for i in reversed(range(len(rules))):
        step = f"{between} {label}_p{i}".strip()
        named.append(f"{label}_r{i}: " + (step if needed[i] else f"({step})?") + f" {after[i + 1]}".rstrip())
        after[i] = f"{label}_r{i}"
    first = needed.index(True) if True in needed else len(rules) - 1
    starts = [f"{label}_p{i} {after[i + 1]}".strip() for i in range(first + 1)]
    if True not in needed:
        return Rule(f"({' | '.join(starts)})?" if starts else "", tuple(named))
    return Rule(f"({' | '.join(starts)})", tuple(named))


def arguments_of(tool: Tool) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """The properties of a tool and which of them are required; of a composed schema, those of all its alternatives."""
    ways = alternatives(tool.parameters, tool.parameters) or [dict(tool.parameters)]
    properties: dict[str, Mapping[str, Any]] = {}
    for way in ways:
        for name, inner in (way.get("properties") or {}).items():
            schema = inner if isinstance(inner, Mapping) else {}
            if inner is not False and properties.setdefault(name, schema) != schema:
                properties[name] = {"anyOf": [properties[name], schema]}
    required = set.intersection(*(set(way.get("required") or []) for way in ways))
    return properties, required & properties.keys()


def resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema at the end of a chain of `$ref`s into the root; {} where it leads nowhere."""
    for _ in range(16):
        if not isinstance(schema, Mapping):
            return {}
        if "$ref" not in schema:
            return schema
        schema = resolve_reference(schema["$ref"], root)
    return {}


def kinds(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a part of a tool's parameters admits.

    >>> sorted(kinds({"anyOf": [{"type": "string"}, {"type": "null"}]}, {}))
    ['null', 'string']
    """
    result: set[str] = set()
    for part in alternatives(schema, root) if isinstance(schema, Mapping) else [{}]:
        if values := listed_values(part, root):
            result |= set(map(kind_of, values))
        else:
            result |= {part["type"]} if isinstance(part.get("type"), str) else _KINDS
    return frozenset(result)


def kind_of(value: Any) -> str:
    """The JSON type of a value; "integer" for a whole number."""
    for types, kind in _KIND_OF:
        if isinstance(value, types):
            return kind
    return "null"


def listed_values(schema: Any, root: Mapping[str, Any]) -> list[Any]:
    """The values of a schema's `const` or `enum`; none without one."""
    plain = resolve(schema, root)
    return [plain["const"]] if "const" in plain else list(plain.get("enum") or [])
