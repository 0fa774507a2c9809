"""toolworld-agents: gold passes its judge, with one call dropped it fails, and no environment holds gold."""

from __future__ import annotations

import gc
import json
import pickle
from collections.abc import Iterator, Sequence
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import pytest

from ttsi.benchmarks import BENCHMARKS, Benchmark, Sample, load, toolworld_agents
from ttsi.environments.simulators import SimulatorEnvironment, simulator
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, Message, Step, ToolCall, ToolResult, Trajectory, Turn

NAMES = ("toolworld-agents", "toolworld-agents-validation", "toolworld-turns", "toolworld-turns-validation")
SIZES = {"toolworld-agents": 240, "toolworld-agents-validation": 120}

Calls = tuple[ToolCall, ...]


@cache
def benchmark(name: str) -> Benchmark:
    return load(name)


def trajectory(turns: Sequence[Calls]) -> Trajectory:
    """What an agent did that made these calls, each in a step of its own."""
    done, result = Step(None, Answer("done.", ())), (ToolResult(""),)
    steps = [(*(Step(None, Answer("", (call,)), results=result) for call in calls), done) for calls in turns]
    return Trajectory(tuple(Turn((), part, "done") for part in steps))


def is_right(sample: Sample, turns: Sequence[Calls]) -> bool:
    assert sample.judge is not None
    return sample.judge(trajectory(turns))["episode"]


def gold_turns(sample: Sample) -> tuple[Calls, ...]:
    assert isinstance(sample.judge, toolworld_agents.SimulatorJudge)
    return sample.judge.gold


def make(sample: Sample) -> SimulatorEnvironment:
    assert sample.environment is not None
    environment = sample.environment()
    assert isinstance(environment, SimulatorEnvironment)
    return environment


def is_look_up(sample: Sample, call: ToolCall, before: Calls, turns: Sequence[Calls]) -> bool:
    """Whether a call leaves the state as it is, in a turn that changes it."""
    judge = sample.judge
    assert isinstance(judge, toolworld_agents.SimulatorJudge)
    world = simulator(judge.simulator, judge.state)
    for done in (*(call for calls in turns for call in calls), *before):
        world.execute(done)
    state = world.state()
    world.execute(call)
    return world.state() == state


@pytest.mark.parametrize("name", NAMES)
def test_the_benchmark_is_complete(name: str) -> None:
    assert name in BENCHMARKS
    bench = benchmark(name)
    assert (bench.name, bench.matcher, len(bench.checksum)) == (name, "episode", 64)
    assert len(bench.samples) == SIZES.get(name, len(bench.samples)) > 100
    assert len({sample.input.id for sample in bench.samples}) == len(bench.samples)
    for sample in bench.samples:
        assert sample.gold
        assert {call.name for call in sample.gold} <= {tool.name for tool in sample.input.tools}
        assert sample.gold == sum(gold_turns(sample), ())
        assert {"simulator", "kind"} <= set(sample.tags)
    kinds = {sample.tags["kind"] for sample in bench.samples}
    assert kinds == ({"single", "mixed"} if "agents" in name else {"single", "state", "two", "follow-up"})


def test_validation_and_test_share_neither_simulators_nor_tools() -> None:
    test, validation = benchmark("toolworld-agents"), benchmark("toolworld-agents-validation")
    simulators = [{sample.tags["simulator"] for sample in bench.samples} for bench in (test, validation)]
    tools = [{tool.name for sample in bench.samples for tool in sample.input.tools} for bench in (test, validation)]
    for ours, others in (simulators, tools):
        assert not ours & others
    same = load("toolworld-agents", split="validation")
    assert (same.name, [sample.input for sample in same.samples]) == (
        validation.name,
        [sample.input for sample in validation.samples],
    )
    with pytest.raises(ConfigError, match="did you mean 'validation'"):
        load("toolworld-turns", split="validate")


def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolworld_agents, "read_bytes", lambda path: b'[{"id": "x"}]')
    with pytest.raises(DataError, match="is damaged: install ttsi again"):
        load("toolworld-agents")


@pytest.mark.parametrize("name", NAMES)
def test_gold_passes_and_silence_fails(name: str) -> None:
    for sample in benchmark(name).samples:
        turns = gold_turns(sample)
        assert is_right(sample, turns), sample.input.id
        assert not is_right(sample, [()] * len(turns))
        assert not is_right(sample, turns[:-1])
        assert not is_right(sample, [*turns, ()])


