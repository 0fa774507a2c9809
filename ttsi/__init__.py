"""Agents that improve themselves at test time: TT-SI (arXiv:2510.07841).

    import ttsi
    model = ttsi.load_model("embedded")
    [episode] = ttsi.improve([ttsi.Input("1", messages, tools)], model)

Public names are imported at first use, so that `import ttsi` costs nothing: no torch, no transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsi.agents.conversation_loop import run_episode as run_episode
    from ttsi.agents.conversation_loop import run_episodes as run_episodes
    from ttsi.benchmarks import Benchmark as Benchmark
    from ttsi.benchmarks import Sample as Sample
    from ttsi.benchmarks.jsonl import read_input as read_input
    from ttsi.config import AgentConfig as AgentConfig
    from ttsi.config import LoopConfig as LoopConfig
    from ttsi.config import RunConfig as RunConfig
    from ttsi.environments.functions import FunctionEnvironment as FunctionEnvironment
    from ttsi.loop import improve as improve
    from ttsi.methods import preset as preset
    from ttsi.models import load as load_model
    from ttsi.runs.evaluation import evaluate as evaluate
    from ttsi.runs.reading import load_run as load_run
    from ttsi.types import Episode as Episode
    from ttsi.types import Input as Input
    from ttsi.types import Message as Message
    from ttsi.types import Tool as Tool
    from ttsi.types import ToolCall as ToolCall
    from ttsi.types import ToolResult as ToolResult
    from ttsi.types import Trajectory as Trajectory

__version__ = "0.1.0"

_PUBLIC = {
    "improve": "ttsi.loop:improve",
    "load_model": "ttsi.models:load",
    "preset": "ttsi.methods:preset",
    "evaluate": "ttsi.runs.evaluation:evaluate",
    "read_input": "ttsi.benchmarks.jsonl:read_input",
    "load_run": "ttsi.runs.reading:load_run",
    "run_episode": "ttsi.agents.conversation_loop:run_episode",
    "run_episodes": "ttsi.agents.conversation_loop:run_episodes",
    "FunctionEnvironment": "ttsi.environments.functions:FunctionEnvironment",
    "AgentConfig": "ttsi.config:AgentConfig",
    "LoopConfig": "ttsi.config:LoopConfig",
    "RunConfig": "ttsi.config:RunConfig",
    "Input": "ttsi.types:Input",
    "Tool": "ttsi.types:Tool",
    "Message": "ttsi.types:Message",
    "ToolCall": "ttsi.types:ToolCall",
    "ToolResult": "ttsi.types:ToolResult",
    "Trajectory": "ttsi.types:Trajectory",
    "Episode": "ttsi.types:Episode",
    "Benchmark": "ttsi.benchmarks:Benchmark",
    "Sample": "ttsi.benchmarks:Sample",
}

__all__ = [
    "AgentConfig",
    "Benchmark",
    "Episode",
    "FunctionEnvironment",
    "Input",
    "LoopConfig",
    "Message",
    "RunConfig",
    "Sample",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Trajectory",
    "evaluate",
    "improve",
    "load_model",
    "load_run",
    "preset",
    "read_input",
    "run_episode",
    "run_episodes",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ttsi' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
