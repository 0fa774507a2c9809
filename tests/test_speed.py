"""Do the speed benchmarks compute what they print? Their pure parts; `python -m speed --quick` runs the rest."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from speed import __main__ as command
from speed import growth, llama_cpp, measure, peers, real, shapes, stages
from speed.measure import Case, MachineLimits, Work
from tests.conftest import build_model
from ttsi.benchmarks import Benchmark, Sample
from ttsi.engine.int8_linear import to_int8
from ttsi.engine.loglikelihood import ScoringItem, continuation_logprobs
from ttsi.engine.training_job import TrainingJob
from ttsi.types import Input, Message, Prompt, Tool

LIMITS = MachineLimits(flops=100.0, bytes=10.0)
KEYS = {
    "score_vs_lm_eval", "train_vs_trainer", "train_short_vs_peft_loop", "train_long_vs_peft_loop",
    "answer_vs_one_by_one", "synthesis_vs_generate", "end_to_end_vs_trainer", "end_to_end_vs_peft_loop",
}  # fmt: skip


def case(ours: object = 1.0, peer: object = 1.0, **settings: object) -> Case:
    """A comparison of two constants."""
    values = {
        "key": "k", "peer_name": "p", "task": "t", "ours": lambda: ours, "peer": lambda: peer,
        "difference": lambda a, b: abs(a - b), "tolerance": 0.1, **settings,
    }  # fmt: skip
    return Case(**values)  # type: ignore[arg-type]


def test_ratio_and_limit_are_medians() -> None:
    times = [(1.0, 3.0), (2.0, 8.0), (1.0, 5.0), (4.0, 4.0), (2.0, 2.0), (2.0, 12.0)]
    found = measure.entry(case(work=[Work(50.0, 1.0), Work(1.0, 5.0)]), times, 0.0, LIMITS, False)
    assert found.ratio == 3.5 and (found.lo, found.hi) == (1.0, 6.0) and found.coverage == 0.96875
    assert found.ours_s == 2.0 and found.peer_s == 4.5
    assert found.bound_s == 0.5 + 0.5 and found.limit_ratio == 2.0


def test_without_a_known_bound_there_is_no_limit() -> None:
    assert measure.entry(case(), [(1.0, 2.0)], 0.0, LIMITS, True).limit_ratio is None


@pytest.mark.parametrize(("n", "k"), [(5, 0), (6, 0), (8, 0), (9, 1), (20, 5), (100, 39)])
def test_interval_is_the_textbooks(n: int, k: int) -> None:
    lo, hi, coverage = measure.median_interval([float(value) for value in range(n)])
    assert (lo, hi) == (float(k), float(n - 1 - k))
    assert (coverage >= 0.95) == (n >= 6)


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    generator = random.Random(0)
    drawn = [measure.median_interval([generator.gauss(0, 1) for _ in range(9)]) for _ in range(2000)]
    share = sum(lo <= 0 <= hi for lo, hi, _ in drawn) / len(drawn)
    assert share == pytest.approx(drawn[0][2], abs=0.02)


def test_different_results_stop_the_comparison() -> None:
    assert measure.compare(case(1.0, 1.05), 2, LIMITS, True).difference == pytest.approx(0.05)
    with pytest.raises(measure.DifferentResultsError, match="differ by 1"):
        measure.compare(case(1.0, 2.0), 2, LIMITS, True)
    with pytest.raises(measure.DifferentResultsError):
        measure.compare(case(1.0, math.nan), 2, LIMITS, True)


def test_sides_take_turns_and_both_are_warmed_up() -> None:
    calls: list[str] = []
    both = case(ours=None, peer=None)
    turns = Case(
        **{
            **vars(both),
            "ours": lambda: calls.append("ours"),
            "peer": lambda: calls.append("peer"),
            "difference": lambda a, b: 0.0,
        }
    )
    found = measure.compare(turns, 2, LIMITS, True)
    assert calls == ["ours", "peer", "peer", "ours", "ours", "peer"] and found.n == 2


def test_what_takes_minutes_is_timed_from_the_first_turn_and_still_compared(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[str] = []

    def side(name: str, value: float) -> Callable[[], float]:
        return lambda: (calls.append(name), value)[1]

    same = replace(case(), ours=side("ours", 1.0), peer=side("peer", 1.0), takes_minutes=True)
    assert measure.compare(same, 2, LIMITS, True).n == 2
    assert calls == ["ours", "peer", "peer", "ours"]
    assert "turn 2 of 2" in capsys.readouterr().out
    with pytest.raises(measure.DifferentResultsError):
        measure.compare(replace(same, peer=side("peer", 2.0)), 2, LIMITS, True)


def test_the_time_of_a_peer_that_does_a_part_of_the_work_counts_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_time", lambda work: (2.0, work()))
    whole, part = case(), case(peer_parts=4)
    assert measure.compare(whole, 1, LIMITS, True).ratio == 1.0
    assert measure.compare(part, 1, LIMITS, True).ratio == 4.0


def test_every_part_of_the_long_run_is_the_same_work_under_new_names() -> None:
    samples = tuple(Sample(Input(str(n), (Message("user", f"{n}"),), ()), None) for n in range(3))
    longer = growth.again_and_again(Benchmark("b", samples, "", ""), 2, 6)
    asked = [sample.input.messages for sample in longer.samples]
    assert asked[:2] == asked[2:4] == asked[4:] and asked[0] != asked[1]
    assert len({sample.input.id for sample in longer.samples}) == 6


def test_what_is_stopped_early_has_a_result_after_each_turn() -> None:
    started = measure.turns(case(1.0, 1.0), 5, LIMITS, True)
    assert [next(started).n, next(started).n] == [1, 2]


def test_results_are_merged_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    found = measure.entry(case(), [(1.0, 2.0)], 0.0, LIMITS, False)
    measure.write({"one": found}, {"threads": 2}, path)
    measure.write({"two": found}, {"threads": 2}, path)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert set(written) == {"one", "two"}
    assert {"ratio", "lo", "hi", "limit_ratio"} <= set(written["one"]) and written["one"]["machine"] == {"threads": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_no_package_is_pinned_in_both_lists() -> None:
    root = Path(__file__).parent.parent
    lists = [_pinned(root / name) for name in ("constraints.txt", "speed/constraints.txt")]
    assert all(lists) and not lists[0] & lists[1]


def _pinned(path: Path) -> set[str]:
    """Names of packages, written as pip compares them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines if "==" in line}


