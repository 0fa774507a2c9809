"""Conversations with an environment: steps, ends of turns, failures, and what stays untouched."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.agents.actors import Actor, FileStore, always, called, world
from ttsi.agents.conversation_loop import run_episode, run_episodes
from ttsi.config import AgentConfig
from ttsi.errors import ConfigError
from ttsi.reports.trajectory_story import trajectory_story
from ttsi.types import END_TURN, Message, Prompt, Tool, ToolCall, ToolResult, TrainingExample, Trajectory

READ, LIST = ToolCall("read_file", {"file_name": "plan.txt"}), ToolCall("list_files", {})


def reads_then_stops(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
    """Lists, reads, and says so."""
    return [[LIST], [READ], "Read."][len(called(messages))]  # type: ignore[return-value]


def test_a_turn_is_calls_with_their_results_and_ends_with_words() -> None:
    store = FileStore()
    trajectory = run_episode(
        world(store, "read the plan", "again"), Actor(reads_then_stops), config=always(adapt=False)
    )
    assert trajectory.error is None
    assert [turn.end for turn in trajectory.turns] == ["done", "done"]
    assert [[result.content for result in step.results] for step in trajectory.turns[0].steps] == [
        ['{"files": ["notes.txt", "plan.txt"]}'],
        ["empty"],
        [],
    ]


def test_the_model_reads_every_result_of_the_conversation_so_far() -> None:
    seen: list[list[str]] = []

    def policy(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
        seen.append([message.role for message in messages])
        return [[LIST], "Done."][len(called(messages))]  # type: ignore[return-value]

    run_episode(world(FileStore(), "one", "two"), Actor(policy), config=always(adapt=False))
    assert seen[-1] == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]


def test_a_repeated_call_ends_the_turn_unexecuted_and_only_where_that_is_wanted() -> None:
    def deletes(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall]:
        return [ToolCall("delete_file", {"file_name": "plan.txt"})]

    def acted(end_at_repeat: bool) -> tuple[str, int]:
        agent = AgentConfig(max_steps=3, end_at_repeat=end_at_repeat)
        [turn] = run_episode(
            world(FileStore(), "delete"), Actor(deletes), config=always(adapt=False), agent=agent
        ).turns
        return turn.end, sum(len(step.results) for step in turn.steps)

    assert acted(True) == ("repeated", 1)
    assert acted(False) == ("steps", 3)


@pytest.mark.parametrize(("max_failures", "end", "calls"), [(2, "errors", 2), (9, "done", 4)])
def test_calls_that_keep_failing_end_the_turn(max_failures: int, end: str, calls: int) -> None:
    def guesses(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
        tried = len(called(messages))
        return [ToolCall("read_file", {"file_name": f"{tried}.txt"})] if tried < 4 else "I give up."

    agent = AgentConfig(max_failures=max_failures)
    [turn] = run_episode(world(FileStore(), "read"), Actor(guesses), config=always(adapt=False), agent=agent).turns
    assert (turn.end, sum(len(step.results) for step in turn.steps)) == (end, calls)


@pytest.mark.parametrize(("max_turns", "reason"), [(2, "the user goes on after 2 turns"), (3, None)])
def test_a_user_without_end_is_not_served_without_end(max_turns: int, reason: str | None) -> None:
    agent, model = AgentConfig(max_turns=max_turns), Actor(lambda messages, learned: "Done.")
    trajectory = run_episode(world(FileStore(), "one", "two", "three"), model, config=always(adapt=False), agent=agent)
    assert [turn.end for turn in trajectory.turns] == ["done"] * max_turns
    assert (trajectory.error or "").startswith(reason or "")
    assert (trajectory.error is None) == (reason is None)


def test_where_an_answer_must_be_a_call_the_turn_ends_with_one() -> None:
    def policy(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall]:
        return [LIST, ToolCall(END_TURN, {}), READ] if not called(messages) else [READ]

    [turn] = run_episode(world(FileStore(), "list"), Actor(policy), config=always(adapt=False, calls="required")).turns
    assert (turn.end, len(turn.steps[0].results)) == ("done", 1)  # nothing behind end_turn is executed
    [turn] = run_episode(world(FileStore(), "list"), Actor(policy), config=always(adapt=False)).turns
    assert turn.end != "done"  # the control: with words allowed the tool is not on offer
    assert turn.steps[0].results[1].error


def test_conversations_of_a_batch_do_not_touch_each_other() -> None:
    def policy(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
        if called(messages):
            return "Done."
        return [ToolCall("delete_file", {"file_name": messages[-1].content})]

    stores = [FileStore(), FileStore()]
    worlds = [("a", world(stores[0], "plan.txt")), ("b", world(stores[1], "missing.txt", "notes.txt"))]
    together = run_episodes(worlds, Actor(policy), config=always(adapt=False))
    assert [sorted(store.files) for store in stores] == [["notes.txt"], ["plan.txt"]]
    alone = run_episode(world(FileStore(), "missing.txt", "notes.txt"), Actor(policy), config=always(adapt=False))
    assert [step.results for step in together[1].steps] == [step.results for step in alone.steps]


class Raising:
    """An environment of which one method fails."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._turns = iter(([Message("user", "go")], None))

    def _meet(self, method: str) -> None:
        if method == self._method:
            raise OSError("the disk is gone")

    def tools(self):  # type: ignore[no-untyped-def]
        self._meet("tools")
        return world(FileStore()).tools()

    def next_turn(self):  # type: ignore[no-untyped-def]
        self._meet("next_turn")
        return next(self._turns)

    def execute(self, call: ToolCall) -> ToolResult:
        self._meet("execute")
        return ToolResult("fine")

    def copy(self):  # type: ignore[no-untyped-def]
        raise OSError("no copy")


