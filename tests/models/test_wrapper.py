"""Does a model that stands in front of another hide its memory, or that its weights have changed?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import pytest
import torch

from tests.test_methods import DATA, Counting, run
from ttsi.adaptation.shared import supervised
from ttsi.config import AdaptationConfig
from ttsi.engine import prefix
from ttsi.errors import ModelError
from ttsi.models import Generation, Model, ModelWrapper, Request
from ttsi.models.cached import CachedModel
from ttsi.models.scripted import DemoModel
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.types import Message, Prompt

Front = Callable[[Model], Model]


@pytest.fixture(params=["recalling", "shared"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    """Something new in front of a model, for as long as the test lasts."""
    config = AdaptationConfig(rank=2, epochs=2, lr=2e-2, batch_size=2)
    with ExitStack() as life:
        yield {
            "recalling": CachedModel,
            "shared": lambda model: life.enter_context(supervised(model, DATA, config, seed=3)),
        }[request.param]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(prefix, "MIN_CACHED_TOKENS", 1)
    return Counting()


def tokens_read(tiny: Counting, model: Model, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tokens that the weights see while two inputs are answered and measured."""
    counts: list[int] = []
    body = tiny.model.base_model.forward

    def counting(**arguments: Any) -> Any:
        counts.append(arguments["input_ids"].numel())
        return body(**arguments)

    tiny.prefixes._own_store.clear()
    with monkeypatch.context() as patch:
        patch.setattr(tiny.model.base_model, "forward", counting)
        run(model, "base")
    return sum(counts)


def test_nothing_is_read_twice_through_it(tiny: Counting, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = tokens_read(tiny, tiny, monkeypatch)
    assert tokens_read(tiny, front(tiny), monkeypatch) == alone
    # Control: one that does not pass the block on reads more.
    monkeypatch.setattr(ModelWrapper, "prefix_cache", lambda self, store=None: nullcontext())
    assert tokens_read(tiny, front(tiny), monkeypatch) > alone


def test_a_base_that_changed_behind_it_is_seen(tiny: Counting, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    model = front(tiny)
    integrity = WeightsIntegrity(model)
    run(model, "sft")  # the shared adapter is attached from here on
    integrity.check()
    integrity.check_fully()
    with monkeypatch.context() as patch:
        patch.setattr(ModelWrapper, "weights_checksum", lambda self: 0)
        blind = WeightsIntegrity(model)
    weight = tiny.model.get_input_embeddings().weight
    update = torch.full(weight.shape, 1e-3)  # once merged and taken back
    weight.data.add_(update).sub_(update)
    for check in (integrity.check, integrity.check_fully):
        with pytest.raises(ModelError, match="base weights are not what they were"):
            check()
    # Control: one that says nothing of its weights lets the change pass.
    monkeypatch.setattr(ModelWrapper, "weights_checksum", lambda self: 0)
    blind.check()


def test_where_there_are_no_weights_nothing_changes() -> None:
    model = CachedModel(DemoModel())
    integrity = WeightsIntegrity(model)
    run(model, "ttsi")
    integrity.check()
    integrity.check_fully()
    assert (model.weights_checksum(), model.weights_sha256()) == (0, "")


def test_everything_passes_through_by_default() -> None:
    calls: list[tuple[str, tuple[Any, ...]]] = []

    class Recording:
        """Notes what it is called with."""

        spec, format = "recording", DemoModel().format

        def __getattr__(self, name: str) -> Callable[..., str]:
            return lambda *arguments: calls.append((name, arguments)) or name  # type: ignore[func-returns-value]

    members = [name for name in vars(Model) if not name.startswith("_") and callable(getattr(Model, name))]
    assert {"describe", "fits", "generate", "score", "adapted"} <= set(members)
    wrapper = ModelWrapper(Recording())  # type: ignore[arg-type]
    assert (wrapper.spec, wrapper.format) == ("recording", Recording.format)
    for name in members:
        arguments = tuple(range(len(inspect.signature(getattr(Model, name)).parameters) - 1))
        assert getattr(wrapper, name)(*arguments) == name
        assert calls[-1] == (name, arguments)


def test_a_wrapper_keeps_what_it_changes(tiny: Counting) -> None:
    class Silent(ModelWrapper):
        """Never writes."""

        def generate(self, requests: Any) -> Any:
            return []

    silent = Silent(tiny)
    assert silent.generate([1]) == [] and silent.weights_sha256() == tiny.weights_sha256() != ""
    assert silent.describe() == tiny.describe()


def test_a_failed_generation_is_asked_for_again() -> None:
    class Unreliable(ModelWrapper):
        """Answers from its second call on."""

        calls = 0

        def generate(self, requests: Any) -> Any:
            self.calls += 1
            error = "HTTP 503" if self.calls == 1 else None
            return [Generation("" if error else "yes", 1, -1.0, -1.0, True, error=error) for _ in requests]

    unreliable = Unreliable(DemoModel())
    cached, request = CachedModel(unreliable), Request(Prompt((Message("user", "?"),), ()), 4)
    assert [cached.generate([request])[0].text for _ in range(3)] == ["", "yes", "yes"]
    assert unreliable.calls == 2, "the control: an answer is kept"
