"""The facts of `templates/families.yaml`, checked on the templates beside it.

Every fact is read off what the template writes, through transformers and a tokenizer with the family's own tokens.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

FOLDER = Path(__file__).parent / "templates"
FAMILIES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "families.yaml").read_text("utf-8"))
CARRIED = ("tools", "calls", "results", "system", "second_system", "words_beside_call", "several_calls")
FORMATS = set(
    "hermes fenced plain qwen3-coder glm glm-4.7 llama3 pythonic lfm2 mistral mistral-v11 mistral-v13 granite3 "
    "phi4-mini json-list command deepseek-v3 deepseek-v3.1 kimi-k2 functiongemma gemma4 harmony none unknown".split()
)
"""Those that are read; none: the template takes no tools; unknown: nobody reads it."""

CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Where"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Tell the weather", "parameters": CITY}}
]
USER = {"role": "user", "content": "Is it raining there?"}
HELLO = [USER, {"role": "assistant", "content": "It is."}]
FIRST, SECOND = {"role": "system", "content": "Be brief."}, {"role": "system", "content": "Rhyme from now on."}
NOW = {"role": "user", "content": "And tomorrow?"}
TYPED = {"days": 3, "hourly": True, "units": ["mm"], "near": None}
RESULT, CLOCK, WORDS = "heavy sleet", "the hour of the clock", "One moment please."


class Clock:
    """A clock that says so wherever it is read."""

    @classmethod
    def now(cls) -> Clock:
        """Itself."""
        return cls()

    def strftime(self, _: str) -> str:
        """Never a date."""
        return CLOCK


@cache
def tokenizer(name: str) -> Any:
    """A byte tokenizer with the family's tokens and template."""
    family = FAMILIES[name]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(text, special=True) for text in family["special"]])
    bpe.add_tokens([AddedToken(text, special=False) for text in family["added"]])
    make: Any = PreTrainedTokenizerFast
    fast = make(tokenizer_object=bpe, bos_token=family["bos"], eos_token=family["eos"])
    fast.chat_template = source(family.get("template", name))
    if "default" in family:
        fast.chat_template = {"default": source(family["default"]), "tool_use": fast.chat_template}
    return fast


def source(name: str) -> str:
    """The text of a template."""
    return (FOLDER / f"{name}.jinja").read_text("utf-8")


def prompt_text(name: str, turns: list[dict[str, Any]], **values: Any) -> str:
    """The conversation as the template writes it; nothing where it refuses."""
    if FAMILIES[name]["content"] == "parts":
        turns = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    try:
        return str(tokenizer(name).apply_chat_template(turns, tokenize=False, **values))
    except Exception:  # a template may raise anything; what it refuses it does not carry
        return ""


def a_call(name: str, *cities: str, content: str = "", typed: bool = False) -> list[dict[str, Any]]:
    """The user's turn, the assistant's calls, their results, the answer and the user's next turn.

    Where turns must alternate, neither calls nor results count: two users would meet without the answer.
    """
    family = FAMILIES[name]
    text = family["arguments"] == "text"
    shape = "functions.get_weather:{}" if "NAME" in family.get("ids", "") else "call{:05d}"
    calls: list[dict[str, Any]] = []
    for i, city in enumerate(cities):
        given = {"city": city, **(TYPED if typed else {})}
        function = {"name": "get_weather", "arguments": json.dumps(given) if text else given}
        calls.append({"id": shape.format(i), "type": "function", "function": function})
    results = [{"role": "tool", "content": RESULT, "tool_call_id": call["id"], "name": "get_weather"} for call in calls]
    return [USER, {"role": "assistant", "content": content, "tool_calls": calls}, *results, HELLO[1], NOW]


def writes(family: dict[str, Any]) -> str:
    """The call with what is right before and behind it."""
    return family["before"] + family["writes"] + family["ends"] if family["writes"] else "no such call"


