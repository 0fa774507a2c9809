"""The AST rule of the Berkeley Function-Calling Leaderboard (BFCL V4).

Inputs: the category of a row, its functions and their lists of accepted values as BFCL writes them, and the calls of a
model (None when its text could not be read as calls). Outputs: right or wrong.

All calls must be right, in any order, and no more and no fewer than the gold ones. A call is right when its name is,
every required argument is given, none is given that the schema or the gold lacks, each value has the declared type and
is one of the accepted ones, and what is left out may be left out ("" among its values). Texts are compared without
case, spaces and the marks ,./-_*^ and with ' read as ". An integer may stand for a float, at the top level only. A
value of the type of the gold's values is taken for a variable and compared as it is. Java and JavaScript arguments are
texts and are read as literals first (`ttsi.benchmarks.bfcl_literals`). In irrelevance rows it is right to call nothing,
also when the text is a broken call; in relevance rows any call is right.

`tests/agreement/bfcl.py` compares it with the official checker, verdict by verdict. Two things differ on
purpose: names keep their dots (the official runs replace them for some vendors' APIs, in question and answer alike),
and where the official checker stops with an exception the answer is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.benchmarks import bfcl_literals
from ttsi.chat.conversation import expect
from ttsi.errors import DataError
from ttsi.types import ToolCall

PYTHON = "python"
Accepted = Sequence[Any]
"""The values that are right for one argument; "" among them allows leaving it out."""

_PYTHON_TYPES: dict[str, type] = {
    "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict,
    "any": str,
}  # fmt: skip
_JAVA_TYPES: dict[str, type] = {
    "byte": int, "short": int, "integer": int, "long": int, "float": float, "double": float, "boolean": bool,
    "char": str, "String": str, "any": str, "Array": list, "ArrayList": list, "HashMap": dict,
}  # fmt: skip
_JAVASCRIPT_TYPES: dict[str, type] = {
    "String": str, "integer": int, "float": float, "Bigint": int, "Boolean": bool, "dict": dict, "array": list,
    "any": str,
}  # fmt: skip
TYPES = {PYTHON: _PYTHON_TYPES, bfcl_literals.JAVA: _JAVA_TYPES, bfcl_literals.JAVASCRIPT: _JAVASCRIPT_TYPES}
"""Language -> declared type -> the Python type of its values."""

_IGNORED = re.compile(r"[ ,./\-_*^]")


def language_of(category: str) -> str:
    """The language whose syntax a category's values have."""
    return next((name for name in (bfcl_literals.JAVASCRIPT, bfcl_literals.JAVA) if name in category), PYTHON)


def read_rule(category: Any, functions: Any, accepted: Any) -> AstRule:
    """The rule of a row in BFCL's form.

    Raises:
        DataError: it is not in that form.
    """
    category = expect(category, str, "category", "a string such as simple_python")
    rule = AstRule(
        category,
        tuple(expect(functions, list, "functions", "a list of functions as BFCL writes them")),
        tuple(expect(accepted, list, "accepted", "a list of {NAME: {ARGUMENT: [VALUE, ...]}}")),
    )
    for answer in rule.answers:
        try:
            _check_answer(answer, rule.functions, language_of(category))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"functions and accepted are not in BFCL's form ({error!r})") from None
    return rule


def _check_answer(answer: Any, functions: Sequence[Any], language: str) -> None:
    [(name, accepted)] = answer.items()
    listed = {one["name"]: one for one in functions}[name]["parameters"]["properties"]
    for key, values in accepted.items():
        expect(values, list, "an argument's accepted values", "a list")
        if key in listed:
            kind, inner = _kinds(listed[key], language)
            _ = TYPES[language][kind], TYPES[language][inner] if inner else None


