"""Is an input's result its own: the same bits by itself, and the same up to rounding among others?"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from tests.conftest import build_model, build_tokenizer
from tests.test_methods import OFFERED
from tests.worlds import few_everywhere
from ttsi import codec
from ttsi.config import LoopConfig
from ttsi.engine.lora import LoraStack
from ttsi.loop import improve
from ttsi.models.local import LocalModel
from ttsi.models.scripted import DemoModel
from ttsi.types import Episode, Input, Message

Scope = Literal["all", "suffix"]
ASKED = {"Oslo": "rain in Oslo?", "Rome": "is there sun to be expected tomorrow in Rome?", "Nuuk": "a bed in Nuuk?"}
INPUTS = [Input(name, (Message("user", text),), OFFERED) for name, text in ASKED.items()]


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return LocalModel("tiny", build_model("qwen2"), build_tokenizer())


@pytest.fixture(params=["all", "suffix"])
def scope(request: pytest.FixtureRequest) -> Scope:
    """On which tokens the adapters act."""
    name: Scope = request.param
    return name


def settings(scope: Scope = "all") -> LoopConfig:
    """Everything is adapted, with short texts."""
    config = few_everywhere()
    return replace(
        config,
        adaptation=replace(config.adaptation, rank=2, epochs=3, min_confidence_gain=None, scope=scope),
        answer=replace(config.answer, max_tokens=24),
    )


def improved(model: LocalModel, inputs: list[Input], size: int, scope: Scope = "all") -> dict[str, Episode]:
    """By id, so many inputs at a time."""
    parts, config = [inputs[start : start + size] for start in range(0, len(inputs), size)], settings(scope)
    found = [e for part in parts for e in improve(part, model, DemoModel(), config)]
    assert [e.adaptation.status for e in found if e.adaptation] == ["trained"] * len(inputs)
    return {e.input_id: e for e in found}


def bits(episode: Episode) -> str:
    """All that was found, every digit of it, but for the time it took."""
    return codec.dumps(replace(episode, seconds={}))


def test_one_at_a_time_a_result_has_the_same_bits_whoever_came_before(model: LocalModel, scope: Scope) -> None:
    forward, backward = improved(model, INPUTS, 1, scope), improved(model, INPUTS[::-1], 1, scope)
    assert {name: bits(e) for name, e in forward.items()} == {name: bits(e) for name, e in backward.items()}


def test_together_it_is_the_same_up_to_rounding(model: LocalModel, scope: Scope) -> None:
    alone, together = improved(model, INPUTS, 1, scope), improved(model, INPUTS, 3, scope)
    for name, episode in alone.items():
        other = together[name]
        assert episode.examples == other.examples
        assert episode.adaptation is not None and other.adaptation is not None
        assert other.adaptation.losses == pytest.approx(episode.adaptation.losses, rel=1e-4)
        assert other.adapted is not None and episode.adapted is not None
        assert other.adapted.logprob == pytest.approx(episode.adapted.logprob, rel=1e-4)


def test_control_together_the_bits_differ(model: LocalModel) -> None:
    alone, together = improved(model, INPUTS, 1), improved(model, INPUTS, 3)
    assert any(bits(alone[name]) != bits(together[name]) for name in alone)


def test_the_record_has_how_far_the_adapter_moved_its_answer(model: LocalModel, scope: Scope) -> None:
    for episode in improved(model, INPUTS, 3, scope).values():
        done, answer = episode.adaptation, episode.adapted
        assert answer is not None and answer.base_logprob is not None and len(done.adapter_sha256) == 64
        assert done.logprob_shift == pytest.approx((answer.logprob - answer.base_logprob) / answer.tokens)
        assert done.logprob_shift > 0.01
        assert episode.base is not None and episode.base.base_logprob is None


def test_control_an_adapter_that_does_not_act_moves_nothing(
    model: LocalModel, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = LoraStack.gather
    monkeypatch.setattr(LoraStack, "gather", lambda stack, slots_B: gather(stack, [-1] * len(slots_B)))
    for episode in improved(model, INPUTS, 3, scope).values():
        assert episode.adaptation.adapter_sha256 and episode.adaptation.logprob_shift == pytest.approx(0, abs=1e-5)


def test_the_kept_base_records_the_shift_of_the_refused_answer(model: LocalModel) -> None:
    config = replace(settings(), adaptation=replace(settings().adaptation, min_confidence_gain=100.0))
    [episode] = improve(INPUTS[:1], model, DemoModel(), config)
    assert episode.adaptation.refused and episode.adaptation.logprob_shift is not None
    assert episode.adapted == episode.base


def test_without_an_adapter_nothing_moves(model: LocalModel) -> None:
    config = replace(settings(), adaptation=replace(settings().adaptation, method="in-context"))
    [episode] = improve(INPUTS[:1], model, DemoModel(), config)
    assert (episode.adaptation.status, episode.adaptation.logprob_shift) == ("in-context", None)


def test_control_another_scope_is_no_rounding(model: LocalModel) -> None:
    one, other = improved(model, INPUTS[:1], 1)["Oslo"], improved(model, INPUTS[:1], 1, "suffix")["Oslo"]
    assert one.adaptation is not None and other.adaptation is not None and other.adaptation.unadapted > 0
    assert other.adaptation.losses[1:] != pytest.approx(one.adaptation.losses[1:], rel=1e-4)


def test_control_another_seed_is_no_rounding(model: LocalModel) -> None:
    (one,) = improve(INPUTS[:1], model, DemoModel(), settings())
    (other,) = improve(INPUTS[:1], model, DemoModel(), replace(settings(), seed=1))
    assert one.adaptation is not None and other.adaptation is not None
    assert other.adaptation.losses[1:] != pytest.approx(one.adaptation.losses[1:], rel=1e-4)