def facts(name: str) -> dict[str, Any]:
    """What the template really carries."""
    family = FAMILIES[name]
    talk, one, both = [FIRST, *HELLO, SECOND, NOW], a_call(name, "Oslo"), a_call(name, "Oslo", "Rome")
    two_users = prompt_text(name, [USER, NOW])
    switches: list[dict[str, Any]] = [{"enable_thinking": on, "thinking": on} for on in (True, False)]
    switched = {prompt_text(name, [USER], add_generation_prompt=True, **switch) for switch in switches}
    with patch.object(chat_template_utils, "datetime", Clock):
        seen = [prompt_text(name, [USER], tools=tools) for tools in (None, TOOLS)]
    return {
        "tools": "get_weather" in prompt_text(name, [USER], tools=TOOLS),
        "calls": writes(family) in prompt_text(name, one, tools=TOOLS),
        "results": RESULT in prompt_text(name, one, tools=TOOLS),
        "system": FIRST["content"] in prompt_text(name, [FIRST, USER]),
        "second_system": SECOND["content"] in prompt_text(name, talk),
        "words_beside_call": WORDS in prompt_text(name, a_call(name, "Oslo", content=WORDS), tools=TOOLS),
        "several_calls": bool(family["writes_two"]) and family["writes_two"] in prompt_text(name, both, tools=TOOLS),
        "roles": "any" if USER["content"] in two_users and NOW["content"] in two_users else "alternate",
        "date": any(CLOCK in text for text in seen),
        "switched": len(switched) > 1,
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_the_facts_are_true_of_the_template(name: str) -> None:
    family = FAMILIES[name]
    real = facts(name)
    assert real.pop("switched") == (family["thinks"] == "optional")
    assert real == {fact: family[fact] for fact in (*CARRIED, "roles", "date")}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_not_carried_leaves_no_trace(name: str) -> None:
    family = FAMILIES[name]
    if not family["calls"]:
        assert "Oslo" not in prompt_text(name, a_call(name, "Oslo"), tools=TOOLS)
        assert not family["writes"]
    if not family["several_calls"]:
        assert "Rome" not in prompt_text(name, a_call(name, "Oslo", "Rome"), tools=TOOLS)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_entry_is_whole(name: str) -> None:
    family = FAMILIES[name]
    assert family["models"] and family["format"] in FORMATS
    assert family["thinks"] in ("no", "optional", "always")
    assert family["arguments"] in ("object", "text", "any")
    assert all("get_weather" in variant and "Oslo" in variant for variant in family.get("variants", ()))
    assert len(family.get("thinking", ())) == (0 if family["thinks"] == "no" else 2)
    assert ("switch" in family) == (family["thinks"] == "optional")
    switch = {family["switch"]: True} if "switch" in family else {}
    assert prompt_text(name, [USER], add_generation_prompt=True, **switch).endswith(family["opens"])
    fast = tokenizer(name)
    for mark in (*family["special"], *family["added"]):
        assert len(fast(mark, add_special_tokens=False)["input_ids"]) == 1
    assert {family["bos"], family["eos"]} - {None} <= {*family["special"], *family["added"]}


@pytest.mark.parametrize("name", FAMILIES)
def test_arguments_are_taken_in_the_form_that_is_declared(name: str) -> None:
    family = FAMILIES[name]
    if not family["calls"]:
        return
    turns = a_call(name, "Oslo")
    function = turns[1]["tool_calls"][0]["function"]
    function["arguments"] = {"city": "Oslo"} if isinstance(function["arguments"], str) else '{"city": "Oslo"}'
    assert (writes(family) in prompt_text(name, turns, tools=TOOLS)) == (family["arguments"] == "any")


@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_lists_and_nothing_are_written_as_declared(name: str) -> None:
    family = FAMILIES[name]
    if not family["calls"]:
        assert family["writes_typed"] is None
        return
    call = family["before"] + family["writes_typed"] + family["ends"]
    assert call in prompt_text(name, a_call(name, "Oslo", typed=True), tools=TOOLS)
    assert call not in prompt_text(name, a_call(name, "Oslo"), tools=TOOLS)  # control


@pytest.mark.parametrize("name", FAMILIES)
def test_a_call_needs_content_where_that_is_declared(name: str) -> None:
    family = FAMILIES[name]
    if not family["calls"]:
        return
    turns = a_call(name, "Oslo")
    del turns[1]["content"]
    assert (writes(family) in prompt_text(name, turns, tools=TOOLS)) == (family["content"] == "any")


def test_control_another_family_s_call_is_not_there() -> None:
    calling = [name for name in FAMILIES if FAMILIES[name]["calls"]]
    for name, other in zip(calling, [*calling[1:], calling[0]], strict=True):
        mine, theirs = writes(FAMILIES[name]), writes(FAMILIES[other])
        if theirs != mine:
            assert theirs not in prompt_text(name, a_call(name, "Oslo"), tools=TOOLS)


def test_control_every_fact_is_true_somewhere_and_false_somewhere() -> None:
    for fact in (*CARRIED, "date", "roles"):
        assert len({family[fact] for family in FAMILIES.values()}) == 2, fact


def test_every_template_is_listed() -> None:
    listed = {family.get("template", name) for name, family in FAMILIES.items()}
    listed |= {family["default"] for family in FAMILIES.values() if "default" in family}
    assert listed == {path.stem for path in FOLDER.glob("*.jinja")}
