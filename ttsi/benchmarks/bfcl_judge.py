"""The judge of BFCL's multi-turn tasks: it executes a trajectory's calls and the gold calls, and compares the states.

Inputs: a `Trajectory`, and apart from it the scenario and the gold calls of each turn. Outputs: two verdicts. `episode`
is that of the owners' `multi_turn_checker` (bfcl-eval 2026.3.23). `executes` says that no call had an error.

An episode is right when, after every turn that has gold calls, the agent has made a call in the turn, the public
attributes of all simulators equal those after the gold calls, and each result of the turn's gold calls is among the
results of all calls so far, as often as it is there. After a turn without gold calls nothing is compared: what was
changed in it shows a turn later. Answers that could not be read and steps without calls do not count. Fewer turns than
gold, and a trajectory that ended with an error, are wrong.

Two peculiarities are the owners', and kept: calls of tools that were not on offer are executed (the environment refuses
them), and in texts a space between a word and "(" is dropped, since their reading of calls drops it. Not kept: a text
such as "sort(" becomes another text for the model than for gold there, so that even a perfect answer is wrong.

A single turn is judged behind the gold calls of the earlier turns, and by its state also where it has no gold call,
because no later turn would show what was changed.

Calls are executed in another process, `python -m ttsi.benchmarks.bfcl_judge`, which reads one job a line and writes one
verdict a line. It is started once and again after a verdict that took too long, which is False and logged.
"""

from __future__ import annotations

import ast
import atexit
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ttsi.environments.bfcl_simulators import (
    Scenario,
    Simulators,
    execute_call,
    make_simulators,
    public_state,
    unfit_arguments,
)
from ttsi.errors import EnvironmentFailure
from ttsi.types import ToolCall, ToolResult, Trajectory, Turn

log = logging.getLogger(__name__)

SECONDS = 60.0
COMMAND = (sys.executable, "-P", "-m", "ttsi.benchmarks.bfcl_judge")
WRONG = {"episode": False, "executes": False}

Calls = Sequence[ToolCall]

_SPACED_BRACKET = re.compile(r"\b([a-zA-Z_]\w*)\s+(?=\()")


@dataclass(frozen=True)
class BFCLJudge:
    """The verdict on what was done in one task, or in one of its turns."""

    scenario: Scenario
    gold: tuple[tuple[ToolCall, ...], ...]
    """The gold calls of each turn; of a single turn, those of the turns before and its own."""
    single: bool = False
    """Whether the trajectory is the last of these turns alone."""
    seconds: float = SECONDS
    """The longest that a verdict may take."""

    def __call__(self, trajectory: Trajectory) -> Mapping[str, bool]:
        """Both verdicts.

        Raises:
            EnvironmentFailure: the simulators are not installed, or the process of the judge cannot be started.
        """
        complete = trajectory.error is None and len(trajectory.turns) == (1 if self.single else len(self.gold))
        # The owners end the whole conversation at the limit of steps.
        complete = complete and not any(turn.end == "steps" for turn in trajectory.turns[:-1])
        failed = any(result.error for step in trajectory.steps for result in step.results)
        verdict = PROCESS.ask(job_text(self, trajectory.turns), self.seconds) or WRONG
        return {"episode": complete and verdict["episode"], "executes": not failed and verdict["executes"]}


def steps_with_calls(turn: Turn) -> list[Calls]:
    """The calls of each step that were executed, failed ones too."""
    return [step.answer.calls[: len(step.results)] for step in turn.steps if step.answer and step.results]


def job_text(judge: BFCLJudge, turns: Iterable[Turn]) -> str:
    """What the process reads: one line of JSON."""
    scenario = judge.scenario
    return json.dumps(
        {
            "scenario": [scenario.classes, scenario.initial_config, scenario.long_context],
            "gold": [[_call_row(call) for call in turn] for turn in judge.gold],
            "single": judge.single,
            "turns": [[[_call_row(call) for call in step] for step in steps_with_calls(turn)] for turn in turns],
        }
    )


def _call_row(call: ToolCall) -> Mapping[str, Any]:
    # Arguments that no simulator is called with cannot always be written as JSON; without them a call fails, too.
    return {"name": call.name[:200], "arguments": None if unfit_arguments(call.arguments) else call.arguments}


