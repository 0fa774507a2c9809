"""Objects of the user's own: each mistake in one is refused in one line, and a run is not resumed with another text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.errors import ConfigError, RunFolderError
from ttsi.methods import preset
from ttsi.runs.evaluation import evaluate
from ttsi.runs.folder import write_json
from ttsi.runs.reading import load_run
from ttsi.runs.store import read_json

MINE = """
import math
from contextlib import contextmanager
from dataclasses import replace
from ttsi import LoopConfig
from ttsi.adaptation import in_context
from ttsi.awareness.measures import measure
from ttsi.errors import ModelError
from ttsi.methods import Method
from ttsi.models import ModelWrapper
from ttsi.models.scripted import DemoModel
from ttsi.types import ToolCall

def right(evidence): return evidence.answer_logprob
def nothing(evidence): return None
def text(evidence): return "0.3"
def verdict(evidence): return True
def whole(evidence): return 1
@measure(upper=0.0)
def above(evidence): return 0.5
@measure(upper=1.0)
def below(evidence): return 0.5
def refuses(example, item, kept, config): return "mine: always"
def truth(example, item, kept, config): return True
def silence(example, item, kept, config): return ""
def no_block(task): return None
@contextmanager
def no_result(task): yield None
@contextmanager
def too_few(task):
    with in_context(task) as tuned:
        yield replace(tuned, adaptations=tuned.adaptations[:-1])
@contextmanager
def as_shipped(task):
    with in_context(task) as tuned:
        yield tuned
def scalar(logprobs, mask): return -(logprobs * mask).sum()
def cross(logprobs, mask): return -(logprobs * mask).sum(1) / mask.sum(1)
def stops(example, item, kept, config): raise KeyError("column")
def leaves(example, item, kept, config): raise SystemExit(3)
def goes(evidence): raise SystemExit(3)
@contextmanager
def stops_too(task):
    raise KeyError("column")
    yield
@contextmanager
def counts(task):
    open("calls.txt", "a").close()
    with in_context(task) as tuned:
        yield tuned
def never(evidence): return math.nan
def load(device="auto", dtype="auto"): return ModelWrapper(DemoModel())
class Yes(ModelWrapper):
    def __init__(self, device="auto", dtype="auto"): super().__init__(DemoModel())
    def fits(self, prompt, max_new_tokens): return True
class Deaf(ModelWrapper):
    def __init__(self, device="auto", dtype="auto"): super().__init__(DemoModel())
    def generate(self, requests):
        call = self.format.render([ToolCall("no_such_tool", {})])
        return [replace(one, text=call) for one in super().generate(requests)]
class Wordy(ModelWrapper):
    def __init__(self, device="auto", dtype="auto"): super().__init__(DemoModel())
    def generate(self, requests): return [replace(one, text="It seldom rains.") for one in super().generate(requests)]
class Half(DemoModel):
    def generate(self, requests): return [replace(one, text=one.text + "\\ud800") for one in super().generate(requests)]
class Quotes(DemoModel):
    def generate(self, requests): raise ModelError("cannot read \\ud800")
def half(**options): return Half()
def quotes(**options): return Quotes()
class Odd(Yes):
    def describe(self): return {"names": {1}}
STAGE = Method("a stage that does not exist", {"adaption": {"method": "lora"}})
SETTING = Method("a setting that does not exist", {"adaptation": {"metod": "lora"}})
def fails(data_dir): raise KeyError("column")
number = 3
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "own_objects.py").write_text(MINE)
    write(tmp_path / "mine.jsonl", rows(8))
    yield
    sys.modules.pop("own_objects", None)


def run(ttsi: Any, *words: str, model: str = "scripted:demo") -> Any:
    questions = () if "--benchmark" in words else ("--benchmark", "mine.jsonl")
    command = ("run", *questions, "--model", model, "--output-dir", "out", "--quiet")
    gate = () if "--awareness.gate" in words else ("--awareness.gate", "all")
    return ttsi(*command, *words, *gate)


