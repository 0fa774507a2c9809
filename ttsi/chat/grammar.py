"""What may the model write, so that whatever it writes is a legal call?

Inputs: a `Format` and the tools on offer. Outputs: a grammar as text, in llguidance's dialect of Lark, from which the
engine makes a token mask. Strings only: nothing here imports llguidance.

`answer_grammar`: words, then any number of legal calls. `tool_grammar`: exactly one call of exactly this tool.
`call_then_text_grammar`: the rest of an example written call first. `localise`: for marks that are control tokens.

Legal means: an offered name, keys in the schema's order, required ones present, typed values, nothing unlisted, no free
white space. What a mask cannot hold of a schema (`not`, `if`, look-ahead patterns ...) gives way to any JSON value of
the stated type, never to an error, and `ttsi.chat.schema.problem` judges the rest.
Not in the paper (arXiv:2510.07841), which samples freely.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ttsi.chat import ours
from ttsi.chat.calls import Format, JsonFormat
from ttsi.chat.schema import closed
from ttsi.types import Tool

_ANY = "/(?s:.*)/"
_BRACELESS_LINE = r"/[ \t]*([^{ \t\n][^\n]*)?/"
"""A line without a brace at its beginning, which would begin a call in formats without marks."""
_BRACELESS_LINES = r"/([ \t]*([^{ \t\n][^\n]*)?\n)*/"
_REQUEST = r"/ ?[^\s][^\n]+[^\s]/"
_COMPACT = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
_MAX_DEPTH = 32
_MAX_COUNT = 1000
"""Longest string or list whose length is enforced; counting further makes the mask slow."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip
_SAFE_PATTERN = re.compile(
    r"""(?: [A-Za-z0-9_ ,:;/@%#=!"'<>.^$()|] | - | \\[dws.^$()|/\\+*?{}\[\]-]
          | \[\^?(?: [A-Za-z0-9_ ,:;/@%#=!.+*?()] | -(?!-) | \\[dws.^$()|/\\+*?{}\[\]-] )+\]
          | (?<![*+?}(|^])[*+?](?![*+?{]) | (?<![*+?}(|^])\{\d{1,3}(?:,\d{0,3})?\}(?![*+?{]) )*""",
    re.VERBOSE,
)


def answer_grammar(fmt: Format, tools: Sequence[Tool], calls: str = "auto") -> str:
    """An answer: `auto` is words or calls; `required` is calls and nothing else; `one` is exactly one call."""
    if calls != "auto" and tools:
        many = "+" if calls == "required" else ""
        if isinstance(fmt, JsonFormat):
            more = f"({_literal(fmt, fmt.between)} ({_names(tools)}))*" if many else ""
            some = f"{_literal(fmt, fmt.opening)} ({_names(tools)}) {more} {_literal(fmt, fmt.closing)}"
        else:
            each = (f"{_reason(['', *ours.suffixes(t.description)])} call_{i}" for i, t in enumerate(tools))
            some = f"({' | '.join(each)}){many}"
        return _text([f"start: {some}", *_calls(fmt, tools)])
    return _free_answer(fmt, tools)


def _free_answer(fmt: Format, tools: Sequence[Tool]) -> str:
    """Words that begin no call, then zero or more legal calls, and nothing else.

    In our own format a call's words quote that tool's line, and words alone say that no tool fits.
    """
    if not isinstance(fmt, JsonFormat):
        calls = [f"{_reason(['', *ours.suffixes(tool.description)])} call_{i}" for i, tool in enumerate(tools)]
        some = f"{_quoted(ours.NO_TOOL_TEXT)} | ({' | '.join(calls)})+" if tools else _ANY
        return _text([f"start: {some}", *_ours_calls(tools)])
    if not tools:
        return _text(["start: WORDS", _words(fmt)])
    head, first = _head(fmt, tools)
    more = f"({_literal(fmt, fmt.between)} ({_names(tools)}))*"
    rules = [f"start: WORDS | head ({first}) {more} {_literal(fmt, fmt.closing)}", head, _words(fmt)]
    return _text([*rules, *_json_calls(fmt, tools), *_mark_rules(fmt)])


def tool_grammar(fmt: Format, tool: Tool, reasons: Sequence[str] = ("",)) -> str:
    """Exactly one call of `tool`, behind exactly one of `reasons` ("" is no reason).

    Raises:
        ValueError: there is no reason to choose from.
    """
    if not reasons:
        raise ValueError("tool_grammar needs at least one reason, which may be empty")
    behind = "\n" if isinstance(fmt, JsonFormat) else ""
    reason = _reason([reason and reason + behind for reason in reasons])
    return _text([f"start: {reason} {_one_call(fmt, [tool])}", *_calls(fmt, [tool])])


