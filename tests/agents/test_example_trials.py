"""Written examples are executed on copies: what fails is refused, and the environment stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.agents.actors import Actor, FileStore, always, world
from ttsi.adaptation.examples import training_examples, with_demonstrations
from ttsi.agents.conversation_loop import run_episode
from ttsi.agents.example_repair import repairs
from ttsi.agents.example_trials import MOST_EARLIER, ExampleTrials
from ttsi.agents.rollout import END_TURN_TOOL, Rollout
from ttsi.batch import more_failures
from ttsi.chat.calls import FORMATS
from ttsi.config import AgentConfig
from ttsi.environments.functions import FunctionEnvironment
from ttsi.errors import EnvironmentFailure, NotRepeatable
from ttsi.types import DONE, END_TURN, Answer, Example, Input, Message, Step, ToolCall, ToolResult, TrainingExample

LIST = ToolCall("list_files", {})


def says_done(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> str:
    """Calls nothing."""
    return "Done."


def trials(store: FileStore, execute: bool = True) -> tuple[ExampleTrials, Input]:
    """Trials of one rollout, and the input of its decision."""
    environment = world(store, "go")
    item = Input("i", (Message("user", "go"),), tuple(environment.tools()))
    agent = AgentConfig(execute_examples=execute, examples="call")
    return ExampleTrials({"i": Rollout("i", environment, agent, False)}, agent), item


def deletion(name: str) -> Example:
    """An example that deletes a file."""
    return Example(f"delete {name}", (ToolCall("delete_file", {"file_name": name}),), "")


def test_a_call_that_fails_is_refused_in_the_environments_words() -> None:
    store = FileStore()
    trial, item = trials(store)
    refused = trial.execute(item, replace(deletion("gone.txt"), query="delete it"))  # no value that could be repaired
    assert refused.refused == "executes: ValueError: there is no file gone.txt; there are: notes.txt, plan.txt"
    kept = trial.execute(item, deletion("plan.txt"))
    assert kept.refused is None and [result.content for result in kept.results] == ['{"deleted": "plan.txt"}']
    assert sorted(store.files) == ["notes.txt", "plan.txt"]  # only a copy lost it


def test_unexecuted_examples_are_neither_refused_nor_copied() -> None:
    trial, item = trials(FileStore(), execute=False)
    assert trial.execute(item, deletion("gone.txt")) == deletion("gone.txt")
    assert trial.observations(item) == []


def test_tools_without_arguments_show_the_state() -> None:
    trial, item = trials(FileStore("a.txt"))
    assert trial.observations(item) == ['{"files": ["a.txt"]}']


def test_an_earlier_call_counts_once_and_the_latest_ones_go_on() -> None:
    trial, item = trials(FileStore())
    learned = [deletion(f"{number % 20}.txt") for number in range(40)]
    trial._rollouts["i"].learned = learned
    earlier = trial.earlier(item)
    assert len(earlier) == MOST_EARLIER == len({example.query for example in earlier})
    assert earlier[-1] == deletion("19.txt")


def kept_calls(step: Step) -> list[ToolCall]:
    """The calls of a decision's kept examples."""
    return [call for example in step.examples if example.refused is None for call in example.calls]


def test_examples_take_their_values_from_the_state_and_all_that_is_kept_can_be_executed() -> None:
    store = FileStore("alpha.csv", "beta.csv")
    trajectory = run_episode(world(store, "go"), Actor(says_done), config=always())
    named = {call.arguments["file_name"] for call in kept_calls(trajectory.steps[0]) if call.arguments}
    assert named and named <= {"alpha.csv", "beta.csv"}
    # The control: unexecuted, the state is not seen, and the values are invented.
    blind = run_episode(
        world(store, "go"), Actor(says_done), config=always(), agent=AgentConfig(execute_examples=False)
    )
    named = {call.arguments["file_name"] for call in kept_calls(blind.steps[0]) if call.arguments}
    assert named and not named & {"alpha.csv", "beta.csv"}
    assert sorted(store.files) == ["alpha.csv", "beta.csv"]


