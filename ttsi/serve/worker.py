"""The worker process, which owns the model.

It loads one model and answers one job after another (strict mode: rows of different requests never share a forward
pass). Between jobs it keeps what the base read of a key's system texts and tools, for that key alone, and nothing
else; where the operator wants it, also the key's library of adapters (`ttsi.serve.tenant_libraries`) or the adapters of
its present turns (`ttsi.serve.turn_adapters`). Inputs: `AnswerJob`s from a socket pair. Outputs: `Outcome`s.

The method is `ttsi.improve`, unchanged. When awareness, synthesis, adaptation or the adapted answer fails or takes too
long, the base's own answer is given, and the outcome names the stage; the log says what failed and where. A key whose
adaptations all take too long is seldom adapted (`ttsi.serve.deadline_backoff`). After any failure the base weights are
hashed again; a worker whose base has changed exits.

The front process runs it as `python -m ttsi.serve.worker FD`.
"""

from __future__ import annotations

import _thread
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import get_args

from pydantic import BaseModel

from ttsi.answer import generate_answers
from ttsi.awareness import needs_samples
from ttsi.chat.grammar import Demand, json_answer
from ttsi.chat.tool_schema import problem
from ttsi.config import AdaptationConfig, AnswerConfig, LoopConfig
from ttsi.errors import ModelError, PromptTooLong, TTSIError
from ttsi.models import Model, load, prefix_cache
from ttsi.models.prefix_store import PrefixStore
from ttsi.serve.answer_choice import chat_choice
from ttsi.serve.deadline_backoff import DEADLINE, NOT_TRIED, DeadlineBackoff, not_tried, without_adaptation
from ttsi.serve.failure_log import describe_failure
from ttsi.serve.improver import Improver, improve_alone, improver_of
from ttsi.serve.interruptible import (
    ClientDisconnected,
    DeadlineExceeded,
    InterruptibleModel,
    Interrupts,
    StageProgress,
)
from ttsi.serve.limits import TurnAdapterLimits
from ttsi.serve.misfit import CLIENT_ERRORS, misfit, too_long
from ttsi.serve.pipe import AnswerJob, Outcome, Ready, Start, Stop, Unusable, frame, read_frame
from ttsi.serve.sandbox import enter_sandbox
from ttsi.serve.servable_model import ServableModel, as_servable
from ttsi.serve.tenant_libraries import TenantLibraries
from ttsi.serve.tool_choice import CallRule
from ttsi.serve.turn_adapters import TurnAdapters
from ttsi.types import Adaptation, Answer, Episode, Input, Prompt

log = logging.getLogger(__name__)

BASE_CHANGED = 70
"""Exit code of a worker whose base weights have changed."""
STAGE_FAILED = "a stage failed"


