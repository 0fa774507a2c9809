"""Who owns the model, and what happens to it when a request goes wrong?

A process of its own: it loads one model, answers one job after another (strict mode: rows of different requests never
share a forward pass) and forgets everything in between. Inputs: `Job`s over a socket pair. Outputs: `Outcome`s.

The method is `ttsi.improve`, unchanged. Adaptation may fail, the answer may not: whatever goes wrong in awareness,
synthesis, adaptation or the adapted answer, or takes too long, the base's own answer is given and the outcome says at
which stage. Behind anything unusual the base's weights are hashed again; a worker whose base has changed ends itself.

Run by the front process as `python -m ttsi.serve.worker FD`.
"""

from __future__ import annotations

import _thread
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from ttsi.answer import generate_answers
from ttsi.chat.grammar import Demand, answer_grammar, json_answer
from ttsi.chat.schema import problem
from ttsi.chat.words import spoken
from ttsi.config import AdaptationConfig, AnswerConfig, LoopConfig
from ttsi.errors import ModelError, PromptTooLong, TTSIError
from ttsi.loop import improve
from ttsi.models import Model, load
from ttsi.serve.pipe import LENGTH, LONGEST, Job, Outcome, Ready, Said, Start, Stop, Unusable, frame
from ttsi.serve.watched import InterruptibleModel, InterruptibleWriter, Interrupts, Late, Left, Progress
from ttsi.types import Adaptation, Answer, Episode, Input, Prompt

BASE_CHANGED = 70
"""Exit code of a worker that found other bits in its base."""


@runtime_checkable
class Served(Model, Protocol):
    """What serving asks of a model beyond the loop."""

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of the base as it is now."""
        ...

    def prompt_tokens(self, prompt: Prompt) -> int:
        """How long a prompt is."""
        ...

    def forget(self) -> None:
        """Drop whatever is kept between calls."""
        ...


def answer_job(model: Served, job: Job, interrupts: Interrupts) -> Outcome:
    """One job through the loop; an `Outcome` whatever happens."""
    try:
        with interrupts.open_to(Left):
            return _answered(model, job, interrupts)
    except Left:
        return Outcome(id=job.id, state="left")
    except (ModelError, PromptTooLong):  # raised by the base, twice: a schema that no grammar can hold, say
        return Outcome(id=job.id, state="unfit", reason="the model cannot follow these tools or this schema")
    except Exception as error:
        return Outcome(id=job.id, state="failed", reason=type(error).__name__)


def _answered(model: Served, job: Job, interrupts: Interrupts) -> Outcome:
    prompt = Prompt(job.item.messages, job.item.tools)
    unfit = model.fits(prompt, job.config.answer.max_tokens)
    if unfit:
        shown = unfit if unfit.startswith("the prompt has") else "the model cannot read this conversation"
        return Outcome(id=job.id, state="unfit", reason=shown)
    config = replace(job.config, answer=_answer_config(model, job))
    progress = Progress()
    watched, writer = InterruptibleModel(model, interrupts, progress), InterruptibleWriter(model, interrupts, progress)
    began = time.perf_counter()
    base = _base_answer(watched, job.item, config)
    base_seconds = time.perf_counter() - began
    told, fallback = _told(watched, writer, progress, job, config, base, interrupts)
    return Outcome(
        id=job.id,
        state="answered",
        said=tuple(_said(model, job, episode.adapted or base) for episode in told),
        episodes=tuple(told),
        fallback=fallback,
        prompt_tokens=model.prompt_tokens(prompt),
        base_seconds=base_seconds,
    )


def _answer_config(model: Served, job: Job) -> AnswerConfig:
    config = job.config.answer
    if job.answer_schema is not None:
        return replace(config, grammar=json_answer(job.answer_schema))
    if job.forced is None and not job.call_required:
        return config
    # The prompt shows every tool also where one is forced: what the model reads stays what the caller wrote.
    tools = [tool for tool in job.item.tools if job.forced in (None, tool.name)]
    calls: Demand = "one" if job.forced is not None or job.one_call or config.calls == "one" else "required"
    return replace(config, calls=calls, grammar=answer_grammar(model.format, tools, calls))


def _base_answer(watched: InterruptibleModel, item: Input, config: LoopConfig) -> Answer:
    """The base's own answer; a failure that does not come again is no failure."""
    try:
        [answer] = generate_answers(watched, [item], config.answer)
    except Exception:
        [answer] = generate_answers(watched, [item], config.answer)
    return answer