def behind_a_result(item: Input) -> Input:
    """The decision behind a call's result."""
    return replace(item, messages=(*item.messages, Message("assistant", "", (LIST,)), Message("tool", "[]")))


def test_a_value_that_the_complaint_names_repairs_call_and_request() -> None:
    store = FileStore("plan.txt")
    trial, item = trials(store)
    repaired = trial.execute(item, deletion("gone.txt"))
    assert (repaired.refused, repaired.query) == (None, "delete plan.txt")
    assert repaired.calls == deletion("plan.txt").calls
    # The control: words that name no value repair nothing.
    silent = Example("delete gone.txt", (ToolCall("read_file", {"file_name": "gone.txt"}),), "")
    store.files.clear()
    assert (trial.execute(item, silent).refused or "").startswith("executes: ")


def whole_turns(store: FileStore) -> tuple[ExampleTrials, Input]:
    """Trials whose examples are whole turns."""
    _, item = trials(store)
    environment = world(store, "go")
    return ExampleTrials({"i": Rollout("i", environment, AgentConfig(), False)}, AgentConfig()), item


def test_an_executed_example_becomes_a_turn_with_its_end() -> None:
    trial, item = whole_turns(FileStore("plan.txt"))
    [before] = training_examples(FORMATS["hermes"], item, [trial.execute(item, deletion("plan.txt"))])
    item = behind_a_result(item)
    example = trial.execute(item, deletion("plan.txt"))
    lessons = training_examples(FORMATS["hermes"], item, [example])
    assert example.closing == DONE
    assert before.target == lessons[-2].target  # before the turn's first call no end is learned
    assert lessons[-1].target == DONE and lessons[-1].prompt.messages[-1].content == '{"deleted": "plan.txt"}'
    # The control: a call alone teaches no end.
    call_alone = trials(FileStore("plan.txt"))[0].execute(item, deletion("plan.txt"))
    [alone] = training_examples(FORMATS["hermes"], item, [call_alone])
    assert alone.target == lessons[-2].target


def test_where_every_answer_is_a_call_the_turn_ends_by_one() -> None:
    trial, item = whole_turns(FileStore("plan.txt"))
    trial._rollouts["i"].offer_end = True
    item = replace(behind_a_result(item), tools=(*item.tools, END_TURN_TOOL))
    example = trial.execute(item, deletion("plan.txt"))
    lessons = training_examples(FORMATS["hermes"], item, [example])
    assert example.closing == END_TURN and END_TURN in lessons[-1].target


def test_a_failed_attempt_is_read_and_never_learned() -> None:
    trial, item = whole_turns(FileStore(*(f"file {number}.txt" for number in range(20))))
    item = behind_a_result(item)
    examples = [trial.execute(item, deletion(f"file {number}.txt")) for number in range(20)]
    attempts = [example for example in examples if len(example.calls) == 2]
    assert 0 < len(attempts) < 20
    for example in attempts:
        assert example.refused is None
        assert [result.error for result in example.results] == [True, False]
        first, end = training_examples(FORMATS["hermes"], item, [example])
        assert first.prompt.messages[-1].content.startswith("ValueError: there is no file")
        assert str(example.calls[0].arguments["file_name"]) not in first.target.replace(
            str(example.calls[1].arguments["file_name"]), ""
        )
        assert end.target == DONE


def test_after_a_failed_call_every_example_shows_a_failed_attempt() -> None:
    trial, item = whole_turns(FileStore("my plan.txt"))
    rollout = trial._rollouts["i"]
    rollout.proceed()
    rollout._steps.append(Step(None, None, results=(ToolResult("no", error=True),)))
    for query in "abcdefgh":
        example = trial.execute(item, replace(deletion("my plan.txt"), query=query))
        assert len(example.calls) == 2


def test_several_calls_need_a_copy() -> None:
    trial, item = trials(FileStore(), execute=False)
    two = replace(deletion("plan.txt"), calls=deletion("plan.txt").calls * 2)
    assert (trial.execute(item, two).refused or "").startswith("executes: there is no copy")


