"""Equality of calls: calls as one canonical text.

Inputs: calls, or a JSON value. Outputs: a text, or a value, that is equal where they mean the same. Votes, filters and
the leak check compare calls by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ttsi.types import ToolCall


def canonical_calls(calls: Sequence[ToolCall]) -> str:
    """Calls as one text, equal for the same calls with the same arguments in any order: how samples agree.

    >>> canonical_calls([ToolCall("f", {"b": 1, "a": 2})]) == canonical_calls([ToolCall("f", {"a": 2.0, "b": 1})])
    True
    """
    texts = [json.dumps([call.name, whole_numbers(call.arguments)], sort_keys=True, default=str) for call in calls]
    return json.dumps(sorted(texts))


def whole_numbers(value: object) -> object:
    """A JSON value with floats that are whole as integers, all the way down: 1.0 and 1 are the same value.

    >>> whole_numbers({"a": [1.0, 1.5, True]})
    {'a': [1, 1.5, True]}
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: whole_numbers(inner) for key, inner in value.items()}
    return [whole_numbers(inner) for inner in value] if isinstance(value, list | tuple) else value