def judge_job(job: Mapping[str, Any]) -> dict[str, bool]:
    """The verdict on a job, by executing it here."""
    scenario = Scenario(*job["scenario"])
    model, gold = make_simulators(scenario), make_simulators(scenario)
    single, results, right, executes = job["single"], list[str](), True, True
    first = len(job["gold"]) - 1 if single else 0
    turns = [*([expected] for expected in job["gold"][:first]), *job["turns"]]
    for number, expected in enumerate(job["gold"]):
        wanted = [result.content for result in _execute_all(gold, expected)]
        steps = turns[number] if number < len(turns) else []
        done = [result for step in steps for result in _execute_all(model, step)]
        results += [result.content for result in done]
        if number < first:
            continue
        executes = executes and not any(result.error for result in done)
        if expected or single:
            right = right and bool(steps or not expected) and _same_states(model, gold) and _contains(results, wanted)
    return {"episode": right, "executes": executes}


def _execute_all(simulators: Simulators, calls: Iterable[Mapping[str, Any]]) -> list[ToolResult]:
    return [execute_call(simulators, ToolCall(call["name"], _drop_bracket_spaces(call["arguments"]))) for call in calls]


def _drop_bracket_spaces(value: Any) -> Any:
    """Arguments as the owners read them: without the spaces between a word and a bracket.

    >>> _drop_bracket_spaces({"content": ["see (above)", "1 (one)"]})
    {'content': ['see(above)', '1 (one)']}
    """
    if isinstance(value, str) and " (" in value:
        # In the Python literal, which is what they search, since a line feed is two letters there.
        return ast.literal_eval(_SPACED_BRACKET.sub(r"\1", repr(value)))
    if isinstance(value, list):
        return [_drop_bracket_spaces(one) for one in value]
    return (
        {_drop_bracket_spaces(key): _drop_bracket_spaces(one) for key, one in value.items()}
        if isinstance(value, dict)
        else value
    )


def _same_states(model: Simulators, gold: Simulators) -> bool:
    missing = object()
    return all(
        vars(model[name]).get(key, missing) == value
        for name, simulator in gold.items()
        for key, value in public_state(simulator).items()
    )


def _contains(results: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether each of the wanted results is there, as often as it is wanted."""
    return all(results.count(text) >= wanted.count(text) for text in set(wanted))


class JudgeProcess:
    """The process that executes calls for judges, started when it is first asked."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, job: str, seconds: float) -> Mapping[str, bool] | None:
        """The verdict on a job; None, and a line in the log, where it took too long or ended the process.

        Args:
            job: one line, as `job_text` writes it.
            seconds: the time limit; starting the process does not count.

        Raises:
            EnvironmentFailure: the process cannot be started.
        """
        with self._lock:
            process = self._start()
            late = threading.Event()

            def stop() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(seconds, stop)
            timer.start()
            try:
                line = _exchange(process, job)
            finally:
                timer.cancel()
                timer.join()
            if late.is_set() or not line:
                self.close()
                reason = f"did not end within {seconds:g} s" if late.is_set() else "ended its process"
                log.warning("a verdict on a BFCL trajectory %s and counts as wrong", reason)
                return None
            verdict: Mapping[str, bool] = json.loads(line)
            return verdict

    def close(self) -> None:
        """End the process; the next job starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with suppress(OSError):  # what was not written yet has no reader any more
                    pipe.close()
        process.wait()

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self.close()
            path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
            self._owner = os.getpid()
            assert self._process.stdout
            first = self._process.stdout.readline().strip()
            if first != "ready":
                self.close()
                raise EnvironmentFailure(first or "the process that judges BFCL trajectories does not start")
        return self._process


def _exchange(process: subprocess.Popen[str], job: str) -> str:
    """The line that answers a job; empty where the process ended."""
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(job + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except OSError:
        return ""


PROCESS = JudgeProcess()
atexit.register(PROCESS.close)


def main() -> None:
    """Answer jobs until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        make_simulators(Scenario(("MathAPI",), {}))
    except EnvironmentFailure as error:
        print(error, file=answers, flush=True)
        return
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            verdict = judge_job(json.loads(line))
        except Exception as error:
            log.warning("a verdict on a BFCL trajectory failed and counts as wrong: %r", error)
            verdict = WRONG
        print(json.dumps(verdict), file=answers, flush=True)


if __name__ == "__main__":
    main()
