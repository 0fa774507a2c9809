"""The messages between the front process and the worker, and their frames.

A socket pair without a name in the file system carries frames: four bytes of length, then JSON. Never pickle, because
what the worker computed from untrusted text is untrusted text. Inputs -> outputs: `AnswerJob` -> frame -> `AnswerJob`,
and the same for `Outcome`.
"""

from __future__ import annotations

import socket
import struct
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ttsi.config import LibraryConfig, LoopConfig
from ttsi.serve.chat_request import RequestOptions
from ttsi.serve.limits import TurnAdapterLimits
from ttsi.types import Episode

LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 2**20


class _PipeMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Start(_PipeMessage):
    """The first frame: which model to load."""

    model: str
    device: str
    dtype: str
    format: str | None = None
    """The format of tool calls; None takes it from the model's template."""
    prefix_bytes: int = 0
    """Memory of one key for what the base read of requests; it stays from request to request."""
    library: LibraryConfig | None = None
    """Where adapters are kept, a folder per key; None keeps none."""
    turn_adapters: TurnAdapterLimits = TurnAdapterLimits()
    """How long an adapter answers the later steps of its turn."""


class Ready(_PipeMessage):
    """The worker's first frame: the model is loaded, with these base weights."""

    kind: Literal["ready"] = "ready"
    base_sha256: str
    context: int | None
    parameters: int


class Unusable(_PipeMessage):
    """The worker's first frame when the model cannot be served: the reason in one line."""

    kind: Literal["unusable"] = "unusable"
    reason: str


class AnswerJob(_PipeMessage):
    """One request to answer."""

    kind: Literal["job"] = "job"
    id: str
    options: RequestOptions
    config: LoopConfig
    """The operator's settings as the request changed them; `adapt` is False where it may not be adapted."""
    adapt_seconds: float
    tenant: str = ""
    """The name of the request's key."""


class Stop(_PipeMessage):
    """To the worker: end this job without an answer (`disconnected`), or answer now with the base (`deadline`)."""

    kind: Literal["stop"] = "stop"
    id: str
    why: Literal["disconnected", "deadline"]


class ChatChoice(_PipeMessage):
    """One choice of the response."""

    content: str | None
    calls: tuple[tuple[str, str], ...]
    """(name, arguments as JSON text)."""
    finish: Literal["stop", "length", "tool_calls"]
    tokens: int


class Outcome(_PipeMessage):
    """The result of a job."""

    kind: Literal["outcome"] = "outcome"
    id: str
    state: Literal["answered", "too-long", "unfit", "failed", "disconnected"]
    """too-long, unfit: this model cannot be asked this (`reason` may be shown); failed: an internal error."""
    choices: tuple[ChatChoice, ...] = ()
    episodes: tuple[Episode, ...] = ()
    fallback: str | None = None
    """The stage at which adaptation failed, so that the base answered, or `deadline`, or `not-tried`
    (`ttsi.serve.deadline_backoff`); None when nothing failed."""
    reason: str = ""
    param: str = "messages"
    """The field of the request that is the cause, where the model cannot be asked this."""
    prompt_tokens: int = 0
    base_seconds: float = 0.0
    """Time for the base's answer, which all choices share."""


def frame(message: BaseModel) -> bytes:
    """A message as it is sent over the socket."""
    body = message.model_dump_json().encode()
    return LENGTH.pack(len(body)) + body


def read_frame(channel: socket.socket) -> bytes:
    """The content of the next frame.

    Raises:
        EOFError: the other side is gone, or its frame is too large.
    """
    (length,) = LENGTH.unpack(_read_exactly(channel, LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise EOFError
    return _read_exactly(channel, length)


def _read_exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
