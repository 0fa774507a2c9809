"""The settings: the paper's values, the values that a field takes, and the digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from math import inf, nan
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from ttsi.config import (
    AdaptationConfig,
    AgentConfig,
    AnswerConfig,
    AwarenessConfig,
    LibraryConfig,
    LoopConfig,
    MethodConfig,
    RunConfig,
    SynthesisConfig,
    TeacherConfig,
    check,
)
from ttsi.config_history import digest
from ttsi.errors import ConfigError
from ttsi.methods import ADAPTATION_METHODS, METHODS, preset


def departures_from_the_paper(config: LoopConfig) -> list[str]:
    """The settings in which a configuration is not the paper's."""
    learned = config.adaptation
    found = {
        "gate": (config.awareness.measure, config.awareness.tau, config.awareness.gate) == ("margin", 0.95, "unsure"),
        "writer": (config.synthesis.source, config.synthesis.k) == ("writer", 1),
        "lora": (learned.method, learned.scope, learned.rank, learned.alpha) == ("lora", "all", 8, 16.0),
        "lr": learned.lr == 1e-4,
        "steps": (learned.epochs, learned.batch_size) == (5, 1),
        "schedule": (learned.warmup_ratio, learned.schedule) == (0.03, "cosine"),
    }
    return [name for name, same in found.items() if not same]


@pytest.mark.parametrize("model", [None, "embedded", "smollm2", "hf:some/model", "a/folder", "mine:load"])
def test_the_papers_values_are_the_papers_for_every_model(model: str | None) -> None:
    assert departures_from_the_paper(preset("ttsi-paper", model)) == []
    assert {"writer", "lr", "steps"} <= set(departures_from_the_paper(preset("ttsi", model)))  # control


def test_a_model_without_a_spec_is_any_other_model() -> None:
    bare: Any = object()
    assert preset("ttsi", bare) == preset("ttsi", None) != preset("ttsi", "embedded")


def test_only_base_does_not_adapt() -> None:
    assert {name for name in METHODS if not preset(name, "embedded").adapt} == {"base"}


@pytest.mark.parametrize("name", METHODS)
def test_another_model_has_its_own_gate_learning_rate_scope_and_examples_and_nothing_else(name: str) -> None:
    chosen, elsewhere = preset(name, "embedded"), preset(name, "hf:some/model")
    assert elsewhere == preset(name)
    answer = replace(chosen.answer, fill_omitted=True, convert_dates=True)
    if name == "ttsi-paper":
        assert elsewhere == replace(chosen, answer=answer)
        return
    learned, examples = chosen.adaptation, chosen.synthesis
    if chosen.adapt and ADAPTATION_METHODS[learned.method].trains:
        learned = replace(learned, lr=None, epochs=3, scope="suffix", irrelevance=0, refuse_unstated=True)
    if name in ("ttsi", "ttsi-icl", "ttsi-both", "ttsi-written", "ttd", "ttd-icl"):
        learned = replace(learned, refuse_unstated=True, keep_decision=True)
    if name in ("ttsi", "ttsi-icl", "ttsi-both"):
        examples = replace(examples, source="schema", k=4)
    if name in ("ttd", "ttd-icl"):
        examples = replace(examples, k=4)
    if name == "ttsi-written":
        examples = replace(examples, order="schema-first", k=4, max_rounds=3, temperature=0.7)
    gate = replace(chosen.awareness, measure="grounded_margin", tau=0.85)
    assert elsewhere == replace(chosen, awareness=gate, synthesis=examples, adaptation=learned, answer=answer)


def test_values_of_examples_in_the_prompt_are_refused_as_those_of_learned_ones() -> None:
    """A model copies values from examples in its prompt, and nothing else keeps them out of a single answer."""
    assert preset("ttsi-icl").adaptation.refuse_unstated and preset("ttsi").adaptation.refuse_unstated
    assert not preset("icl").adaptation.refuse_unstated, "control: labelled rows"


def test_control_the_embedded_model_has_its_own() -> None:
    own, elsewhere = preset("ttsi", "embedded"), preset("ttsi")
    assert (own.adaptation.lr, own.adaptation.scope) == (6e-3, "all") != (elsewhere.adaptation.lr, "suffix")
    assert (own.awareness.measure, own.awareness.tau) == ("answer_mean", -0.04)
    assert (own.synthesis.source, own.synthesis.k) == ("writer", 8)


