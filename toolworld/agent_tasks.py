"""The frozen agent tasks: requests to the simulators, turn by turn, with the calls that are right.

`python -m toolworld.agent_tasks` writes `toolworld-agents-{validation,test}.json.gz` in `ttsi/embedded/data`; running
it again writes the same bytes. Inputs: a seed, and per simulator the plans in `agent_plans/NAME.yaml`: kinds of
requests, their calls, and several phrasings each. Outputs: tasks with one to three turns of the kinds

- single: the request states everything;
- state: an argument must be looked up first, so the gold calls are a look-up and then an action;
- two: two things are asked for;
- follow-up: the request refers to the turn before.

Of a turn's calls all change the state or none does, look-ups aside, so that each call of the others counts.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from toolworld.agent_scenes import Words, draw_slot, draw_state
from toolworld.world import fill
from ttsi.embedded import DATA
from ttsi.environments.simulators import SIMULATORS, TEST, VALIDATION
from ttsi.environments.simulators.simulator import Simulator

Split = Literal["validation", "test"]
SIZES: dict[Split, int] = {"validation": 120, "test": 240}
SEEDS: dict[Split, int] = {"validation": 21, "test": 22}
LENGTHS = {1: 25, 2: 45, 3: 30}
"""Number of turns -> weight."""
FIRST_KINDS = {"single": 56, "state": 22, "two": 22}
LATER_KINDS = {"single": 26, "state": 8, "two": 8, "follow-up": 58}
"""Where the turn before has follow-ups."""
ATTEMPTS = 40
"""How often a request of the kind that was drawn is tried in a state."""
FRAMES = (
    "please {core}", "{core} please", "hi, {core}", "{core}, thanks", "ok, {core}", "hello. {core}",
    "one thing, {core}", "{core} if you can", "good morning, {core}", "so, {core}",
)  # fmt: skip
JOINERS = (" and also ", ", then ", ". also, ", " and after that ", " and ")


@dataclass(frozen=True)
class Plan:
    """A kind of request to a simulator."""

    name: str
    kind: str
    slots: Mapping[str, str]
    """Slot -> the rule or word list of its value."""
    calls: tuple[tuple[str, Mapping[str, str]], ...]
    """Tool, and argument -> slot."""
    asks: tuple[str, ...]
    after: tuple[str, ...]
    """Of a follow-up: the plans of the turn before."""


@dataclass(frozen=True)
class Ask:
    """A request, its calls, and what it was made of."""

    kind: str
    request: str
    calls: tuple[dict[str, Any], ...]
    plan: str
    given: Mapping[str, Any]


@cache
def read_plans(simulator: str) -> tuple[Words, tuple[Plan, ...]]:
    """The word lists and the plans of a simulator."""
    text = (Path(__file__).parent / "agent_plans" / f"{simulator}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return content["words"], tuple(_plan(entry) for entry in content["plans"])


def _plan(entry: Mapping[str, Any]) -> Plan:
    calls = tuple(_call_pattern(call) for call in entry["calls"])
    slots, after = entry.get("slots", {}), tuple(entry.get("after", ()))
    return Plan(entry["name"], entry["kind"], slots, calls, tuple(entry["asks"]), after)


def _call_pattern(text: str) -> tuple[str, dict[str, str]]:
    """`tool a b=c` as the tool, and each argument's slot."""
    tool, *arguments = text.split()
    pairs = [argument.partition("=") for argument in arguments]
    return tool, {argument: slot or argument for argument, _, slot in pairs}


def tasks(split: Split) -> Iterator[dict[str, Any]]:
    """The tasks of a split, the simulators in turns."""
    rng = random.Random(SEEDS[split])
    names = list(VALIDATION if split == "validation" else TEST)
    requests: set[str] = set()
    for number in range(SIZES[split]):
        name = names[number % len(names)]
        task = _task(name, rng)
        # No task begins as another does.
        while task is None or task["turns"][0]["request"] in requests:
            task = _task(name, rng)
        requests.add(task["turns"][0]["request"])
        yield {"id": f"{name}-{number // len(names) + 1:02d}", **task}


def _task(name: str, rng: random.Random) -> dict[str, Any] | None:
    words, _ = read_plans(name)
    state = draw_state(name, words, rng)
    simulator = SIMULATORS[name](state)
    asks: list[Ask] = []
    for _ in range(_choose(LENGTHS, rng)):
        ask = _next_ask(name, simulator, asks, rng)
        if ask is None:
            return None
        _execute(simulator, ask.calls)
        asks.append(ask)
    turns = [{"kind": ask.kind, "request": ask.request, "calls": list(ask.calls)} for ask in asks]
    return {"simulator": name, "state": state, "turns": turns}


