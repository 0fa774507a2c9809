"""How does a request get its turn, its worker and its answer?

Inputs: a request that was read, and whose it is. Outputs: the worker's `Outcome`, or `Refused`. The pieces are fair
turns (`turns`), a budget of adaptations (`limits`) and the worker (`supervisor`); here they meet. Whoever leaves stops
their work; the turn goes on only when the worker is free again.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ttsi.config import LoopConfig, digest
from ttsi.serve.limits import Budget, Limits
from ttsi.serve.metrics import Metrics
from ttsi.serve.pipe import Job, Outcome, Start
from ttsi.serve.supervisor import COMMAND, Supervisor, WorkerDied
from ttsi.serve.turns import Refused, Turns
from ttsi.serve.wire import Asked, Refusal
from ttsi.types import to_openai


@dataclass(frozen=True)
class Settings:
    """What the operator decided."""

    start: Start
    name: str
    """What clients call the model."""
    config: LoopConfig
    limits: Limits = field(default_factory=Limits)
    keys: Mapping[str, bytes] = field(default_factory=dict)
    hosts: tuple[str, ...] | None = None
    """Names that a Host header may give; None for any."""
    command: tuple[str, ...] = COMMAND
    """What runs the worker."""


@dataclass(frozen=True)
class Lowered:
    """What one request takes less of than the operator allows."""

    adapt: bool = True
    seconds: float | None = None


class Service:
    """Everything behind the HTTP routes."""

    def __init__(self, settings: Settings) -> None:
        """Nothing runs yet."""
        self.settings = settings
        self.metrics = Metrics()
        self.turns = Turns(settings.limits)
        self.supervisor = Supervisor(settings.start, settings.limits, settings.command)
        self.draining = False
        self._budget = Budget(settings.limits)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._current: str | None = None

    @property
    def ready(self) -> bool:
        """Whether a request would be answered."""
        return self.supervisor.ready and not self.draining

    @property
    def fingerprint(self) -> str:
        """Of the base and the settings: another one, other answers."""
        base = self.supervisor.base
        whole = f"{base.base_sha256 if base else ''}|{digest(self.settings.config)}"
        return f"ttsi-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"

    def check_open(self, tenant: str) -> None:
        """Refuse whoever could not be answered now; asked before a request is read, which costs more than refusing it.

        Raises:
            Refused: not now.
        """
        self._check_serving()
        self.turns.check(tenant)

    def _check_serving(self) -> None:
        if self.draining:
            raise Refused(503, "the server is shutting down", 5.0)
        if not self.supervisor.ready:
            raise Refused(503, "the model is being loaded", 2.0)

    async def answer(self, asked: Asked, tenant: str, lowered: Lowered) -> Outcome:
        """The outcome of a request; cancelling this stops the work.

        Raises:
            Refused: not now.
            Refusal: the prompt does not fit the model.
        """
        self._check_size(asked)
        self._check_serving()  # reading the request took its time
        in_time = await self.turns.take(tenant)
        if not in_time:
            self.metrics.late.inc()
            lowered = replace(lowered, adapt=False)
        job = self._job(asked, lowered)
        turn = self._background(self._turn(job, tenant, in_time))
        try:
            outcome: Outcome = await asyncio.shield(turn)
        except asyncio.CancelledError:
            self.metrics.left.inc()
            self._background(self.supervisor.hurry(job.id, left=True))
            raise
        if outcome.state == "unfit":
            too_long = outcome.reason.startswith("the prompt has")
            raise Refusal(400, outcome.reason, "messages", "context_length_exceeded" if too_long else None)
        if outcome.state != "answered":
            raise Refused(503, "the model could not answer; nothing of the request was kept", 1.0)
        return outcome

    def refuse_new(self) -> None:
        """From here on nobody is let in, and who waits is refused."""
        self.draining = True
        self.turns.refuse_waiting(Refused(503, "the server is shutting down", 5.0))

    async def drain(self) -> None:
        """Finish what runs, the last of it with the base's answer, and end the worker."""
        self.refuse_new()
        await self._settle(self.settings.limits.drain_seconds)
        if self._current is not None:
            self._background(self.supervisor.hurry(self._current, left=False))
            await self._settle(5.0)
        await self.supervisor.stop()
        await self._settle(1.0)

    def _background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody looked at it
        return task

    async def _settle(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def _turn(self, job: Job, tenant: str, usual: bool) -> Outcome:
        """The job, and the turn given back however it ends."""
        began = time.monotonic()
        self._current = job.id
        granted = job.choices if job.config.adapt and self._budget.take(tenant, job.choices) else 0
        if job.config.adapt and not granted:
            self.metrics.spent.inc()
            job = job.model_copy(update={"config": replace(job.config, adapt=False)})
        used = 0
        try:
            outcome = await self.supervisor.ask(job)
            used = sum(bool(episode.examples) for episode in outcome.episodes) or (outcome.fallback is not None)
            self.metrics.count(outcome)
            return outcome
        except WorkerDied:
            used = granted
            raise Refused(503, "the worker was lost; it is being replaced", 2.0) from None
        finally:
            self._current = None
            if granted > used:
                self._budget.give_back(tenant, granted - used)
            seconds = time.monotonic() - began
            self.metrics.seconds.observe(seconds)
            self.turns.give(tenant, seconds, usual)

    def _job(self, asked: Asked, lowered: Lowered) -> Job:
        settings, limits = self.settings, self.settings.limits
        longest = min(asked.max_tokens or settings.config.answer.max_tokens, settings.config.answer.max_tokens)
        config = replace(
            settings.config,
            answer=replace(settings.config.answer, max_tokens=longest),
            seed=settings.config.seed if asked.seed is None else asked.seed,
            adapt=settings.config.adapt and lowered.adapt,
        )
        return Job(
            id=secrets.token_hex(16),
            item=asked.item,
            config=config,
            choices=asked.choices,
            call_required=asked.call_required,
            forced=asked.forced,
            one_call=not asked.parallel,
            names=asked.names,
            answer_schema=asked.answer_schema,
            adapt_seconds=min(limits.adapt_seconds, lowered.seconds or limits.adapt_seconds),
        )

    def _check_size(self, asked: Asked) -> None:
        """Refuse a prompt that cannot fit, before anybody makes tokens of it."""
        context = self.supervisor.base.context if self.supervisor.base else None
        if context is None:
            return
        characters = sum(len(message.content) for message in asked.item.messages)
        characters += sum(len(str(to_openai(tool))) for tool in asked.item.tools)
        if characters > context * self.settings.limits.chars_per_token:
            raise Refusal(
                400, f"the prompt exceeds the context of {context} tokens", "messages", "context_length_exceeded"
            )