@pytest.mark.parametrize("method", ["tools", "next_turn"])
def test_an_environment_that_fails_ends_its_conversation_and_no_other(method: str) -> None:
    store = FileStore()
    worlds = [("bad", Raising(method)), ("good", world(store, "read the plan"))]
    bad, good = run_episodes(worlds, Actor(reads_then_stops), config=always(adapt=False))
    assert bad.error is not None and "environment: " in bad.error and "the disk is gone" in bad.error
    assert good.error is None and good.turns[0].end == "done"


def test_a_call_that_raises_is_a_result_that_the_model_reads() -> None:
    trajectory = run_episode(Raising("execute"), Actor(reads_then_stops), config=always(adapt=False))
    assert trajectory.error is None
    assert trajectory.steps[0].results[0].error and "the disk is gone" in trajectory.steps[0].results[0].content


def test_without_a_copy_examples_are_learned_unexecuted() -> None:
    trajectory = run_episode(Raising(""), Actor(reads_then_stops), config=always())
    examples = trajectory.steps[0].examples
    assert examples and all(not example.results for example in examples)
    assert trajectory.steps[0].adaptation.status == "trained"


def test_two_environments_of_one_id_are_refused() -> None:
    worlds = [("a", world(FileStore(), "x")), ("a", world(FileStore(), "y"))]
    with pytest.raises(ConfigError, match="same id"):
        run_episodes(worlds, Actor(reads_then_stops), config=always(adapt=False))


def test_an_environment_is_used_by_one_conversation() -> None:
    shared, other = world(FileStore(), "x"), world(FileStore(), "x")
    with pytest.raises(ConfigError, match=r"^'a' and 'b' are one environment: make one for each$"):
        run_episodes([("a", shared), ("b", shared)], Actor(reads_then_stops), config=always(adapt=False))
    done = run_episodes([("a", shared), ("b", other)], Actor(reads_then_stops), config=always(adapt=False))
    assert [len(trajectory.turns) for trajectory in done] == [1, 1], "control"


@pytest.mark.parametrize("environments", [[world(FileStore(), "x")], {"a": world(FileStore(), "x")}, [(1, 2)], None])
def test_environments_come_with_ids(environments: object) -> None:
    with pytest.raises(ConfigError, match=r"a list of \(id, environment\) pairs"):
        run_episodes(environments, Actor(reads_then_stops))  # type: ignore[arg-type]


def test_a_class_is_no_environment() -> None:
    with pytest.raises(ConfigError, match="is the class Raising: make an object of it"):
        run_episode(Raising, Actor(reads_then_stops))  # type: ignore[arg-type]


class Told(Raising):
    """An environment that says and offers what a test gives it."""

    def __init__(self, text: str = "go", tools: Sequence[Tool] | None = None) -> None:
        super().__init__("")
        self._tools = world(FileStore()).tools() if tools is None else tools
        self._turns = iter(([Message("user", text)], None))
        self.state = {"an attribute": "of any kind"}

    def tools(self):  # type: ignore[no-untyped-def]
        return self._tools

    def copy(self):  # type: ignore[no-untyped-def]
        return Told()


