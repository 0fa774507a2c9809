"""The `tool_choice` of a request: which tools the answer may call, and whether it must call one.

Inputs: OpenAI's values (`auto`, `required`, one function by name, allowed functions), and the tools on offer. Outputs:
a `CallRule`. The model reads all tools in any case. `none` is no rule about calls: it takes the tools away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ttsi.chat.grammar import Demand
from ttsi.errors import DataError
from ttsi.types import Tool


class RequestPart(BaseModel):
    """A part of a request. No value is converted, and names that are not listed are kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class FunctionName(RequestPart):
    """A function by name."""

    name: str


class NamedFunction(RequestPart):
    """One function: the one that the answer must call, or one that it may call."""

    type: Literal["function"]
    function: FunctionName


class AllowedFunctions(RequestPart):
    """The functions that the answer may call, and whether it must call one of them."""

    mode: Literal["auto", "required"]
    tools: list[NamedFunction]


class AllowedToolsChoice(RequestPart):
    """A choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedFunctions


ToolChoice = Literal["none", "auto", "required"] | NamedFunction | AllowedToolsChoice

SHAPES = (
    'send "none", "auto", "required", {"type": "function", "function": {"name": ...}} or {"type": "allowed_tools", '
    '"allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": ...}}]}}'
)
"""What to send, for a value that is none of these."""


@dataclass(frozen=True)
class CallRule:
    """What the answer may call."""

    calls: Demand = "auto"
    """Whether a call is demanded: words are an answer, too; one call or more; or exactly one."""
    tools: tuple[str, ...] = ()
    """The only tools that may be called; () is all of them."""


def read_tool_choice(choice: ToolChoice | None, offered: Sequence[Tool], parallel: bool) -> CallRule:
    """The rule in a request's `tool_choice`.

    Args:
        choice: the field; None is `auto`.
        offered: the request's tools.
        parallel: whether one answer may hold several calls.

    Raises:
        DataError: a call is demanded without tools, no tool is allowed, or one that is not on offer.
    """
    some: Demand = "required" if parallel else "one"
    if isinstance(choice, NamedFunction):
        return CallRule("one", _among([choice.function.name], offered))
    if isinstance(choice, AllowedToolsChoice):
        allowed = choice.allowed_tools
        if not allowed.tools:
            raise DataError('tool_choice allows no tool: name one or more, or send "none"')
        names = [tool.function.name for tool in allowed.tools]
        return CallRule(some if allowed.mode == "required" else "auto", _among(names, offered))
    if choice != "required":
        return CallRule()
    if not offered:
        raise DataError('tool_choice "required" needs tools')
    return CallRule(some)


def _among(names: Sequence[str], offered: Sequence[Tool]) -> tuple[str, ...]:
    """These names in the order of the tools on offer, each once.

    Raises:
        DataError: a name is of none of them.
    """
    allowed = tuple(tool.name for tool in offered if tool.name in names)
    if len(allowed) < len(set(names)):
        raise DataError("tool_choice names a function that is not in tools")
    return allowed