@pytest.mark.parametrize(
    ("flag", "name", "line"),
    [
        ("--awareness.measure", "nothing", "the measure own_objects:nothing returned None: return a float"),
        ("--awareness.measure", "text", "the measure own_objects:text returned '0.3': return a float"),
        ("--awareness.measure", "verdict", "the measure own_objects:verdict returned True: return a float"),
        (
            "--awareness.measure",
            "above",
            "the measure own_objects:above returned 0.5 and declares upper=0: return at most that, or declare more",
        ),
        ("--awareness.measure", "number", "is not a function but of type int"),
        ("--synthesis.filter", "number", "is not a function but of type int"),
        ("--synthesis.filter", "truth", "the example filter truth returned True: return a reason (a str) or None"),
        ("--synthesis.filter", "silence", "the example filter silence returned '': return a reason (a str) or None"),
        ("--adaptation.method", "number", "is not a function but of type int"),
        ("--adaptation.method", "no_block", "is no context manager: decorate it with @contextmanager"),
        ("--adaptation.method", "no_result", "yields None: yield a Tuned"),
        ("--adaptation.method", "too_few", "yields 7 entries for 8 inputs"),
        ("--adaptation.objective", "number", "is not a function but of type int"),
        ("--method", "STAGE", "unknown stage 'adaption'; did you mean 'adaptation'?"),
        ("--method", "SETTING", "unknown setting of adaptation 'metod'; did you mean 'method'?"),
        ("--benchmark", "fails", "KeyError: 'column'"),
    ],
)
def test_a_mistake_ends_the_run_in_one_line(ttsi: Any, flag: str, name: str, line: str) -> None:
    result = run(ttsi, flag, f"own_objects:{name}")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert line in result.err and "bug" not in result.err


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--awareness.measure", "right"),
        ("--awareness.measure", "whole"),
        ("--awareness.measure", "below"),
        ("--synthesis.filter", "refuses"),
        ("--adaptation.method", "as_shipped"),
    ],
)
def test_control_right_objects_run(ttsi: Any, flag: str, name: str) -> None:
    assert run(ttsi, flag, f"own_objects:{name}").code == 0


def test_an_objective_of_another_shape_ends_the_run(ttsi: Any) -> None:
    wrong = run(ttsi, "--adaptation.objective", "own_objects:scalar", model="embedded")
    notice, line = wrong.err.splitlines()
    assert "the embedded model has met only the small world" in notice
    assert wrong.code == 2 and "one loss per slot is wanted" in line
    assert run(ttsi, "--adaptation.objective", "own_objects:cross", "--clean", model="embedded").code == 0


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Yes", "the model scripted:demo: fits returned True: return None where the prompt fits"),
        ("Odd", "the model scripted:demo: describe returned {'names': {1}}: return JSON values"),
    ],
)
def test_a_mistake_of_a_model_ends_the_run_in_one_line(ttsi: Any, name: str, line: str) -> None:
    result = run(ttsi, model=f"own_objects:{name}")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert line in result.err
    assert run(ttsi, "--clean", model="own_objects:load").code == 0  # control


def test_a_model_that_ignores_grammars_is_named_once_in_a_run(ttsi: Any) -> None:
    result = run(ttsi, "--method", "base", model="own_objects:Deaf")
    assert (result.code, result.err.count("does not follow the grammar of its requests")) == (0, 1), result.err
    free = run(ttsi, "--method", "base", "--answer.decoding", "free", "--clean", model="own_objects:Deaf")
    kept = run(ttsi, "--method", "base", "--clean", model="own_objects:load")
    assert (free.code, kept.code) == (0, 0)
    assert "does not follow" not in free.err + kept.err  # controls


MEASURE = ("--awareness.measure", "own_objects:right")


def test_a_changed_function_is_another_run(ttsi: Any, tmp_path: Path) -> None:
    assert run(ttsi, *MEASURE).code == 0
    assert list(read_json(tmp_path / "out" / "config.json")["sources"]) == ["own_objects:right"]
    assert run(ttsi, *MEASURE, "--resume").code == 0, "control: the same text goes on"
    before = (tmp_path / "out" / "summary.json").read_bytes()
    (tmp_path / "own_objects.py").write_text(MINE.replace("evidence.answer_logprob", "-1.0"))
    sys.modules.pop("own_objects")
    changed = run(ttsi, *MEASURE, "--resume")
    assert changed.code == 2 and "it differs in sources.own_objects:right" in changed.err
    assert (tmp_path / "out" / "summary.json").read_bytes() == before