def call_then_text_grammar(fmt: Format, tool: Tool | None, tools: Sequence[Tool], lead: str) -> str:
    """The remainder of an example written call first: the call's arguments, then `lead`, then one line of words.

    With a tool, the text up to and including its name is taken as written (`Format.name_span`); without one, the whole
    call is free, of any of `tools`. The line has at least 3 characters and none of the format's marks.

    Raises:
        ValueError: there is no tool to call.
    """
    if tool is None and not tools:
        raise ValueError("there is no tool to call")
    literal = _literal(fmt, lead) if isinstance(fmt, JsonFormat) else _quoted(lead)
    request = " & ".join([_REQUEST, *_without(fmt.marks)])
    call = _one_call(fmt, tools) if tool is None else _after_name(fmt, tool)
    rules = _calls(fmt, tools) if tool is None else _mark_rules(fmt)
    return _text([f"start: {call} {literal} REQUEST", f"REQUEST: {request}", *rules])


def localise(grammar: str, special_ids: Mapping[str, int]) -> str:
    """The grammar for a tokenizer in which some marks are control tokens, given as text -> id.

    Such a token is never matched by text, so the rule of its mark names the id instead. A mark that the tokenizer
    spells out stays text. The embedded format's marks are always control tokens and already named.
    """

    def name_id(match: re.Match[str]) -> str:
        mark = json.loads(match["mark"])
        if mark not in special_ids:
            return match[0]
        return f"{match['rule']}: {match['before'] or ''}<[{special_ids[mark]}]>"

    rule = r"^(?P<rule>mark_\d+|head)(?:\[lazy\])?: (?P<before>FREE )?(?P<mark>\"[^\"\\]*\")$"
    return re.sub(rule, name_id, grammar, flags=re.MULTILINE)


def _text(rules: Sequence[str]) -> str:
    return "\n".join(rule.rstrip() for rule in rules) + "\n"


def _quoted(text: str) -> str:
    """A Lark literal; llguidance reads it as JSON, so a line break or a quotation mark cannot escape."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def _reason(reasons: Sequence[str]) -> str:
    """One of the reasons, or nothing where "" is among them."""
    texts = [_quoted(reason) for reason in dict.fromkeys(reasons) if reason]
    return f"({' | '.join(texts)}){'?' if '' in reasons else ''}" if texts else ""


def _names(tools: Sequence[Tool]) -> str:
    return " | ".join(f"call_{i}" for i in range(len(tools)))


def _calls(fmt: Format, tools: Sequence[Tool]) -> list[str]:
    """Rules call_0, call_1, ... and the marks' rules."""
    if isinstance(fmt, JsonFormat):
        return [*_json_calls(fmt, tools), *_mark_rules(fmt)]
    return _ours_calls(tools)


def _one_call(fmt: Format, tools: Sequence[Tool]) -> str:
    if isinstance(fmt, JsonFormat):
        return f"{_literal(fmt, fmt.opening)} ({_names(tools)}) {_literal(fmt, fmt.closing)}"
    return f"({_names(tools)})"


def _after_name(fmt: Format, tool: Tool) -> str:
    if not isinstance(fmt, JsonFormat):
        return _ours_arguments(tool)
    return f'{_quoted(_separator(fmt))} {_json_value(closed(tool.parameters), tool)} "}}" {_literal(fmt, fmt.closing)}'


# ---- formats whose calls are JSON objects


def _separator(fmt: JsonFormat) -> str:
    return f', "{fmt.key}": '


def _call_object(fmt: JsonFormat, tool: Tool, cut: str = "") -> str:
    """One call as JSON, without `cut` at its beginning."""
    name = ('{"name": ' + json.dumps(tool.name, ensure_ascii=False) + _separator(fmt)).removeprefix(cut)
    return f'{_quoted(name)} {_json_value(closed(tool.parameters), tool)} "}}"'


def _json_calls(fmt: JsonFormat, tools: Sequence[Tool]) -> list[str]:
    return [f"call_{i}: {_call_object(fmt, tool)}" for i, tool in enumerate(tools)]


def _head(fmt: JsonFormat, tools: Sequence[Tool]) -> tuple[str, str]:
    """The rule of the words up to and including what begins a first call, and the rest of that call.

    The head is lazy: it ends at the first mark, and from there on only calls are possible.
    """
    free = [_ANY if fmt.opening else _BRACELESS_LINES, *_without(fmt.marks[1:] if fmt.opening else fmt.marks)]
    mark = fmt.marks[0] if fmt.opening else "{"
    head = f"head[lazy]: FREE {_quoted(mark)}\nFREE: {' & '.join(free)}"
    if not fmt.opening:
        return head, " | ".join(_call_object(fmt, tool, cut=mark) for tool in tools)
    return head, f"{_literal(fmt, fmt.opening.removeprefix(mark))} ({_names(tools)})"


