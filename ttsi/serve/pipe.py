"""What do the front process and the worker say to each other?

A socket pair that no file system knows carries frames: four bytes of length, then JSON. Never pickle: what the worker
computed from a stranger's text is a stranger's text. Inputs -> outputs: `Job` -> frame -> `Job`, and the same for
`Outcome`.
"""

from __future__ import annotations

import struct
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ttsi.config import LoopConfig
from ttsi.types import Episode, Input

LENGTH = struct.Struct(">I")
LONGEST = 64 * 2**20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Start(_Record):
    """The first frame: which model to load."""

    model: str
    device: str
    dtype: str
    format: str | None = None
    """The format of tool calls; None is what the model's template says."""


class Ready(_Record):
    """The worker's first frame: the model is loaded and the base is this."""

    kind: Literal["ready"] = "ready"
    base_sha256: str
    context: int | None
    parameters: int


class Unusable(_Record):
    """The worker's first frame when the model cannot be served; one line saying why."""

    kind: Literal["unusable"] = "unusable"
    reason: str


class Job(_Record):
    """One request."""

    kind: Literal["job"] = "job"
    id: str
    item: Input
    config: LoopConfig
    """`config.adapt` is False where this request may not be adapted."""
    choices: int
    call_required: bool
    """Words alone are no answer."""
    answer_schema: str | None
    """JSON Schema (as text) that the answer has to fit, for requests without tools."""
    adapt_seconds: float
    forced: str | None = None
    """The one tool that has to be called, exactly once."""
    one_call: bool = False
    """Where a call is required: exactly one."""
    names: tuple[str, ...] = ()
    """Tools that the request names and that may not be called."""


class Stop(_Record):
    """To the worker: leave this job (`left`), or answer it at once with the base's answer (`late`)."""

    kind: Literal["stop"] = "stop"
    id: str
    why: Literal["left", "late"]


class Said(_Record):
    """One choice, as the client hears it."""

    content: str | None
    calls: tuple[tuple[str, str], ...]
    """(name, arguments as JSON text)."""
    finish: Literal["stop", "length", "tool_calls"]
    tokens: int


class Outcome(_Record):
    """What became of a job."""

    kind: Literal["outcome"] = "outcome"
    id: str
    state: Literal["answered", "unfit", "failed", "left"]
    """unfit: the request cannot be asked of this model (`reason` is ours and may be shown); failed: nobody's fault."""
    said: tuple[Said, ...] = ()
    episodes: tuple[Episode, ...] = ()
    fallback: str | None = None
    """The stage at which adaptation failed, so that the base answers; None when nothing failed."""
    reason: str = ""
    prompt_tokens: int = 0
    base_seconds: float = 0.0
    """Time for the base's own answer, which every choice shares."""


def frame(record: BaseModel) -> bytes:
    """A record as it goes over the socket."""
    body = record.model_dump_json().encode()
    return LENGTH.pack(len(body)) + body