def _told(
    watched: InterruptibleModel,
    writer: InterruptibleWriter,
    progress: Progress,
    job: Job,
    config: LoopConfig,
    base: Answer,
    interrupts: Interrupts,
) -> tuple[list[Episode], str | None]:
    """An episode per choice, and the stage at which adaptation failed."""
    if not job.item.tools:  # nothing in it is a call, whatever it looks like
        base = replace(base, calls=(), error=None)
    plain = Episode(job.item.id, job.item.content_hash, base, base, None)
    if not config.adapt or not job.item.tools:  # without tools there is nothing to be unsure about
        return [plain] * job.choices, None
    told: list[Episode] = []
    try:
        with interrupts.open_to(Left, Late):
            while len(told) < job.choices and not any(_failure(episode) for episode in told):
                told.append(_improved(watched, writer, job, config, len(told)) or _rejected(plain, "a stage failed"))
    except Late:
        late = _rejected(plain, f"deadline at stage {progress.stage}")
        return told + [late] * (job.choices - len(told)), "deadline"
    failed = any(_failure(episode) for episode in told)
    told = [_without_internals(episode, base) for episode in told]
    return told + [plain] * (job.choices - len(told)), progress.stage if failed else None


def _improved(
    watched: InterruptibleModel, writer: InterruptibleWriter, job: Job, config: LoopConfig, repeat: int
) -> Episode | None:
    """The loop's episode; None when even the loop could not go on."""
    try:
        return _judged(improve([job.item], watched, writer, config, repeat)[0], job.item)
    except Exception:
        return None


def _rejected(episode: Episode, reason: str) -> Episode:
    return replace(episode, adaptation=Adaptation("training-failed", reason=reason))


def _judged(episode: Episode, item: Input) -> Episode:
    """The base's answer in place of an adapted one that is no legal answer where the base's is one."""
    base, adapted = episode.base, episode.adapted
    if base is None or adapted is None or adapted == base:
        return episode
    fault = _illegal(adapted, item)
    if fault is None or _illegal(base, item) is not None:
        return episode
    state = replace(episode.adaptation, status="training-failed", reason=f"the adapted answer is refused: {fault}")
    return replace(episode, adapted=base, adaptation=state)


def _illegal(answer: Answer, item: Input) -> str | None:
    return answer.error or next((found for call in answer.calls if (found := problem(call, item.tools))), None)


def _failure(episode: Episode) -> str | None:
    """What went wrong on the way, beyond an adapter that the guard or `_judged` refused."""
    state = episode.adaptation
    return episode.error or (state.reason if state.status == "training-failed" and not state.steps else None)


def _without_internals(episode: Episode, base: Answer) -> Episode:
    """The episode as it may be shown: with an answer, and without the text of an exception."""
    if _failure(episode) is None:
        return episode
    known = episode.adaptation.reason.startswith(("no ", "non-finite "))  # the engine's own words
    reason = episode.adaptation.reason if known else "a stage failed"
    answer = episode.adapted or base
    return replace(
        episode,
        base=episode.base or base,
        adapted=answer,
        adaptation=Adaptation("training-failed", reason=reason),
        error=None,
    )


def _said(model: Served, job: Job, answer: Answer) -> Said:
    finished = answer.finish_reason == "stop"
    if job.answer_schema is not None:
        return Said(content=answer.text, calls=(), finish=answer.finish_reason, tokens=answer.tokens)
    calls = tuple((call.name, _json(call.arguments)) for call in answer.calls) if job.item.tools else ()
    words = spoken(model.format, answer.text, job.item.tools, _names(job), finished)
    silent = None if calls or (job.item.tools and not finished) else ""
    finish = "tool_calls" if calls else answer.finish_reason
    return Said(content=words or silent, calls=calls, finish=finish, tokens=answer.tokens)