ODD = Tool("odd", "odd", {"properties": 3})


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Told("half \ud800"), "no text that UTF-8 can write"),
        (Told(tools=[replace(ODD, parameters=None)]), "'odd'"),  # type: ignore[arg-type]
        (Told(tools=[ODD]), "JSON Schema of an object"),
        (Told(tools=[replace(ODD, parameters={"properties": {"x": {"enum": {1, 2}}}})]), "JSON Schema of an object"),
    ],
)
def test_one_bad_environment_costs_no_other_conversation(bad: Told, says: str) -> None:
    worlds = [("bad", bad), ("good", world(FileStore(), "read the plan"))]
    first, second = run_episodes(worlds, Actor(reads_then_stops), config=always())
    assert first.error is not None and first.error.startswith("environment: ") and says in first.error
    assert second.error is None and second.turns[0].end == "done"


def test_an_attribute_called_state_is_no_method() -> None:
    trajectory = run_episode(Told(), Actor(reads_then_stops), config=always())
    assert any(example.results for example in trajectory.steps[0].examples)


def test_what_is_no_environment_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="is an object"):
        run_episode(object(), Actor(reads_then_stops))  # type: ignore[arg-type]


def test_a_turn_without_tools_is_answered_and_not_adapted() -> None:
    steps = run_episode(Told(tools=[]), Actor(lambda messages, learned: "Hello."), config=always()).steps
    assert [step.adaptation.status for step in steps] == ["none"] and steps[0].error is None


@pytest.mark.parametrize(("calls", "error"), [("required", True), ("auto", False)])
def test_a_tool_of_the_users_called_end_turn_is_refused_where_it_would_be_ours(calls: str, error: bool) -> None:
    own = Tool(END_TURN, "end", {"type": "object", "properties": {}})
    agent = AgentConfig(max_steps=2)
    said = run_episode(Told(tools=[own]), Actor(lambda m, learned: "Hello."), config=always(calls=calls), agent=agent)
    assert (said.error is not None and "another name" in said.error) == error


def test_each_step_is_reported_when_it_is_done() -> None:
    seen: list[Trajectory] = []
    environment = world(FileStore(), "read the plan", "again")
    trajectory = run_episode(environment, Actor(reads_then_stops), config=always(adapt=False), on_step=seen.append)
    assert [[(turn.end, len(turn.steps)) for turn in each.turns] for each in seen] == [
        [("open", 1)],
        [("open", 2)],
        [("done", 3)],
        [("done", 3), ("open", 1)],
        [("done", 3), ("open", 2)],
        [("done", 3), ("done", 3)],
    ]
    assert seen[-1] == trajectory
    story = trajectory_story(trajectory)
    assert all(story.startswith(trajectory_story(each)) for each in seen)  # so it can be shown line by line


def test_an_environment_whose_turns_are_used_up_is_an_error() -> None:
    environment = world(FileStore(), "read the plan")
    first, second = (run_episode(environment, Actor(reads_then_stops), config=always(adapt=False)) for _ in "ab")
    assert first.error is None and len(first.turns) == 1  # control
    assert second.turns == () and "no turn left" in (second.error or "")


class Small(Actor):
    """A model with room for so many characters of results."""

    def __init__(self, room: int) -> None:
        super().__init__(reads_then_stops)
        self.room, self.results = room, [""]

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """See `Model.fits`."""
        self.results = [message.content for message in prompt.messages if message.role == "tool"]
        length = sum(map(len, self.results))
        return None if length <= self.room else f"{length} characters"


@pytest.mark.parametrize(("room", "error"), [(100_000, None), (3_000, None), (100, "prompt: ")])
def test_long_results_are_shortened_until_the_conversation_fits(room: int, error: str | None) -> None:
    store = FileStore("plan.txt")
    store.files["plan.txt"] = "word " * 2_000
    model = Small(room)
    trajectory = run_episode(world(store, "read the plan"), model, config=always(adapt=False))
    assert (trajectory.error or "")[: len("prompt: ")] == (error or "")
    if error is None:
        long = model.results[-1]
        assert trajectory.steps[1].results[0].content == "word " * 2_000  # the record has all of it
        assert long.endswith("(7,481 more characters were left out.)") == (room == 3_000)
        assert long.startswith("word " * 200) and model.results[0] == '{"files": ["plan.txt"]}'


