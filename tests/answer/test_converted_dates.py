"""Do base and adapted answers have dates in the format of their tool, where the settings say so and nowhere else?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ttsi.answer import generate_answers
from ttsi.chat.calls import FORMATS
from ttsi.config import AnswerConfig
from ttsi.methods import preset
from ttsi.models import Generation, Request
from ttsi.types import Answer, Input, Message, Tool, ToolCall

HERMES = FORMATS["hermes"]
DAY = {"type": "string", "description": "the day (YYYY-MM-DD)"}
BOOK = Tool("book", "", {"type": "object", "properties": {"day": DAY}})
ASKED = Input("1", (Message("user", "book October 6, 2008"),), (BOOK,))


class Writer:
    """Copies the date of the request."""

    format = HERMES

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        text = HERMES.render([ToolCall("book", {"day": "October 6, 2008"})])
        return [Generation(text, 5, -2.0, -1.0, True) for _ in requests]


def answered(config: AnswerConfig, adapter: int | None = None) -> Answer:
    model: Any = Writer()
    return generate_answers(model, [ASKED], config, [adapter], seeds=[0])[0]


@pytest.mark.parametrize("adapter", [None, 0])
@pytest.mark.parametrize("strategy", ["greedy", "vote", "rerank"])
def test_every_answer_has_the_format(strategy: Any, adapter: int | None) -> None:
    config = AnswerConfig(convert_dates=True, strategy=strategy)
    answer = answered(config, adapter)
    assert answer.calls[0].arguments == {"day": "2008-10-06"}
    assert "October 6, 2008" in answer.text
    control = answered(replace(config, convert_dates=False), adapter)
    assert control.calls[0].arguments == {"day": "October 6, 2008"}


def test_what_is_converted_still_counts_as_stated() -> None:
    answer = answered(AnswerConfig(convert_dates=True, omit_unstated=True))
    assert answer.calls[0].arguments == {"day": "2008-10-06"}


def test_every_model_but_the_embedded_one_has_it() -> None:
    assert preset("ttsi", "hf:some/model").answer.convert_dates
    assert not preset("ttsi", "embedded").answer.convert_dates