def deletes_a_missing_file(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
    """The wrong file, and with an adapter the right one."""
    if messages[-1].role == "tool":
        return "Done."
    return deletion("plan.txt" if learned else "gone.txt").calls


@pytest.mark.parametrize(("executed", "unsure"), [(True, True), (False, False)])
def test_a_call_that_would_fail_makes_the_model_unsure(executed: bool, unsure: bool) -> None:
    config = always()
    config = replace(config, awareness=replace(config.awareness, gate="unsure", measure="grounded_margin", tau=0.0))
    agent = AgentConfig(execute_answers=executed)
    environment = world(FileStore("plan.txt"), "delete gone.txt plan.txt")
    step = run_episode(environment, Actor(deletes_a_missing_file), config=config, agent=agent).steps[0]
    assert step.awareness is not None and step.awareness.unsure == unsure
    assert step.results[0].error != unsure  # adapted, it deletes the file that is there


@pytest.mark.parametrize("executed", [True, False])
def test_the_answer_of_which_fewer_calls_fail_is_given_whatever_other_guards_say(executed: bool) -> None:
    config = always()
    config = replace(config, adaptation=replace(config.adaptation, min_confidence_gain=1e9))
    agent = AgentConfig(execute_answers=executed)
    environment = world(FileStore("plan.txt"), "go")
    step = run_episode(environment, Actor(deletes_a_missing_file), config=config, agent=agent).steps[0]
    assert step.adaptation.status == "trained" and bool(step.adaptation.refused) != executed


def test_an_adapted_answer_that_fails_is_not_given() -> None:
    def worse(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
        return "Done." if messages[-1].role == "tool" else deletion("gone.txt" if learned else "plan.txt").calls

    step = run_episode(world(FileStore("plan.txt"), "go"), Actor(worse), config=always()).steps[0]
    assert step.adaptation.status == "trained" and "fail on a copy" in step.adaptation.refused
    assert not step.results[0].error


class Careful:
    """A world whose copies delete nothing, and in which reading never returns."""

    def __init__(self, store: FileStore, copied: bool = False) -> None:
        self._inner, self._copied, self.slow = world(store, "go"), copied, 0

    def tools(self):  # type: ignore[no-untyped-def]
        return self._inner.tools()

    def next_turn(self):  # type: ignore[no-untyped-def]
        return self._inner.next_turn()

    def execute(self, call: ToolCall) -> ToolResult:
        if self._copied and call.name == "delete_file":
            raise NotRepeatable("delete_file acts on the world")
        if self._copied and call.name == "read_file":
            raise EnvironmentFailure("the call of read_file did not return")
        return self._inner.execute(call)

    def copy(self):  # type: ignore[no-untyped-def]
        return Careful(FileStore(), copied=True)


def test_what_a_copy_may_not_execute_counts_neither_for_nor_against() -> None:
    environment = Careful(FileStore())
    item = Input("i", (Message("user", "go"),), tuple(environment.tools()))
    trial = ExampleTrials({"i": Rollout("i", environment, AgentConfig(), False)}, AgentConfig())
    assert trial.execute(item, deletion("plan.txt")) == deletion("plan.txt")  # kept, unexecuted
    delete, nothing = deletion("plan.txt").calls[0], ToolCall("nothing", {})
    assert trial.failures(item, (delete,)) == (0, 1)
    assert trial.failures(item, (nothing,)) == (1, 1)  # the control: a call that fails counts
    assert trial.failures(item, (nothing, delete, delete)) == (1, 3)
    assert trial.failures(item, (delete, nothing)) == (0, 2)  # the first might change what the second finds


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ("nothing", "delete_file", 0),  # deleting was not tried, so it is no better than what failed
        ("delete_file", "nothing", 0),
        ("nothing", "list_files", -1),  # the controls: both were tried
        ("list_files", "nothing", 1),
        ("delete_file", "nothing nothing", 1),  # fails more often than the other one could
        ("nothing", "", -1),
    ],
)
def test_only_calls_that_were_tried_decide_between_two_answers(before: str, after: str, more: int) -> None:
    environment = Careful(FileStore())
    item = Input("i", (Message("user", "go"),), tuple(environment.tools()))
    trial = ExampleTrials({"i": Rollout("i", environment, AgentConfig(), False)}, AgentConfig())
    arguments = {"delete_file": {"file_name": "plan.txt"}}

    def answer(names: str) -> Answer:
        return Answer(names, tuple(ToolCall(name, arguments.get(name, {})) for name in names.split()))

    assert more_failures(item, answer(before), answer(after), trial) == more


