"""The guard against invented values, on pairs of answers."""

from __future__ import annotations

import pytest

from ttsi.adaptation.confidence import more_unstated_values
from ttsi.types import Answer, Input, Message, Tool, ToolCall

TOOL = Tool(
    "book",
    "book a table",
    {"type": "object", "properties": {"city": {}, "guests": {"type": "integer"}, "area": {"default": "any"}}},
)
ITEM = Input("1", (Message("user", "a table in Rome for 4"),), (TOOL,))
NOTHING = Answer("I cannot", ())
STATED = Answer("", (ToolCall("book", {"city": "Rome", "guests": 4, "area": "any"}),))
INVENTED = Answer("", (ToolCall("book", {"city": "Rome", "guests": 9}),))
WORSE = Answer("", (ToolCall("book", {"city": "Bonn", "guests": 9}),))
UNREADABLE = Answer("{", (), "cut off")


@pytest.mark.parametrize(
    ("base", "adapted", "reason"),
    [
        (NOTHING, STATED, None),
        (NOTHING, INVENTED, "guests"),
        (INVENTED, STATED, None),
        (INVENTED, INVENTED, None),  # as many as before: the confidence guard decides
        (INVENTED, WORSE, "city, guests"),
        (STATED, INVENTED, "guests"),
        (UNREADABLE, WORSE, None),
        (STATED, NOTHING, None),
    ],
)
def test_only_more_invented_values_than_before_are_refused(base: Answer, adapted: Answer, reason: str | None) -> None:
    expected = None if reason is None else f"the conversation does not state its {reason}"
    assert more_unstated_values(base, adapted, ITEM) == expected
