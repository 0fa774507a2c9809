"""Does a model in this process hold examples back, contrast, and learn from itself with a longer prompt?"""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tests.conftest import build_model, build_tokenizer
from tests.models.test_local import TOOL, prompt
from ttsi.config import AdaptationConfig
from ttsi.engine.engine_config import EngineConfig
from ttsi.models import Request
from ttsi.models.local import LocalModel
from ttsi.models.temporary_adapters import NOTHING_HELD_BACK, engine_config
from ttsi.types import Adaptation, Message, Prompt, TrainingExample

CONFIG = AdaptationConfig(rank=4, alpha=8.0, lr=5e-3, epochs=3, max_loss_rise=1e6)
LEARNED = [TrainingExample(prompt("rain in Oslo?"), "yes"), TrainingExample(prompt("rain in Rome?"), "no")]
HELD = TrainingExample(prompt("rain in Lima?"), "yes", held_back=True)
DEMONSTRATIONS = (Message("user", "rain in Rome?"), Message("assistant", "no"))


@pytest.fixture
def local() -> LocalModel:
    return LocalModel("tiny", build_model("qwen2"), build_tokenizer())


def adapt(local: LocalModel, *jobs: list[TrainingExample], config: AdaptationConfig = CONFIG) -> list[Adaptation]:
    with local.adapted(list(jobs), config, list(range(len(jobs)))) as outcomes:
        return list(outcomes)


@pytest.mark.parametrize("scope", ["all", "suffix"])
def test_the_record_names_what_was_held_back(local: LocalModel, scope: str) -> None:
    config = replace(CONFIG, held_back=1, scope=scope)  # type: ignore[arg-type]
    chosen, few, plain = adapt(local, [HELD, *LEARNED], LEARNED[:1], [], config=config)
    assert (chosen.samples, len(chosen.held_back_losses), chosen.left_out) == (2, CONFIG.epochs + 1, 0)
    assert (few.status, few.held_back_losses, few.reason) == ("trained", (), NOTHING_HELD_BACK)
    assert plain == Adaptation("none")
    [control] = adapt(local, LEARNED, config=replace(config, held_back=0))
    assert control.reason == "" and control.losses == pytest.approx(chosen.losses, rel=1e-4)


def test_a_refused_adapter_leaves_the_base_to_answer(local: LocalModel) -> None:
    contrary = [replace(LEARNED[0], target="yes, yes"), replace(LEARNED[0], target="\x07\x08 no", held_back=True)]
    question = Request(LEARNED[0].prompt, 6, adapter=0)
    with local.adapted([contrary], replace(CONFIG, lr=2e-2, held_back=1), [0]) as [outcome]:
        assert outcome.status == "training-failed" and outcome.reason == "the held-back loss did not fall"
        assert outcome.adapter_sha256 == "" and len(outcome.held_back_losses) == CONFIG.epochs + 1
        refused = local.generate([question])[0]
    assert refused == local.generate([replace(question, adapter=None)])[0]
    with local.adapted([contrary[:1]], replace(CONFIG, lr=2e-2), [0]) as [control]:
        assert control.status == "trained" and local.generate([question])[0] != refused


def test_where_only_what_is_held_back_fits_nothing_is_trained(local: LocalModel) -> None:
    endless = TrainingExample(prompt("rain " * 999), "yes")
    [outcome] = adapt(local, [endless, HELD], config=replace(CONFIG, held_back=1))
    assert (outcome.status, outcome.reason) == ("training-failed", "no example fits the context")


def test_a_contrast_adds_to_the_loss(local: LocalModel) -> None:
    contrasted = [replace(LEARNED[0], contrast=("yes", "no")), LEARNED[1]]
    with_contrast, without = adapt(local, contrasted, LEARNED)
    scores = local.score([LEARNED[0].prompt], [["yes", "no"]])[0]
    assert with_contrast.losses[0] > without.losses[0]
    [other_way] = adapt(local, [replace(LEARNED[0], contrast=("no", "yes")), LEARNED[1]])
    # softplus(x) - softplus(-x) = x
    assert other_way.losses[0] - with_contrast.losses[0] == pytest.approx(scores[0] - scores[1], abs=1e-3)


def test_the_base_with_examples_in_its_prompt_teaches(local: LocalModel) -> None:
    own = prompt("rain in Oslo?")
    teacher = Prompt((*DEMONSTRATIONS, *own.messages), (TOOL,))
    taught, itself = adapt(
        local, [TrainingExample(own, "yes", teacher=teacher)], [TrainingExample(own, "yes", teacher=own)]
    )
    assert taught.status == "trained" and taught.losses[-1] < taught.losses[0]
    assert itself.losses[0] == pytest.approx(0.0, abs=1e-5), "control"


def test_a_control_token_spelled_in_a_contrast_is_text(local: LocalModel) -> None:
    end = local.tokenizer.convert_ids_to_tokens(next(iter(local.stop_ids)))
    spelled = f"a{end}b"
    example = TrainingExample(prompt("rain in Oslo?"), "yes", contrast=(spelled, spelled))
    preferred, rejected = local.encoder.encode_contrast(example) or ([], [])
    assert preferred == rejected and not local.stop_ids & set(preferred)
    assert local.stop_ids & set(local.encoder.encode_text(spelled)), "the control: unneutralised it is the token"


def test_every_setting_of_the_engine_is_one_of_the_adaptation() -> None:
    """Settings are handed on by name: one that is renamed on one side alone would fall back to the engine's default."""
    own = {field.name for field in fields(AdaptationConfig)}
    assert {field.name for field in fields(EngineConfig)} - own == {"targets"}, "only the layers are the engine's own"
    changed = replace(AdaptationConfig(), rank=3, max_grad_norm=0.5, weight_decay=0.1)  # control: they arrive
    handed = engine_config(changed, parameters=10**8)
    assert (handed.rank, handed.max_grad_norm, handed.weight_decay) == (3, 0.5, 0.1)
