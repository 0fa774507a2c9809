"""Provider for inspect_ai, which evaluates the method as a model: `inspect eval TASK --model ttsi/embedded`.

Inputs: inspect's messages and tools. Outputs: inspect's `ModelOutput`, with a summary of the episode as metadata. A
model spec follows `ttsi/` (`ttsi ls models`; `ttsi/hf:OWNER/NAME`); `-M method=base` switches adaptation off. The loop
runs in this process, one request at a time, each forgotten before the next. For a server use inspect's own `openai-api`
provider.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolChoice, ToolFunction, ToolInfo

from ttsi.chat.answer_text import user_text
from ttsi.chat.tool_schema import normalise
from ttsi.config import LoopConfig
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models import load
from ttsi.types import Answer, Episode, Input, Message, Tool, ToolCall


@modelapi("ttsi")
class TTSI(ModelAPI):
    """A model of ttsi as an inspect provider."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        method: str = "ttsi",
        **model_args: Any,
    ) -> None:
        """Load the model.

        Args:
            model_name: a model spec.
            base_url: not used.
            api_key: not used.
            config: inspect's settings, of which max_tokens and seed apply.
            method: how to improve (`ttsi ls methods`).
            model_args: device and dtype.
        """
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._model = load(model_name, **{name: str(value) for name, value in model_args.items()})
        self._config = preset(method, model_name)
        self._one = asyncio.Lock()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One answer at a time."""
        item = as_input(input, tools, tool_choice)
        settings = _with_limits(self._config, config)
        forced = tool_choice.name if isinstance(tool_choice, ToolFunction) else None
        if forced is not None:
            settings = replace(settings, answer=replace(settings.answer, calls="one", tools=(forced,)))
        elif tool_choice == "any" and item.tools:
            settings = replace(settings, answer=replace(settings.answer, calls="required"))
        async with self._one:
            [episode] = await asyncio.to_thread(partial(improve, [item], self._model, config=settings))
        return self._output(episode, item)

    def max_connections(self) -> int:
        """One request at a time."""
        return 1

    def _output(self, episode: Episode, item: Input) -> ModelOutput:
        if episode.adapted is None:
            raise RuntimeError(episode.error or "the model gave no answer")
        answer = episode.adapted
        names = {call.name for message in item.messages for call in message.tool_calls}
        finished = answer.finish_reason == "stop"
        message = ChatMessageAssistant(
            content=user_text(self._model.format, answer.text, item.tools, names, finished),
            model=self.model_name,
            source="generate",
            tool_calls=[
                InspectCall(id=f"call_{number}", function=call.name, arguments=dict(call.arguments), type="function")
                for number, call in enumerate(answer.calls if item.tools else ())
            ]
            or None,
        )
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=_stop_reason(answer, bool(item.tools)))],
            usage=ModelUsage(output_tokens=answer.tokens, total_tokens=answer.tokens),
            metadata={"ttsi": _summary(episode)},
        )


def as_input(messages: list[ChatMessage], tools: list[ToolInfo], choice: ToolChoice) -> Input:
    """inspect's conversation as an `Input`; tools are left out where none may be called."""
    offered = [] if choice == "none" else tools
    listed = tuple(
        Tool(tool.name, tool.description, normalise(tool.parameters.model_dump(exclude_none=True, by_alias=True)))
        for tool in offered
    )
    return Input("inspect", tuple(_message(message) for message in messages), listed)


def _message(message: ChatMessage) -> Message:
    calls = message.tool_calls or [] if isinstance(message, ChatMessageAssistant) else []
    text = message.text
    if isinstance(message, ChatMessageTool) and message.error is not None:
        text = message.error.message
    answers = message.tool_call_id or "" if isinstance(message, ChatMessageTool) else ""
    return Message(message.role, text, tuple(ToolCall(c.function, c.arguments, c.id) for c in calls), answers)


def _with_limits(settings: LoopConfig, config: GenerateConfig) -> LoopConfig:
    if config.max_tokens is not None:
        longest = min(config.max_tokens, settings.answer.max_tokens)
        settings = replace(settings, answer=replace(settings.answer, max_tokens=longest))
    return settings if config.seed is None else replace(settings, seed=config.seed)


def _stop_reason(answer: Answer, may_call: bool) -> Any:
    if answer.calls and may_call:
        return "tool_calls"
    return "max_tokens" if answer.finish_reason == "length" else "stop"


def _summary(episode: Episode) -> dict[str, Any]:
    awareness, adaptation = episode.awareness, episode.adaptation
    summary = {
        "unsure": awareness.unsure if awareness else None,
        "value": awareness.value if awareness else None,
        "adaptation": adaptation.status,
        "refused": adaptation.refused or None,
        "losses": list(adaptation.losses),
        "examples": [example.query for example in episode.examples if example.refused is None],
        "base_calls": [call.name for call in episode.base.calls] if episode.base else [],
        "seconds": dict(episode.seconds),
    }
    return dict(json.loads(json.dumps(summary), parse_constant=lambda _: None))
