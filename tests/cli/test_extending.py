"""The worked examples of docs/extending.md: each runs as it stands, by the command beneath it, and has its effect.

Each example is written to mine.py in an empty folder, as a reader would; a control shows that the command fails, or
that the result differs, without it.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Command, CommandResult
from tests.worlds import rows, write
from ttsi.chat.calls import FORMATS, Parsed, detect
from ttsi.chat.grammar import answer_grammar
from ttsi.config import AdaptationConfig
from ttsi.methods import preset
from ttsi.models import load
from ttsi.object_reference import load_object
from ttsi.runs.reading import load_run
from ttsi.types import Tool, ToolCall

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
LONGEST = 20
OUT = ("--output-dir", "out", "--quiet")


def section(heading: str) -> str:
    """The text under a heading."""
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def code_lines(heading: str) -> list[str]:
    """The lines of a section's example, blank ones left out."""
    [code] = re.findall(r"```python\n(.*?)```", section(heading), re.DOTALL)
    return [line for line in code.splitlines() if line.strip()]


class Reader:
    """A folder in which the example of a section is mine.py, and its command runs as typed."""

    def __init__(self, folder: Path, command: Command) -> None:
        self.folder, self._command = folder, command

    def write(self, heading: str) -> None:
        """Put the example where a reader would."""
        (self.folder / "mine.py").write_text("\n".join(code_lines(heading)), encoding="utf-8")
        sys.modules.pop("mine", None)

    def run(self, heading: str, *more: str, limit: int = 6) -> CommandResult:
        """Type the section's command, for a few inputs and with a model that needs no time where it names none."""
        [line] = re.findall(r"^\$ ttsi (.*)$", section(heading), re.MULTILINE)
        words = shlex.split(line)
        if "--model" in more and "--model" in words:
            del words[(at := words.index("--model")) : at + 2]
        model = () if "--model" in (*words, *more) else ("--model", "scripted:demo")
        return self._command(*words, *model, *OUT, "--limit", str(limit), *more)

    def type(self, *words: str) -> CommandResult:
        """Another command in the same folder."""
        return self._command(*words)


