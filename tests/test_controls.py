"""Do the controls of the gain change what they name and nothing else: the real loop with other examples, resumable,
paired, and blind to gold?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import ttsi
from dev.control_examples import CONTROLS, NEAR, rotate_labels
from dev.control_rows import ControlRow, RecordFile, WrittenRecord
from dev.control_table import COLUMNS, summary_table
from dev.controls import Experiment, main, run_control
from tests.worlds import TOOLS, row, rows, tool, write
from ttsi.benchmarks import Benchmark, load
from ttsi.call_equality import canonical_calls
from ttsi.config import AnswerConfig, RunConfig
from ttsi.errors import ConfigError, DataError
from ttsi.methods import preset
from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.models import load as load_model
from ttsi.stats import paired_bootstrap
from ttsi.types import Example, ToolCall, last_request
from ttsi.words import jaccard

K = 3
OTHER_TOOLS = [tool("play_song", "Play a song of a city"), tool("ring_bell", "Ring the bell of a city")]


class CountingModel(ModelWrapper):
    """A model that counts what it writes, and rewords where it is asked to without tools."""

    def __init__(self, model: Model, wording: str = "Well then: {}") -> None:
        super().__init__(model)
        self.requests: list[Request] = []
        self._wording = wording

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        return [self._generation(request) for request in requests]

    def _generation(self, request: Request) -> Generation:
        if request.prompt.tools:
            return self._model.generate([request])[0]
        text = self._wording.format(request.prompt.messages[-1].content)
        return Generation(text, 5, -1.0, -1.0, True)

    @property
    def writing(self) -> int:
        """Requests for examples."""
        return sum('"Request:"' in request.prompt.messages[-1].content for request in self.requests)


def world(folder: Path, n: int = 6) -> Benchmark:
    """n rows of three tools, and one of other tools."""
    stranger = {**row("Play something of Turin", "play_song", id="stranger"), "tools": OTHER_TOOLS}
    return load(str(write(folder / "mine.jsonl", [*rows(n), stranger])))


def experiment(
    folder: Path, control: str, model: Model | None = None, limit: int = 6, k: int = K, name: str = "", lr: float = 6e-3
) -> Experiment:
    model = model or CountingModel(load_model("scripted:demo"))
    loop = preset("ttsi", "scripted:demo")
    loop = replace(
        loop,
        awareness=replace(loop.awareness, gate="all"),
        synthesis=replace(loop.synthesis, source="writer", k=k),
        adaptation=replace(loop.adaptation, lr=lr, min_confidence_gain=None),
        answer=replace(loop.answer, calls="required"),
    )
    config = RunConfig(model="scripted:demo", benchmark="mine", limit=limit, batch_size=4, loop=loop)
    return Experiment(control, config, world(folder), model, model, folder / f"{name or control}.jsonl")


def result(experiment: Experiment) -> list[ControlRow]:
    run_control(experiment)
    return list(RecordFile(experiment.output, ControlRow).read().values())


def kept(row: ControlRow) -> list[Example]:
    return [example for example in row.examples if example.refused is None]


@pytest.mark.parametrize(("control", "source"), [("schema", "schema"), ("written", "writer")])
def test_a_control_with_the_methods_own_examples_is_the_method(tmp_path: Path, control: str, source: str) -> None:
    one = experiment(tmp_path, control)
    loop = replace(one.loop, synthesis=replace(one.loop.synthesis, source=source))
    inputs = [sample.input for sample in one.benchmark.samples[:6]]
    episodes = ttsi.improve(inputs, load_model("scripted:demo"), config=loop)
    made = result(one)
    assert [r.examples for r in made] == [e.examples for e in episodes]
    assert [r.calls for r in made] == [e.adapted.calls for e in episodes if e.adapted]
    assert [r.losses for r in made] == [e.adaptation.losses for e in episodes]
    assert [r.measures for r in made] == [e.awareness.measures for e in episodes if e.awareness]
    assert any(r.kept for r in made) and any(r.changed for r in made) == (source == "writer")
    rotated = result(experiment(tmp_path, "rotated"))
    assert [r.examples for r in rotated] != [e.examples for e in episodes], "control"


def test_weights_learn_other_examples_in_the_real_loop(tmp_path: Path, saved_model: Callable[[str], Path]) -> None:
    model = load_model(str(saved_model("qwen2")), dtype="float32")

    def short(control: str) -> Experiment:
        one = experiment(tmp_path, control, model, limit=1, k=2)
        return replace(one, config=replace(one.config, loop=replace(one.loop, answer=AnswerConfig(max_tokens=8))))

    loop = replace(short("schema").loop, synthesis=replace(short("schema").loop.synthesis, source="schema"))
    [episode] = ttsi.improve([short("schema").benchmark.samples[0].input], model, config=loop)
    [made], [other] = result(short("schema")), result(short("other-tools"))
    assert made.losses == episode.adaptation.losses and made.status == "trained"
    assert made.logprob_shift == episode.adaptation.logprob_shift not in (None, 0.0)
    assert other.status == "trained" and other.losses != made.losses, "control"


def test_an_interrupted_control_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = [replace(row, seconds={}) for row in result(experiment(tmp_path, "schema", name="whole"))]
    assert len(whole) == 6
    stopped = experiment(tmp_path, "schema", limit=3, name="cut")
    run_control(stopped)
    with stopped.output.open("a") as file:
        file.write('{"adapted": true, "ba')  # a kill in the middle of a line
    model = CountingModel(load_model("scripted:demo"))
    assert [replace(row, seconds={}) for row in result(experiment(tmp_path, "schema", model, name="cut"))] == whole
    requests = len(model.requests)
    assert requests > 0
    run_control(experiment(tmp_path, "schema", model, name="cut"))
    assert len(model.requests) == requests, "nothing is done twice"
    lines = stopped.output.read_text().splitlines()
    stopped.output.write_text("\n".join(lines[1:]) + "\n")
    run_control(experiment(tmp_path, "schema", model, name="cut"))
    assert len(model.requests) > requests, "control: what is missing is done"


def test_a_line_that_is_no_row_is_refused(tmp_path: Path) -> None:
    one = experiment(tmp_path, "schema", limit=1)
    run_control(one)
    one.output.write_text(one.output.read_text() + "{}\n")
    with pytest.raises(DataError, match="line 2"):
        run_control(one)


def test_controls_share_the_bases_answers_and_what_a_model_writes(tmp_path: Path) -> None:
    model = CountingModel(load_model("scripted:demo"))
    written = result(experiment(tmp_path, "written", model))
    answers, writing = len(model.requests), model.writing
    assert writing > 0
    near = result(experiment(tmp_path, "written-near", model))
    assert model.writing == writing
    assert [r.base_calls for r in near] == [r.base_calls for r in written]
    assert len(model.requests) - answers <= len(near), "only the adapted answers"
    result(experiment(tmp_path, "written", model, name="slow", lr=1e-4))
    assert model.writing == writing, "the learning rate changes no writing"
    assert len(list(tmp_path.glob("base-*"))) == len(list(tmp_path.glob("written-????????????????.jsonl"))) == 1
    result(experiment(tmp_path, "written", model, name="more", k=K + 1))
    assert model.writing > writing, "control: more examples must be written"


@pytest.mark.parametrize(("control", "lr"), [("rotated", 6e-3), ("schema", 1e-3)])
def test_a_file_of_another_experiment_is_refused(tmp_path: Path, control: str, lr: float) -> None:
    run_control(experiment(tmp_path, "schema", limit=2, name="one"))
    run_control(experiment(tmp_path, "schema", limit=3, name="one"))  # a larger limit goes on
    with pytest.raises(DataError, match="another control or other settings"):
        run_control(experiment(tmp_path, control, limit=3, name="one", lr=lr))


def test_overlap_controls_are_parts_of_what_the_model_writes(tmp_path: Path) -> None:
    one = experiment(tmp_path, "written")
    every = result(one)
    # The demo writes no near-copies: put one beside what it wrote for each input.
    file = one.written_file
    copies = [
        WrittenRecord(
            input=r.input,
            repeat=r.repeat,
            examples=(*r.examples, Example(f"{r.request} now now", (ToolCall("get_weather", {"city": "Rome"}),), "")),
        )
        for r in every
    ]
    file.path.unlink()
    file.append(copies)
    parts = {name: result(experiment(tmp_path, name)) for name in CONTROLS if name.startswith("written-")}
    for r, copy in zip(parts["written-near"], copies, strict=True):
        assert kept(r) == [copy.examples[-1]] and r.near == r.kept == 1
    for r in parts["written-overlap-0.7"]:
        assert r.near == 0 and all(jaccard(e.query, r.request) <= NEAR for e in kept(r))
    for r, near, all_written in zip(parts["written-overlap-0.7"], parts["written-near"], every, strict=True):
        assert r.kept + near.kept == all_written.kept + 1
    assert all(jaccard(e.query, r.request) <= 0.5 for r in parts["written-overlap-0.5"] for e in kept(r))


def test_other_tools_are_of_an_input_that_shares_none(tmp_path: Path) -> None:
    class Watching(CountingModel):
        tools: set[str] = set()  # noqa: RUF012

        def adapted(self, jobs, config, seeds):  # type: ignore[no-untyped-def]
            self.tools |= {tool.name for job in jobs for one in job for tool in one.prompt.tools}
            return super().adapted(jobs, config, seeds)

    model = Watching(load_model("scripted:demo"))
    made = result(experiment(tmp_path, "other-tools", model))
    names = {call.name for r in made for example in kept(r) for call in example.calls}
    assert names == model.tools == {tool["function"]["name"] for tool in OTHER_TOOLS}
    assert {r.status for r in made} == {"trained"}
    model.tools = set()
    result(experiment(tmp_path, "schema", model))
    assert model.tools == {tool["function"]["name"] for tool in TOOLS}, "control"


def test_other_tools_give_nothing_where_every_row_shares_one(tmp_path: Path) -> None:
    one = experiment(tmp_path, "other-tools")
    alike = replace(one.benchmark, samples=one.benchmark.samples[:-1])
    assert {(r.kept, r.status) for r in result(replace(one, benchmark=alike))} == {(0, "none")}


def test_rotated_labels_are_all_wrong() -> None:
    calls = [(ToolCall("f", {"x": x}),) for x in "aab"]
    examples = [Example(f"q{i}", call, "") for i, call in enumerate(calls)]
    rotated = rotate_labels([*examples, Example("q3", calls[0], "", "copy: no")])
    assert [e.query for e in rotated] == ["q0", "q1", "q2", "q3"]
    assert [e.refused is None for e in rotated] == [False, True, True, False]
    right = {e.query: canonical_calls(e.calls) for e in examples}
    assert all(canonical_calls(e.calls) != right[e.query] for e in rotated if e.refused is None)
    assert rotate_labels(examples[:1])[0].refused == "control: the next example has the same label"


@pytest.mark.parametrize("wording", ["Well then: {}", "Something nice, please"])
def test_reworded_examples_are_kept_where_they_state_their_values(tmp_path: Path, wording: str) -> None:
    model = CountingModel(load_model("scripted:demo"), wording)
    made = result(experiment(tmp_path, "reworded", model))
    if wording == "Well then: {}":
        assert {r.kept for r in made} == {K}
        assert all(e.query.startswith("Well then: ") for r in made for e in kept(r))
        assert all(str(call.arguments["city"]) in e.query for r in made for e in kept(r) for call in e.calls)
        return
    assert {r.kept for r in made} == {0}, "control"
    assert all("grounded" in str(e.refused) for r in made for e in r.examples)
    assert {r.written for r in made} == {3 * K}, "three tries"


def test_nearest_learns_other_rows_gold_of_validation_data_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment(tmp_path, "nearest")
    with pytest.raises(ConfigError, match="may be a test split"):
        run_control(one)
    monkeypatch.setattr("dev.control_examples.VALIDATION", (one.benchmark.name,))
    gold = {last_request(sample.input): sample.gold for sample in one.benchmark.samples}
    for r in result(one):
        assert r.kept == K
        assert all(gold[e.query] == e.calls and e.query != r.request for e in r.examples)


@pytest.mark.parametrize("name", ["sealtool", "sealtool-sample", "bfcl", "toolworld", "rows.jsonl"])
def test_nearest_refuses_test_splits_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = replace(world(tmp_path), name=name)
    monkeypatch.setattr("dev.controls.load_benchmark", lambda *_: benchmark)
    flags = ["--model", "scripted:demo", "--benchmark", name, "--output", str(tmp_path / "out.jsonl")]
    assert main(["nearest", *flags]) == 2
    assert f"{name} may be a test split" in capsys.readouterr().err


@pytest.mark.parametrize("control", [name for name in CONTROLS if name != "teacher"])
def test_gold_reaches_no_control_but_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: str) -> None:
    one = experiment(tmp_path, control)
    wrong = tuple(replace(s, gold=(ToolCall(s.input.tools[0].name, {"city": "Bern"}),)) for s in one.benchmark.samples)
    monkeypatch.setattr("dev.control_examples.VALIDATION", (one.benchmark.name,))
    two = replace(one, benchmark=replace(one.benchmark, samples=wrong), output=tmp_path / "two.jsonl")
    same = [r.examples for r in result(one)] == [r.examples for r in result(two)]
    assert same == (control != "nearest")


def test_a_teacher_writes(tmp_path: Path) -> None:
    model, teacher = (CountingModel(load_model("scripted:demo")) for _ in range(2))
    assert any(r.kept for r in result(replace(experiment(tmp_path, "teacher", model), writer=teacher)))
    assert teacher.writing > 0 == model.writing


def test_an_input_that_does_not_fit_is_a_row_with_an_error(tmp_path: Path) -> None:
    class Short(CountingModel):
        def fits(self, prompt, max_new_tokens):  # type: ignore[no-untyped-def]
            return "too long" if "Lima" in prompt.messages[-1].content else None

    made = result(experiment(tmp_path, "schema", Short(load_model("scripted:demo"))))
    assert [r.error for r in made] == [None, "prompt: too long", None, None, None, None]
    assert not made[1].base and not made[1].adapted
    assert "| 6 (1 failed) |" in summary_table([tmp_path / "schema.jsonl"])


def verdict(control: str, number: int, base: bool, adapted: bool) -> ControlRow:
    return ControlRow(
        control=control, model="a/b", benchmark="mine", settings="s", id=str(number), input=f"{number:064x}", repeat=0,
        base=base, adapted=adapted, changed=base != adapted, status="trained", written=4, kept=2, near=1,
        losses=(2.0, 1.0) if number else (), seconds={"answer": 1.0, "adaptation": 2.0},
    )  # fmt: skip


def test_the_table_has_paired_numbers(tmp_path: Path) -> None:
    pairs = [(False, True), (False, True), (True, False), (True, True), (False, False)]
    for name, verdicts in (("one", pairs), ("two", [(base, base) for base, _ in pairs[:4]])):
        file = RecordFile(tmp_path / f"{name}.jsonl", ControlRow)
        file.append(verdict(name, number, *pair) for number, pair in enumerate(verdicts))
    lines = summary_table([tmp_path / "one.jsonl", tmp_path / "two.jsonl"]).splitlines()
    one, two = (dict(zip(COLUMNS, line.strip("| ").split(" | "), strict=False)) for line in lines[2:])
    interval = paired_bootstrap([base for base, _ in pairs], [adapted for _, adapted in pairs])
    assert interval is not None
    assert (one["n"], one["base"], one["adapted"], one["fixed"], one["broken"]) == ("5", "40.0", "60.0", "2", "1")
    assert one["gain"] == f"+20.0 [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    assert (one["changed"], one["with examples"], one["kept"], one["near-copies"]) == ("3", "100.0", "50.0", "50.0")
    assert (one["loss"], one["s/input"]) == ("2.00 -> 1.00", "3.00")
    assert two["gain"] == "+0.0"
    assert two["against the first"].startswith("-25.0 [") and two["against the first"].endswith("(n 4)")


def test_the_command_runs_and_sums_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world(tmp_path)
    flags = [
        "--model", "scripted:demo", "--benchmark", str(tmp_path / "mine.jsonl"), "--limit", "3", "--order-seed", "0",
    ]  # fmt: skip
    files = [str(tmp_path / f"{name}.jsonl") for name in ("schema", "own-values")]
    for file in files:
        assert main([Path(file).stem, *flags, "--lr", "0.001", "--output", file]) == 0
    shuffled = [json.loads(line)["id"] for line in Path(files[0]).read_text().splitlines()]
    assert shuffled == [json.loads(line)["id"] for line in Path(files[1]).read_text().splitlines()]
    capsys.readouterr()
    assert main(["--summary", *files]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["schema"], "--output"),
        (["teacher", "--output", "x"], "--teacher SPEC"),
        (["schema", "--teacher", "embedded", "--output", "x"], "no other"),
        (["--summary", "nothing.jsonl"], "has no rows"),
    ],
)
def test_wrong_flags_are_one_line(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
