"""The verdict on an answer without its unstated optional arguments, beside the verdict on the answer itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ttsi.benchmarks import Sample
from ttsi.config import AnswerConfig, LoopConfig
from ttsi.record import omission_rule
from ttsi.runs.grading import grades
from ttsi.types import Answer, Episode, Input, Message, SampledAnswer, Tool, ToolCall

TOOL = Tool("rain", "", {"properties": {"city": {"type": "string"}, "day": {"type": "string"}}, "required": ["city"]})
INVENTED = ToolCall("rain", {"city": "Oslo", "day": "Friday"})
ASKED = ToolCall("rain", {"city": "Oslo"})


def judged(
    base: ToolCall, adapted: ToolCall, request: str, loop: LoopConfig, gold: ToolCall = ASKED
) -> dict[str, tuple[bool, bool]]:
    item = Input("1", (Message("user", request),), (TOOL,))
    first, second = (Answer("", (call,), samples=(SampledAnswer("", (call,), None, -1.0),)) for call in (base, adapted))
    verdicts = grades(Sample(item, (gold,)), Episode("1", "0", first, second, None), loop)
    assert verdicts is not None
    return {rule: (sides["base"], sides["adapted"]) for rule, sides in verdicts.items()}


def test_an_invented_argument_is_left_out_by_the_second_rule_only() -> None:
    verdicts = judged(INVENTED, ASKED, "Rain in Oslo?", LoopConfig())
    assert verdicts["strict"] == (False, True) and verdicts["strict omit-unstated"] == (True, True)
    assert verdicts["tool_choice"] == (True, True) and "tool_choice omit-unstated" not in verdicts


def test_a_stated_argument_stays() -> None:
    verdicts = judged(INVENTED, ASKED, "Rain in Oslo on Friday?", LoopConfig(), gold=INVENTED)
    assert verdicts["lenient"] == verdicts["lenient omit-unstated"] == (True, False)
    unstated = judged(INVENTED, ASKED, "Rain in Oslo?", LoopConfig(), gold=INVENTED)
    assert unstated["lenient omit-unstated"] == (False, False), "control"


def test_the_owners_rule_judges_it_too() -> None:
    item = Input("1", (Message("user", "Rain in Oslo?"),), (TOOL,))
    sample = Sample(item, None, official=lambda calls: calls is not None and "day" not in calls[0].arguments)
    answer = Answer("", (INVENTED,))
    verdicts = grades(sample, Episode("1", "0", answer, answer, None), LoopConfig())
    assert verdicts == {
        "official": {"base": False, "adapted": False},
        omission_rule("official"): {"base": True, "adapted": True},
    }


@pytest.mark.parametrize("strategy", ["greedy", "pass@k"])
def test_runs_that_leave_out_have_no_such_rule(strategy: str) -> None:
    loop = LoopConfig(answer=AnswerConfig(strategy=strategy))
    with_rule = judged(INVENTED, ASKED, "Rain in Oslo?", loop)
    assert "strict omit-unstated" in with_rule
    assert ("strict pass@5" in with_rule) == (strategy == "pass@k") and "strict omit-unstated pass@5" not in with_rule
    left_out = judged(INVENTED, ASKED, "Rain in Oslo?", replace(loop, answer=replace(loop.answer, omit_unstated=True)))
    assert "strict omit-unstated" not in left_out


def test_a_failed_input_is_wrong_by_both() -> None:
    item = Input("1", (Message("user", "Rain in Oslo?"),), (TOOL,))
    verdicts = grades(Sample(item, ()), Episode("1", "0", None, None, None), LoopConfig())
    assert verdicts is not None and not any(side for sides in verdicts.values() for side in sides.values())
