"""How does an outcome become what an OpenAI client reads?

Inputs: an `Outcome` and the request it answers. Outputs: one completion, or the chunks of a stream that say the same.
An answer is known as a whole before its first word is sent, because until then the base's and the adapted answer
compete; a stream therefore begins late and then comes at once.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ttsi.serve.pipe import Outcome, Said
from ttsi.serve.wire import Asked
from ttsi.types import Episode

PIECE = 64
"""Characters of content or arguments in a chunk."""


class Reply:
    """One answer in both of its forms."""

    def __init__(self, asked: Asked, outcome: Outcome, fingerprint: str, details: bool) -> None:
        """Give it an id.

        Args:
            asked: the request.
            outcome: what the worker made of it.
            fingerprint: of the base and the settings.
            details: whether the `ttsi` object goes along.
        """
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": fingerprint,
        }
        self._asked, self._outcome = asked, outcome
        self._choices = [_choice(said, asked) for said in outcome.said]
        self._details = {"ttsi": [told(episode, outcome) for episode in outcome.episodes]} if details else {}

    def whole(self) -> dict[str, Any]:
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
        """The completion in pieces; the last one of a choice says why it ends."""
        for index, (message, finish) in enumerate(self._choices):
            yield self._chunk(index, {"role": "assistant", "content": None if message.get("tool_calls") else ""})
            for piece in _pieces(message["content"] or ""):
                yield self._chunk(index, {"content": piece})
            for place, call in enumerate(message.get("tool_calls", [])):
                function = call["function"]
                head = {**call, "index": place, "function": {**function, "arguments": ""}}
                yield self._chunk(index, {"tool_calls": [head]})
                for piece in _pieces(function["arguments"]):
                    yield self._chunk(index, {"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
            last = index == len(self._choices) - 1
            yield self._chunk(index, {}, finish) | (self._details if last else {})
        if self._asked.include_usage:
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        usage = {"usage": None} if self._asked.include_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def _usage(self) -> dict[str, int]:
        written = sum(said.tokens for said in self._outcome.said)
        read = self._outcome.prompt_tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _choice(said: Said, asked: Asked) -> tuple[dict[str, Any], str]:
    content, finish = said.content, said.finish
    calls = said.calls if asked.parallel else said.calls[:1]
    for text in asked.stop:
        if content and text in content:  # words come before calls, so that these were never written
            content, finish, calls = content.partition(text)[0], "stop", ()
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": {"name": n, "arguments": a}}
            for n, a in calls
        ]
    return message, finish


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE):
        yield text[start : start + PIECE]


def told(episode: Episode, outcome: Outcome) -> dict[str, Any]:
    """What the method did for one choice."""
    known, state = episode.awareness, episode.adaptation
    story = {
        "adapted": state.status in ("trained", "in-context"),
        "adaptation": state.status,
        "reason": state.reason or None,
        "fallback": outcome.fallback,
        "unsure": known.unsure if known else None,
        "measure": known.measure if known else None,
        "value": known.value if known else None,
        "tau": known.tau if known else None,
        "margin": known.measures.get("margin") if known else None,
        "candidates": [{"action": c.action, "probability": c.probability} for c in known.candidates] if known else [],
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
    return {key: _finite(value) for key, value in story.items()}


def _finite(value: Any) -> Any:
    """A JSON value in which a number that JSON cannot hold is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": still working\n\n"
