"""The cost estimate is the cost of a few inputs, times the inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ttsi.config import LoopConfig
from ttsi.methods import preset
from ttsi.models import load
from ttsi.models.scripted import DemoModel
from ttsi.runs import cost_estimate
from ttsi.types import GoldExample, Input, Message, Tool, ToolCall, TrainingData

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "Look up the weather of a city", CITY), Tool("find_hotel", "Find a hotel of a city", CITY))
INPUTS = [Input(str(at), (Message("user", f"Number {at}: is the weather fine in Oslo"),), TOOLS) for at in range(40)]


class Clock:
    """Counts a second for every answered input and three more for every adapted one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, price: float = 3.0) -> None:
        self.now, self.sizes = 0.0, list[int]()
        plain = cost_estimate.importlib.import_module("ttsi.loop").improve

        def improve(inputs: list[Input], model: object, writer: object, config: LoopConfig) -> object:
            self.sizes.append(len(inputs))
            self.now += len(inputs) * (1.0 + price * config.adapt)
            return plain(inputs, model, writer, config)

        monkeypatch.setattr("ttsi.loop.improve", improve)
        monkeypatch.setattr(cost_estimate.time, "perf_counter", lambda: self.now)


def estimate(config: LoopConfig, batch_size: int = 16, inputs: list[Input] = INPUTS) -> cost_estimate.CostEstimate:
    """With the scripted model."""
    model = load("scripted:demo")
    return cost_estimate.estimate_cost(inputs, model, model, config, batch_size)


def gated(gate: str) -> LoopConfig:
    """The preset with another gate."""
    config = preset("ttsi", "embedded")
    return replace(config, awareness=replace(config.awareness, gate=gate))


def test_everything_adapted_costs_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    estimated = estimate(gated("all"))
    assert (estimated.seconds, estimated.seconds_low, estimated.seconds_high) == (160.0, 160.0, 160.0)
    assert (estimated.adapted_share, estimated.tried, clock.sizes) == (1.0, 8, [1, 8, 8])


def test_base_costs_only_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    estimated = estimate(preset("base", "embedded"))
    assert (estimated.seconds, estimated.seconds_low, estimated.seconds_high, estimated.adapted_share) == (
        40.0,
        40.0,
        40.0,
        0.0,
    )
    assert clock.sizes == [1, 8]


def test_what_is_learned_for_the_whole_run_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, config = Clock(monkeypatch), preset("sft", "embedded")
    pairs = tuple(GoldExample(item, (ToolCall("get_weather", {"city": "Oslo"}),)) for item in INPUTS[:32])
    learned: list[int] = []
    real = DemoModel.adapted

    def training(self: DemoModel, jobs: Any, *rest: Any) -> Any:
        """Five seconds for every lesson."""
        learned.extend(len(job) for job in jobs)
        clock.now += 5.0 * sum(len(job) for job in jobs)
        return real(self, jobs, *rest)

    monkeypatch.setattr(DemoModel, "adapted", training)
    data = TrainingData("rest", "0" * 64, pairs)
    estimated = cost_estimate.estimate_cost(INPUTS, DemoModel(), data, config, 16)
    assert learned == [cost_estimate.MAX_TRIED], "only a few rows are learned to find out"
    assert estimated.seconds == 40 * (1.0 + 3.0) + 32 * 5.0
    assert clock.sizes == [1, 8, 8, 8]
    # Control: half the rows cost half as much, and the inputs what they cost.
    assert (
        cost_estimate.estimate_cost(INPUTS, DemoModel(), replace(data, pairs=pairs[:16]), config, 16).seconds
        == 160.0 + 80.0
    )


def test_the_range_is_that_of_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    unsure, sure = estimate(gated("unsure")), estimate(gated("sure"))
    assert unsure.adapted_share + sure.adapted_share == 1.0
    for estimated in (unsure, sure):
        assert estimated.seconds == 40 * (1 + 3 * estimated.adapted_share)
        assert 40 <= estimated.seconds_low < estimated.seconds_high <= 160
        assert estimated.seconds_low <= estimated.seconds <= estimated.seconds_high


def test_a_random_gate_adapts_those_that_it_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    config = gated("random")
    shares = [
        estimate(replace(config, awareness=replace(config.awareness, share=share))).adapted_share
        for share in (0.0, 0.5, 1.0)
    ]
    assert shares[0] == 0.0 < shares[1] < 1.0 == shares[2]


def test_inputs_in_words_are_not_adapted_where_the_decision_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    config = gated("all")
    words = [Input(f"{item.id} in words", (Message("user", f"{item.id}: hello"),), ()) for item in INPUTS[:20]]
    mixed = [*INPUTS[:20], *words]
    kept = estimate(replace(config, adaptation=replace(config.adaptation, keep_decision=True)), inputs=mixed)
    assert (kept.adapted_share, kept.seconds) == (0.5, 40 * (1.0 + 0.5 * 3.0))
    assert kept.seconds_low < kept.seconds < kept.seconds_high, "how many are answered in words is an estimate"
    assert estimate(config, inputs=mixed).adapted_share == 1.0  # control


def test_a_slow_input_is_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(cost_estimate, "SLOW_SECONDS", 0.5)
    assert estimate(gated("all")).tried == 1 and clock.sizes == [1, 1, 1]


def test_small_batches_and_short_runs_try_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    assert estimate(gated("all"), batch_size=2).tried == 2
    assert estimate(gated("all"), inputs=INPUTS[:3]).tried == 3
    assert estimate(gated("all"), inputs=[]).seconds == 0.0


def test_tried_inputs_come_from_all_over_the_run() -> None:
    assert [item.id for item in cost_estimate._spread(INPUTS, 4)] == ["0", "10", "20", "30"]
    assert cost_estimate._spread(INPUTS[:2], 8) == INPUTS[:2]


def test_memory_is_that_of_a_process() -> None:
    estimated = estimate(preset("base", "embedded"))
    assert estimated.memory_mb is None or 10 < estimated.memory_mb < 100_000


class Prefixes:
    """A store that holds some bytes."""

    def __init__(self, own_bytes: int) -> None:
        self.own_bytes = own_bytes


@pytest.mark.parametrize(
    ("kept_mb", "batch_size", "memory"),
    [
        (0, 8, 1_400),  # eight tried inputs, and a batch of eight: what was measured
        (0, 16, 1_800),
        (80, 8, 1_720),  # 40 inputs keep five times as much
        (80, 16, 2_040),
        (400, 8, 2_024),  # no more than the store holds
    ],
)
def test_memory_is_that_of_a_whole_batch_and_a_full_store(
    monkeypatch: pytest.MonkeyPatch, kept_mb: int, batch_size: int, memory: int
) -> None:
    Clock(monkeypatch)
    peaks = iter([1_000.0, 1_400.0])
    monkeypatch.setattr(cost_estimate, "_peak_mb", lambda: next(peaks))
    model = DemoModel()
    model.prefixes = Prefixes(kept_mb * 2**20)  # type: ignore[attr-defined]
    assert cost_estimate.estimate_cost(INPUTS, model, model, gated("all"), batch_size).memory_mb == memory