@dataclass(frozen=True)
class AstRule:
    """The official verdict on one row; a `ttsi.benchmarks.Official`."""

    category: str
    functions: tuple[Mapping[str, Any], ...]
    answers: tuple[Mapping[str, Mapping[str, Accepted]], ...]
    """Per gold call {name: {argument: accepted values}}; empty in relevance and irrelevance rows."""

    def __call__(self, calls: Sequence[ToolCall] | None) -> bool:
        """Whether these calls are right."""
        if "relevance" in self.category:
            return bool(calls) != ("irrelevance" in self.category)
        if calls is None or len(calls) != len(self.answers):
            return False
        left = list(calls)
        for answer in self.answers:
            # The first that fits is taken, as the official checker does, even if another would leave a better rest.
            fit = next((i for i, call in enumerate(left) if self._right(call, answer)), None)
            if fit is None:
                return False
            del left[fit]
        return True

    def _right(self, call: ToolCall, answer: Mapping[str, Mapping[str, Accepted]]) -> bool:
        [(name, accepted)] = answer.items()
        function = next((one for one in self.functions if one["name"] == name), None)
        if function is None or call.name != name:
            return False
        try:
            return _arguments_right(call.arguments, function["parameters"], accepted, language_of(self.category))
        except (ValueError, OverflowError, TypeError, LookupError, AttributeError):  # such as a number of 1000 digits
            return False


def _arguments_right(
    given: Mapping[str, Any], schema: Mapping[str, Any], accepted: Mapping[str, Accepted], language: str
) -> bool:
    listed = schema["properties"]
    return (
        all(name in given for name in schema.get("required", ()))
        and all(name in listed and name in accepted for name in given)
        and all(_value_right(value, listed[name], accepted[name], language) for name, value in given.items())
        and all(name in given or "" in values for name, values in accepted.items())
    )


def _value_right(value: Any, spec: Mapping[str, Any], accepted: Accepted, language: str) -> bool:
    kind, inner = _kinds(spec, language)
    types = TYPES[language]
    if language != PYTHON:
        if not isinstance(value, str):
            return False
        value = bfcl_literals.read(value, kind, language, inner)
    elif kind == "float" and type(value) is int:
        value = float(value)
    legal, variable = _check_type(value, accepted, types[kind], types[inner] if inner else None)
    if not legal:
        return False
    if variable:
        return value in accepted
    return _is_accepted(value, accepted, types[kind], inner == "dict")


def _kinds(spec: Mapping[str, Any], language: str) -> tuple[str, str | None]:
    """A parameter's declared type, and that of its elements where it has any."""
    nests = spec["type"] in (("array", "tuple") if language == PYTHON else bfcl_literals.COLLECTIONS)
    return spec["type"], spec["items"]["type"] if nests else None


def _check_type(value: Any, accepted: Accepted, expected: type, inner: type | None) -> tuple[bool, bool]:
    """Does the value have a legal type, and must it be taken for a variable?"""
    gold_type = _type_of_first(accepted)
    if type(value) is not expected:
        return (gold_type is not None and type(value) is gold_type), True
    variable = gold_type is not None and gold_type is not expected
    if inner is None:
        return True, variable
    # One accepted value whose elements agree is enough, and one that is no list forbids nothing.
    return any(not isinstance(one, list) or _elements_typed(value, one, inner) for one in accepted), variable


def _elements_typed(values: Any, accepted: Accepted, expected: type) -> bool:
    gold_type = _type_of_first(accepted)
    return all(type(value) is expected or (gold_type is not None and type(value) is gold_type) for value in values)


def _type_of_first(accepted: Accepted) -> type | None:
    """The type of the first accepted value other than ""."""
    return next((type(one) for one in accepted if one != ""), None)


def _is_accepted(value: Any, accepted: Accepted, expected: type, of_dicts: bool) -> bool:
    if expected is dict:
        return any(one != "" and _same_dict(value, one) for one in accepted)
    if expected is list and of_dicts:
        return any(_same_dicts(value, one) for one in accepted)
    if expected is list:
        return _plain_items(value) in [_plain_items(one) for one in accepted]
    if expected is str:
        return _plain(value) in [_plain(one) for one in accepted if isinstance(one, str)]
    return value in accepted


def _same_dict(value: Mapping[str, Any], accepted: Mapping[str, Accepted]) -> bool:
    return all(key in accepted and _plain(item) in _plain_items(accepted[key]) for key, item in value.items()) and all(
        key in value or "" in items for key, items in accepted.items()
    )


def _same_dicts(values: Sequence[Any], accepted: Sequence[Mapping[str, Accepted]]) -> bool:
    return len(values) == len(accepted) and all(
        isinstance(value, Mapping) and _same_dict(value, one) for value, one in zip(values, accepted, strict=True)
    )


def _plain_items(values: Sequence[Any]) -> list[Any]:
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A text without what the comparison ignores; anything else as it is.

    >>> _plain("April 1, 2024") == _plain("april_1/2024")
    True
    """
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