def test_a_model_writes_the_examples_of_ttsi_written_whichever_it_is() -> None:
    written, rule = preset("ttsi-written"), preset("ttsi")
    assert (written.synthesis.source, written.synthesis.k) == ("writer", 4)
    assert replace(written, synthesis=rule.synthesis) == rule, "the examples are the only difference"
    assert rule.synthesis.source != "writer"  # control
    assert preset("ttsi-written", "embedded") == preset("ttsi", "embedded")


@pytest.mark.parametrize("model", ["embedded", "hf:some/model"])
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.with_teacher])
def test_a_teacher_changes_who_writes_the_examples_and_nothing_else(name: str, model: str) -> None:
    alone, taught = preset(name, model), preset(METHODS[name].with_teacher or "", model)
    assert replace(taught, synthesis=alone.synthesis) == alone
    assert taught.synthesis.k == alone.synthesis.k and taught.synthesis.source == "writer"
    assert taught != alone, "control"


def test_in_context_changes_the_adaptation_alone() -> None:
    ours, in_context = preset("ttsi", "embedded"), preset("ttsi-icl", "embedded")
    assert in_context.adaptation.method == "in-context"
    assert replace(in_context, adaptation=ours.adaptation) == ours


@pytest.mark.parametrize("name", METHODS)
def test_no_method_changes_how_answers_are_decoded(name: str) -> None:
    """Methods are compared with each other, and free decoding is never compared with constrained."""
    assert preset(name, "embedded").answer == LoopConfig().answer
    assert preset(name).answer == preset("base").answer


def test_every_method_has_a_gloss() -> None:
    assert all(method.gloss for method in METHODS.values())


def test_a_wrong_method_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ttsi-icl'"):
        preset("ttsi-ilc", "embedded")
    with pytest.raises(ConfigError, match="choose one of: ask-again, base, explore"):
        preset("#")


@pytest.mark.parametrize("calls", ["auto", "required", "one"])
def test_the_tools_that_may_be_called_need_a_grammar(calls: Any) -> None:
    config = LoopConfig(answer=AnswerConfig(calls=calls, tools=("f", "g")))
    check(config)
    free = replace(config, answer=replace(config.answer, calls="auto", decoding="free"))
    with pytest.raises(ConfigError, match=r"answer\.tools limits the calls, which needs a grammar"):
        check(free)
    check(replace(free, answer=replace(free.answer, tools=())))  # the control: all may be called


def test_a_bare_name_is_no_list_of_tools() -> None:
    with pytest.raises(ConfigError, match=r"answer\.tools is 'find': use strings in a tuple"):
        check(LoopConfig(answer=AnswerConfig(tools="find")))  # type: ignore[arg-type]


def test_equal_settings_have_equal_digests() -> None:
    assert (
        digest(preset("ttsi", "embedded")) == digest(preset("ttsi", "embedded")) != digest(preset("base", "embedded"))
    )
    assert digest(replace(preset("ttsi-icl", "embedded"), adaptation=preset("ttsi", "embedded").adaptation)) == digest(
        preset("ttsi", "embedded")
    )
    assert len(digest(LoopConfig())) == 16


def test_agents_runs_from_before_max_turns_keep_their_digest() -> None:
    loop = replace(LoopConfig(), answer=AnswerConfig(repetition_limit=0))
    run = RunConfig(benchmark="toolworld-turns", agent=AgentConfig(life="turn"), loop=loop)
    assert digest(run) == "2ca1a6751d344795"
    assert digest(replace(run, agent=replace(run.agent, max_turns=5))) != digest(run)


