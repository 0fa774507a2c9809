"""Agreement of our judge of BFCL's multi-turn tasks with the owners' checker, verdict by verdict.

Inputs: the BFCL data (`--data DIR`, the folder that holds `bfcl`) and the owners' package beside ours (`pip install
--no-deps bfcl-eval==2026.3.23`). Outputs: one line per kind of trajectory (verdicts, and how many are right), the
seconds of both sides, every disagreement, exit code 1 if there was one.

    python -m tests.agreement.bfcl_multi_turn --data DIR --mutants 2000

Compared are the results of all gold calls, text by text; the verdicts on all gold trajectories, on all of them with one
call left out (`--every-drop`: each call in turn), and on mutants, as whole tasks and as single turns behind the gold
calls of the turns before. The owners' programs evaluate text as Python: here all of it is written by `repr` from
literals that stand in the gold calls.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ttsi.benchmarks.bfcl_judge import BFCLJudge
from ttsi.benchmarks.bfcl_multi_turn import CATEGORIES, GoldTask, read_tasks
from ttsi.environments.bfcl_simulators import BFCLEnvironment
from ttsi.types import Answer, Step, ToolCall, ToolResult, Trajectory, Turn

Turns = list[list[ToolCall]]
MULTI_TURN = "bfcl_eval.eval_checker.multi_turn_eval"


def trajectory_of(turns: Sequence[Sequence[ToolCall]], rng: Random | None = None) -> Trajectory:
    """A trajectory of these calls: one step per call, or with `rng` calls that share steps, and steps in words."""
    made = []
    for calls in turns:
        groups = [[call] for call in calls]
        while rng and len(groups) > 1 and rng.random() < 0.3:
            place = rng.randrange(len(groups) - 1)
            groups[place : place + 2] = [groups[place] + groups[place + 1]]
        steps = [Step(None, Answer("", tuple(group)), results=(ToolResult(""),) * len(group)) for group in groups]
        made.append(Turn((), (*steps, Step(None, Answer("Done.", ()))), "done"))
    return Trajectory(tuple(made))


def owners_verdict(one: GoldTask, trajectory: Trajectory, gold: Sequence[Sequence[ToolCall]]) -> bool:
    """What the owners' program says: its rule about the number of turns, then its checker."""
    from importlib import import_module

    if len(trajectory.turns) != len(gold):
        return False
    executor = import_module(f"{MULTI_TURN}.multi_turn_utils")
    checker = import_module(f"{MULTI_TURN}.multi_turn_checker")
    before = set(vars(executor))
    entry = {
        "id": one.task.id,
        "initial_config": dict(one.task.scenario.initial_config),
        "involved_classes": list(one.task.scenario.classes),
    }
    # As their program does, steps without calls are left out.
    said = [
        [list(map(text_of, s.answer.calls)) for s in t.steps if s.answer and s.answer.calls] for t in trajectory.turns
    ]
    wanted = [list(map(text_of, turn)) for turn in gold]
    try:
        return bool(checker.multi_turn_checker(said, wanted, entry, one.category, "ours")["valid"])
    finally:
        for name in set(vars(executor)) - before:
            delattr(executor, name)


def text_of(call: ToolCall) -> str:
    """A call as the owners' programs write it."""
    return f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})"


Mutation = Callable[[Random, Turns, Sequence[ToolCall]], Turns | None]


def _place(rng: Random, turns: Turns) -> tuple[int, int] | None:
    """A call by chance."""
    places = [(t, i) for t, calls in enumerate(turns) for i in range(len(calls))]
    return rng.choice(places) if places else None