def test_a_call_that_does_not_return_is_tried_once() -> None:
    environment = Careful(FileStore())
    item = Input("i", (Message("user", "go"),), tuple(environment.tools()))
    trial = ExampleTrials({"i": Rollout("i", environment, AgentConfig(), False)}, AgentConfig())
    reading = Example("read plan.txt", (ToolCall("read_file", {"file_name": "plan.txt"}),), "")
    assert "did not return" in (trial.execute(item, reading).refused or "")
    assert (trial.execute(item, reading).refused or "").endswith("did not return before")


def test_of_several_calls_the_one_that_does_not_return_is_not_tried_again() -> None:
    environment = Careful(FileStore())
    item = Input("i", (Message("user", "go"),), tuple(environment.tools()))
    trial = ExampleTrials({"i": Rollout("i", environment, AgentConfig(), False)}, AgentConfig())
    reading = ToolCall("read_file", {"file_name": "plan.txt"})
    assert "did not return" in (trial.execute(item, Example("list and read", (LIST, reading), "")).refused or "")
    assert trial.execute(item, Example("read", (reading,), "")).refused == (
        "executes: a call of read_file did not return before"
    )
    assert trial.execute(item, Example("list", (LIST,), "")).refused is None, "the control: that one returned"


def test_a_repair_replaces_whole_words_that_stand_there_once() -> None:
    call = ToolCall("write", {"text": "a"})
    twice, inside = Example("append a to a page", (call,), ""), Example("append a page", (call,), "")
    assert list(repairs(twice, 0, "there are: milk")) == []
    assert [one.query for one in repairs(inside, 0, "there are: milk")] == ["append milk page"]


def test_in_the_prompt_a_failed_attempt_stands_with_its_complaint() -> None:
    item = Input("i", (Message("user", "go"),), ())
    wrong, right = ToolCall("read", {"name": "b"}), ToolCall("read", {"name": "a"})
    results = (ToolResult("there is no b", error=True), ToolResult("text"))
    shown = with_demonstrations(item, [Example("read a", (wrong, right), "", results=results, closing=DONE)])
    roles = [message.role for message in shown.messages]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant", "user"]
    alone = with_demonstrations(item, [Example("read a", (right,), "")])
    assert [message.role for message in alone.messages] == ["user", "assistant", "user"]  # the control


def test_a_destructive_tool_does_not_hide_the_state_from_the_next() -> None:
    store = FileStore("a.txt")

    class Clearing(FileStore):
        def clear_all(self) -> str:
            """Delete every file."""
            self.files.clear()
            return "ok"

    store = Clearing("a.txt")
    environment = FunctionEnvironment([store.clear_all, store.list_files], turns=["go"], safe_to_repeat=True)
    item = Input("i", (Message("user", "go"),), tuple(environment.tools()))
    trial = ExampleTrials({"i": Rollout("i", environment, AgentConfig(), False)}, AgentConfig())
    assert trial.observations(item) == ["ok", '{"files": ["a.txt"]}']


def test_without_a_copy_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def add(a: int) -> int:
        """Add one."""
        return a + 1

    run_episode(FunctionEnvironment([add], turns=["add", "add"]), Actor(says_done), config=always())
    assert caplog.text.count("no call is tried first: add may act on the world") == 1