def _words(fmt: JsonFormat) -> str:
    """The terminal of a whole answer without any call."""
    words = _ANY if fmt.opening else f"{_BRACELESS_LINES} {_BRACELESS_LINE}"
    return " & ".join([f"WORDS: {words}", *_without(fmt.marks)])


def _without(marks: Sequence[str]) -> list[str]:
    """What to intersect a terminal with, so that it holds none of the marks."""
    return [f"~({_ANY} {_quoted(mark)} {_ANY})" for mark in marks]


def _literal(fmt: JsonFormat, text: str) -> str:
    """A literal in which each mark is a reference to its own rule, for `localise`."""
    if not fmt.marks or not text:
        return _quoted(text)
    parts = re.split("(" + "|".join(map(re.escape, fmt.marks)) + ")", text)
    return " ".join(f"mark_{fmt.marks.index(part)}" if part in fmt.marks else _quoted(part) for part in parts if part)


def _mark_rules(fmt: Format) -> list[str]:
    marks = fmt.marks if isinstance(fmt, JsonFormat) else ()
    return [f"mark_{i}: {_quoted(mark)}" for i, mark in enumerate(marks)]


def _json_value(schema: Any, tool: Tool) -> str:
    body = {**_supported(schema, tool.parameters), **_definitions(tool.parameters), "x-guidance": _COMPACT}
    return "%json " + json.dumps(body)


# ---- the embedded model's format


def _ours_calls(tools: Sequence[Tool]) -> list[str]:
    return [
        f"call_{i}: {ours.CALL} {_quoted(' ' + tool.name)} {ours.ARGS} {_ours_arguments(tool)}"
        for i, tool in enumerate(tools)
    ]


def _ours_arguments(tool: Tool) -> str:
    return _in_order(_ours_pairs(tool.parameters, tool, ""))


def _in_order(pairs: Sequence[tuple[str, bool]]) -> str:
    return " ".join(pair if required else f"({pair})?" for pair, required in pairs)


def _at_least_one(pairs: Sequence[tuple[str, bool]]) -> str:
    """The pairs in order, but not none of them: an object is only written by what is in it."""
    if any(required for _, required in pairs):
        return _in_order(pairs)
    starts = (_in_order([(pair, True), *pairs[i + 1 :]]) for i, (pair, _) in enumerate(pairs))
    return "(" + " | ".join(starts) + ")"


def _ours_pairs(schema: Mapping[str, Any], tool: Tool, prefix: str) -> list[tuple[str, bool]]:
    """(grammar of one argument, whether it is required) in the order of `ours.leaves_of`; objects are groups."""
    required = schema.get("required") or []
    pairs = []
    for key, inner in (schema.get("properties") or {}).items():
        inner = inner if isinstance(inner, Mapping) else {}
        if inner.get("type") == "object" and inner.get("properties") and "." not in key:
            text = _at_least_one(_ours_pairs(inner, tool, f"{prefix}{key}."))
        else:
            text = f"{_quoted(f' {prefix}{key}')} {ours.IS} {_ours_value(inner, tool)} {ours.NEXT}"
        pairs.append((text, key in required))
    return pairs


def _ours_value(schema: Mapping[str, Any], tool: Tool) -> str:
    """One value behind one space: a string as it is, a list of strings by items, all else as compact JSON."""
    kind = schema.get("type")
    if kind == "string":
        return _ours_string(schema, r"/ [^\n]+/")
    if kind == "array" and _string_items(schema.get("items")):
        return _ours_list(schema)
    return f'" " {_json_value(closed(schema, top=False), tool)}'


def _ours_string(schema: Mapping[str, Any], free: str) -> str:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    texts = [_quoted(" " + value) for value in values or [] if isinstance(value, str)]
    return f"({' | '.join(texts)})" if texts else free


def _string_items(items: Any) -> bool:
    """Whether the items can be told from a JSON list, which begins with a bracket."""
    if not isinstance(items, Mapping) or items.get("type") != "string":
        return False
    return not any(str(value).startswith("[") or not value for value in items.get("enum", ["."]))


def _ours_list(schema: Mapping[str, Any]) -> str:
    item = _ours_string(schema["items"], r"/ [^\n\[][^\n]*/")
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if not isinstance(most, int) or most < max(least, 1):
        most = None
    more = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    items = f"{item} ({ours.ITEM} {item}){more}"
    return items if least else f'({items} | " []")'


