"""The nouns of the paper (arXiv:2510.07841) as frozen dataclasses.

An `Input` is x_i, its `Awareness` is what H measured, an `Example` is one pair (x', y') written by G, an `Adaptation`
records what T did, an `Answer` is y_hat, and an `Episode` is the record of one input.

How it differs from the paper: an `Input` has no field for a gold answer, so that no stage can see one. Graders
receive gold separately (`ttsi.benchmarks`). Only the standard library is imported: reading results never needs torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]

NO_TOOL = "(no tool)"
"""The action of answering without any call, as it is named among candidates."""
NO_CLOSING = "(no closing)"
"""Stands for the end of a turn that is not learned (`Example.closing`)."""
DONE = "Done."
"""What an agent says where it ends a turn of calls."""
END_TURN = "end_turn"
"""The tool by which an agent ends a turn where every answer must be a call (`ttsi.agents`)."""


@dataclass(frozen=True)
class Tool:
    """A function on offer: what OpenAI calls a function tool."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments; always an object schema."""


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool, with arguments as JSON values."""

    name: str
    arguments: Mapping[str, Any]
    id: str = field(default="", compare=False, repr=False)
    """What a result calls it by, in this conversation only; "" where results come in the order of their calls."""


@dataclass(frozen=True)
class ToolResult:
    """What an environment answers to a call."""

    content: str
    """The text that the model reads."""
    error: bool = False
    """The call was refused, or failed; `content` says why."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = field(default="", compare=False, repr=False)
    """Of a tool's result: the id of the call that it answers."""


@dataclass(frozen=True)
class Input:
    """x_i: a conversation that ends with the user's turn (or a tool's result), and the tools on offer."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the content: the same question has the same hash.

        Neither the input's id counts nor the ids of calls, unless the ids assign a result to another call than the
        order of the messages does.
        """
        by_order = answered_calls(self.messages, by_id=False)
        messages = [_content(message) for message in self.messages]
        for message, answer, usual in zip(messages, answered_calls(self.messages), by_order, strict=True):
            if answer != usual:
                message["answers"] = answer
        content = {"messages": messages, "tools": [to_openai(tool) for tool in self.tools]}
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True)
class GoldExample:
    """One row of a training file: an input and the calls that are right for it. Never a test row."""

    input: Input
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True)
class TrainingData:
    """A training file's rows, for few-shot prompting and supervised fine-tuning."""

    name: str
    checksum: str
    """SHA-256 (hex) of the file it was drawn from."""
    pairs: tuple[GoldExample, ...]


@dataclass(frozen=True)
class Candidate:
    """One action that competes in awareness."""

    action: str
    """A tool's name, or NO_TOOL."""
    text: str
    """The text that was scored, as the model would write it."""
    logprob: float
    """Summed log-probability of `text` in nats."""
    probability: float
    """Share of this action after the softmax over candidates (RSS)."""


@dataclass(frozen=True)
class Awareness:
    """The model's confidence about one input (the paper's H)."""

    candidates: tuple[Candidate, ...]
    measure: str
    """Name of the measure that decided (`ttsi ls measures`)."""
    value: float
    """Value of the deciding measure; larger is more confident."""
    tau: float
    unsure: bool
    """value < tau."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Every measure computed on the way, for the report."""
    in_words: bool = False
    """The base's answer, whole or cut off, holds no call and no attempt at one."""


@dataclass(frozen=True)
class Example:
    """One synthetic pair (x', y'), kept or refused."""

    query: str
    calls: tuple[ToolCall, ...]
    text: str
    """The writer's raw output, for the record."""
    refused: str | None = None
    """None when kept, else the reason, e.g. "schema: city is missing"."""
    tools: tuple[Tool, ...] = ()
    """The tools that it calls, where they are not the input's (demonstrations from a training file)."""
    tokens: int = 0
    """Tokens written for it; a remote writer's prompt counts, too."""
    dollars: float = 0.0
    """Price of a remote writer's reply, also when it came from the cache."""
    attempt_errors: tuple[str, ...] = ()
    """Errors of the attempts to reach a remote writer, one word each: "429", "timeout", ..."""
    results: tuple[ToolResult, ...] = ()
    """What its calls returned on a copy of an agent's environment, one after the other; () where none was executed."""
    closing: str = ""
    """What an agent says behind the last result, or END_TURN where it ends the turn by that call: the example is then a
    whole turn, of which each step but a failed call is learned. NO_CLOSING is a turn whose end is not learned, "" the
    calls alone, in one answer."""