def test_a_record_without_hashes_goes_on(ttsi: Any, tmp_path: Path) -> None:
    assert run(ttsi, *MEASURE).code == 0
    record = read_json(tmp_path / "out" / "config.json")
    del record["sources"]
    write_json(tmp_path / "out" / "config.json", record)
    assert run(ttsi, *MEASURE, "--resume").code == 0


@pytest.mark.parametrize("text", ["[]", "null", '"x"', '{"settings": 3}'])
def test_a_record_of_another_shape_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    evaluate("mine.jsonl", "scripted:demo", output_dir="out")
    (tmp_path / "out" / "config.json").write_text(text)
    with pytest.raises(RunFolderError, match="cannot be read"):
        evaluate("mine.jsonl", "scripted:demo", output_dir="out")


def test_what_is_no_model_and_no_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the model is an object without 'spec'"):
        evaluate("mine.jsonl", object())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="config is a dict"):
        evaluate("mine.jsonl", "scripted:demo", {})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cannot import no_such"):
        settings = preset("ttsi", "scripted:demo")
        from dataclasses import replace

        settings = replace(settings, awareness=replace(settings.awareness, measure="no_such:thing"))
        evaluate("mine.jsonl", "scripted:demo", settings, output_dir="new")
    assert not (tmp_path / "new").exists(), "refused before a folder is made"


UNSURE = ("--awareness.gate", "unsure", "--awareness.measure", "margin", "--awareness.tau", "0.5")


@pytest.mark.parametrize(("flag", "name"), [("--synthesis.filter", "stops"), ("--adaptation.method", "stops_too")])
def test_a_run_in_which_adaptation_failed_throughout_ends_with_a_line(ttsi: Any, flag: str, name: str) -> None:
    result = run(ttsi, flag, f"own_objects:{name}")
    line = "adaptation failed for 8 of 8 inputs (the most frequent reason: KeyError: 'column'); the base answered them"
    assert (result.code, result.err.count(line)) == (1, 1), result.err
    control = run(ttsi, "--synthesis.filter", "own_objects:refuses", "--clean")
    assert (control.code, "adaptation failed" in control.err) == (0, False)


def test_a_run_of_a_model_that_calls_nothing_says_how_to_demand_calls(ttsi: Any) -> None:
    words = ("--awareness.gate", "unsure", "--awareness.tau", "2", "--adaptation.keep-decision")
    hint = "8 of 8 unsure inputs were answered in words, so they were not adapted"
    assert hint in run(ttsi, *words, model="own_objects:Wordy").err
    # Controls: a model that calls, and a method that adapts all the same.
    assert "in words" not in run(ttsi, *words, "--clean").err
    adapted = run(ttsi, *words[:4], "--adaptation.no-keep-decision", "--clean", model="own_objects:Wordy")
    assert "in words" not in adapted.err


def test_only_inputs_that_were_to_be_adapted_fail_and_are_tried_again(ttsi: Any) -> None:
    words = ("--adaptation.method", "own_objects:stops_too", *UNSURE)
    result = run(ttsi, *words)
    statuses = [(row.episode.awareness.unsure, row.episode.adaptation.status) for row in load_run("out").rows]  # type: ignore[union-attr]
    assert set(statuses) == {(True, "training-failed"), (False, "none")}, "both kinds, or this test shows nothing"
    unsure = statuses.count((True, "training-failed"))
    assert f"adaptation failed for {unsure} of {unsure} inputs" in result.err and result.code == 1
    assert run(ttsi, *words, "--retry-failed").code == 1
    assert {(row.attempts, row.episode.adaptation.status) for row in load_run("out").rows} == {
        (2, "training-failed"),
        (1, "none"),
    }
    control = run(ttsi, "--adaptation.method", "own_objects:as_shipped", *UNSURE, "--clean")
    assert (control.code, load_run("out").summary["metrics"]["adaptations.failed"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--awareness.measure", "own_objects:goes"), "error"),
        (("--synthesis.filter", "own_objects:leaves"), "adaptation"),
    ],
)
def test_code_that_leaves_the_program_fails_its_input_and_not_the_run(
    ttsi: Any, words: tuple[str, ...], field: str
) -> None:
    result = run(ttsi, *words)
    assert result.code == 1 and len(load_run("out").rows) == 8
    for row in load_run("out").rows:
        adaptation = row.episode.adaptation
        reason = row.episode.error if field == "error" else adaptation and adaptation.reason
        assert reason == "SystemExit: 3"
    control = run(ttsi, words[0], {"error": "own_objects:right", "adaptation": "own_objects:refuses"}[field], "--clean")
    assert control.code == 0