def _names(job: Job) -> set[str]:
    """Every tool that the request or its conversation names."""
    return {*job.names, *(call.name for message in job.item.messages for call in message.tool_calls)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class Worker:
    """The process around `answer_job`."""

    def __init__(self, channel: socket.socket, find: Callable[..., Model]) -> None:
        """Listen to the front process; end when it does."""
        self._channel, self._find = channel, find
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._interrupts = Interrupts()
        self._current: str | None = None
        self._stops: dict[str, str] = {}
        self._lock = threading.Lock()

    def run(self) -> int:
        """Load, then answer until the front process is gone; the exit code."""
        start = Start.model_validate_json(_read(self._channel))
        try:
            chosen = {} if start.format is None else {"format": start.format}
            model = self._find(start.model, device=start.device, dtype=start.dtype, **chosen)
            if not isinstance(model, Served):
                raise TTSIError(f"{start.model} cannot be served: it does not run in this process")
        except TTSIError as error:
            self._send(Unusable(reason=str(error)))
            return 2
        sha256 = model.weights_sha256()
        about = model.describe()
        self._send(Ready(base_sha256=sha256, context=about.get("context"), parameters=about.get("parameters", 0)))
        seal()
        signal.signal(signal.SIGUSR1, lambda *_: self._stopped())
        signal.signal(signal.SIGALRM, lambda *_: self._interrupts.come(Late))
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            job = self._jobs.get()
            outcome = self._work(model, job)
            if (outcome.fallback or outcome.state != "answered") and not _is_base(model, sha256):
                return BASE_CHANGED
            self._send(outcome)

    def _work(self, model: Served, job: Job) -> Outcome:
        self._interrupts = Interrupts()
        with self._lock:
            self._current = job.id
        if job.config.adapt:
            signal.setitimer(signal.ITIMER_REAL, max(job.adapt_seconds, 0.001))
        try:
            self._stopped()  # it may have been stopped before it began
            return answer_job(model, job, self._interrupts)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            with self._lock:
                self._current = None
                self._stops.clear()
            model.forget()

    def _listen(self) -> None:
        """In a thread: what the front process says while a job is under way."""
        try:
            while True:
                text = _read(self._channel)
                if b'"kind":"job"' in text[:16]:
                    self._jobs.put(Job.model_validate_json(text))
                else:
                    self._stop(Stop.model_validate_json(text))
        except (OSError, EOFError):
            os._exit(0)  # nobody is left who could be answered

    def _stop(self, stop: Stop) -> None:
        with self._lock:
            self._stops[stop.id] = stop.why
        _thread.interrupt_main(signal.SIGUSR1)

    def _stopped(self) -> None:
        """In the main thread: stop the current job if it was asked to stop."""
        why = self._stops.get(self._current or "")
        if why is not None:
            self._interrupts.come(Left if why == "left" else Late)

    def _send(self, record: Any) -> None:
        self._channel.sendall(frame(record))


def _is_base(model: Served, sha256: str) -> bool:
    """Whether the model is as it was loaded: no adapter is in place, and the weights are the same bits."""
    try:
        with model.adapted([()], AdaptationConfig(), [0]):
            pass
    except Exception:
        return False
    return model.weights_sha256() == sha256


def _read(channel: socket.socket) -> bytes:
    """The next frame.

    Raises:
        EOFError: the other side is gone.
    """
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if length > LONGEST:
        raise EOFError
    return _exactly(channel, length)


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


_SEALED = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.fork")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def seal() -> None:
    """From here on this process reaches no network, starts no program and writes no file."""
    sys.dont_write_bytecode = True

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _SEALED or event.startswith(("os.posix_spawn", "os.spawn")):
            raise PermissionError(f"a worker does not {event}")
        if event == "open" and _writes(*arguments):
            raise PermissionError("a worker writes no file")

    sys.addaudithook(refuse)


def _writes(path: Any, mode: Any, flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & _WRITES) and path != os.devnull


def main(find: Callable[..., Model] = load) -> int:
    """The process: its one argument is the number of the inherited socket."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the front process says when to end, by closing the socket
    try:
        return Worker(socket.socket(fileno=int(sys.argv[1])), find).run()
    except (EOFError, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