@dataclass(frozen=True)
class Adaptation:
    """The result of adapting to one input (the paper's T)."""

    status: Literal["none", "trained", "reused", "in-context", "shared", "library", "resampled", "training-failed"]
    """What was done. none: nothing, or there was nothing to learn from. trained: a temporary adapter. reused: one of an
    agent's earlier decision. in-context: the examples in the prompt. shared: one adapter for the whole run (SFT).
    library: a stored adapter. resampled: a vote, a reranking, or asked again. training-failed: a stage failed, or the
    loss rose too far."""
    samples: int = 0
    steps: int = 0
    losses: tuple[float, ...] = ()
    """Loss before each optimizer step, in nats per label token with the default objective."""
    reason: str = ""
    left_out: int = 0
    """Kept examples (or demonstrations) that did not fit the model's context."""
    unadapted: int = 0
    """Tokens at the beginning of every example on which the adapter does not act (`adaptation.scope` suffix)."""
    adapter_sha256: str = ""
    """SHA-256 (hex) of the trained adapter: the fp32 numbers of A, layer after layer, then those of B; or empty."""
    logprob_shift: float | None = None
    """Mean log-probability per token (nats) of the adapter's answer, minus the base's; None without adapter."""
    lr: float | None = None
    """Peak learning rate; None where nothing was trained."""
    library_entry: str = ""
    """The id of the library's adapter that answered (status library), or was tried and did not."""
    started_from: str = ""
    """SHA-256 (hex) of the library's adapter from which the training started; empty where it started from zero."""
    held_back_losses: tuple[float, ...] = ()
    """Loss on the held-back examples after 0, 1, ... steps, nats per label token; the adapter of the lowest answers."""
    refused: str = ""
    """Why a guard refused the new answer, so that the base's is given; else empty."""
    earlier_seconds: float = 0.0
    """Seconds of the training before the run was interrupted, this input's share of them (status shared)."""

    @property
    def failed(self) -> bool:
        """Whether a stage failed before the first step. An adapter whose loss rose too far had its steps."""
        return self.status == "training-failed" and not self.steps


@dataclass(frozen=True)
class SampledAnswer:
    """One sampled answer."""

    text: str
    calls: tuple[ToolCall, ...]
    error: str | None
    logprob: float
    """Summed log-probability of its tokens under the unmasked model, in nats."""


@dataclass(frozen=True)
class Answer:
    """One answer of the model."""

    text: str
    """As the model wrote it."""
    calls: tuple[ToolCall, ...]
    """The calls in the text; with `answer.omit_unstated` they lack optional arguments that it has, with
    `answer.fill_omitted` they have arguments that it lacks, and with `answer.convert_dates` dates in another form."""
    error: str | None = None
    """Why the text could not be read as calls; None when it could (no call at all is not an error)."""
    logprob: float = 0.0
    """Summed log-probability of the answer's tokens under the unmasked model, in nats."""
    min_logprob: float = 0.0
    """Log-probability of the least likely token."""
    tokens: int = 0
    finish_reason: Literal["stop", "length"] = "stop"
    samples: tuple[SampledAnswer, ...] = ()
    """The samples behind a vote, pass@k or a measure that counts votes."""
    base_logprob: float | None = None
    """Summed log-probability of the same tokens under the base; None where no adapter answered."""


@dataclass(frozen=True)
class Step:
    """One decision of an agent: an answer of calls, and their results; or an answer in words, which ends the turn."""

    base: Answer | None
    """The base's answer."""
    answer: Answer | None
    """The one that was given."""
    awareness: Awareness | None = None
    examples: tuple[Example, ...] = ()
    adaptation: Adaptation = Adaptation("none")
    results: tuple[ToolResult, ...] = ()
    """One per call of `answer`, in order."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds per stage: this decision's share of its batch."""
    error: str | None = None


@dataclass(frozen=True)
class Turn:
    """A user's turn, and the agent's steps until it is done."""

    messages: tuple[Message, ...]
    """What the environment says: a system message, the user's request."""
    steps: tuple[Step, ...]
    end: Literal["done", "repeated", "errors", "steps", "failed", "stopped", "open"]
    """The agent ended it; repeated calls; too many failed; the limit of steps; a failure; Ctrl-C; not over yet."""