def answer_job(
    model: ServableModel,
    job: AnswerJob,
    interrupts: Interrupts,
    prefixes: PrefixStore | None = None,
    improve_one: Improver = improve_alone,
    base_answered: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run one job through the loop; always returns an `Outcome`.

    Args:
        model: the base.
        job: the request.
        interrupts: raised between two tensor operations.
        prefixes: what the base read in earlier jobs of the same key; None keeps nothing.
        improve_one: the loop, as the key has it: alone, with its library, or with its turns' adapters.
        base_answered: called when the base has answered: the time for adaptation begins.
    """
    prefixes = PrefixStore(0, keeps_conversations=True) if prefixes is None else prefixes
    progress = StageProgress()
    try:
        with interrupts.allowing(ClientDisconnected), prefix_cache(model, prefixes):
            return _answer(model, job, interrupts, progress, improve_one, base_answered)
    except ClientDisconnected:
        return Outcome(id=job.id, state="disconnected")
    except (ModelError, PromptTooLong) as error:  # raised by the base, twice
        return misfit(job, error)
    except Exception as error:
        progress.report(error)
        return Outcome(id=job.id, state="failed", reason=type(error).__name__)


def _answer(
    model: ServableModel,
    job: AnswerJob,
    interrupts: Interrupts,
    progress: StageProgress,
    improve_one: Improver,
    base_answered: Callable[[], None],
) -> Outcome:
    item = job.options.item
    prompt = Prompt(item.messages, item.tools)
    if model.fits(prompt, job.config.answer.max_tokens) is not None:
        return too_long(model, job, prompt)
    config = replace(job.config, answer=_answer_config(job))
    interruptible = InterruptibleModel(model, interrupts, progress)
    began = time.perf_counter()
    with interrupts.allowing(ClientDisconnected):  # at a deadline this answer is given, so it may finish
        base = _base_answer(model, item, config, progress)
    base_seconds = time.perf_counter() - began
    base_answered()
    episodes, fallback = _episodes(interruptible, progress, job, config, base, interrupts, improve_one)
    return Outcome(
        id=job.id,
        state="answered",
        choices=tuple(chat_choice(model, job, episode.adapted or base) for episode in episodes),
        episodes=tuple(episodes),
        fallback=fallback,
        prompt_tokens=model.prompt_tokens(prompt),
        base_seconds=base_seconds,
    )


def _answer_config(job: AnswerJob) -> AnswerConfig:
    config, options = job.config.answer, job.options
    if options.answer_schema is not None:
        return replace(config, grammar=json_answer(options.answer_schema))
    if options.call_rule == CallRule():
        return config
    calls = max(config.calls, options.call_rule.calls, key=get_args(Demand).index)
    # Only a grammar can demand or limit calls, also where the operator lets the model write freely otherwise.
    return replace(config, decoding="constrained", calls=calls, tools=options.call_rule.tools or config.tools)


def _base_answer(model: Model, item: Input, config: LoopConfig, progress: StageProgress) -> Answer:
    """The base's own answer; one failure is retried."""
    try:
        [answer] = generate_answers(model, [item], config.answer)
    except Exception as error:
        if not isinstance(error, CLIENT_ERRORS):
            progress.report(error)
        [answer] = generate_answers(model, [item], config.answer)
    return answer


def _episodes(
    model: InterruptibleModel,
    progress: StageProgress,
    job: AnswerJob,
    config: LoopConfig,
    base: Answer,
    interrupts: Interrupts,
    improve_one: Improver,
) -> tuple[list[Episode], str | None]:
    """An episode per choice, and the stage at which adaptation failed."""
    item, choices = job.options.item, job.options.choices
    if not item.tools:  # without tools nothing in the text is a call
        base = replace(base, calls=(), error=None)
    plain = Episode(item.id, item.content_hash, base, base, None)
    if not config.adapt or not item.tools:  # without tools there is nothing to be unsure about
        return [plain] * choices, None
    episodes: list[Episode] = []
    try:
        with progress.listening(), interrupts.allowing(ClientDisconnected, DeadlineExceeded):
            while len(episodes) < choices and not any(_failure(episode) for episode in episodes):
                improved = _improve(model, progress, item, config, len(episodes), base, improve_one)
                episodes.append(improved or _with_failure(plain, STAGE_FAILED))
    except DeadlineExceeded as deadline:
        reason = f"deadline at stage {progress.stage}"
        late = [
            _with_failure(_with_finished(plain, deadline.episodes), reason),
            *[_with_failure(plain, reason)] * choices,
        ]
        return (episodes + late)[:choices], DEADLINE
    failed = any(_failure(episode) for episode in episodes)
    episodes = [_without_internals(episode, base, progress.reasons) for episode in episodes]
    return episodes + [plain] * (choices - len(episodes)), progress.stage if failed else None


def _improve(
    model: InterruptibleModel,
    progress: StageProgress,
    item: Input,
    config: LoopConfig,
    repeat: int,
    base: Answer,
    improve_one: Improver,
) -> Episode | None:
    """The loop's episode; None where the loop itself failed: it raises what the operator can mend."""
    answers = () if needs_samples(config.awareness) else (base,)  # samples differ by choice
    try:
        return _prefer_legal(improve_one(item, model, config, repeat, answers), item)
    except Exception as error:
        progress.report(error)
        return None


def _with_finished(plain: Episode, finished: Sequence[Episode]) -> Episode:
    """The base's answer with what was finished when the loop was interrupted: awareness, examples, seconds."""
    if not finished:
        return plain
    return replace(plain, awareness=finished[0].awareness, examples=finished[0].examples, seconds=finished[0].seconds)


def _with_failure(episode: Episode, reason: str) -> Episode:
    return replace(episode, adaptation=Adaptation("training-failed", reason=reason))


def _prefer_legal(episode: Episode, item: Input) -> Episode:
    """The base's answer in place of an illegal adapted one, where the base's is legal."""
    base, adapted = episode.base, episode.adapted
    if base is None or adapted is None or adapted == base:
        return episode
    error = _legality_error(adapted, item)
    if error is None or _legality_error(base, item) is not None:
        return episode
    state = replace(episode.adaptation, refused=f"the adapted answer is not legal: {error}")
    return replace(episode, adapted=base, adaptation=state)


def _legality_error(answer: Answer, item: Input) -> str | None:
    return answer.error or next((error for call in answer.calls if (error := problem(call, item.tools))), None)


def _failure(episode: Episode) -> str | None:
    """The error of a stage; None where the guard or `_prefer_legal` merely turned an adapted answer down."""
    state = episode.adaptation
    return episode.error or (state.reason if state.failed else None)


def _without_internals(episode: Episode, base: Answer, public: Collection[str]) -> Episode:
    """The episode as clients may see it: with an answer, and without a reason that is not public."""
    if _failure(episode) is None:
        return episode
    reason = episode.adaptation.reason if episode.adaptation.reason in public else STAGE_FAILED
    answer = episode.adapted or base
    return replace(_with_failure(episode, reason), base=episode.base or base, adapted=answer, error=None)


class AnswerWorker:
    """The process around `answer_job`: it ends when the front process does."""

    def __init__(self, channel: socket.socket, load_model: Callable[..., Model]) -> None:
        self._channel, self._load_model = channel, load_model
        self._jobs: queue.SimpleQueue[AnswerJob] = queue.SimpleQueue()
        self._interrupts = Interrupts()
        self._current: str | None = None
        self._stops: dict[str, str] = {}
        self._prefixes: dict[str, PrefixStore] = {}
        self._prefix_bytes = 0
        self._libraries = TenantLibraries(None)
        self._turns = TurnAdapters(TurnAdapterLimits())
        self._backoff = DeadlineBackoff()
        self._lock = threading.Lock()

    def run(self) -> int:
        """Load the model, then answer jobs until the front process is gone. Returns the exit code."""
        start = Start.model_validate_json(read_frame(self._channel))
        threading.Thread(target=self._listen, daemon=True).start()  # also while it loads the front process may go
        try:
            family = {} if start.format is None else {"format": start.format}
            loaded = self._load_model(start.model, device=start.device, dtype=start.dtype, **family)
            model = as_servable(loaded, start.model)
            sha256, info = model.weights_sha256(), model.describe()
            self._libraries = TenantLibraries.for_keys(start.library, model)
            self._turns = TurnAdapters(start.turn_adapters)
        except TTSIError as error:
            self._send(Unusable(reason=str(error)))
            return 2
        self._prefix_bytes = start.prefix_bytes
        self._send(Ready(base_sha256=sha256, context=info.get("context"), parameters=info.get("parameters", 0)))
        enter_sandbox(start.library.folder if start.library else None)
        signal.signal(signal.SIGUSR1, lambda *_: self._apply_stop())
        signal.signal(signal.SIGALRM, lambda *_: self._interrupts.interrupt(DeadlineExceeded))
        while True:
            job = self._jobs.get()
            outcome = self._run_job(model, job)
            failed = outcome.fallback not in (None, NOT_TRIED) or outcome.state != "answered"
            if failed and not _is_base(model, sha256):
                return BASE_CHANGED
            self._send(outcome)
            if not self._learn(model, job, outcome) and not _is_base(model, sha256):
                return BASE_CHANGED

    def _run_job(self, model: ServableModel, job: AnswerJob) -> Outcome:
        deadlines = 0
        if job.config.adapt and job.options.item.tools and not self._libraries.can_answer(model, job):
            deadlines = self._backoff.skip(job.tenant)
        if deadlines:
            return not_tried(self._run_interruptibly(model, without_adaptation(job)), deadlines)
        return self._run_interruptibly(model, job)

    def _run_interruptibly(self, model: ServableModel, job: AnswerJob) -> Outcome:
        self._interrupts = Interrupts()
        with self._lock:
            self._current = job.id

        def start_clock() -> None:
            if job.config.adapt:
                signal.setitimer(signal.ITIMER_REAL, max(job.adapt_seconds, 0.001))

        try:
            self._apply_stop()  # it may have been stopped before it began
            prefixes = self._prefixes.setdefault(job.tenant, PrefixStore(self._prefix_bytes, keeps_conversations=True))
            outcome = answer_job(model, job, self._interrupts, prefixes, self._improver(job.tenant), start_clock)
            if job.id not in self._stops:  # one that was told to stop says nothing about how long it takes
                self._backoff.add(job, outcome)
            return outcome
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            with self._lock:
                self._current = None
                self._stops.clear()
            model.forget()

    def _improver(self, tenant: str) -> Improver:
        if self._turns.on:
            return partial(self._turns.improve, tenant)
        return improver_of(self._libraries.of(tenant))

    def _learn(self, model: ServableModel, job: AnswerJob, outcome: Outcome) -> bool:
        """Let the key's library learn behind the answer; False where that was stopped or failed."""
        self._interrupts = Interrupts()
        signal.setitimer(signal.ITIMER_REAL, max(job.adapt_seconds, 0.001))
        try:
            return self._libraries.learn(model, job, outcome, self._interrupts)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            model.forget()

    def _listen(self) -> None:
        """Receive jobs and stops, in a thread."""
        try:
            while True:
                data = read_frame(self._channel)
                if b'"kind":"job"' in data[:16]:
                    self._jobs.put(AnswerJob.model_validate_json(data))
                else:
                    self._stop(Stop.model_validate_json(data))
        except (OSError, EOFError):
            os._exit(0)  # the front process is gone

    def _stop(self, stop: Stop) -> None:
        with self._lock:
            self._stops[stop.id] = stop.why
        _thread.interrupt_main(signal.SIGUSR1)

    def _apply_stop(self) -> None:
        """In the main thread: interrupt the current job if a stop for it has arrived."""
        why = self._stops.get(self._current or "")
        if why is not None:
            self._interrupts.interrupt(ClientDisconnected if why == "disconnected" else DeadlineExceeded)

    def _send(self, message: BaseModel) -> None:
        self._channel.sendall(frame(message))


def _is_base(model: ServableModel, sha256: str) -> bool:
    """Whether the model is as it was loaded: no adapter is attached, and the weights are the same bits."""
    try:
        with model.adapted([()], AdaptationConfig(), [0]):
            pass
    except Exception as error:
        log.error("the base cannot be checked, so this worker ends: %s", describe_failure(error))
        return False
    if model.weights_sha256() == sha256:
        return True
    log.error("the base weights are not what they were, so this worker ends")
    return False


def main(load_model: Callable[..., Model] = load) -> int:
    """Run the worker; the one argument is the number of the inherited socket."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # the front process ends the worker by closing the socket
    try:
        return AnswerWorker(socket.socket(fileno=int(sys.argv[1])), load_model).run()
    except (EOFError, BrokenPipeError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
