"""BFCL's multi-turn tasks: the rows, their gold, the judge's rules, and the judge's process."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.places import DATA, needs
from tests.environments.bfcl_worlds import GOLD, TASK, call, needs_simulators, trajectory
from ttsi.benchmarks import BENCHMARKS, bfcl_judge, load
from ttsi.benchmarks.bfcl_judge import BFCLJudge, JudgeProcess, job_text, judge_job
from ttsi.benchmarks.bfcl_multi_turn import CATEGORIES, HANDED_OVER, read_call_text, read_tasks
from ttsi.environments.bfcl_simulators import BFCLEnvironment, make_simulators
from ttsi.errors import ConfigError, DataError, EnvironmentFailure
from ttsi.types import Answer, Message, Step, ToolCall, ToolResult, Turn

JUDGE = BFCLJudge(TASK.scenario, GOLD)


def verdict(*turns: tuple[ToolCall, ...], judge: BFCLJudge = JUDGE) -> bool:
    """The verdict on a trajectory of these calls, reached in this process."""
    done = judge_job(json.loads(job_text(judge, trajectory(*turns).turns)))
    return done["episode"]


@needs("bfcl")
def test_the_four_categories_have_their_rows_and_gold() -> None:
    counts = {}
    for category in CATEGORIES:
        benchmark = load("bfcl-multi-turn", DATA, category)
        assert benchmark.name == f"bfcl-multi-turn-{category}"
        assert benchmark.matcher == "episode"
        assert len(benchmark.samples) == 200
        judges = [sample.judge for sample in benchmark.samples if isinstance(sample.judge, BFCLJudge)]
        turns = [turn for judge in judges for turn in judge.gold]
        counts[category] = (len(turns), sum(map(len, turns)), sum(not turn for turn in turns))
        assert sum(len(sample.gold or ()) for sample in benchmark.samples) == counts[category][1]
    assert counts == {
        "base": (734, 1142, 3), "miss_func": (934, 1140, 203), "miss_param": (934, 1140, 203),
        "long_context": (734, 1203, 3),
    }  # fmt: skip
    everything = load("bfcl-multi-turn", DATA)
    assert len({sample.input.id for sample in everything.samples}) == 800
    assert [s.input.id for s in everything.samples if s.tags["solvable"] == "no"] == ["multi_turn_miss_func_49"]
    with pytest.raises(ConfigError, match="did you mean 'miss_func'"):
        load("bfcl-multi-turn", DATA, "missing_func")
    assert {"bfcl-multi-turn", "bfcl-turns"} <= set(BENCHMARKS)


@needs("bfcl")
def test_tools_are_those_of_the_classes_less_what_is_missing() -> None:
    first = load("bfcl-multi-turn", DATA, "base").samples[0]
    assert first.tags["classes"] == "TwitterAPI+GorillaFileSystem"
    assert len(first.input.tools) == 14 + 18
    assert "cp" in {tool.name for tool in first.input.tools}
    assert all(tool.parameters["type"] == "object" for tool in first.input.tools)
    tasks = read_tasks(DATA, "miss_func")[0]
    assert [tool.name for tool in tasks[0].task.tools_in(3)[-1:]] == ["sort"]
    assert "sort" not in {tool.name for tool in tasks[0].task.tools_in(2)}
    handed_over = [one.task.turns[turn] for one in tasks for turn in one.task.later_tools]
    assert handed_over == [(Message("user", HANDED_OVER),)] * 200
    # Control: nobody says so elsewhere.
    assert sum(turn == handed_over[0] for one in tasks for turn in one.task.turns) == 200


@needs_simulators
@needs("bfcl")
def test_gold_without_names_of_arguments_is_read_in_the_simulators_order() -> None:
    rows = (DATA / "bfcl" / "possible_answer").glob("BFCL_v4_multi_turn_base.json*")
    assert list(rows)
    checked: Counter[str] = Counter()
    for one in read_tasks(DATA, "base")[0]:
        for name, simulator in make_simulators(one.task.scenario).items():
            methods = {call.name for turn in one.gold for call in turn if hasattr(simulator, call.name)}
            for method in methods:
                tool = next(tool for tool in one.task.tools if tool.name == method)
                listed, real = list(tool.parameters["properties"]), inspect.signature(getattr(simulator, method))
                # The one method whose description has another order is called by names alone.
                assert listed == list(real.parameters) or method == "purchase_insurance", (name, method)
                checked[method] += 1
    assert len(checked) > 60


def test_a_call_is_read_from_its_text_and_nothing_is_evaluated() -> None:
    parameters = {"tail": ("file_name", "lines"), "pwd": ()}
    assert read_call_text(" tail('a.txt', lines=-2)", parameters) == call("tail", file_name="a.txt", lines=-2)
    assert read_call_text("pwd()", parameters) == call("pwd")
    for text in (
        "tail(__import__('os').getcwd())", "os.tail('a')", "tail", "tail('a'", "tail(*['a'])", "tail(**{'a': 1})",
        "tail(1, 2, 3)", "head('a')", "tail('a'); pwd()", "", "tail(f'{1}')", "tail('a', file_name='b')",
    ):  # fmt: skip
        with pytest.raises(DataError, match="is no call of its functions"):
            read_call_text(text, parameters)


@needs("bfcl")
def test_files_of_another_form_are_refused_with_their_row(tmp_path: Path) -> None:
    for folder in ("multi_turn_func_doc", "possible_answer"):
        shutil.copytree(DATA / "bfcl" / folder, tmp_path / "bfcl" / folder)
    row: dict[str, Any] = {"id": "multi_turn_base_0", "question": [], "initial_config": {}, "involved_classes": ["Cat"]}
    (tmp_path / "bfcl" / "BFCL_v4_multi_turn_base.json").write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"row 1: KeyError\('Cat'\); this is not BFCL V4 multi-turn"):
        load("bfcl-multi-turn", tmp_path, "base")
    row["involved_classes"] = ["TwitterAPI", "GorillaFileSystem"]
    (tmp_path / "bfcl" / "BFCL_v4_multi_turn_base.json").write_text(json.dumps(row))
    with pytest.raises(DataError, match="multi_turn_base_0 has 0 turns and gold for 4"):
        load("bfcl-multi-turn", tmp_path, "base")
    with pytest.raises(DataError, match="pass --data DIR"):
        load("bfcl-multi-turn", tmp_path, "miss_param")


@needs_simulators
@needs("bfcl")
def test_single_turns_have_the_conversation_until_then_and_gold_is_right() -> None:
    everything = load("bfcl-turns", DATA).samples
    assert len({sample.input.id for sample in everything}) == len(everything) == 734 + 934 + 934 + 734
    samples = [sample for sample in everything if sample.tags["category"] == "miss_func"]
    assert samples[3].input.id == "multi_turn_miss_func_0/turn-4"
    assert samples[3].input.messages[-1] == Message("user", HANDED_OVER)
    assert samples[3].gold == (call("sort", file_name="final_report.pdf"),)
    for sample in everything[::150]:
        assert sample.environment
        assert sample.judge
        environment = sample.environment()
        assert tuple(environment.next_turn() or ()) == sample.input.messages
        assert tuple(environment.tools()) == sample.input.tools
        assert environment.next_turn() is None
        assert sample.judge(trajectory(sample.gold or ()))["episode"]
        if sample.gold:
            assert not sample.judge(trajectory(sample.gold[:-1]))["episode"]


@needs_simulators
@needs("bfcl")
def test_gold_passes_through_environment_and_judge_and_fails_without_a_call() -> None:
    for sample in load("bfcl-multi-turn", DATA).samples[::25]:
        assert sample.environment
        assert isinstance(sample.judge, BFCLJudge)
        environment, turns = sample.environment(), []
        for number, calls in enumerate(sample.judge.gold):
            messages = environment.next_turn()
            assert number or messages == sample.input.messages
            steps = [Step(None, Answer("", (one,)), results=(environment.execute(one),)) for one in calls]
            turns.append(Turn(tuple(messages or ()), (*steps, Step(None, Answer("Done.", ()))), "done"))
        assert environment.next_turn() is None
        done = replace(trajectory(), turns=tuple(turns))
        assert sample.judge(done) == {"episode": True, "executes": True}
        number = max(range(len(turns)), key=lambda place: len(turns[place].steps))
        turns[number] = replace(turns[number], steps=turns[number].steps[1:])
        assert not sample.judge(replace(done, turns=tuple(turns)))["episode"]


@needs_simulators
def test_the_rules_of_a_verdict() -> None:
    assert verdict(*GOLD)
    # More calls that change nothing, another order, and calls in a turn that has no gold: fine.
    assert verdict((*GOLD[0], call("pwd")), (call("ls"),), GOLD[2], GOLD[3])
    # A result that came earlier counts, but the turn needs a call of its own.
    assert verdict((*GOLD[0], *GOLD[2]), (), (call("pwd"),), GOLD[3])
    assert not verdict((*GOLD[0], *GOLD[2]), (), (), GOLD[3])
    # Another state, a missing result, a missing turn, and a change that shows a turn later: wrong.
    assert not verdict((*GOLD[0], call("touch", file_name="x")), *GOLD[1:])
    assert not verdict(GOLD[0][:1], *GOLD[1:])
    assert not verdict(*GOLD[:3])
    assert not verdict(GOLD[0], (call("touch", file_name="x"),), *GOLD[2:])
    assert verdict(GOLD[0], (call("touch", file_name="x"), call("rm", file_name="x")), *GOLD[2:])


@needs_simulators
def test_a_result_counts_as_often_as_it_is_there() -> None:
    twice = BFCLJudge(TASK.scenario, ((call("ls"), call("ls")),))
    assert verdict((call("ls"), call("ls")), judge=twice)
    assert not verdict((call("ls"), call("pwd")), judge=twice)


@needs_simulators
def test_a_single_turn_without_gold_is_right_where_nothing_changes() -> None:
    single = BFCLJudge(TASK.scenario, GOLD[:2], single=True)
    assert verdict((), judge=single)
    assert verdict((call("pwd"),), judge=single)
    assert not verdict((call("touch", file_name="x"),), judge=single)
    first = BFCLJudge(TASK.scenario, ((),), single=True)
    assert not verdict((call("touch", file_name="x"),), judge=first)
    # A result of an earlier turn's gold counts here, too.
    third = BFCLJudge(TASK.scenario, (*GOLD[:2], GOLD[0][1:]), single=True)
    assert verdict((call("pwd"),), judge=third)


@needs_simulators
def test_what_the_agent_could_not_say_or_did_not_finish() -> None:
    done = trajectory(*GOLD)
    assert JUDGE(done) == {"episode": True, "executes": True}
    assert not JUDGE(replace(done, error="environment: gone"))["episode"]
    assert not JUDGE(replace(done, turns=done.turns[:3]))["episode"]
    # An answer that could not be read has no calls; a recorded error and one in the judge's own execution both count.
    unread = Step(None, Answer("mkdir(", (call("touch", file_name="x"),), error="not JSON"))
    more = Turn((), (unread, Step(None, None), *done.turns[0].steps), "done")
    assert JUDGE(replace(done, turns=(more, *done.turns[1:]))) == {"episode": True, "executes": True}
    failed = Turn((), (Step(None, Answer("", ()), results=(ToolResult("no", error=True),)), *more.steps), "done")
    assert JUDGE(replace(done, turns=(failed, *done.turns[1:]))) == {"episode": True, "executes": False}
    wrong = trajectory((call("cat", file_name="x"), *GOLD[0]), *GOLD[1:])
    assert JUDGE(wrong) == {"episode": True, "executes": False}


@needs_simulators
def test_hostile_calls_of_a_trajectory_execute_nothing_in_the_judge(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(10**6):
        deep = [deep]
    target = tmp_path / "x"
    hostile = (
        ToolCall("__import__", {"name": "os"}),
        ToolCall(f"open({str(target)!r}, 'w')", {}),
        ToolCall("mkdir", {"dir_name": deep}),
        ToolCall("mkdir", {"dir_name": "x" * 10**7}),
        ToolCall("touch", {"file_name": "a", f"b=open({str(target)!r}, 'w')": 1}),
    )
    assert JUDGE(trajectory((*hostile, *GOLD[0]), *GOLD[1:])) == {"episode": True, "executes": False}
    assert not target.exists()
    # Control: an honest call in the same place is seen.
    assert not JUDGE(trajectory((call("touch", file_name="x"), *GOLD[0]), *GOLD[1:]))["episode"]


def fake(lines: str) -> JudgeProcess:
    return JudgeProcess((sys.executable, "-c", lines))


def test_a_verdict_that_takes_too_long_is_none_and_the_process_starts_again(caplog: pytest.LogCaptureFixture) -> None:
    process = fake("import time; print('ready', flush=True); input(); time.sleep(1000)")
    with caplog.at_level(logging.WARNING):
        assert process.ask("{}", 0.05) is None
        assert process.ask("{}", 0.05) is None
    process.close()
    assert [record.message for record in caplog.records] == [
        "a verdict on a BFCL trajectory did not end within 0.05 s and counts as wrong"
    ] * 2
    # Control: one that answers in time is believed, again and again, by one process.
    quick = fake(
        "import os; print('ready', flush=True)\nwhile input(): print('{\"pid\": %d}' % os.getpid(), flush=True)"
    )
    first = quick.ask("{}", 60)
    assert first is not None
    assert quick.ask("{}", 60) == first
    quick.close()
    assert quick.ask("{}", 60) != first
    quick.close()


def test_a_process_that_ends_or_does_not_start_is_named(caplog: pytest.LogCaptureFixture) -> None:
    dying = fake("print('ready', flush=True); input()")
    with caplog.at_level(logging.WARNING):
        assert dying.ask("{}", 60) is None
    assert "ended its process" in caplog.text
    dying.close()
    with pytest.raises(EnvironmentFailure, match=r"^run pip install$"):
        fake("print('run pip install')").ask("{}", 60)
    with pytest.raises(EnvironmentFailure, match="does not start"):
        fake("").ask("{}", 60)


def test_a_job_that_the_judge_cannot_finish_counts_as_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bfcl_judge, "make_simulators", lambda scenario: {})
    monkeypatch.setattr(sys, "stdin", iter(["{}\n", "oops\n"]))
    bfcl_judge.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["ready", *['{"episode": false, "executes": false}'] * 2]


@needs_simulators
def test_a_task_of_long_context_is_another_one() -> None:
    plain = BFCLJudge(replace(TASK.scenario, long_context=False), ((call("ls"),),))
    long = BFCLJudge(replace(TASK.scenario, long_context=True), ((call("ls"),),))
    listed = [
        BFCLEnvironment(replace(TASK, scenario=one.scenario)).execute(call("ls")).content for one in (plain, long)
    ]
    assert len(listed[1]) > 10 * len(listed[0])


@needs_simulators
def test_calls_that_were_not_executed_do_not_count_and_the_limit_of_steps_ends_the_task() -> None:
    done = trajectory(*GOLD)
    assert JUDGE(done)["episode"]
    repeated = replace(done.turns[0].steps[0], results=())
    extra = replace(done.turns[0], steps=(*done.turns[0].steps, repeated))
    assert JUDGE(replace(done, turns=(extra, *done.turns[1:])))["episode"]
    executed = replace(done.turns[0], steps=(*done.turns[0].steps, done.turns[0].steps[0]))
    assert job_text(JUDGE, [executed]) != job_text(JUDGE, [extra])  # the control
    stopped = replace(done.turns[0], end="steps")
    assert not JUDGE(replace(done, turns=(stopped, *done.turns[1:])))["episode"]
    last = replace(done.turns[-1], end="steps")
    assert JUDGE(replace(done, turns=(*done.turns[:-1], last)))["episode"]