@pytest.fixture
def reader(tmp_path: Path, ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return Reader(tmp_path, ttsi)


EXAMPLES = [
    "A measure", "An example filter", "An objective", "A method", "A benchmark", "A model", "A tool-call format",
]  # fmt: skip


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_is_short(heading: str) -> None:
    assert len(code_lines(heading)) <= LONGEST


def test_the_measure_decides(reader: Reader) -> None:
    reader.write("A measure")
    assert reader.run("A measure").code == 0
    for row in load_run("out").rows:
        awareness = row.episode.awareness
        assert awareness is not None and awareness.measure == "mine:gap"
        first, second = sorted((one.logprob for one in awareness.candidates), reverse=True)[:2]
        assert awareness.value == pytest.approx(first - second)
        assert awareness.unsure == (awareness.value < 2)


def test_the_filter_refuses(reader: Reader) -> None:
    reader.write("An example filter")
    assert reader.run("An example filter", "--awareness.gate", "all").code == 0
    examples = [example for row in load_run("out").rows for example in row.episode.examples]
    long = [example for example in examples if len(example.query.split()) > 6]
    assert long and all(example.refused for example in long)
    assert any(example.refused == "long: more than six words" for example in long)
    assert any(example.refused is None for example in examples), "control: not everything is refused"


def test_the_prompt_is_used_and_recorded(reader: Reader) -> None:
    [prompt] = re.findall(r"```text\n(.*?)```", section("A synthesis prompt"), re.DOTALL)
    (reader.folder / "prompt.txt").write_text(prompt, encoding="utf-8")
    assert reader.run("A synthesis prompt").code == 0
    first = load_run("out").prompt_hash
    other = reader.folder / "other.txt"
    other.write_text(f"Please. {prompt}", encoding="utf-8")
    assert reader.run("A synthesis prompt", "--config", "other.yaml").code == 2  # there is no such file
    (reader.folder / "other.yaml").write_text("synthesis: {prompt: other.txt}\n", encoding="utf-8")
    arguments = ("run", "--config", "other.yaml", "--model", "scripted:demo", "--limit", "6", "--quiet")
    assert reader.type(*arguments, "--output-dir", "other").code == 0
    assert load_run("other").prompt_hash != first
    (reader.folder / "wrong.txt").write_text(prompt.replace("{seed}", "{sed}"), encoding="utf-8")
    refused = reader.type("run", "--synthesis.prompt", "wrong.txt", "--model", "scripted:demo")
    assert refused.code == 2 and "{sed}" in refused.err, "control: a slot that does not exist is refused by name"


def test_the_objective_trains(reader: Reader) -> None:
    pytest.importorskip("torch")
    reader.write("An objective")
    line = ("run", "--limit", "2", "--quiet", "--awareness.gate", "all", "--k", "2")
    losses = []
    for name in ("mine:focal", "cross-entropy"):
        assert reader.type(*line, "--adaptation.objective", name, "--output-dir", name.replace(":", "-")).code == 0
        losses.append([row.episode.adaptation.losses for row in load_run(name.replace(":", "-")).rows])
    assert any(losses[0]) and losses[0] != losses[1]


def test_the_method_adapts(reader: Reader) -> None:
    reader.write("A method")
    gate = ("--awareness.gate", "all")
    assert reader.run("A method", *gate, "--k", "8").code == 0
    learned = load_run("out")
    assert {row.episode.adaptation.status for row in learned.rows} == {"trained"}  # none is "none"
    inherited = replace(learned.config.loop.adaptation, method="lora")
    assert inherited == preset("ttsi", "scripted:demo").adaptation != AdaptationConfig()
    assert reader.run("A method", *gate, "--k", "2", "--clean").code == 0
    assert {row.episode.adaptation.status for row in load_run("out").rows} == {"none"}, "control: two are too few"


def test_the_benchmark_is_graded(reader: Reader) -> None:
    reader.write("A benchmark")
    (reader.folder / "data").mkdir()
    rows = "question,item,count\nsend me two lamps,lamp,2\na chair please,chair,1\n"
    (reader.folder / "data" / "shop.csv").write_text(rows, encoding="utf-8")
    assert reader.run("A benchmark").code == 0
    summary = load_run("out").summary
    assert (summary["n"], summary["matcher"], set(summary["strata"])) == (2, "lenient", {"count=one", "count=several"})


def test_the_model_passes_everything_on(reader: Reader) -> None:
    pytest.importorskip("torch")
    reader.write("A model")
    assert reader.run("A model", limit=2).code == 0
    counted = [row.episode.base for row in load_run("out").rows]
    assert reader.type("run", "--limit", "2", "--output-dir", "plain", "--quiet").code == 0
    assert counted == [row.episode.base for row in load_run("plain").rows]
    wrapper = load_object("model", "mine:Counted")(load("scripted:demo"))
    assert wrapper.written == 0 and wrapper.describe() == load("scripted:demo").describe()


def test_the_format_reads_and_writes(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.write("A tool-call format")
    form = load_object("format", "mine:ACME")
    tool = Tool("get_weather", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    call = ToolCall("get_weather", {"city": "</do>"})
    text = form.render([call], "Let me look.")
    assert text == 'Let me look.\n<do>{"name": "get_weather", "arguments": {"city": "</do>"}}</do>'
    assert form.parse(text, [tool]) == Parsed("Let me look.", (call,))
    assert form.parse(text.removesuffix("</do>"), [tool]).error  # control
    assert '"<do>"' in answer_grammar(form, [tool], "one")
    template = (
        "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}<do>{{ c.function | tojson }}</do>{% endfor %}\n{% endfor %}"
    )
    assert detect(template).name == "plain"  # control: no format reads it yet
    monkeypatch.setitem(FORMATS, "acme", form)
    assert detect(template).name == "acme"


def test_a_model_writes_the_format(reader: Reader, saved_model: Callable[[str], Path]) -> None:
    reader.write("A tool-call format")
    write(reader.folder / "mine.jsonl", rows(1))
    line = ("run", "--benchmark", "mine.jsonl", "--quiet", "--method", "base", "--answer.calls", "one")
    model = ("--model", str(saved_model("qwen2")), "--output-dir", "out")
    try:
        assert reader.type(*line, *model, "--format", "mine:ACME").code == 0
    finally:
        FORMATS.pop("mine:ACME", None)
    [row] = load_run("out").rows
    assert row.episode.base is not None and row.episode.base.text.startswith("<do>{")


@pytest.mark.parametrize("heading", EXAMPLES)
def test_control_without_the_file_the_command_is_refused_in_one_line(heading: str, reader: Reader) -> None:
    refused = reader.run(heading, *(("--model", "scripted:demo") if heading == "A tool-call format" else ()))
    assert refused.code == 2 and "cannot import mine" in refused.err