@pytest.mark.parametrize("name", NAMES)
def test_control_with_any_one_call_dropped_gold_fails(name: str) -> None:
    dropped = look_ups = 0
    for sample in benchmark(name).samples:
        turns = gold_turns(sample)
        for at, calls in enumerate(turns):
            for place, call in enumerate(calls):
                shorter = [*turns[:at], calls[:place] + calls[place + 1 :], *turns[at + 1 :]]
                is_needed = len(calls) == 1 or not is_look_up(sample, call, calls[:place], turns[:at])
                if is_needed or is_look_up(sample, calls[-1], calls[:-1], turns[:at]):
                    dropped += 1
                    assert not is_right(sample, shorter), (sample.input.id, call)
                else:
                    # Looking up changes nothing: what counts is the action, and an agent may know from before.
                    look_ups += 1
                    assert is_right(sample, shorter)
    assert dropped > 200
    assert 0 < look_ups < dropped / 4


@pytest.mark.parametrize("name", NAMES)
def test_more_look_ups_and_refused_calls_do_no_harm(name: str) -> None:
    for sample in benchmark(name).samples[::5]:
        turns = [(calls[0], *calls) if len(calls) == 1 else calls for calls in gold_turns(sample)]
        nonsense = ToolCall("no_such_tool", {"x": 1})
        assert is_right(sample, [(nonsense, *calls, nonsense) for calls in turns])


@pytest.mark.parametrize("name", NAMES)
def test_control_another_change_of_the_state_fails(name: str) -> None:
    changes = {
        "files": ToolCall("write_file", {"name": "extra", "text": "extra"}),
        "calendar": ToolCall("add_event", {"title": "extra", "day": "monday", "time": "23:59"}),
        "shop": ToolCall("order_basket", {"address": "extra"}),
        "mailbox": ToolCall("send_message", {"address": "extra@mail.com", "text": "extra"}),
        "bank": ToolCall("set_card_limit", {"account": "joint", "limit": 12345}),
        "trains": ToolCall("book_seat", {"passenger": "extra", "travel_class": "first"}),
        "vet": ToolCall("record_weight", {"kilos": 899}),
        "library": ToolCall("extend_loan", {"weeks": 11}),
    }
    tried = 0
    for sample in benchmark(name).samples:
        judge, turns = sample.judge, gold_turns(sample)
        assert isinstance(judge, toolworld_agents.SimulatorJudge)
        change = changes[judge.simulator]
        key = {"trains": "train", "vet": "animal", "library": "title"}.get(judge.simulator)
        if key:
            change = ToolCall(change.name, {**change.arguments, key: next(iter(judge.state[_TABLE[judge.simulator]]))})
        world = simulator(judge.simulator, judge.state)
        for call in (*(call for calls in turns for call in calls), change):
            result = world.execute(call)
        if not result.error:
            tried += 1
            assert not is_right(sample, [*turns[:-1], (*turns[-1], change)])
    assert tried > 20


_TABLE = {"trains": "trains", "vet": "animals", "library": "books"}


@pytest.mark.parametrize("name", NAMES)
def test_upper_case_does_not_count(name: str) -> None:
    for sample in benchmark(name).samples[::5]:
        schemas = {tool.name: tool.parameters["properties"] for tool in sample.input.tools}

        def loud(call: ToolCall, schemas: dict[str, Any] = schemas) -> ToolCall:
            free = {key for key, schema in schemas[call.name].items() if schema == {"type": "string"}}
            return ToolCall(call.name, {k: v.upper() if k in free else v for k, v in call.arguments.items()})

        assert is_right(sample, [tuple(map(loud, calls)) for calls in gold_turns(sample)]), sample.input.id


def test_calls_of_hostile_kinds_are_wrong_and_do_nothing_else() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    sample = benchmark("toolworld-turns").samples[0]
    for name, arguments in [
        ("__init__", {"state": {}}),
        ("load", {"state": {}}),
        ("state", {}),
        ("lend_book.__func__", {}),
        ("lend_book", {"title": deep, "member": "x"}),
        ("lend_book", {"title": "x" * 10_000_000, "member": "\ud800"}),
        ("extend_loan", {"title": "x", "weeks": 10**5000}),
    ]:
        assert not is_right(sample, [(ToolCall(name, arguments),)])