@dataclass(frozen=True)
class Trajectory:
    """An agent's conversation with an environment, from its beginning to its end."""

    turns: tuple[Turn, ...]
    error: str | None = None
    """None, or why it ended early: "environment: what went wrong"."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return tuple(step for turn in self.turns for step in turn.steps)


@dataclass(frozen=True)
class Episode:
    """The record of one input, from its awareness to its answer."""

    input_id: str
    input_hash: str
    """`Input.content_hash`; empty where the input has content that JSON cannot hold."""
    base: Answer | None
    adapted: Answer | None
    """The final answer: with the adapter where there was one, else the same as `base`."""
    awareness: Awareness | None
    examples: tuple[Example, ...] = ()
    adaptation: Adaptation = Adaptation("none")
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds per stage: this input's share of its batch."""
    error: str | None = None
    """None, or "boundary: what went wrong"; then there may be no answer."""
    trajectories: Mapping[str, Trajectory] = field(default_factory=dict)
    """Of an agent's task: what the base did ("base") and what was done in the end ("adapted")."""


@dataclass(frozen=True)
class Prompt:
    """A conversation, the tools, and the beginning of the answer."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    prefix: str = ""
    """Text of the assistant's turn that is already written (prefill)."""


@dataclass(frozen=True)
class TrainingExample:
    """A prompt and the answer to learn."""

    prompt: Prompt
    target: str
    held_back: bool = False
    """Not trained on: its loss chooses the step whose adapter answers."""
    contrast: tuple[str, str] | None = None
    """(preferred, rejected): two beginnings of an answer, of which the first is to be likelier."""
    teacher: Prompt | None = None
    """The prompt behind which the base teaches every token of the target; None learns the target itself."""


def to_openai(tool: Tool) -> dict[str, Any]:
    """The tool as OpenAI's `{"type": "function", "function": {...}}`, which chat templates take."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def answered_calls(messages: Sequence[Message], by_id: bool = True) -> list[int | None]:
    """Which call each message is the result of.

    A result with an id answers the latest call of that id that has no result yet (of several in one turn, the first). A
    result without one, or with one where the calls have none, answers the oldest such call of the latest turn.

    Args:
        messages: the conversation.
        by_id: False reads the order only.

    Returns:
        One number per message: the call's place among all calls of the conversation, from 0; None for what is no
        result, or the result of no call.
    """
    turns: list[list[tuple[int, str]]] = []  # per assistant's turn, the calls without a result, oldest first
    answers: list[int | None] = []
    made = 0
    for message in messages:
        answer = None
        if message.tool_calls:
            turns.append([(made + place, call.id) for place, call in enumerate(message.tool_calls)])
            made += len(message.tool_calls)
        elif message.role == "tool" and turns:
            answer = _take_call(turns, message.tool_call_id if by_id else "")
        answers.append(answer)
    return answers


def _take_call(turns: list[list[tuple[int, str]]], tool_call_id: str) -> int | None:
    """The number of the call that a result answers, which then waits no longer."""
    named = [(turn, call) for turn in reversed(turns) for call in turn if call[1] == tool_call_id]
    in_order = [(turns[-1], call) for call in turns[-1] if not (tool_call_id and call[1])]
    for turn, call in [*(named if tool_call_id else []), *in_order]:
        turn.remove(call)
        return call[0]
    return None


def _content(message: Message) -> dict[str, Any]:
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    return {"role": message.role, "content": message.content, "tool_calls": calls}


def stage_seed(run_seed: int, item_hash: str, repeat: int, stage: str) -> int:
    """A 63-bit seed that depends on nothing but what it is for: run, input, repeat and stage."""
    digest = hashlib.sha256(f"{run_seed}|{item_hash}|{repeat}|{stage}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def last_request(item: Input) -> str:
    """The user's last message; empty where there is none."""
    return next((message.content for message in reversed(item.messages) if message.role == "user"), "")


def standalone_prompt(item: Input, request: str, tools: tuple[Tool, ...] = (), prefix: str = "") -> Prompt:
    """A request without the input's conversation: behind its system message, with its tools or with `tools`."""
    system = tuple(message for message in item.messages if message.role == "system")
    return Prompt((*system, Message("user", request)), tools or item.tools, prefix)
