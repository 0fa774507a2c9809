"""Is the model that ships small, whole, loaded as it was trained, and able to improve itself without being changed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from tests.worlds import few_everywhere
from ttsi.benchmarks import load as load_benchmark
from ttsi.benchmarks.matching import strict
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models.local import LocalModel
from ttsi.models.local_loading import EMBEDDED_WEIGHTS, load_embedded
from ttsi.types import Episode

LIMIT = 12_000_000
SAMPLES = load_benchmark("toolworld-validation").samples


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return load_embedded()


def told(model: LocalModel, count: int, seed: int = 0) -> Sequence[Episode]:
    return improve([s.input for s in SAMPLES[:count]], model, model, replace(few_everywhere(), seed=seed))


def test_the_package_ships_at_most_12_megabytes_of_weights() -> None:
    assert (EMBEDDED_WEIGHTS / "model.safetensors").stat().st_size <= LIMIT
    assert (EMBEDDED_WEIGHTS / "README.md").is_file(), "the model card is missing"


def test_the_tokenizer_cuts_as_in_training(model: LocalModel) -> None:
    """transformers replaces the tokenizer of some model types by another; numbers show it."""
    ids = model.tokenizer.encode(" 4312", add_special_tokens=False)
    assert model.tokenizer.convert_ids_to_tokens(ids) == ["Ġ4", "3", "1", "2"]
    assert model.format.name == "marked"


def test_it_answers_tools_it_never_saw(model: LocalModel) -> None:
    episodes = improve([s.input for s in SAMPLES[:24]], model, model, preset("base", "embedded"))
    right = [strict(e.base.calls, s.gold or ()) for e, s in zip(episodes, SAMPLES, strict=False) if e.base]
    assert sum(right) >= 5
    # Control: another input's gold is not what it says.
    shifted = [strict(e.base.calls, s.gold or ()) for e, s in zip(episodes, SAMPLES[1:], strict=False) if e.base]
    assert sum(shifted) < sum(right)


def test_it_improves_itself_and_stays_the_same_bits(model: LocalModel) -> None:
    before = model.weights_sha256()
    episodes = told(model, 6)
    assert {e.adaptation.status for e in episodes} >= {"trained"}
    assert model.weights_sha256() == before
    with torch.no_grad():  # control: the hash sees a change of one weight in one bit
        weight = next(iter(model.model.parameters()))
        kept = weight[0, 0].clone()
        weight[0, 0] = torch.nextafter(kept, kept + 1)
        assert model.weights_sha256() != before
        weight[0, 0] = kept
    assert model.weights_sha256() == before


def test_the_same_seed_tells_the_same_story(model: LocalModel) -> None:
    def texts(episodes: Sequence[Episode]) -> list[list[str]]:
        return [[example.text for example in episode.examples] for episode in episodes]

    first = texts(told(model, 3))
    assert first == texts(told(model, 3))
    assert first != texts(told(model, 3, seed=1))
