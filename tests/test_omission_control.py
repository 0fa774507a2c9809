"""Does the control of the gain compute what leaving out unstated arguments gives?"""

from __future__ import annotations

from types import SimpleNamespace

from dev.omission_control import lines, verdicts
from ttsi.types import Answer, Input, Message, Tool, ToolCall

TOOL = Tool("rain", "will it rain", {"properties": {"city": {}, "day": {}}, "required": ["city"]})
ITEM = Input("1", (Message("user", "Rain in Oslo?"),), (TOOL,))
PLAIN, INVENTED = ({"city": "Oslo"}, {"city": "Oslo", "day": "Friday"})


def row(
    base: dict[str, str], adapted: dict[str, str], gold: dict[str, str], error: str | None = None
) -> SimpleNamespace:
    answers = [Answer("", (ToolCall("rain", arguments),), error=error) for arguments in (base, adapted)]
    episode = SimpleNamespace(base=answers[0], adapted=answers[1])
    return SimpleNamespace(episode=episode, question=SimpleNamespace(input=ITEM, gold=(ToolCall("rain", gold),)))


def test_an_answer_is_right_once_its_invented_argument_is_left_out() -> None:
    assert verdicts(row(INVENTED, PLAIN, PLAIN)) == (False, True, True, True)  # type: ignore[arg-type]
    assert verdicts(row(INVENTED, PLAIN, INVENTED)) == (True, False, False, False)  # type: ignore[arg-type]


def test_control_an_unreadable_answer_is_never_right() -> None:
    assert verdicts(row(INVENTED, PLAIN, PLAIN, error="cut off")) == (False,) * 4  # type: ignore[arg-type]


def test_seeds_are_averaged_and_changes_counted() -> None:
    text = list(lines([[(False, True, True, True), (False, True, False, True)], [(True, False, True, False)] * 2]))
    assert [line.split()[-2] for line in text[:4]] == ["50.0", "50.0", "75.0", "50.0"]
    assert text[4].startswith("base -> base, omitted: +0.0") and text[4].endswith("2 / 2")
    assert text[5].startswith("base -> adapted: +25.0") and text[5].endswith("1 / 0")


def test_without_gold_there_is_no_verdict() -> None:
    bare = row(INVENTED, PLAIN, PLAIN)
    bare.question = None
    assert verdicts(bare) is None  # type: ignore[arg-type]
