"""`ttsi act`: an agent with tools that are executed, every step shown.

Inputs: what the user says, turn by turn, and the tools: Python functions, or an MCP server. Outputs: on stdout, each
decision with its confidence, its examples and what its calls returned; or the trajectory as JSON.
"""

from __future__ import annotations

import json as json_module
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ttsi.cli.ask import check_utf8, choose_model, read_stdin
from ttsi.cli.option_groups import AGENT, AWARENESS, BASIC
from ttsi.cli.progress import announced, loading, print_notes, stage_lines
from ttsi.cli.settings import (
    Device,
    Dtype,
    FormatName,
    InBasic,
    OutputSwitch,
    Shortcuts,
    Switch,
    TeacherCosts,
    complete,
)
from ttsi.cli.standard_streams import OwnStdout
from ttsi.cli.tool_sources import functions_of
from ttsi.config import AgentConfig, MethodConfig
from ttsi.errors import ConfigError, first_line
from ttsi.methods import find_method, wants_training_data
from ttsi.models import check_format, check_speaker, computes_here

if TYPE_CHECKING:
    from ttsi.environments.environment import Environment
    from ttsi.types import Trajectory


def act(
    turns: Annotated[
        list[str] | None,
        Parameter(
            help="What the user says, one text per turn; - reads one turn per line from stdin. Without any, you are "
            "asked turn by turn.",
            group=BASIC,
            allow_leading_hyphen=True,
        ),
    ] = None,
    /,
    *,
    functions: Annotated[str | None, Parameter(group=BASIC)] = None,
    mcp: Annotated[str | None, Parameter(group=BASIC)] = None,
    safe_to_repeat: Annotated[str | None, Parameter(group=AGENT)] = None,
    model: Annotated[
        str | None,
        Parameter(
            group=BASIC,
            help="The model that decides (ttsi ls models): a folder, FILE.gguf, hf:OWNER/NAME, smollm2, embedded. "
            "By default smollm2 where it is installed, else embedded.",
        ),
    ] = None,
    config: Annotated[MethodConfig, InBasic] = MethodConfig(),  # noqa: B008  frozen, so sharing it is safe
    agent: Annotated[AgentConfig, Parameter(group=AGENT)] = AgentConfig(),  # noqa: B008
    shortcuts: Shortcuts = Shortcuts(),  # noqa: B008
    costs: TeacherCosts = TeacherCosts(),  # noqa: B008
    system: Annotated[str | None, Parameter(group=BASIC)] = None,
    adapt_anyway: Annotated[Switch, Parameter(group=AWARENESS)] = False,
    format: FormatName = None,
    json: OutputSwitch = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Let a model use tools, which are executed, and show every step.

    The tools are Python functions with type hints (--functions), or those of an MCP server (--mcp). The calls of the
    model's answers are executed. Where it is unsure, it learns written examples. Those of tools in --safe-to-repeat are
    executed first, on a copy of the object whose methods they are, and only what succeeds is learned.

    Args:
        turns: what the user says.
        functions: module:object, where the object is a list of functions, an instance whose public methods are the
            tools, a function without parameters that makes one of these, or one function with parameters.
        mcp: The command that starts an MCP server, like "python server.py" (pip install 'ttsi[mcp]').
        safe_to_repeat: Tools that may be called for written examples and on trial, as they change nothing that lasts
            but attributes of their Python object, which is copied: their names with commas, all, or read-only (those
            that an MCP server marks so). No other tool is called but for an answer.
        model: the model that decides.
        config: the method and its settings.
        agent: the settings of the conversation.
        shortcuts: short names of settings.
        costs: of a teacher.
        system: A system message before the first turn.
        adapt_anyway: Adapt at every decision, even where the model is confident.
        json: Print the trajectory as JSON instead.
    """
    if (functions is None) == (mcp is None):
        raise ConfigError("name the tools: --functions module:object, or --mcp COMMAND")
    if model is None:
        model = choose_model()
    check_speaker(model)
    check_format(format)
    user_turns = _user_turns(turns)
    config = complete(config, shortcuts, model)
    loop = config.loop
    if wants_training_data(loop) or config.library.folder is not None:
        raise ConfigError("ttsi act has no training data and no library: use method ttsi, and leave --library out")
    if find_method(config.method).needs_teacher and config.teacher is None:
        raise ConfigError(f"--method {config.method} needs a --teacher")
    if adapt_anyway:
        loop = replace(loop, awareness=replace(loop.awareness, gate="all"))
    opening = (system or "") if user_turns else ""
    safe = _safe(safe_to_repeat)
    with OwnStdout() as stdout, environment(functions, mcp, user_turns, opening, safe, agent.call_seconds) as world:
        # Only now: a wrong function should be named at once, not after a model was loaded.
        from ttsi.agents.conversation_loop import run_episode
        from ttsi.cli.typed_turns import TypedTurns
        from ttsi.models import load, load_teacher

        with loading(model):
            answering = load(model, device=device, dtype=dtype, format=format)
        print_notes(answering)
        teacher = costs.teacher_config(config.teacher_budget)
        writer = load_teacher(config.teacher, answering, teacher, "act", device, dtype)
        doing = announced("acting", at_once=computes_here(model)) if user_turns else _conversation()
        with doing, stage_lines() as stage_ended, _Output(stdout, json, stage_ended, typed=not user_turns) as output:
            world = world if user_turns else TypedTurns(world, system or "", output.ask)
            trajectory = run_episode(world, answering, writer, loop, agent, output.update)
            if not user_turns and not trajectory.turns:
                trajectory = replace(trajectory, error=None)  # the user ended the conversation at once
            output.update(trajectory)
    return 0 if trajectory.error is None else 1


def _user_turns(turns: list[str] | None) -> list[str]:
    """What the user says, turn by turn; nothing where a person will be asked in the terminal."""
    if turns is None:
        if sys.stdin is None or not sys.stdin.isatty():
            raise ConfigError('ttsi act needs TURNS, as no terminal is there to ask: ttsi act "delete a.txt", or -')
        return []
    texts = [line.strip() for line in read_stdin().splitlines() if line.strip()] if turns == ["-"] else turns
    for text in texts:
        check_utf8(text, "a turn")
    if not texts or not all(text.strip() for text in texts):
        raise ConfigError('a turn is empty: write what the user says, like ttsi act "delete the file a.txt"')
    return texts


@contextmanager
def _conversation() -> Iterator[None]:
    print("ttsi: write to the agent; Ctrl-C stops its turn, Ctrl-D ends the conversation", file=sys.stderr, flush=True)
    yield


class _Output:
    """What `act` shows on stdout: each step as it ends, or one JSON object at the end, of an interrupted run, too."""

    def __init__(self, stdout: OwnStdout, as_json: bool, stage_ended: Callable[[], None], typed: bool = False) -> None:
        self._stdout, self._as_json, self._stage_ended, self._lines = stdout, as_json, stage_ended, 0
        self._on_screen = typed and not as_json and stdout.out.isatty()  # the turns, where the user types them
        self._trajectory: Trajectory | None = None

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        from ttsi import codec

        if not self._as_json or self._trajectory is None:
            return
        trajectory = self._trajectory if kind is None else replace(self._trajectory, error=f"stopped: {kind.__name__}")
        ascii_only = "utf" not in (self._stdout.out.encoding or "").lower()
        text = json_module.dumps(json_module.loads(codec.dumps(trajectory)), indent=2, ensure_ascii=ascii_only)
        print(text, file=self._stdout.out)

    def ask(self, prompt: str) -> str:
        """A line that the user types.

        Raises:
            EOFError: the user ended the conversation.
        """
        try:
            return self._stdout.input(prompt)
        except EOFError:
            print(file=sys.stderr)
            raise

    def update(self, trajectory: Trajectory) -> None:
        """Show what is new in what happened so far."""
        from ttsi.reports.trajectory_story import trajectory_story

        self._trajectory = trajectory
        self._stage_ended()
        if not self._as_json:
            lines = trajectory_story(trajectory).splitlines()
            for line in lines[self._lines :]:
                self._lines += 1
                if not (self._on_screen and line.startswith("Turn ")):
                    print(line, file=self._stdout.out, flush=True)


def _safe(names: str | None) -> Any:
    """The argument `safe_to_repeat` of an environment."""
    if names is None or names == "read-only":
        return names or False
    return True if names == "all" else [name.strip() for name in names.split(",")]


@contextmanager
def environment(
    functions: str | None, mcp: str | None, turns: Sequence[str], system: str, safe: Any, seconds: float
) -> Iterator[Environment]:
    """The environment that the flags name, for as long as the block lasts.

    Raises:
        ConfigError: there is no such object, or it has no tools.
        EnvironmentFailure: the server does not start.
    """
    if mcp is not None:
        from ttsi.environments.mcp_server import MCPEnvironment

        with MCPEnvironment(_command(mcp), turns, system=system, safe_to_repeat=safe, seconds=seconds) as server:
            yield server
        return
    from ttsi.environments.functions import FunctionEnvironment

    if safe == "read-only":
        raise ConfigError("--safe-to-repeat read-only is for MCP servers: name the functions, or say all")
    tools = functions_of(str(functions))
    yield FunctionEnvironment(tools, turns, system=system, safe_to_repeat=safe)


def _command(text: str) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--mcp {text!r} is no command: {first_line(error)}") from None
    if not command:
        raise ConfigError(f"--mcp {text!r} is no command: name the program that starts the server")
    return command