def test_control_every_setting_changes_the_digest() -> None:
    config = LoopConfig()
    digests = {digest(config), digest(replace(config, seed=1)), digest(replace(config, adapt=False))}
    n_settings = 0
    for stage in ("awareness", "synthesis", "adaptation", "answer"):
        settings = getattr(config, stage)
        for setting in fields(settings):
            n_settings += 1
            digests.add(digest(replace(config, **{stage: replace(settings, **{setting.name: "something else"})})))
    assert len(digests) == n_settings + 3


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (LoopConfig(awareness=AwarenessConfig(share=-0.1)), "awareness.share is -0.1: use a number between 0 and 1"),
        (LoopConfig(synthesis=SynthesisConfig(k=-1)), "synthesis.k is -1: use 0 or more"),
        (LoopConfig(adaptation=AdaptationConfig(lr=float("nan"))), "adaptation.lr is nan: use 0 or more"),
        (LoopConfig(awareness=AwarenessConfig(gate="unsre")), "gate 'unsre'; did you mean 'unsure'?"),  # type: ignore[arg-type]
        (LoopConfig(answer=AnswerConfig(calls="two")), "unknown value of answer.calls 'two'; choose one of: auto"),  # type: ignore[arg-type]
        (LoopConfig(answer=AnswerConfig(calls="one", decoding="free")), "answer.calls is 'one', which needs a grammar"),
    ],
)
def test_a_value_that_a_field_does_not_take_is_refused_in_one_line(config: LoopConfig, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check(config)
    assert line in str(refusal.value) and "\n" not in str(refusal.value)
    with pytest.raises(ConfigError):
        RunConfig(loop=config)


def with_setting(setting: str, value: object) -> LoopConfig:
    """The defaults with one setting, by its dotted name, changed."""
    stage, _, name = setting.rpartition(".")
    changes: dict[str, Any] = {name: value}
    return replace(LoopConfig(), **({stage: replace(getattr(LoopConfig(), stage), **changes)} if stage else changes))


WRONG_TYPES: list[tuple[str, object, str]] = [
    ("synthesis.k", 2.5, "2.5: use a whole number"),
    ("synthesis.k", 4.0, "4.0: use a whole number"),
    ("synthesis.k", True, "True: use a whole number"),
    ("synthesis.k", "8", "'8': use a whole number"),
    ("synthesis.k", None, "None: use a whole number"),
    ("adaptation.rank", 8.5, "8.5: use a whole number"),
    ("seed", False, "False: use a whole number"),
    ("adaptation.alpha", "16", "'16': use a number"),
    ("adaptation.lr", "1e-3", "'1e-3': use a number or None"),
    ("adaptation.lr", True, "True: use a number or None"),
    ("awareness.tau", True, "True: use a number"),
    ("awareness.tau", None, "None: use a number"),
    ("adaptation.min_confidence_gain", True, "True: use a number or None"),
    ("awareness.no_tool", 1, "1: use True or False"),
    ("adapt", "no", "'no': use True or False"),
    ("awareness.measure", len, "<built-in function len>: use a string"),
    ("answer.grammar", 7, "7: use a string or None"),
    ("synthesis.prompt", 7, "7: use a path or None"),
    ("synthesis.filter", "mine:short", "'mine:short': use strings in a tuple"),
    ("synthesis.filter", (len,), "(<built-in function len>,): use strings in a tuple"),
    ("adaptation", {"rank": 8}, "{'rank': 8}: use AdaptationConfig(...)"),
    ("answer", None, "None: use AnswerConfig(...)"),
    ("awareness.measure", "line\nbreak".split(), "['line', 'break']: use a string"),
]


@pytest.mark.parametrize(("setting", "value", "line"), WRONG_TYPES)
def test_a_value_of_another_type_is_refused_by_name_in_one_line(setting: str, value: object, line: str) -> None:
    config = with_setting(setting, value)
    with pytest.raises(ConfigError) as refusal:
        check(config)
    assert str(refusal.value) == f"{setting} is {line}"
    with pytest.raises(ConfigError):
        RunConfig(loop=config)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synthesis.k", 4), ("adaptation.alpha", 16), ("awareness.tau", 1), ("adaptation.lr", None),
        ("adaptation.lr", 1), ("adaptation.min_confidence_gain", 0), ("awareness.gate", "all"), ("answer.grammar", "x"),
        ("synthesis.prompt", "prompt.txt"), ("synthesis.prompt", Path("prompt.txt")), ("synthesis.filter", ["a:b"]),
        ("synthesis.filter", ("a:b",)), ("adapt", False),
    ],
)  # fmt: skip
def test_control_a_value_of_the_type_is_taken(setting: str, value: object) -> None:
    check(with_setting(setting, value))