def test_every_promised_key_has_a_script() -> None:
    assert {key for name in command.SCRIPTS for key in import_module(f"speed.{name}").KEYS} >= KEYS


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["adapters", "answer", "synthesis"])
def test_scripts_make_the_keys_that_they_name(name: str) -> None:
    script = import_module(f"speed.{name}")
    assert tuple(case.key for case in script.cases("tiny", torch.device("cpu"), True)) == script.KEYS


def test_cost_of_a_model_is_what_its_layers_have() -> None:
    model = build_model("qwen2")
    cost = shapes.cost_of(model)
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not model.lm_head]
    assert cost.body == sum(m.weight.numel() for m in linear) and cost.head == 272 * 32
    assert cost.cache == 2 * 2 * 2 * 8 * 4 and cost.attention == 2 * 32
    assert cost.forward(10, 2, 50).flops == 20.0 * cost.body + 4.0 * cost.head + 200.0 * cost.attention


ITEMS: list[ScoringItem] = [([1, 2, 3, 4], [[5, 6], [5, 7, 8, 9], [10]]), ([9, 8], [[1], [2, 3]])]


@pytest.mark.parametrize("peer", [peers.forward_each, peers.cached_prompt])
def test_peers_that_need_nothing_installed_score_alike(peer: object) -> None:
    model = build_model("llama")
    for found, expected in zip(peer(model)(ITEMS), continuation_logprobs(model, ITEMS), strict=True):  # type: ignore[operator]
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_peft_loop_trains_the_adapter_that_ours_trains() -> None:
    train = import_module("speed.adapters")
    model, device = build_model("qwen2"), torch.device("cpu")
    jobs = [train.job(model, slot, 2, 3, 5, 4) for slot in range(2)]
    stack = train.LoraStack(model, 2, train.CONFIG.rank, train.CONFIG.alpha)
    ours = train.together(model, stack, jobs)
    loop = peers.PeftLoop(build_model("qwen2").to(device), train.CONFIG)
    theirs = [loop.train(job.examples, job.slot)[1] for job in jobs]
    assert train.distance(ours, theirs) < train.TOLERANCE
    assert train.distance(ours, theirs[::-1]) > 0.1  # the control: another input's adapter


class Spelling:
    """A tokenizer whose tokens are words."""

    def encode_text(self, text: str) -> list[str]:
        return text.split()


def test_texts_beside_llama_cpp_agree_where_their_first_tokens_do() -> None:
    model = Mock(encoder=Spelling())
    ours = ["9, 10, 11, 12", "2 3 4 5", "a b c d", "one"]
    assert llama_cpp.share_of_others(model, ours, ["9, 10, 11, 13", "2 3 4 6", "a b c", "one"]) == 0.0
    assert llama_cpp.share_of_others(model, ours, ["9, 10, 12", "2 3 4 6", "a b", "two"]) == 0.75
    assert len({llama_cpp.prompt(index) for index in range(16)}) == 16


def test_int8_weights_are_one_byte_each() -> None:
    whole, small = (build_model("qwen2").to(torch.bfloat16) for _ in range(2))
    costs = [shapes.cost_of(whole), shapes.cost_of(to_int8(small))]
    assert costs[0].body == costs[1].body and costs[0].weights == 2 * costs[1].weights


def test_own_tokens_are_those_behind_what_a_jobs_examples_share() -> None:
    passed = Mock(return_value="the adapters")
    model = Mock(adapters=Mock(trained=passed))
    recorded = stages.RecordedJobs(model)
    one = TrainingJob(0, (((1, 2, 3, 4), 2), ((1, 2, 5), 2)))
    two = TrainingJob(1, (((7, 8), 1), ((7, 9), 1)))
    assert model.adapters.trained([one, two], "config") == "the adapters"
    passed.assert_called_once_with([one, two], "config")
    assert recorded.own_tokens() == (2 + 1) + (1 + 1)


def test_the_least_work_of_the_stages_of_an_unsure_input() -> None:
    model = real.local_model("embedded", torch.device("cpu"), "float32")
    tool = Tool("rain", "tell the rain", {"type": "object", "properties": {"city": {"type": "string"}}})
    item = Input("1", (Message("user", "Oslo, rain?"),), (tool,))
    config = real.settings("embedded", k=2, steps=1)
    answering, training = stages.stages(model, [item], config, LIMITS)
    read = model.prompt_tokens(Prompt(item.messages, item.tools))
    assert answering.flops % (2 * read) == 0 and answering.bytes > 0 and answering.seconds > 0
    assert training.bytes == 0 and training.least_seconds == training.flops / LIMITS.flops
    assert training.flops % (4 * answering.flops // (2 * read)) == 0, "tokens times the weights of the products"
