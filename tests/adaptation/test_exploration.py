"""Notes of tried calls stand in the prompt, results and failures alike; without an environment there are none."""

from __future__ import annotations

from collections.abc import Sequence

from tests.agents.actors import Actor, FileStore, always, world
from ttsi.adaptation.exploration import HEADING, LONGEST_RESULT, with_notes
from ttsi.agents.conversation_loop import run_episode
from ttsi.loop import improve
from ttsi.types import Example, Input, Message, ToolCall, ToolResult, TrainingExample

LISTED = Example("", (ToolCall("list_files", {}),), "", results=(ToolResult('{"files": []}'),))


def test_a_note_follows_the_system_message_and_leaves_the_rest() -> None:
    item = Input("1", (Message("system", "Be brief."), Message("user", "hello")), ())
    noted = with_notes(item, [LISTED])
    assert noted.messages[0].content == f'Be brief.\n\n{HEADING}\n- list_files({{}}) returns {{"files": []}}'
    assert noted.messages[1:] == item.messages[1:]


def test_a_long_result_is_cut() -> None:
    long = Example("", LISTED.calls, "", results=(ToolResult("x" * 10 * LONGEST_RESULT),))
    [line] = with_notes(Input("1", (), ()), [long]).messages[0].content.splitlines()[1:]
    assert line.count("x") == LONGEST_RESULT


def test_the_model_reads_what_its_tools_returned_on_a_copy() -> None:
    systems: list[str] = []

    def policy(messages: Sequence[Message], learned: Sequence[TrainingExample]) -> str:
        systems.append(messages[0].content if messages[0].role == "system" else "")
        return "Done."

    store = FileStore("plan.txt")
    trajectory = run_episode(world(store, "go"), Actor(policy), config=always(method="explore"))
    assert systems[0] == "" and "delete_file" in systems[1] and "plan.txt" in systems[1]
    assert trajectory.steps[0].adaptation.status == "in-context"
    assert sorted(store.files) == ["plan.txt"]


def test_a_single_request_has_nothing_to_explore() -> None:
    item = Input("1", (Message("user", "go"),), tuple(world(FileStore()).tools()))
    [episode] = improve([item], Actor(lambda messages, learned: "Done."), config=always(method="explore"))
    assert (episode.adaptation.status, episode.adapted) == ("none", episode.base)
    assert "needs tools of an agent" in episode.adaptation.reason
