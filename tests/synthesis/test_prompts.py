"""Is a prompt from a file used as it stands, with its slots filled once, and refused by name where a slot is wrong?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.synthesis.test_synthesis import RAIN, TOOLS, TWO, Writer, write
from ttsi.config import SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.synthesis import check_synthesis, prompt_hash
from ttsi.synthesis.prompts import WritingPrompt, chosen_prompt


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prompt.txt"


@pytest.mark.parametrize("order", ["call-first", "query-first"])
def test_the_file_takes_the_place_of_the_built_in_prompt(file: Path, order: str) -> None:
    file.write_text('Like "{seed}", for {tool}. {"not": "a slot"}\n')
    writer = Writer()
    config = SynthesisConfig(k=2, order=order, prompt=file)  # type: ignore[arg-type]
    write(writer, [RAIN], config)
    prompts = [request.prompt.messages[-1].content for request in writer.rounds[0]]
    assert prompts == [
        'Like "rain in Oslo?", for find_hotel. {"not": "a slot"}',
        'Like "rain in Oslo?", for get_weather. {"not": "a slot"}',
    ]


def test_every_tool_can_be_shown() -> None:
    text = WritingPrompt("{seed} {tools}").fill("rain?", TOOLS[0], TOOLS)
    assert text.startswith('rain? [{"type": "function"') and all(tool.name in text for tool in TOOLS)


def test_what_fills_a_slot_is_never_read_for_slots() -> None:
    assert WritingPrompt("{seed} | {tool}").fill("{tool} {nowhere} {0.__class__}", TOOLS[0]) == (
        "{tool} {nowhere} {0.__class__} | get_weather"
    )


@pytest.mark.parametrize(
    ("text", "tools", "line"),
    [
        ("like {seed} in {style}", "free", "there is no slot {style}: use {seed}, {tool}, {tools}"),
        ("write something for {tool}", "likely", "the slot {seed} is missing"),
        ("like {seed} for {tool}", "free", "the slot {tool} is empty with synthesis.tools free"),
    ],
)
def test_a_wrong_slot_is_refused_by_name(file: Path, text: str, tools: str, line: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        check_synthesis(SynthesisConfig(prompt=file, tools=tools))  # type: ignore[arg-type]
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"prompt\.txt cannot be read \(No such file"):
        check_synthesis(SynthesisConfig(prompt=file))
    file.write_bytes(b"\xff{seed}")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        check_synthesis(SynthesisConfig(prompt=file))


def test_a_byte_order_mark_is_no_part_of_the_prompt(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbflike {seed}")
    assert prompt_hash(SynthesisConfig(prompt=file), "marked") == WritingPrompt("like {seed}").version()


def test_control_a_right_file_and_no_file_pass(file: Path) -> None:
    file.write_text("like {seed} for {tool} of {tools}")
    check_synthesis(SynthesisConfig(prompt=file))
    check_synthesis(TWO)


def test_the_hash_is_that_of_the_text_and_of_the_built_in_prompt_without_a_file(file: Path) -> None:
    file.write_text("like {seed}")
    assert prompt_hash(SynthesisConfig(prompt=file), "marked") == WritingPrompt("like {seed}").version()
    assert prompt_hash(TWO, "marked") == chosen_prompt(TWO, "marked").version() != prompt_hash(TWO, "hermes")
    # The hashes that runs of older versions hold.
    assert prompt_hash(TWO, "marked") == "3b4a4f57c660"
    assert prompt_hash(TWO, "hermes") == "a4122774c43d"