def _next_ask(name: str, simulator: Simulator, asks: list[Ask], rng: random.Random) -> Ask | None:
    """One more request; None where the state has none of the kind that was drawn."""
    kind = _choose(LATER_KINDS if _has_follow_up(name, asks) else FIRST_KINDS, rng)
    for _ in range(ATTEMPTS):
        ask = _two_asks(name, simulator, rng) if kind == "two" else _one_ask(name, kind, simulator, asks, rng)
        repeated = ask is not None and any(earlier.request == ask.request for earlier in asks)
        if ask is not None and not repeated and every_call_counts(simulator, ask.kind, ask.calls):
            frame = rng.choice(FRAMES) if rng.random() < 0.3 else "{core}"
            return replace(ask, request=frame.replace("{core}", ask.request))
    return None


def _one_ask(name: str, kind: str, simulator: Simulator, asks: list[Ask], rng: random.Random) -> Ask | None:
    words, plans = read_plans(name)
    before = asks[-1] if asks and kind == "follow-up" else None
    plan = rng.choice([plan for plan in plans if plan.kind == kind and (before is None or _follows(plan, before))])
    given = dict(before.given) if before else {}
    try:
        for slot, rule in plan.slots.items():
            given[slot] = draw_slot(name, rule, simulator, given, words, rng)
        calls = tuple(_call(pattern, given) for pattern in plan.calls)
    except LookupError:
        return None
    return Ask(kind, fill(rng.choice(plan.asks), given), calls, plan.name, given)


def _has_follow_up(name: str, asks: list[Ask]) -> bool:
    _, plans = read_plans(name)
    return bool(asks) and any(_follows(plan, asks[-1]) for plan in plans)


def _follows(plan: Plan, before: Ask) -> bool:
    return before.plan in plan.after


def _call(pattern: tuple[str, Mapping[str, str]], given: Mapping[str, Any]) -> dict[str, Any]:
    tool, arguments = pattern
    return {"name": tool, "arguments": {argument: given[slot] for argument, slot in arguments.items()}}


def _two_asks(name: str, simulator: Simulator, rng: random.Random) -> Ask | None:
    first, second = (_one_ask(name, "single", simulator, [], rng) for _ in range(2))
    if first is None or second is None or first.plan == second.plan:
        return None
    request = first.request.rstrip("?!.") + rng.choice(JOINERS) + second.request
    return Ask("two", request, first.calls + second.calls, "two", {})


def _choose(weights: Mapping[Any, int], rng: random.Random) -> Any:
    return rng.choices(list(weights), list(weights.values()))[0]


def _execute(simulator: Simulator, calls: tuple[dict[str, Any], ...]) -> list[str]:
    return [json.dumps(getattr(simulator, call["name"])(**call["arguments"])) for call in calls]


def every_call_counts(simulator: Simulator, kind: str, calls: tuple[dict[str, Any], ...]) -> bool:
    """Whether the calls can be made, in any order where two things are asked for, and none can be left out.

    The look-up of a turn "state" may be left out: it is needed to know the action, which alone changes the state.
    """
    try:
        state, results = _outcome(simulator, calls)
        if kind == "two" and _outcome(simulator, calls[::-1]) != (state, results[::-1]):
            return False
        if kind == "state":
            return _outcome(simulator, calls[:-1])[0] == simulator.state() != state
        shorter = [_outcome(simulator, calls[:place] + calls[place + 1 :]) for place in range(len(calls))]
    except ValueError:
        return False
    if state == simulator.state():
        return len(set(results)) == len(results)
    return all(other != state for other, _ in shorter)


def _outcome(simulator: Simulator, calls: tuple[dict[str, Any], ...]) -> tuple[str, list[str]]:
    twin = type(simulator)(json.loads(simulator.state()))
    results = _execute(twin, calls)
    return twin.state(), results


def content(split: Split) -> bytes:
    """The file of a split: a JSON list, compressed."""
    text = json.dumps(list(tasks(split)), ensure_ascii=False, separators=(",", ":"))
    # mtime 0: the same tasks are the same bytes.
    return gzip.compress(text.encode(), mtime=0)


def path(split: str) -> Path:
    """The file of a split."""
    return DATA / f"toolworld-agents-{split}.json.gz"


def main() -> None:
    """Write both files."""
    for split in SIZES:
        path(split).write_bytes(content(split))


if __name__ == "__main__":
    main()