def _drop(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    t, i = _place(rng, turns) or (0, 0)
    del turns[t][i : i + 1]
    return turns


def _duplicate(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    t, i = _place(rng, turns) or (0, 0)
    turns[t][i:i] = turns[t][i : i + 1]
    return turns


def _change(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    places = [(t, i) for t, calls in enumerate(turns) for i, call in enumerate(calls) if call.arguments]
    if not places:
        return None
    t, i = rng.choice(places)
    arguments: dict[str, Any] = copy.deepcopy(dict(turns[t][i].arguments))
    key = rng.choice(list(arguments))
    # A value of another call, or none at all, or another one of the same type.
    other = next((value for call in rng.sample(others, 1) for value in call.arguments.values()), None)
    near = [value for calls in turns for call in calls for value in call.arguments.values()]
    value = rng.choice([other, rng.choice(near), _another(arguments[key]), _another(arguments[key])])
    arguments[key] = value
    if rng.random() < 0.1:
        del arguments[key]
    elif rng.random() < 0.1:
        arguments["more"] = 1
    turns[t][i] = ToolCall(turns[t][i].name, arguments)
    return turns


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value[1:], *value[:1]]
    return f"{value}x" if isinstance(value, str) else value


def _swap(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    first, second = _place(rng, turns), _place(rng, turns)
    if first is None or second is None or first == second:
        return None
    (t, i), (u, j) = first, second
    turns[t][i], turns[u][j] = turns[u][j], turns[t][i]
    return turns


def _move(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    place = _place(rng, turns)
    if place is None or len(turns) < 2:
        return None
    call = turns[place[0]].pop(place[1])
    target = rng.choice([t for t in range(len(turns)) if t != place[0]])
    turns[target].insert(rng.randint(0, len(turns[target])), call)
    return turns


def _add(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    target = rng.choice(turns)
    target.insert(rng.randint(0, len(target)), rng.choice(others))
    return turns


def _drop_turn(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    del turns[rng.randrange(len(turns))]
    return turns


def _empty_turn(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    rng.choice(turns).clear()
    return turns


def _twice(rng: Random, turns: Turns, others: Sequence[ToolCall]) -> Turns | None:
    first, second = rng.sample([_drop, _duplicate, _change, _swap, _move, _add], 2)
    once = first(rng, turns, others)
    return second(rng, once, others) if once else None


MUTATIONS: dict[str, Mutation] = {
    "a call dropped": _drop,
    "a call duplicated": _duplicate,
    "an argument changed": _change,
    "two calls swapped": _swap,
    "a call in another turn": _move,
    "a call of another task": _add,
    "a turn dropped": _drop_turn,
    "a turn without calls": _empty_turn,
    "two changes": _twice,
}


@dataclass
class Comparison:
    """Verdicts of both sides, counted."""

    counts: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def add(self, kind: str, one: GoldTask, turns: Turns, rng: Random | None = None, gold: Any = None) -> bool:
        """Ask both sides about a whole task, and return our verdict."""
        gold = one.gold if gold is None else gold
        trajectory = trajectory_of(turns, rng)
        judge = BFCLJudge(one.task.scenario, tuple(map(tuple, gold)))
        return self._count(kind, one, turns, lambda: judge(trajectory), lambda: owners_verdict(one, trajectory, gold))

    def add_single(self, kind: str, one: GoldTask, number: int, calls: list[ToolCall]) -> bool:
        """Ask both sides about one turn; for the owners, the gold calls of the turns before stand before it."""
        gold = one.gold[: number + 1]
        judge = BFCLJudge(one.task.scenario, gold, single=True)
        whole = trajectory_of([*gold[:number], calls])
        return self._count(
            kind, one, [calls], lambda: judge(trajectory_of([calls])), lambda: owners_verdict(one, whole, gold)
        )

    def _count(self, kind: str, one: GoldTask, turns: Turns, ask: Callable[[], Any], ask_owners: Any) -> bool:
        begin = time.perf_counter()
        ours: bool = ask()["episode"]
        middle = time.perf_counter()
        theirs = ask_owners()
        self.seconds["ours"] += middle - begin  # type: ignore[assignment]
        self.seconds["owners"] += time.perf_counter() - middle  # type: ignore[assignment]
        self.counts[kind] += 1
        self.right[kind] += ours
        if ours is not theirs:
            calls = [[text_of(call) for call in turn] for turn in turns]
            self.disagreements.append(f"{one.task.id}, {kind}: ours {ours}, owners {theirs}: {calls}")
        return ours

    def show(self) -> None:
        """Print the table."""
        for kind, count in self.counts.items():
            print(f"{kind:<36} {count:>6} verdicts, {self.right[kind]:>5} right")
        print(f"seconds: ours {self.seconds['ours']:.1f}, owners {self.seconds['owners']:.1f}")
        print("\n".join([f"{len(self.disagreements)} disagreements in all", *self.disagreements[:50]]))


def compare_results(tasks: Sequence[GoldTask], comparison: Comparison) -> None:
    """The results of all gold calls, in the environment and by the owners' executor."""
    from importlib import import_module

    executor = import_module(f"{MULTI_TURN}.multi_turn_utils")
    for one in tasks:
        environment, scenario, before = BFCLEnvironment(one.task), one.task.scenario, set(vars(executor))
        for number, turn in enumerate(one.gold):
            environment.next_turn()
            theirs, _ = executor.execute_multi_turn_func_call(
                list(map(text_of, turn)), dict(scenario.initial_config), list(scenario.classes), "ours", one.task.id,
                long_context=scenario.long_context,
            )  # fmt: skip
            offered = {tool.name for tool in environment.tools()}
            for call, wanted in zip(turn, theirs, strict=True):
                ours = environment.execute(call)
                kind = "result" if call.name in offered else "result of a tool that is not on offer"
                comparison.counts[kind] += 1
                comparison.right[kind] += not ours.error
                if ours.content != wanted and call.name in offered:
                    comparison.disagreements.append(f"{one.task.id}, turn {number}, {text_of(call)}: {ours} {wanted}")
        for name in set(vars(executor)) - before:
            delattr(executor, name)


def compare_gold(tasks: Sequence[GoldTask], comparison: Comparison, every_drop: bool) -> None:
    """All gold trajectories, and all without one call: each one in turn, or of each task the middle one."""
    for one in tasks:
        comparison.add("gold", one, [list(turn) for turn in one.gold])
        places = [(t, i) for t, calls in enumerate(one.gold) for i in range(len(calls))]
        for t, i in places if every_drop else [places[len(places) // 2]]:
            turns = [list(turn) for turn in one.gold]
            call = turns[t].pop(i)
            if comparison.add("gold without one call", one, turns):
                print(f"right for us without it: {one.task.id}, turn {t}: {text_of(call)}")


def mutants(tasks: Sequence[GoldTask], count: int, seed: int) -> Iterator[tuple[str, GoldTask, Turns, Random]]:
    """`count` mutants of gold trajectories, of all kinds and tasks in turn."""
    rng = Random(seed)
    others = [call for one in tasks for turn in one.gold for call in turn]
    order = [one for _ in range(1 + 2 * count // len(tasks)) for one in rng.sample(list(tasks), len(tasks))]
    kinds = list(MUTATIONS)
    made = 0
    for one in order:
        kind = kinds[made % len(kinds)]
        turns = MUTATIONS[kind](rng, [list(turn) for turn in one.gold], others)
        if turns is not None and made < count:
            made += 1
            yield kind, one, turns, rng


def compare_mutants(tasks: Sequence[GoldTask], count: int, seed: int, comparison: Comparison) -> None:
    """Mutants of whole tasks; those that keep the number of turns also as single turns, where gold has a call."""
    for kind, one, turns, rng in mutants(tasks, count, seed):
        comparison.add(kind, one, turns, rng)
        if len(turns) != len(one.gold):
            continue
        changed = [n for n, calls in enumerate(turns) if tuple(calls) != one.gold[n] and one.gold[n]]
        for number in changed[:1]:
            comparison.add_single(f"{kind} (single turn)", one, number, turns[number])


def compare_brackets(tasks: Sequence[GoldTask], count: int, seed: int, comparison: Comparison) -> None:
    """Texts with a space before a bracket, which the owners' reading drops, in gold and in the calls."""
    rng = Random(seed)
    for one in rng.sample(list(tasks), min(count, len(tasks))):
        gold, turns = [list(turn) for turn in one.gold], [list(turn) for turn in one.gold]
        for t, calls in enumerate(one.gold):
            for i, call in enumerate(calls):
                texts = [key for key, value in call.arguments.items() if isinstance(value, str)]
                if texts and call.name in ("post_tweet", "send_message", "echo", "create_ticket", "comment"):
                    key = texts[-1]
                    ends = rng.choices([" (one)", "(one)", "  (one)", "\n(one)", "\n (one)", " 5x (one)"], k=2)
                    for side, end in zip((gold, turns), ends, strict=True):
                        side[t][i] = ToolCall(call.name, {**call.arguments, key: f"{call.arguments[key]}{end}"})
        if gold != [list(turn) for turn in one.gold]:
            comparison.add("a space before a bracket", one, turns, gold=gold)


def main() -> int:
    """Compare, report, and say by the exit code whether all verdicts agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds bfcl")
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--every-drop", action="store_true", help="leave out each gold call in turn")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tasks = [one for category in CATEGORIES for one in read_tasks(options.data, category)[0]]
    comparison = Comparison()
    compare_results(tasks, comparison)
    compare_gold(tasks, comparison, options.every_drop)
    compare_mutants(tasks, options.mutants, options.seed, comparison)
    compare_brackets(tasks, len(tasks), options.seed, comparison)
    comparison.show()
    return 1 if comparison.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
