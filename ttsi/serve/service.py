"""Admission, adaptation budget and worker: how one request is answered.

Inputs: validated requests, each with the name of its key. Outputs: the worker's `Outcome`, or `Overloaded`. This module
joins the fair queue (`fair_queue`), the adaptation budget (`limits`) and the worker (`supervisor`). A client that
disconnects stops its job; the turn ends only when the worker is free again.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ttsi.config import LoopConfig
from ttsi.config_history import digest
from ttsi.serve.chat_request import InvalidRequest, RequestOptions
from ttsi.serve.deadline_backoff import NOT_TRIED
from ttsi.serve.fair_queue import FairQueue, Overloaded
from ttsi.serve.limits import AdaptationBudget, Limits
from ttsi.serve.metrics import Metrics
from ttsi.serve.pipe import AnswerJob, Outcome, Start
from ttsi.serve.supervisor import COMMAND, Supervisor, WorkerDied
from ttsi.types import to_openai

CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
"""OpenAI's code for a prompt that is too long."""
SHUTTING_DOWN = "the server is shutting down"


@dataclass(frozen=True)
class ServerSettings:
    """The operator's settings."""

    start: Start
    name: str
    """The model's name in requests."""
    config: LoopConfig
    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, bytes] = field(default_factory=dict)
    hosts: tuple[str, ...] | None = None
    """Allowed names in a Host header; None for any."""
    command: tuple[str, ...] = COMMAND
    """The command that runs the worker."""


class Service:
    """The server behind the HTTP routes."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.queue = FairQueue(settings.limits)
        self.supervisor = Supervisor(settings.start, settings.limits, settings.command)
        self.draining = False
        self._budget = AdaptationBudget(settings.limits)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._current: str | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        return self.supervisor.ready and not self.draining

    @property
    def fingerprint(self) -> str:
        """Identifies the base weights and the settings; answers can differ only where it differs."""
        base = self.supervisor.base
        identity = f"{base.base_sha256 if base else ''}|{digest(self.settings.config)}"
        return f"ttsi-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    def check_open(self, tenant: str) -> None:
        """Check that a request of this key could be answered now. Called before the request is read, to save the cost.

        Raises:
            Overloaded: it could not.
        """
        self._check_serving()
        self.queue.check(tenant)

    def _check_serving(self) -> None:
        if self.draining:
            raise Overloaded(503, SHUTTING_DOWN, 5.0)
        if not self.supervisor.ready:
            raise Overloaded(503, "the model is loading", 2.0)

    async def answer(self, options: RequestOptions, tenant: str) -> Outcome:
        """The outcome of a request; cancelling this call stops the work.

        Raises:
            Overloaded: no capacity, or the worker failed.
            InvalidRequest: the model cannot be asked this.
        """
        self._check_size(options)
        self._check_serving()  # time has passed while the request was read
        in_time = await self.queue.acquire(tenant)
        if not in_time:
            self.metrics.late.inc()
        job = self._job(options, tenant, adapt=in_time and options.adapt)
        turn = self._background(self._turn(job, tenant, in_time))
        try:
            outcome: Outcome = await asyncio.shield(turn)
        except asyncio.CancelledError:
            self.metrics.disconnects.inc()
            self._background(self.supervisor.cancel(job.id, "disconnected"))
            raise
        if outcome.state in ("too-long", "unfit"):
            code = CONTEXT_LENGTH_EXCEEDED if outcome.state == "too-long" else None
            raise InvalidRequest(400, outcome.reason, outcome.param, code)
        if outcome.state != "answered":
            raise Overloaded(503, "the model failed to answer", 1.0)
        return outcome

    def reject_new(self) -> None:
        """Reject new and waiting requests from now on."""
        self.draining = True
        self.queue.reject_waiting(Overloaded(503, SHUTTING_DOWN, 5.0))

    async def drain(self) -> None:
        """Finish the running request, after the limit with the base's answer, and stop the worker."""
        self.reject_new()
        await self._settle(self.settings.limits.drain_seconds)
        if self._current is not None:
            self._background(self.supervisor.cancel(self._current, "deadline"))
            await self._settle(5.0)
        await self.supervisor.stop()
        await self._settle(1.0)

    def _background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # marks the exception as retrieved
        return task

    async def _settle(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _turn(self, job: AnswerJob, tenant: str, in_time: bool) -> Outcome:
        """Run the job, and release the turn however it ends."""
        began = time.monotonic()
        self._current = job.id
        choices = job.options.choices
        granted = choices if job.config.adapt and self._budget.spend(tenant, choices) else 0
        if job.config.adapt and not granted:
            self.metrics.spent.inc()
            job = job.model_copy(update={"config": replace(job.config, adapt=False)})
        used = 0
        try:
            outcome = await self.supervisor.answer(job)
            failed = outcome.fallback not in (None, NOT_TRIED)
            used = sum(bool(episode.examples) for episode in outcome.episodes) or failed
            self.metrics.count(outcome)
            return outcome
        except WorkerDied:
            used = granted
            raise Overloaded(503, "the worker crashed and is being restarted", 2.0) from None
        finally:
            self._current = None
            if granted > used:
                self._budget.refund(tenant, granted - used)
            seconds = time.monotonic() - began
            self.metrics.seconds.observe(seconds)
            self.queue.release(tenant, seconds, typical=in_time)

    def _job(self, options: RequestOptions, tenant: str, adapt: bool) -> AnswerJob:
        settings, limits = self.settings, self.settings.limits
        max_tokens = settings.config.answer.max_tokens
        config = replace(
            settings.config,
            answer=replace(settings.config.answer, max_tokens=min(options.max_tokens or max_tokens, max_tokens)),
            seed=settings.config.seed if options.seed is None else options.seed,
            adapt=settings.config.adapt and adapt,
        )
        seconds = min(limits.adapt_seconds, options.adapt_seconds or limits.adapt_seconds)
        return AnswerJob(id=secrets.token_hex(16), options=options, config=config, adapt_seconds=seconds, tenant=tenant)

    def _check_size(self, options: RequestOptions) -> None:
        """Reject a prompt that cannot fit, before it is tokenized."""
        context = self.supervisor.base.context if self.supervisor.base else None
        if context is None:
            return
        characters = sum(len(message.content) for message in options.item.messages)
        characters += sum(len(str(to_openai(tool))) for tool in options.item.tools)
        if characters > context * self.settings.limits.chars_per_token:
            message = f"the prompt is longer than the context of {context} tokens"
            raise InvalidRequest(400, message, "messages", CONTEXT_LENGTH_EXCEEDED)
