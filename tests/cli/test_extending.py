"""Do the worked examples of docs/extending.md work as they stand there?"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.conftest import Command
from ttsi.benchmarks import BENCHMARKS
from ttsi.chat.calls import FORMATS, Parsed, detect
from ttsi.chat.grammar import answer_grammar
from ttsi.errors import DataError
from ttsi.models import MODELS, ModelKind
from ttsi.runs.store import read_json, read_rows
from ttsi.types import Tool, ToolCall

TEXT = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


def example(heading: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The code under a heading, as an importable module."""
    [code] = re.findall(r"```python\n(.*?)```", TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0], re.DOTALL)
    module = ModuleType(name)
    exec(compile(code, f"extending.md: {heading}", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_the_benchmark(ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = example("A benchmark", "shop_example", monkeypatch)
    (tmp_path / "data" / "shop").mkdir(parents=True)
    file = tmp_path / "data" / "shop" / "test.csv"
    file.write_text("question,item,count\nsend me two lamps,lamp,2\na chair please,chair,1\n", encoding="utf-8")
    monkeypatch.setitem(BENCHMARKS, "shop", "shop_example:load")
    arguments = ("--model", "scripted:demo", "--benchmark", "shop", "--data", "data", "--output-dir", "out", "--quiet")
    assert ttsi("run", *arguments).code == 0
    summary = read_json(tmp_path / "out" / "summary.json")
    assert (summary["n"], summary["matcher"], set(summary["strata"])) == (2, "lenient", {"count=one", "count=several"})
    with pytest.raises(DataError):  # control
        shop.load(tmp_path / "nowhere")


def test_the_model(ttsi: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    counted = example("A model", "counted_example", monkeypatch)
    real = counted.load
    monkeypatch.setattr(counted, "load", lambda rest, **where: made.append(real(rest, **where)) or made[-1])
    monkeypatch.setitem(MODELS, "counted", ModelKind("counted_example:load", {}))
    arguments = ("--limit", "2", "--output-dir", "out", "--quiet")
    assert ttsi("run", "--model", "counted:scripted:demo", *arguments).code == 0
    assert ttsi("run", "--model", "scripted:demo", "--limit", "2", "--output-dir", "plain", "--quiet").code == 0
    one, other = ([row.episode.adapted for row in read_rows(tmp_path / name)] for name in ("out", "plain"))
    assert one == other
    assert made[0].written > 0


def test_the_tool_call_format(monkeypatch: pytest.MonkeyPatch) -> None:
    [form] = example("A tool-call format", "acme_example", monkeypatch).FORMATS
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
    assert detect(template).name == "plain"  # control: nobody reads it yet
    monkeypatch.setitem(FORMATS, "acme", form)
    assert detect(template).name == "acme"