def test_a_method_of_ones_own_meets_no_empty_batch(ttsi: Any, tmp_path: Path) -> None:
    for number, tau in enumerate(("-1", "2")):  # nothing is unsure, everything is: the second is a control
        words = ("--adaptation.method", "own_objects:counts", *UNSURE[:-1], tau, "--clean")
        assert run(ttsi, *words).code == 0
        assert (tmp_path / "calls.txt").exists() is bool(number)


def test_a_measure_that_is_no_number_is_counted(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = ("--awareness.gate", "unsure", "--clean")
    refused = run(ttsi, "--awareness.measure", "own_objects:never", *unsure)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "the measure own_objects:never is NaN for 8 of 8 inputs" in refused.err
    answered = run(ttsi, "--awareness.measure", "own_objects:never", "--clean")  # every input is adapted anyway
    assert answered.code == 0 and "is NaN for 8 of 8 inputs, which counts as unsure" in answered.err
    control = run(ttsi, "--awareness.measure", "own_objects:right", *unsure)
    assert (control.code, "NaN" in control.err) == (0, False)


OBJECTS = "{model: 'own_objects:load', synthesis: {filter: ['own_objects:refuses']}, awareness.gate: all}"


def test_objects_of_ones_own_in_a_sweep_and_its_report(ttsi: Any, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"run: {OBJECTS}\ngrid: {{awareness.measure: ['own_objects:right', margin]}}\n")
    assert ttsi("sweep", "s.yaml", "--benchmark", "mine.jsonl", "--output-dir", "out", "--quiet").code == 0
    [own, built_in] = [load_run(f"out/awareness.measure={name}") for name in ("own_objects-right", "margin")]
    assert {row.episode.awareness.measure for row in own.rows if row.episode.awareness} == {"own_objects:right"}
    assert {row.episode.awareness.measure for row in built_in.rows if row.episode.awareness} == {"margin"}  # control
    examples = [example for row in own.rows for example in row.episode.examples]
    assert "mine: always" in {example.refused for example in examples}
    assert ttsi("report", "out", "--output", "report.html").code == 0
    assert "own_objects:right" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_objects_of_ones_own_answer_one_request(ttsi: Any) -> None:
    command = ("ask", "book seats for a film in Oslo", "--tools", "examples/tools.json", "--adapt-anyway")
    own = ("--awareness.measure", "own_objects:right", "--synthesis.filter", "own_objects:refuses")
    result = ttsi(*command, "--model", "own_objects:load", *own)
    assert (result.code, "own_objects:right" in result.out, "mine: always" in result.out) == (0, True, True)
    control = ttsi(*command, "--model", "own_objects:load")
    assert (control.code, "own_objects:right" in control.out, "mine: always" in control.out) == (0, False, False)


@pytest.mark.parametrize("name", ["half", "quotes"])
def test_half_a_surrogate_pair_of_a_model_stands_escaped_in_every_file(ttsi: Any, tmp_path: Path, name: str) -> None:
    half = "\ud800"
    with pytest.raises(UnicodeEncodeError):  # the control: it has no place in UTF-8
        half.encode()
    assert run(ttsi, model=f"own_objects:{name}").code == (0 if name == "half" else 1)
    assert r"\ud800" in str(read_json(tmp_path / "out" / "summary.json")["reasons"]) or name == "half"
    for kind in ("csv", "jsonl", "parquet"):
        if kind == "parquet":
            pytest.importorskip("pyarrow")
        assert ttsi("export", "out", "--format", kind, "--output", f"rows.{kind}").code == 0
    assert r"\ud800" in (tmp_path / "rows.csv").read_text(encoding="utf-8")
    for page in ("page.html", "page.md"):
        assert ttsi("report", "out", "--output", page).code == 0
    command = ("ask", "book seats for a film in Oslo", "--tools", "examples/tools.json", "--json")
    episode = json.loads(ttsi(*command, "--model", f"own_objects:{name}").out)
    assert half in (episode["base"]["text"] if name == "half" else episode["error"])
