"""Handshakes with every public family: its own format, or a refusal with the reason.

The handshake meets the templates of `templates/families.yaml` and is compared with what is declared there; then whole
conversations go through each of them, and everything said must be in the prompt.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest

from tests.chat.test_family_templates import FAMILIES, tokenizer
from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.grammar import answer_grammar
from ttsi.chat.handshake import Handshake, detect, probe_template, refuse_unread, with_answer
from ttsi.chat.probes import TOOL
from ttsi.chat.template_source import DAY, fix_date
from ttsi.chat.template_turns import Carries, fit_turns
from ttsi.chat.templates import handshake_with, prompt_text, renderer, special_strings
from ttsi.engine.constraint import Grammars
from ttsi.errors import ConfigError, ModelError
from ttsi.types import Message, Prompt, ToolCall

REFUSED = ("firefunction", "refuses")
"""They refuse every conversation."""
BY_THE_MODEL = {"qwen2.5-coder": "hermes", "hammer-2.1": "plain", "phi-4-mini-vllm": "plain"}
"""What their templates say; that the models write otherwise shows when they are asked."""
MET = [name for name in FAMILIES if name not in REFUSED]
OSLO, ROME = ToolCall("get_weather", {"city": "Oslo"}), ToolCall("get_weather", {"city": "Rome"})


def handshake_of(name: str) -> Handshake:
    return handshake_with(tokenizer(name))


def expected_format(name: str) -> str:
    declared = BY_THE_MODEL.get(name, FAMILIES[name]["format"])
    if name == "deepseek-r1":
        return "deepseek-v3"  # its template cannot carry a call, its tokenizer has the marks
    return "plain" if declared in ("none", "unknown") else str(declared)


@pytest.mark.parametrize("name", MET)
def test_a_family_is_spoken_to_in_its_own_way(name: str) -> None:
    family, handshake = FAMILIES[name], handshake_of(name)
    assert handshake.format == expected_format(name)
    carries = handshake.carries
    # Ours in the manner of Nemotron names tools without their arguments: they are listed in words, too.
    assert (carries.tools == "template") == (family["tools"] and name != "nemotron-3")
    if handshake.template_format is not None:
        assert (carries.calls == "template") == family["calls"]
        assert carries.several_calls == family["several_calls"] or carries.calls == "words"
    assert (carries.system == "template") >= family["system"]
    assert (carries.later_system == "template") <= family["second_system"]
    assert carries.roles.startswith(family["roles"][:3])
    assert handshake.dated >= family["date"]
    assert bool(handshake.thinking) == (family["thinks"] == "always" and bool(family["opens"]))


@pytest.mark.parametrize("name", MET)
def test_what_the_template_writes_is_what_is_taught_and_read(name: str) -> None:
    family, handshake = FAMILIES[name], handshake_of(name)
    if handshake.template_format != family["format"] or family["format"] == "harmony":
        return  # nothing of the template's own is taught
    form = FORMATS[handshake.format]
    assert form.parse(family["writes"], [TOOL]).calls == (OSLO,)
    written = "".join(family["writes"].split())
    ids = {'"id":"call00000"': "", ",}": "}"}
    for extra, plain in ids.items():
        written = written.replace(extra, plain)
    assert "".join(form.render([OSLO]).split()) == written.replace("'", '"')
    if family["writes_two"] and form.several:
        assert form.parse(family["writes_two"], [TOOL]).calls == (OSLO, ROME)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_variant_of_a_call_counts_as_words(name: str) -> None:
    forms = [handshake_of(name).chosen_format()] if name in MET else []
    for form in {form.name: form for form in [*forms, *FORMATS.values()]}.values():
        for text in FAMILIES[name].get("variants", ()):
            parsed = form.parse(text, [TOOL])
            assert parsed.error or parsed.calls == (OSLO,), (form.name, text)


CONVERSATION = (
    Message("system", "Rule one."),
    Message("system", "Rule two."),
    Message("user", "Rain in Oslo and Rome?"),
    Message("assistant", "One moment.", (OSLO, ROME)),
    Message("tool", "heavy sleet"),
    Message("tool", "bright sun"),
    Message("assistant", "Sleet there, sun here."),
    Message("user", "And a demonstration?"),
    Message("assistant", "", (OSLO,)),
    Message("user", "And tomorrow?"),
    Message("user", "Please."),
)


@pytest.mark.parametrize("name", MET)
def test_a_whole_conversation_reaches_the_prompt(name: str) -> None:
    fast, handshake = tokenizer(name), handshake_of(name)
    text = prompt_text(fast, handshake.chosen_format(), Prompt(CONVERSATION, (TOOL,)), special_strings(fast), handshake)
    wanted = ["Rule one.", "Rule two.", "get_weather", "Rain in Oslo", "One moment.", "heavy sleet", "bright sun"]
    wanted += ["Sleet there, sun here.", "And a demonstration?", "And tomorrow?", "Please."]
    if name == "gpt-oss":
        wanted.remove("One moment.")  # words beside a call are its thinking, which it drops behind an answer
    assert [part for part in wanted if part not in text] == []
    assert text.count("Oslo") >= 3 and text.count("Rome") >= 2  # in the request, and in each call
    assert text.index("heavy sleet") < text.index("bright sun")


def test_control_a_template_alone_drops_much_of_it() -> None:
    lost = set()
    for name in MET:
        fast = tokenizer(name)
        careless = replace(handshake_of(name), carries=Carries())
        try:
            text = prompt_text(fast, careless.chosen_format(), Prompt(CONVERSATION, (TOOL,)), (), careless)
        except ModelError:
            lost.add("refused")
            continue
        lost |= {part for part in ("Rule two.", "get_weather", "One moment.", "heavy sleet") if part not in text}
        lost |= {"the call"} if text.count("Rome") < 2 else set()
    assert lost == {"refused", "Rule two.", "get_weather", "One moment.", "heavy sleet", "the call"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_refuses_everything_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        handshake_of(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["olmo-3", "functionary-3.1", "seed-oss", "minimax-m2", "made-up"])
def test_a_way_of_calling_that_nobody_reads_is_refused_by_name(name: str) -> None:
    handshake = handshake_of(name)
    with pytest.raises(ModelError, match=r"no registered format reads.*--format"):
        refuse_unread(handshake)
    refuse_unread(handshake_with(tokenizer(name), "hermes"))  # control: the user chose one
    refuse_unread(handshake_of("qwen2.5"))


def test_the_model_s_own_way_wins_where_it_is_likelier() -> None:
    fast = tokenizer("qwen2.5-coder")
    fenced = '```json\n{\n  "name": "get_weather",\n  "arguments": {"city": "Oslo"}\n}\n```'
    hermes = handshake_of("qwen2.5-coder")

    def answer(text: str, likelier: bool) -> Handshake:
        return with_answer(hermes, renderer(fast), text, lambda one, other: likelier)

    updated = answer(fenced, True)
    assert (updated.format, updated.chosen_by, updated.template_format) == ("fenced", "model", "hermes")
    assert updated.model_format == "fenced" and updated.model_text == fenced
    assert updated.carries.calls == "words"  # earlier calls are shown as this model writes them
    prompt = Prompt((Message("user", "Rain?"), Message("assistant", "", (OSLO,)), Message("user", "So?")), (TOOL,))
    assert "```json" in prompt_text(fast, updated.chosen_format(), prompt, (), updated)
    # Controls: less likely, its template's own way, words, another tool, and the user's choice.
    assert answer(fenced, False).format == "hermes"
    assert answer(FORMATS["hermes"].render([OSLO]), True).format == "hermes"
    assert answer("It is cold.", True).format == "hermes"
    assert answer(fenced.replace("get_weather", "get_rain"), True).format == "hermes"
    chosen = handshake_with(fast, "hermes")
    assert with_answer(replace(chosen, chosen_by="user"), renderer(fast), fenced, lambda *_: True).format == "hermes"


def test_thinking_that_the_template_opens_is_closed() -> None:
    for name, end in (("qwen3-thinking", "<think>\n\n</think>\n\n"), ("qwen2.5", "<|im_start|>assistant\n")):
        fast, handshake = tokenizer(name), handshake_of(name)
        text = prompt_text(fast, handshake.chosen_format(), Prompt((Message("user", "Rain?"),), (TOOL,)), (), handshake)
        assert text.endswith(end)


def test_a_model_that_nobody_trained_to_call_makes_one_call_a_turn() -> None:
    untrained, trained = handshake_of("smollm2"), handshake_of("qwen2.5")
    assert not untrained.trained and trained.trained
    two = FORMATS["plain"].render([OSLO, ROME])
    one = FORMATS["plain"].render([OSLO])
    fast = tokenizer("smollm2")
    grammars = Grammars(fast, len(fast), [fast.eos_token_id])

    def admits(form: Format, text: str) -> bool:
        ids = fast(text, add_special_tokens=False)["input_ids"]
        return bool(grammars.matcher(answer_grammar(form, [TOOL], "required")).validate_tokens(ids) == len(ids))

    assert admits(untrained.chosen_format(), one) and not admits(untrained.chosen_format(), two)
    assert untrained.chosen_format().parse(two, [TOOL]).calls == (
        OSLO,
        ROME,
    )  # what it writes freely is read all the same
    # Controls: the same format of a trained model, and of one that called when it was asked.
    assert admits(FORMATS["plain"], two)
    assert admits(with_answer(untrained, renderer(fast), one, lambda *_: True).chosen_format(), two)


def test_a_format_can_be_chosen_and_must_exist() -> None:
    handshake = handshake_with(tokenizer("qwen2.5"), "fenced")
    assert (handshake.format, handshake.chosen_by, handshake.template_format) == ("fenced", "user", "hermes")
    with pytest.raises(ConfigError, match="hermes"):
        probe_template(renderer(tokenizer("qwen2.5")), "hermse")


def test_the_handshake_is_a_table_and_a_record() -> None:
    for name in MET:
        lines = handshake_of(name).table().splitlines()
        assert lines[0].startswith("tool-call format") and handshake_of(name).format in lines[0]
        assert all(len(line) < 140 for line in lines)
        assert handshake_of(name).record()["carries"]["tools"] in ("template", "words")


def test_the_clock_of_a_template_stands_still() -> None:
    dates = "{{ strftime_now('%d %B %Y') }}, {{ strftime_now('%-d/%m, %A') }}"
    source = dates + "{% for m in messages %}{{ m.content }}{% endfor %}"
    fast: Any = tokenizer("smollm2")
    before = fast.chat_template
    try:
        fast.chat_template = source
        assert prompt_text(fast, FORMATS["plain"], Prompt((Message("user", "Hi"),), ()), ()).startswith(
            "26 July 2024, 26/07, Friday"
        )
        assert handshake_of("smollm2").dated
    finally:
        fast.chat_template = before
    other = fix_date(source, datetime.datetime(2001, 2, 3))
    assert other != fix_date(source, DAY) and "February" in other
    assert not handshake_of("smollm2").dated  # control


def test_the_source_alone_shows_the_format() -> None:
    assert detect(None).name == detect("{% for m in messages %}{{ m.content }}{% endfor %}").name == "plain"
    assert detect(tokenizer("glm-4.5").chat_template).name == "glm"


def test_a_result_goes_with_its_own_call_when_turns_are_split() -> None:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
        for i, city in enumerate(("Oslo", "Rome"))
    ]
    turns = [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "sun", "tool_call_id": "c1"},
        {"role": "tool", "content": "sleet", "tool_call_id": "c0"},
    ]
    shaped, _ = fit_turns(turns, [], FORMATS["hermes"], Carries(several_calls=False))
    assert [turn["content"] or turn["tool_calls"][0]["id"] for turn in shaped] == ["c0", "sleet", "c1", "sun"]