def test_a_run_an_agent_and_a_teacher_have_types_too() -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: RunConfig(limit=2.5), "limit is 2.5: use a whole number or None"),  # type: ignore[arg-type]
        (lambda: RunConfig(batch_size=True), "batch_size is True: use a whole number"),
        (lambda: RunConfig(model=7), "model is 7: use a string"),  # type: ignore[arg-type]
        (lambda: RunConfig(loop=None), "loop is None: use LoopConfig"),  # type: ignore[arg-type]
        (lambda: RunConfig(library=LibraryConfig(max_bytes=1e9)), "library.max_bytes is 1000000000.0: use a whole"),  # type: ignore[arg-type]
        (lambda: AgentConfig(max_steps=2.5), "agent.max_steps is 2.5: use a whole number"),  # type: ignore[arg-type]
        (lambda: TeacherConfig(attempts=0), "teacher.attempts is 0: use 1 or more"),
        (lambda: TeacherConfig(timeout="60"), "teacher.timeout is '60': use a number"),  # type: ignore[arg-type]
    ]
    for build, line in wrong:
        with pytest.raises(ConfigError, match=f"^{line}"):
            build()
    RunConfig(limit=2, data="data", library=LibraryConfig(folder="library"))  # type: ignore[arg-type] # control


def test_the_value_of_a_refused_setting_is_cut_where_it_is_long() -> None:
    with pytest.raises(ConfigError) as refusal:
        check(with_setting("answer.max_tokens", "x" * 1000))
    assert len(str(refusal.value)) < 120


@pytest.mark.parametrize("name", ["limit", "batch_size", "train_limit"])
def test_a_run_has_ranges_too(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(ConfigError, match=f"{name} is 0: use 1 or more"):
        RunConfig(**settings)
    RunConfig(**{**settings, name: 1})  # control


INFINITE = {"awareness.tau": (inf, -inf), "adaptation.max_loss_rise": (inf,), "library.max_divergence": (inf,)}
"""Settings that take infinite numbers: all or nothing is below a threshold, nothing above a limit."""


def floats() -> list[str]:
    """The dotted names of all settings that are floats, of a loop, a library, an agent and a teacher."""
    stages: list[Any] = [("library", LibraryConfig), ("agent", AgentConfig), ("teacher", TeacherConfig)]
    stages += [("awareness", AwarenessConfig), ("synthesis", SynthesisConfig), ("adaptation", AdaptationConfig)]
    found = [(stage, name, str(hint)) for stage, kind in [*stages, ("answer", AnswerConfig)]
             for name, hint in get_type_hints(kind).items()]  # fmt: skip
    return [f"{stage}.{name}" for stage, name, hint in found if "float" in hint]


def build(setting: str, value: float) -> object:
    stage, _, name = setting.partition(".")
    given: dict[str, Any] = {name: value}
    if stage == "agent":
        return AgentConfig(**given)
    if stage == "teacher":
        return TeacherConfig(**given)
    if stage == "library":
        return MethodConfig(library=LibraryConfig(**given))
    return RunConfig(loop=with_setting(setting, value))


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("setting", floats())
def test_a_number_that_is_not_finite_is_refused_by_name(setting: str, value: float) -> None:
    if value in INFINITE.get(setting, ()):  # the control
        build(setting, value)
        return
    with pytest.raises(ConfigError) as refusal:
        build(setting, value)
    assert str(refusal.value).startswith(f"{setting} is {value}: use ")


def test_control_all_floats_are_tried_and_finite_ones_are_taken() -> None:
    assert len(floats()) > 15 and INFINITE.keys() < set(floats())
    for setting in floats():
        build(setting, 0.5)


def test_a_learning_rate_is_finite_or_chosen_by_the_model_s_size() -> None:
    for lr in (float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=r"adaptation\.lr is (inf|nan)"):
            check(LoopConfig(adaptation=AdaptationConfig(lr=lr)))
    check(LoopConfig(adaptation=AdaptationConfig(lr=None)))  # control