class Typed:
    """A person types the turns of this world; it can be made to interrupt a call."""

    waits_for_user = True

    def __init__(self, *turns: str, interrupts: str = "") -> None:
        self._turns = [(Message("user", turn),) for turn in turns]
        self._store, self._interrupts = world(FileStore()), interrupts

    def tools(self) -> Sequence[Tool]:
        return self._store.tools()

    def next_turn(self) -> Sequence[Message] | None:
        return self._turns.pop(0) if self._turns else None

    def execute(self, call: ToolCall) -> ToolResult:
        if call.name == self._interrupts:
            raise KeyboardInterrupt
        return self._store.execute(call)

    def copy(self) -> Typed:
        return Typed()


@pytest.mark.parametrize(
    ("before", "roles"),
    [
        (0, ["user"]),  # the turn is as if it had not been
        (1, ["user", "assistant", "tool", "assistant", "user"]),  # what was executed stays
    ],
)
def test_a_turn_that_is_interrupted_is_not_the_end_of_a_typed_conversation(before: int, roles: list[str]) -> None:
    seen: list[Sequence[Message]] = []

    def policy(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
        if messages[-1].content == "again":
            seen.append(messages)
            return "Here they are."
        if len(called(messages)) == before:
            raise KeyboardInterrupt
        return [LIST]

    shown: list[Trajectory] = []
    trajectory = run_episode(Typed("list", "again"), Actor(policy), config=always(adapt=False), on_step=shown.append)
    assert [(turn.end, len(turn.steps)) for turn in trajectory.turns] == [("stopped", before), ("done", 1)]
    assert trajectory.error is None and "you stopped the turn" in trajectory_story(trajectory)
    assert [turn.end for turn in shown[before].turns] == ["stopped"], "it is shown before the next line is typed"
    [conversation] = seen
    assert [message.role for message in conversation] == roles
    with pytest.raises(KeyboardInterrupt):  # the control: nobody is there to go on
        run_episode(world(FileStore(), "list", "again"), Actor(policy), config=always(adapt=False))


def test_an_interrupted_call_may_have_had_an_effect() -> None:
    seen: list[Sequence[Message]] = []

    def policy(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> Sequence[ToolCall] | str:
        seen.append(messages)
        return [LIST, READ, LIST] if len(messages) == 1 else "Hello."

    environment = Typed("read", "again", interrupts="read_file")
    agent = AgentConfig(call_seconds=0)  # in this thread, where it is Ctrl-C
    trajectory = run_episode(environment, Actor(policy), config=always(adapt=False), agent=agent)
    [stopped, done] = trajectory.turns
    assert (stopped.end, done.end, len(stopped.steps[0].results)) == ("stopped", "done", 1)
    asked = seen[-1]
    results = {message.tool_call_id: message.content for message in asked if message.role == "tool"}
    assert list(results) == [call.id for message in asked for call in message.tool_calls], "each call has a result"
    assert [content.startswith("interrupted") for content in results.values()] == [False, True, True]
    assert asked[-2].role == "assistant" and asked[-1].content == "again"


def test_ctrl_c_that_comes_when_the_turn_has_just_ended_is_not_the_end_of_the_conversation() -> None:
    pressed: list[int] = []

    def press(trajectory: Trajectory) -> None:
        if trajectory.turns[-1].end == "done" and not pressed:
            pressed.append(len(trajectory.turns))
            raise KeyboardInterrupt

    trajectory = run_episode(Typed("list", "again"), Actor(reads_then_stops), config=always(adapt=False), on_step=press)
    assert [turn.end for turn in trajectory.turns] == ["done", "done"] and pressed == [1]
    pressed.clear()
    with pytest.raises(KeyboardInterrupt):  # the control: nobody is there to go on
        run_episode(world(FileStore(), "list"), Actor(reads_then_stops), config=always(adapt=False), on_step=press)


def test_control_ctrl_c_between_turns_ends_a_typed_conversation() -> None:
    class Leaving(Typed):
        def next_turn(self) -> Sequence[Message] | None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_episode(Leaving(), Actor(reads_then_stops), config=always(adapt=False))


def test_the_log_says_when_calls_are_executed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ttsi.batch")
    at_execution: list[str] = []

    class Watched(Typed):
        def execute(self, call: ToolCall) -> ToolResult:
            at_execution.append(caplog.records[-1].getMessage())
            return super().execute(call)

    run_episode(Watched("list"), Actor(reads_then_stops), config=always(adapt=False))
    assert at_execution == ["stage begun stage=execution inputs=1"] * 2
    assert sum("stage=answer" in record.getMessage() for record in caplog.records) == 3, "the control"
