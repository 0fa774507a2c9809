"""Agents that improve themselves at test time: TT-SI (arXiv:2510.07841).

    import ttsi
    model = ttsi.load_model("embedded")
    [episode] = ttsi.improve([ttsi.Input("1", messages, tools)], model, model, ttsi.preset("ttsi"))

Public names are found when they are first asked for, so that `import ttsi` costs nothing: no torch, no transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttsi.config import LoopConfig as LoopConfig
    from ttsi.loop import improve as improve
    from ttsi.methods import preset as preset
    from ttsi.models import load as load_model
    from ttsi.types import Episode as Episode
    from ttsi.types import Input as Input
    from ttsi.types import Message as Message
    from ttsi.types import Tool as Tool
    from ttsi.types import ToolCall as ToolCall

__version__ = "0.1.0"

_WHERE = {
    "improve": "ttsi.loop:improve",
    "load_model": "ttsi.models:load",
    "preset": "ttsi.methods:preset",
    "LoopConfig": "ttsi.config:LoopConfig",
    "Input": "ttsi.types:Input",
    "Tool": "ttsi.types:Tool",
    "Message": "ttsi.types:Message",
    "ToolCall": "ttsi.types:ToolCall",
    "Episode": "ttsi.types:Episode",
}

__all__ = ["Episode", "Input", "LoopConfig", "Message", "Tool", "ToolCall", "improve", "load_model", "preset"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'ttsi' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
