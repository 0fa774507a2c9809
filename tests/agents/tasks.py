"""A benchmark of agents' tasks in a small file store, and a judge of its end state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tests.agents.actors import FileStore, world
from ttsi.agents.task_episode import executed_calls
from ttsi.benchmarks import Benchmark, Sample
from ttsi.environments.functions import FunctionEnvironment
from ttsi.types import Input, Message, ToolCall, Trajectory

FILES = ("plan.txt", "notes.txt", "todo.txt")


def new_world(request: str) -> FunctionEnvironment:
    """Three files, and one turn of the user."""
    return world(FileStore(*FILES), request)


def end_state(trajectory: Trajectory) -> list[str]:
    """The files that are left when the trajectory's calls are executed again."""
    store = FileStore(*FILES)
    environment = world(store)
    for turn in executed_calls(trajectory):
        for call in turn:
            environment.execute(call)
    return sorted(store.files)


def judge(name: str, trajectory: Trajectory) -> Mapping[str, bool]:
    """Only this file is gone."""
    return {"episode": end_state(trajectory) == sorted(set(FILES) - {name})}


def sample(name: str) -> Sample:
    """Delete one file."""
    request = f"delete_file {name}"
    item = Input(name, (Message("user", request),), tuple(new_world(request).tools()))
    gold = (ToolCall("delete_file", {"file_name": name}),)
    return Sample(item, gold, {"kind": name}, environment=partial(new_world, request), judge=partial(judge, name))


BENCHMARK = Benchmark("file-tasks", tuple(map(sample, FILES)), "0" * 64, "tests/agents/tasks.py", matcher="episode")