# ---- the part of a JSON Schema that a mask can hold


def _definitions(root: Mapping[str, Any]) -> dict[str, Any]:
    """The `$defs` and `definitions` of a tool's parameters, to stand beside each value that may refer to them."""
    return {
        place: {name: _supported(schema, root) for name, schema in root[place].items()}
        for place in ("$defs", "definitions")
        if isinstance(root.get(place), Mapping) and root[place]
    }


def _supported(schema: Any, root: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """What a mask can hold of `schema`; `root` is the schema that its `$ref`s point into."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {}
    if "const" in schema or "enum" in schema:
        return _listed(schema)
    if "$ref" in schema:
        return {"$ref": schema["$ref"]} if _leads_somewhere(schema, root) else {}
    if "type" not in schema and "properties" not in schema:
        return _chosen(schema, root, depth)
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    parts = [_of_kind(kind, schema, root, depth) for kind in kinds]
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _listed(schema: Mapping[str, Any]) -> dict[str, Any]:
    values = [schema["const"]] if "const" in schema else list(schema["enum"])
    kinds = schema.get("type", list(_KINDS))
    wanted = tuple(t for kind in ([kinds] if isinstance(kinds, str) else kinds) for t in _KINDS.get(kind, ()))
    legal = [value for value in values if isinstance(value, wanted) and (type(value) is not bool or bool in wanted)]
    return {"enum": legal} if legal else {}


def _leads_somewhere(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether a chain of `$ref`s ends in a definition, and not in itself or nowhere."""
    seen = set()
    while "$ref" in schema:
        match = re.fullmatch(r"#/(\$defs|definitions)/([\w.\- ]+)", str(schema["$ref"]))
        target = (root.get(match[1]) or {}).get(match[2]) if match else None
        if not isinstance(target, Mapping) or schema["$ref"] in seen:
            return False
        seen.add(schema["$ref"])
        schema = target
    # A definition that may be itself consumes nothing; only one with a type of its own surely does.
    return "type" in schema or "properties" in schema or "enum" in schema or "const" in schema


def _chosen(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    options = schema.get("anyOf") or schema.get("oneOf") or []
    parts = [_supported(option, root, depth + 1) for option in options]
    if not parts or {} in parts or "allOf" in schema:
        return {}
    return {"anyOf": parts}


def _of_kind(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    rules: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], int], dict[str, Any]]] = {
        "object": _of_object, "array": _of_array, "string": _of_string, "integer": _of_number, "number": _of_number,
    }  # fmt: skip
    rest = rules[kind](schema, root, depth) if kind in rules else {}
    return {"type": kind, **rest}


def _of_object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = {
        name: _supported(inner, root, depth + 1)
        for name, inner in (schema.get("properties") or {}).items()
        if inner is not False
    }
    result: dict[str, Any] = {"properties": properties} if properties else {}
    required = [name for name in schema.get("required") or [] if name in properties]
    if required:
        result["required"] = required
    extra = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    result["additionalProperties"] = extra if isinstance(extra, bool) else _supported(extra, root, depth + 1)
    return result


def _of_array(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    result = _counts(schema, "minItems", "maxItems")
    if isinstance(schema.get("items"), Mapping):
        result["items"] = _supported(schema["items"], root, depth + 1)
    if isinstance(schema.get("prefixItems"), list):
        result["prefixItems"] = [_supported(item, root, depth + 1) for item in schema["prefixItems"]]
    return result


def _of_string(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and _SAFE_PATTERN.fullmatch(pattern):
        return {"pattern": pattern}  # without lengths: the two together may allow nothing
    return _counts(schema, "minLength", "maxLength")


def _counts(schema: Mapping[str, Any], least: str, most: str) -> dict[str, Any]:
    low, high = schema.get(least, 0), schema.get(most, _MAX_COUNT)
    if low > high or low > _MAX_COUNT:
        return {}
    counts = {least: int(low)} if low else {}
    return counts | ({most: int(high)} if most in schema and high <= _MAX_COUNT else {})


def _of_number(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    bounds = {
        key: schema[key]
        for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
        if isinstance(schema.get(key), int | float) and math.isfinite(schema[key]) and abs(schema[key]) < 2**53
    }
    low = max((value for key, value in bounds.items() if key.lower().endswith("minimum")), default=-math.inf)
    high = min((value for key, value in bounds.items() if key.lower().endswith("maximum")), default=math.inf)
    whole = low == high and float(low).is_integer() and bounds.keys() <= {"minimum", "maximum"}
    # Narrow bounds may leave no integer between them, which would be no grammar at all; the validator still knows them.
    return bounds if whole or high - low >= 2 else {}
