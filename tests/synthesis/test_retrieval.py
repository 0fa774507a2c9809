"""Are demonstrations the nearest rows, drawn by the seed, and shown with the tools that they are about?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ttsi.adaptation.examples import gold_training_examples, training_examples, with_demonstrations
from ttsi.chat.calls import FORMATS
from ttsi.config import SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.models.scripted import DemoModel
from ttsi.synthesis import synthesise
from ttsi.synthesis.retrieval import demonstrations
from ttsi.types import Awareness, GoldExample, Input, Message, Tool, ToolCall, TrainingData

EMPTY = {"type": "object", "properties": {}}
WEATHER, HOTEL, FLIGHT = (Tool(name, f"about {name}", EMPTY) for name in ("weather", "hotel", "flight"))
OFFERED = (WEATHER, HOTEL)
UNSURE = Awareness((), "margin", 0.1, 0.95, True)


def item(request: str, *tools: Tool) -> Input:
    return Input(request, (Message("user", request),), tools or OFFERED)


ROWS = {
    "will it rain in Oslo": WEATHER,
    "a bed in Oslo": HOTEL,
    "fly me to Rome": FLIGHT,
    "will the sun shine in Lima": WEATHER,
}
PAIRS = tuple(GoldExample(item(request, tool, FLIGHT), (ToolCall(tool.name, {}),)) for request, tool in ROWS.items())
DATA = TrainingData("train", "0" * 64, PAIRS)


def retrieved(request: str, source: str = "nearest", k: int = 2, seed: int = 1) -> list[str]:
    config = SynthesisConfig(source=source, k=k)  # type: ignore[arg-type]
    [examples] = synthesise(DATA, [item(request)], [UNSURE], config, [seed])
    return [example.query for example in examples]


def test_the_nearest_comes_last_next_to_the_question() -> None:
    assert retrieved("will it rain tomorrow", k=1) == ["will it rain in Oslo"]
    assert retrieved("will it rain tomorrow") == ["will the sun shine in Lima", "will it rain in Oslo"]
    # "in" is in three of four rows and says little; "bed" is in one.
    assert retrieved("a bed, and will it", k=1) == ["a bed in Oslo"]


def test_equal_rows_and_random_ones_are_drawn_by_the_seed() -> None:
    for source in ("nearest", "random"):
        draws = {tuple(retrieved("xyzzy", source, seed=seed)) for seed in range(8)}
        assert len(draws) > 1, "another seed draws others"
        assert retrieved("xyzzy", source, seed=5) == retrieved("xyzzy", source, seed=5)
    assert sorted(retrieved("xyzzy", "random", k=9)) == sorted(ROWS)


def test_tools_of_its_own_are_told_before_the_request() -> None:
    here, there = item("rain?", WEATHER, FLIGHT), item("rain?", HOTEL)
    config = SynthesisConfig(source="nearest", k=1)
    [[same], [foreign]] = synthesise(DATA, [here, there], [UNSURE] * 2, config, [1, 1])
    same, foreign = replace(same, query="q", calls=PAIRS[0].calls), replace(foreign, query="q")
    assert same.tools == () and foreign.tools
    assert with_demonstrations(here, [same]).messages[0].content == "q"
    turn = with_demonstrations(there, [foreign]).messages[0].content
    assert turn.endswith("\nq") and f'"{foreign.calls[0].name}"' in turn
    [lesson] = training_examples(FORMATS["hermes"], there, [foreign])
    assert lesson.prompt.tools == foreign.tools, "in weights it is learned with the tools that it was made for"


def test_rows_as_lessons_are_whole_conversations_and_what_cannot_be_written_is_left_out() -> None:
    first = (
        Message("system", "be brief"),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("user", "rain"),
    )
    rows = [
        GoldExample(Input("1", first, OFFERED), (ToolCall("weather", {}),)),
        GoldExample(item("nothing to call"), ()),
        GoldExample(item("unknown tool"), (ToolCall("flight", {}),)),
    ]
    [hermes] = gold_training_examples(FORMATS["hermes"], rows)
    assert hermes.prompt.messages == first
    assert '"weather"' in hermes.target
    assert len(gold_training_examples(FORMATS["marked"], rows)) == 2, "the embedded model has words for calling nothing"


def test_data_and_source_must_agree() -> None:
    with pytest.raises(ConfigError, match="this method uses none"):
        synthesise(DATA, [item("x")], [UNSURE], SynthesisConfig(), [1])
    with pytest.raises(ConfigError, match="--train-data"):
        synthesise(DemoModel(), [item("x")], [UNSURE], SynthesisConfig(source="nearest"), [1])


def test_a_row_that_calls_a_tool_not_on_offer_demonstrates_nothing() -> None:
    other = GoldExample(item("rain in Oslo", WEATHER), (ToolCall("get_snow", {}),))
    right = replace(other, calls=(ToolCall(WEATHER.name, {}),))
    config = SynthesisConfig(source="nearest", k=2)
    [examples] = demonstrations(replace(DATA, pairs=(other, *PAIRS)), [item("rain in Oslo", WEATHER)], config, [1])
    assert all(example.query != "rain in Oslo" for example in examples)
    [control] = demonstrations(replace(DATA, pairs=(right, *PAIRS)), [item("rain in Oslo", WEATHER)], config, [1])
    assert control[-1].query == "rain in Oslo"
