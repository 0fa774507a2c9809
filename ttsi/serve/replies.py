"""Responses in OpenAI's format: a whole completion, or the chunks of a stream.

Inputs: an `Outcome` and the options of its request. Outputs: one completion, or chunks with the same content. A stream
starts late and then comes at once, because the base's and the adapted answer compete until both are complete.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.serve.chat_request import RequestOptions
from ttsi.serve.pipe import ChatChoice, Outcome
from ttsi.types import Episode

CHUNK_CHARACTERS = 64
"""Characters of content or arguments in a chunk."""


class ChatReply:
    """One response in both of its forms.

    Args:
        options: the request.
        outcome: the worker's result for it.
        fingerprint: identifies base and settings.
    """

    def __init__(self, options: RequestOptions, outcome: Outcome, fingerprint: str) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": options.model,
            "system_fingerprint": fingerprint,
        }
        self._options, self._outcome = options, outcome
        self._choices = [_message(choice, options) for choice in outcome.choices]
        details = [adaptation_details(episode, outcome) for episode in outcome.episodes] if options.details else None
        self._details = {} if details is None else {"ttsi": details}

    def completion(self) -> dict[str, Any]:
        """The completion."""
        choices = [
            {"index": index, "message": message, "finish_reason": finish, "logprobs": None}
            for index, (message, finish) in enumerate(self._choices)
        ]
        return {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
            "usage": self._usage(),
            **self._details,
        }

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The completion in chunks; the last chunk of a choice has its finish reason."""
        for index, (message, finish) in enumerate(self._choices):
            yield self._chunk(index, {"role": "assistant", "content": None if message.get("tool_calls") else ""})
            for piece in _text_chunks(message["content"] or ""):
                yield self._chunk(index, {"content": piece})
            for position, call in enumerate(message.get("tool_calls", [])):
                function = call["function"]
                head = {**call, "index": position, "function": {**function, "arguments": ""}}
                yield self._chunk(index, {"tool_calls": [head]})
                for piece in _text_chunks(function["arguments"]):
                    yield self._chunk(index, {"tool_calls": [{"index": position, "function": {"arguments": piece}}]})
            last = index == len(self._choices) - 1
            yield self._chunk(index, {}, finish) | (self._details if last else {})
        if self._options.include_usage:
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        usage = {"usage": None} if self._options.include_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def _usage(self) -> dict[str, int]:
        written = sum(choice.tokens for choice in self._outcome.choices)
        read = self._outcome.prompt_tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _message(choice: ChatChoice, options: RequestOptions) -> tuple[dict[str, Any], str]:
    content, finish = choice.content, choice.finish
    calls = choice.calls if options.parallel_calls else choice.calls[:1]
    for text in options.stop:
        if content and text in content:  # text comes before calls, so these were never written
            content, finish, calls = content.partition(text)[0], "stop", ()
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": {"name": n, "arguments": a}}
            for n, a in calls
        ]
    return message, finish


def _text_chunks(text: str) -> Iterator[str]:
    for start in range(0, len(text), CHUNK_CHARACTERS):
        yield text[start : start + CHUNK_CHARACTERS]


def adaptation_details(episode: Episode, outcome: Outcome) -> dict[str, Any]:
    """One choice's entry in the `ttsi` list: awareness, examples, training and timing."""
    awareness, state = episode.awareness, episode.adaptation
    details = {
        "adapted": state.status not in ("none", "training-failed") and not state.refused,
        "adaptation": state.status,
        "reason": state.refused or state.reason or None,
        "fallback": outcome.fallback,
        "unsure": awareness.unsure if awareness else None,
        "measure": awareness.measure if awareness else None,
        "value": awareness.value if awareness else None,
        "tau": awareness.tau if awareness else None,
        "margin": awareness.measures.get("margin") if awareness else None,
        "candidates": [{"action": c.action, "probability": c.probability} for c in awareness.candidates]
        if awareness
        else [],
        "unreadable": episode.adapted.error if episode.adapted else None,
        "base_calls": [{"name": c.name, "arguments": c.arguments} for c in episode.base.calls] if episode.base else [],
        "examples": [
            {
                "query": example.query,
                "calls": [{"name": c.name, "arguments": c.arguments} for c in example.calls],
                "refused": example.refused,
            }
            for example in episode.examples
        ],
        "losses": list(state.losses),
        "seconds": {"base": outcome.base_seconds, **episode.seconds},
    }
    return {key: _finite(value) for key, value in details.items()}


def _finite(value: Any) -> Any:
    """A JSON value with null in place of numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def sse_event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": still working\n\n"