@pytest.mark.parametrize("name", NAMES)
def test_environments_begin_as_the_input_does(name: str) -> None:
    for sample in benchmark(name).samples:
        world = make(sample)
        assert tuple(world.tools()) == sample.input.tools
        assert world.next_turn() == sample.input.messages
        rest = [world.next_turn() for _ in range(len(gold_turns(sample)))]
        assert rest[-1] is None
        assert all(turn is not None and [m.role for m in turn] == ["user"] for turn in rest[:-1])
        assert make(sample).next_turn() == sample.input.messages


def test_a_later_turn_begins_behind_the_gold_calls_of_the_earlier_ones() -> None:
    whole = {sample.input.id: sample for sample in benchmark("toolworld-agents").samples}
    later = [sample for sample in benchmark("toolworld-turns").samples if sample.tags["turn"] != "1"]
    assert len(later) > 100
    for sample in later:
        task, _, number = sample.input.id.partition("/turn-")
        earlier = gold_turns(whole[task])[: int(number) - 1]
        world, requests = make(whole[task]), []
        results: list[str] = []
        for calls in earlier:
            requests.append((world.next_turn() or ())[-1])
            results += [world.execute(call).content for call in calls]
        assert world.state() == make(sample).state()
        messages = sample.input.messages
        assert [m for m in messages if m.role == "user"] == [*requests, *(world.next_turn() or ())]
        assert [m.content for m in messages if m.role == "tool"] == results
        assert sum((m.tool_calls for m in messages), ()) == sum(earlier, ())
        assert messages.count(Message("assistant", "done.")) == len(earlier)


def reachable(start: object) -> Iterator[object]:
    """Every object that can be reached from one, without what classes, modules and the globals of functions hold."""
    seen, waiting = set[int](), [start]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type | ModuleType):
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, FunctionType):
            waiting += [value.__closure__, value.__defaults__, value.__kwdefaults__, value.__dict__]
        else:
            waiting += gc.get_referents(value)


@pytest.mark.parametrize("name", NAMES)
def test_no_environment_holds_gold(name: str) -> None:
    for sample in benchmark(name).samples[::10]:
        hidden = {id(call) for call in sample.gold or ()} | {id(call.arguments) for call in sample.gold or ()}
        for holder in (sample.environment, make(sample), make(sample).copy(), sample.input):
            objects = list(reachable(holder))
            assert not hidden & {id(value) for value in objects}
            earlier = [call for message in sample.input.messages for call in message.tool_calls]
            assert all(call in earlier for call in objects if isinstance(call, ToolCall))


def test_control_gold_in_a_closure_or_an_attribute_is_seen() -> None:
    sample = benchmark("toolworld-turns").samples[0]
    world = make(sample)
    world.hint = sample.judge  # type: ignore[attr-defined]
    for holder in (world, lambda: sample.gold):
        assert any(isinstance(value, ToolCall) for value in reachable(holder))


def test_samples_can_be_sent_to_another_process() -> None:
    sample = benchmark("toolworld-turns").samples[3]
    twin = pickle.loads(pickle.dumps(sample))
    assert twin.environment().state() == make(sample).state()
    assert twin.judge(trajectory(gold_turns(sample)))["episode"]


def test_the_judge_reads_the_trajectory_turn_by_turn() -> None:
    sample = next(s for s in benchmark("toolworld-agents").samples if s.tags["turns"] == "2")
    first, second = gold_turns(sample)
    assert is_right(sample, [first, second])
    assert not is_right(sample, [(*first, *second), ()])
    assert not is_right(sample, [second, first])
    assert sample.judge is not None
    assert not sample.judge(Trajectory((), "environment: gone"))["episode"]
    no_answer = Trajectory((Turn((), (Step(None, None, error="boom"),), "failed"),))
    assert not sample.judge(no_answer)["episode"]


def test_reading_turns_need_the_result_that_was_asked_for() -> None:
    state = {
        "catalogue": {"lamp": {"brand": "Acme", "price": 5}, "tent": {"brand": "Orbis", "price": 9}},
        "basket": {},
        "orders": [],
    }
    gold = ToolCall("find_products", {"brand": "Acme"})
    judge = toolworld_agents.SimulatorJudge("shop", state, ((gold,),))
    other = ToolCall("find_products", {"brand": "Orbis"})
    assert judge(trajectory([(gold,)])) == {"episode": True}
    assert judge(trajectory([(other, gold)]))["episode"]
    assert not judge(trajectory([(other,)]))["episode"]
    assert not judge(trajectory([(gold, ToolCall("put_in_basket", {"product": "lamp", "quantity": 1}))]))["episode"]
    assert json.loads(json.dumps(state)) == state
