"""BFCL V4's multi-turn categories: tasks of an agent with stateful tools and a user whose turns are fixed.

Source: github.com/ShishirPatil/gorilla, `berkeley-function-call-leaderboard/bfcl_eval/data` at commit 6ea57973
(Apache-2.0). Inputs: a data folder with `bfcl/BFCL_v4_multi_turn_*.json[.gz]`, `bfcl/possible_answer/` and
`bfcl/multi_turn_func_doc/`; to act in the tasks, and to read `bfcl-turns`, also the owners' simulators: `pip install
--no-deps bfcl-eval`. Outputs: two benchmarks.

* `bfcl-multi-turn`: 800 tasks, 200 per split (base, miss_func, miss_param, long_context), with 734 or 934 turns each.
* `bfcl-turns`: their 3,336 turns one by one, each behind the gold calls of the turns before (ids end in "/turn-1",
  "/turn-2", ...). The input has the whole conversation until then. 734 of split base.

A task, in the data's form, made up:

    {"id": "multi_turn_base_0", "question": [[{"role": "user", "content": "Go to 'docs'."}], [{"role": "user", ...}]],
     "initial_config": {"GorillaFileSystem": {"root": {...}}}, "involved_classes": ["GorillaFileSystem"],
     "excluded_function": ["cp"], "missed_function": {"1": ["sort"]}}
    {"id": "multi_turn_base_0", "ground_truth": [["cd(folder='docs')"], ["sort('notes.txt')"]]}

Metric: `episode`, the owners' verdict (`ttsi.benchmarks.bfcl_judge`). The leaderboard averages the four categories.

In miss_func a tool is missing at first and is handed over in a later turn, with a text of the user that the owners'
program has and the data have not. In miss_param one request lacks something that the user adds a turn later. Gold has
no call in the turn that cannot be answered, and nothing is compared after it: a call there is wrong by what it changed.

As in the owners' program, functions that the data call excluded are on offer all the same (gold never calls them).
Differences: each tool has the description of its file alone, with no system message, as they do for models that call
functions. Known defects: in `multi_turn_miss_func_49` gold calls a tool that is not on offer yet (tagged
`solvable=no`); base and long_context have three turns each whose gold has no call, after which nothing is compared; the
age in `verify_traveler_information` depends on today's date, and times of transactions on the time zone, for model and
gold alike. The four splits share their requests: they are no independent samples.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os.path import commonpath
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample
from ttsi.benchmarks.bfcl import convert
from ttsi.benchmarks.bfcl_judge import BFCLJudge
from ttsi.benchmarks.conversion import solvable_tag
from ttsi.benchmarks.data_files import find, parse_json, read_bytes, sha256
from ttsi.chat.conversation import read_messages
from ttsi.environments.bfcl_simulators import (
    MODULES,
    BFCLEnvironment,
    Scenario,
    SimulatorTask,
    make_simulators,
    replay_turn,
)
from ttsi.errors import ConfigError, DataError, unknown_name
from ttsi.types import Input, Message, Tool, ToolCall

CATEGORIES = ("base", "miss_func", "miss_param", "long_context")
GROUPS: dict[str, tuple[str, ...]] = {"test": CATEGORIES} | {name: (name,) for name in CATEGORIES}
"""Split -> the categories in it."""
HANDED_OVER = "I have updated some more functions you can choose from. What about now?"
"""What the user says when tools are handed over (bfcl_eval/constants/default_prompts.py)."""

Gold = tuple[tuple[ToolCall, ...], ...]


@dataclass(frozen=True)
class GoldTask:
    """A task, its gold calls turn by turn, and its category."""

    task: SimulatorTask
    gold: Gold
    category: str

    def tags(self, turns: Sequence[int]) -> Mapping[str, str]:
        """Tags of a sample of these turns."""
        offered = {turn: {tool.name for tool in self.task.tools_in(turn)} for turn in turns}
        solvable = all(call.name in offered[turn] for turn in turns for call in self.gold[turn])
        calls = sum(len(self.gold[turn]) for turn in turns)
        return {
            "category": self.category,
            "classes": "+".join(self.task.scenario.classes),
            "gold_calls": str(calls) if calls < 2 else "several",
            **solvable_tag(solvable),
        }


def load(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """BFCL V4 multi-turn, 800 agent tasks (--split base, miss_func, ... for parts); ttsi data get bfcl.

    Args:
        data_dir: the folder with the data; None is the cache.
        split: a category, or "test" for all four.

    Raises:
        ConfigError: there is no such split.
        DataError: the data are missing or not in the documented form.
    """
    return _load("bfcl-multi-turn", data_dir, split, lambda one: [_whole_task(one)])


def load_turns(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """BFCL V4 multi-turn, 3,336 single turns behind gold calls (--split base has 734); ttsi data get bfcl.

    Args:
        data_dir: the folder with the data; None is the cache.
        split: a category, or "test" for all four.

    Raises:
        ConfigError: there is no such split.
        DataError: the data are missing or not in the documented form.
        EnvironmentFailure: the owners' simulators are not installed.
    """
    return _load("bfcl-turns", data_dir, split, _single_turns)


def _load(name: str, data_dir: Path | None, split: str, samples_of: Any) -> Benchmark:
    if split not in GROUPS:
        raise ConfigError(unknown_name(f"split of {name}", split, GROUPS))
    samples, content, paths = [], b"", []
    for category in GROUPS[split]:
        tasks, data, places = read_tasks(data_dir, category)
        samples += [sample for task in tasks for sample in samples_of(task)]
        content += data
        paths += places
    title = name if split == "test" else f"{name}-{split}"
    return Benchmark(title, tuple(samples), sha256(content), commonpath(paths), "episode")


def _whole_task(one: GoldTask) -> Sample:
    task = one.task
    return Sample(
        Input(task.id, task.turns[0], task.tools_in(0)),
        tuple(call for turn in one.gold for call in turn),
        one.tags(range(len(task.turns))),
        environment=partial(BFCLEnvironment, task),
        judge=BFCLJudge(task.scenario, one.gold),
    )


def _single_turns(one: GoldTask) -> list[Sample]:
    task = one.task
    simulators = make_simulators(task.scenario)
    history: list[Message] = []
    samples = []
    for number, (turn, calls) in enumerate(zip(task.turns, one.gold, strict=True)):
        samples.append(
            Sample(
                Input(f"{task.id}/turn-{number + 1}", (*history, *turn), task.tools_in(number)),
                calls,
                one.tags([number]),
                environment=partial(BFCLEnvironment, task, one.gold[:number]),
                judge=BFCLJudge(task.scenario, one.gold[: number + 1], single=True),
            )
        )
        history += replay_turn(simulators, turn, calls)
    return samples


def read_tasks(data_dir: Path | None, category: str) -> tuple[list[GoldTask], bytes, list[Path]]:
    """The tasks of a category, the files' content for the checksum, and their paths.

    Raises:
        DataError: a file is missing or not in the documented form.
    """
    file = f"BFCL_v4_multi_turn_{category}.json"
    names = [file, f"possible_answer/{file}", *(f"multi_turn_func_doc/{module}.json" for module in MODULES.values())]
    paths = [find(data_dir, "bfcl", name) for name in names]
    contents = [read_bytes(path) for path in paths]
    rows, keys, *documents = [
        parse_json(content, path, lines=True) for content, path in zip(contents, paths, strict=True)
    ]
    tasks: list[GoldTask] = []
    try:
        tools_of = {name: _tools(document) for name, document in zip(MODULES, documents, strict=True)}
        gold_of = {key["id"]: key["ground_truth"] for key in keys}
        for row in rows:
            tasks.append(_task(row, gold_of[row["id"]], tools_of, category))
    except (LookupError, TypeError, ValueError, AttributeError, SyntaxError, DataError) as error:
        reason = str(error) if isinstance(error, DataError) else repr(error)
        raise DataError(f"{paths[0]}, row {len(tasks) + 1}: {reason}; this is not BFCL V4 multi-turn") from None
    return tasks, b"".join(contents), paths


def _tools(document: Sequence[Any]) -> tuple[Tool, ...]:
    """The tools of a class, converted as those of the single-turn rows."""
    [row] = convert([{"id": "", "question": [[]], "function": document}], category="irrelevance")
    return tuple(Tool(tool["name"], tool["description"], tool["parameters"]) for tool in row["tools"])


def _task(
    row: Mapping[str, Any], keys: Sequence[Any], tools_of: Mapping[str, Sequence[Tool]], category: str
) -> GoldTask:
    classes = tuple(row["involved_classes"])
    everything = {tool.name: tool for name in classes for tool in tools_of[name]}
    later = {int(turn): tuple(names) for turn, names in row.get("missed_function", {}).items()}
    # The owners' code offers what their data call excluded, so it is offered here.
    absent = {name for names in later.values() for name in names}
    task = SimulatorTask(
        row["id"],
        Scenario(classes, row["initial_config"], category == "long_context"),
        tuple(_messages(turn, number in later) for number, turn in enumerate(row["question"])),
        tuple(tool for name, tool in everything.items() if name not in absent),
        {turn: tuple(everything[name] for name in names) for turn, names in later.items()},
    )
    parameters = {name: tuple(tool.parameters["properties"]) for name, tool in everything.items()}
    gold = tuple(tuple(read_call_text(text, parameters) for text in turn) for turn in keys)
    if len(gold) != len(task.turns):
        raise DataError(f"{row['id']} has {len(task.turns)} turns and gold for {len(gold)}")
    return GoldTask(task, gold, category)


def _messages(turn: Sequence[Any], hands_over: bool) -> tuple[Message, ...]:
    if hands_over and not turn:
        return (Message("user", HANDED_OVER),)
    return read_messages(turn)


def read_call_text(text: str, parameters: Mapping[str, Sequence[str]]) -> ToolCall:
    """A call from its text in Python's syntax; its arguments are literals, and nothing is evaluated.

    Args:
        text: such as "sort('notes.txt')".
        parameters: function -> the names of its parameters, which arguments without a name belong to in order.

    Raises:
        DataError: it is not one call of a listed function with literals.

    >>> read_call_text("tail('a.txt', lines=-2)", {"tail": ("file_name", "lines")}).arguments
    {'file_name': 'a.txt', 'lines': -2}
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError("no call")
        names = parameters[call.func.id][: len(call.args)]
        placed = zip(names, call.args, strict=True)
        arguments = {key: ast.literal_eval(value) for key, value in placed}
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg in arguments:
                raise ValueError("not each argument once and by its name")
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        return ToolCall(call.func.id, arguments)
    except (LookupError, TypeError, ValueError, SyntaxError) as error:
        raise DataError(f"{text[:80]!r} is no call of its functions ({error!r})") from None
