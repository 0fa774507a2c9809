"""Scripted models for tests and examples: no weights, instant.

Inputs: "demo", or a JSON file. Outputs: a `Model`.

`scripted:demo` acts the method out. It chooses the tool whose line shares most words with the request, so it fails on
"will I need an umbrella" beside a weather tool. When it writes examples it does use such words, and inside `adapted` it
follows the examples it was given: what it could write but not use, it now uses. That is the effect the paper
(arXiv:2510.07841) reports of language models; here it is arranged, and proves nothing.

`scripted:FILE.json` gives the replies of its file: a list, in order, or an object from the user's last message to a
reply; a reply is a text, or `{"base": text, "adapted": text}`. The long form is `{"replies": ..., "scores": {text that
a scored continuation contains: log-probability}, "context": most characters of a prompt, "format": "hermes"}`. Where
the grammar admits calls of one tool only, as when candidates are compared, the reply is an empty call of it and the
list does not advance.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi.chat.calls import FORMATS, Format, format_name
from ttsi.chat.conversation import parse_json
from ttsi.chat.grammar import answer_grammar
from ttsi.chat.marked import content_words
from ttsi.config import AdaptationConfig
from ttsi.errors import DataError, ModelError, unknown_name
from ttsi.models import ADAPTER_CONFIG, Generation, Jobs, Model, Request, Starts
from ttsi.types import Adaptation, Message, Prompt, Tool, ToolCall, TrainingExample

NAMED = re.compile(r'"name": "([^"]*)"')
SYNONYMS = {
    "weather": ("umbrella", "rain", "sunny", "cold", "jacket"),
    "flight": ("fly", "plane", "airline"),
    "hotel": ("sleep", "stay", "night"),
    "restaurant": ("eat", "hungry", "dinner"),
    "alarm": ("wake", "morning", "asleep"),
    "music": ("song", "hear", "band"),
    "taxi": ("ride", "drive", "pickup"),
}
"""Synonyms for the words of a tool's line, which the demo uses only when it writes examples."""
PLACES = ("Oslo", "Lima", "Rome", "Cairo", "Kyoto", "Quito", "Paris", "Delhi")
_WRITING = '"Request:"'
"""Every general writing prompt asks for this mark; a conversation does not."""
_NATS_PER_WORD = 1.5
"""Log-probability that one shared word adds."""


def load(rest: str, **_: str) -> Model:
    """The demo, or a file's model.

    Args:
        rest: "demo", or the path of a .json file.

    Raises:
        ModelError: there is no such script, or it cannot be read.
    """
    if rest == "demo":
        return DemoModel()
    path = Path(rest)
    if path.suffix != ".json":
        raise ModelError(f"{unknown_name('script', rest, ('demo',))} (or give the path of a .json file)")
    return FileModel(path)


class _Scripted:
    """What both models share: a format, and training examples that last as long as a `with` block."""

    def __init__(self, spec: str, form: Format) -> None:
        self.spec = spec
        self.format = form
        self._jobs: list[Sequence[TrainingExample]] = []

    def describe(self) -> dict[str, Any]:
        """A scripted model has no weights to hash."""
        return {"spec": self.spec, "kind": "scripted", "format": self.format.name, "parameters": 0}

    def weights_sha256(self) -> str:
        """A hash of the description, in place of weights."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def prompt_tokens(self, prompt: Prompt) -> int:
        """A scripted model's tokens are words."""
        return sum(len(message.content.split()) for message in prompt.messages)

    def forget(self) -> None:
        """Do nothing: there are no compiled grammars."""

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """Always None."""
        return None

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """Keep each job's training examples until the block is left."""
        with self.adapted_from([None] * len(jobs), jobs, config, seeds) as adaptations:
            yield adaptations

    @contextmanager
    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """Keep each job's training examples, behind those of its file, until the block is left."""
        if self._jobs:
            raise ModelError("adapters are in use already: leave one `with adapted` block before the next")
        learned = [[example for example in job if not example.held_back] for job in jobs]
        try:
            self._jobs = [[*_examples(file), *job] for file, job in zip(files, learned, strict=True)]
            yield [
                replace(_adaptation(job, config), adapter_sha256=hashlib.sha256(self.adapter_file(place)).hexdigest())
                if job else _adaptation(job, config)
                for place, job in enumerate(learned)
            ]  # fmt: skip
        finally:
            self._jobs = []

    def adapter_file(self, index: int) -> bytes:
        """A job's requests and answers, in the header of a safetensors file without tensors."""
        pairs = [(_last_user(example.prompt.messages), example.target) for example in self._jobs[index]]
        metadata = {ADAPTER_CONFIG: "{}", "examples": json.dumps(pairs)}
        header = json.dumps({"__metadata__": metadata}).encode()
        return struct.pack("<Q", len(header)) + header

    @contextmanager
    def with_adapters(self, files: Sequence[bytes], config: AdaptationConfig) -> Iterator[None]:
        """Follow these files' examples until the block is left."""
        jobs = list(map(_examples, files))
        with self.adapted(jobs, config, [0] * len(jobs)):
            yield

    def _only_tool(self, request: Request) -> Tool | None:
        """The only tool that may be called: named by the begun answer, or by a grammar for one tool."""
        prompt = request.prompt
        if request.grammar is None or NAMED.search(prompt.prefix):
            return _tool_named_in(prompt.prefix, prompt.tools)
        if request.grammar == answer_grammar(self.format, prompt.tools):
            return None
        named = set(NAMED.findall(request.grammar.replace('\\"', '"')))
        return next((tool for tool in prompt.tools if named == {tool.name}), None)

    def _training_examples(self, request: Request) -> Sequence[TrainingExample]:
        return () if request.adapter is None else self._jobs[request.adapter]


def _adaptation(job: Sequence[TrainingExample], config: AdaptationConfig) -> Adaptation:
    if not job:
        return Adaptation("none", reason="no examples")
    steps = config.epochs * math.ceil(len(job) / (config.batch_size or len(job)))
    return Adaptation("trained", len(job), steps, tuple(round(2 * 0.6**step, 3) for step in range(steps)))


def _examples(file: bytes | None) -> list[TrainingExample]:
    """What the adapter of a file has learned; nothing without one."""
    text = "[]" if file is None else json.loads(file[8:])["__metadata__"]["examples"]
    return [TrainingExample(Prompt((Message("user", request),), ()), target) for request, target in json.loads(text)]


def _generation(text: str, request: Request, logprob: float) -> Generation:
    """The text as generated after the prompt's prefix, cut to the request's length."""
    text = text.removeprefix(request.prompt.prefix)
    pieces = re.findall(r"\s*\S+", text)
    kept = pieces[: request.max_tokens]
    finished = len(kept) == len(pieces)
    written = text if finished else "".join(kept)
    return Generation(written, len(kept), logprob, min(logprob, 0.0) / 2, finished)


def _last_user(messages: Sequence[Message]) -> str:
    return next((message.content for message in reversed(messages) if message.role == "user"), "")


class DemoModel(_Scripted):
    """Chooses by shared words, writes with synonyms, and follows its training examples; see the module's header."""

    def __init__(self) -> None:
        super().__init__("scripted:demo", FORMATS["hermes"])

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """An example where the prompt asks for one, else a call. Its log-probability is the score of the tool that it
        calls, higher where training examples call that tool."""
        texts = [self._text(request) for request in requests]
        return [
            _generation(text, request, self._score(request.prompt, text, self._training_examples(request)))
            for text, request in zip(texts, requests, strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """Higher for a tool whose line shares words with the request, or whose training examples do; a continuation
        that names no tool gets -3."""
        jobs = [() if adapter is None else self._jobs[adapter] for adapter in adapters or [None] * len(prompts)]
        return [
            [self._score(prompt, text, job) for text in texts]
            for prompt, texts, job in zip(prompts, continuations, jobs, strict=True)
        ]

    def _score(self, prompt: Prompt, text: str, training_examples: Sequence[TrainingExample] = ()) -> float:
        tool = _tool_named_in(text if NAMED.search(text) else prompt.prefix + text, prompt.tools)
        if tool is None:
            return -3.0
        plain = _attraction(tool, prompt, ())
        score = -6.0 + _NATS_PER_WORD * plain
        return max(score, score / (1 + _attraction(tool, prompt, training_examples) - plain))

    def _text(self, request: Request) -> str:
        prompt = request.prompt
        request_text = _last_user(prompt.messages)
        if not prompt.tools:
            return "I have no tools for that."
        if _WRITING in request_text:
            return self._example(request, query_first=request.prompt.prefix.startswith("Request:"))
        chosen = self._only_tool(request) or max(
            prompt.tools, key=lambda tool: _attraction(tool, prompt, self._training_examples(request))
        )
        return self.format.render([ToolCall(chosen.name, _arguments(chosen, request_text))])

    def _example(self, request: Request, query_first: bool) -> str:
        rng = random.Random(request.seed)
        tool = self._only_tool(request) or rng.choice(request.prompt.tools)
        arguments = {
            key: _invent(schema, rng)
            for key, schema in tool.parameters.get("properties", {}).items()
            if key in tool.parameters.get("required", ())
        }
        subject = content_words(f"{tool.name.replace('_', ' ')} {tool.description}")
        synonyms = [other for word in dict.fromkeys(subject) for other in SYNONYMS.get(word, ())]
        synonyms = synonyms or subject or [tool.name]
        values = [str(value[0] if isinstance(value, list) else value) for value in arguments.values()]
        query = " ".join(
            [rng.choice(("Please:", "Tell me,", "Quick one:")), *rng.sample(synonyms, min(3, len(synonyms)))]
        )
        query += f" for {', '.join(values)}" if values else ""
        call = self.format.render([ToolCall(tool.name, arguments)])
        return f"Request: {query}\n{call}" if query_first else f"{call}\nRequest: {query}"


def _tool_named_in(text: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool that a begun or written call names."""
    match = NAMED.search(text)
    return next((tool for tool in tools if match and tool.name == match[1]), None)


def _attraction(tool: Tool, prompt: Prompt, training_examples: Sequence[TrainingExample]) -> float:
    """Words that the request shares with the tool's line, and with the requests of examples that call it."""
    request_words = set(content_words(_last_user(prompt.messages)))
    line = set(content_words(f"{tool.name.replace('_', ' ')} {tool.description}"))
    requests = [_last_user(one.prompt.messages) for one in training_examples if _calls(one.target, tool)]
    for before, after in zip(prompt.messages, prompt.messages[1:], strict=False):
        # Examples in the prompt count as much as examples in an adapter.
        if after.role == "assistant" and (_calls(after.content, tool) or _makes(after, tool)):
            requests.append(before.content)
    example_words = {word for request in requests for word in content_words(request)}
    return len(request_words & line) + 2.0 * len(request_words & example_words)


def _calls(text: str, tool: Tool) -> bool:
    match = NAMED.search(text)
    return match is not None and match[1] == tool.name


def _makes(message: Message, tool: Tool) -> bool:
    return any(call.name == tool.name for call in message.tool_calls)


def _arguments(tool: Tool, request: str) -> dict[str, Any]:
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", ())
    return {key: _value_in(schema, request) for key, schema in properties.items() if key in required}


def _value_in(schema: Mapping[str, Any], request: str) -> Any:
    """A value from the request that fits the schema, by a rule of thumb."""
    kind = schema.get("type")
    if schema.get("enum"):
        return next((v for v in schema["enum"] if str(v).lower() in request.lower()), schema["enum"][0])
    if kind in ("integer", "number"):
        number = re.search(r"-?\d+(\.\d+)?", request)
        value = float(number[0]) if number else 1.0
        return int(value) if kind == "integer" or value.is_integer() else value
    if kind == "boolean":
        return True
    if kind == "object":
        return {}
    quoted = re.search(r"[\"']([^\"']+)[\"']", request)
    capitals = re.findall(r"(?<=\s)[A-Z][\w-]*(?:\s[A-Z][\w-]*)*", request)
    plain = quoted[1] if quoted else capitals[-1] if capitals else (content_words(request) or ["it"])[-1]
    return [plain] if kind == "array" else plain


def _invent(schema: Mapping[str, Any], rng: random.Random) -> Any:
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return rng.randint(2, 30)
    return {"boolean": True, "object": {}, "array": [rng.choice(PLACES)]}.get(str(kind), rng.choice(PLACES))


class FileModel(_Scripted):
    """Gives the replies of its file; see the module's header."""

    def __init__(self, path: Path) -> None:
        """Read the script.

        Raises:
            ModelError: it is no script; one line saying why.
        """
        try:
            text = path.read_text(encoding="utf-8")
            script = parse_json(text)
        except (OSError, ValueError, DataError) as error:
            raise ModelError(f"the script {path} cannot be read: {error}") from None
        if not isinstance(script, dict | list):
            raise ModelError(f"the script {path} must be a list of replies or an object")
        settings: dict[str, Any] = script if isinstance(script, dict) and "replies" in script else {"replies": script}
        name = format_name(str(settings.get("format", "hermes")))
        if name not in FORMATS:
            raise ModelError(f"the script {path}: {unknown_name('format', name, FORMATS)}")
        super().__init__(f"scripted:{path}", FORMATS[name])
        self._replies: list[Any] | dict[str, Any] = settings["replies"]
        self._scores: Mapping[str, float] = settings.get("scores", {})
        self._context: int | None = settings.get("context")
        self._checksum = hashlib.sha256(text.encode()).hexdigest()
        self._next = 0

    def describe(self) -> dict[str, Any]:
        """The script's checksum stands for the weights."""
        return {**super().describe(), "sha256": self._checksum}

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """By the script's "context", in characters of all messages; without one everything fits."""
        size = sum(len(message.content) for message in prompt.messages)
        if self._context is None or size <= self._context:
            return None
        return f"the prompt has {size} characters and the context {self._context}"

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """The replies that the script has for these requests.

        Raises:
            ModelError: the script has none.
        """
        texts = [self._text(request) for request in requests]
        return [
            _generation(text, request, self._score(text) if self._scores else -1.0)
            for text, request in zip(texts, requests, strict=True)
        ]

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """The script's score of the first text that a continuation contains; -10 for all others."""
        return [
            [self._score(prompt.prefix + text) for text in texts]
            for prompt, texts in zip(prompts, continuations, strict=True)
        ]

    def _score(self, text: str) -> float:
        return next((float(score) for part, score in self._scores.items() if part in text), -10.0)

    def _text(self, request: Request) -> str:
        tool = self._only_tool(request) if request.grammar is not None else None
        return self._reply(request) if tool is None else self.format.render([ToolCall(tool.name, {})])

    def _reply(self, request: Request) -> str:
        request_text = _last_user(request.prompt.messages)
        if isinstance(self._replies, list):
            reply = self._replies[self._next] if self._next < len(self._replies) else None
            self._next += 1
        else:
            reply = self._replies.get(request_text)
        if isinstance(reply, dict):
            reply = reply.get("adapted" if self._training_examples(request) else "base")
        if not isinstance(reply, str):
            raise ModelError(f"{self.spec} has no reply for {request_text[:60]!r}: add one to the script")
        return reply
