"""Supervision of the worker process.

Inputs: jobs. Outputs: outcomes, or `WorkerDied`. A worker is replaced when it dies, exceeds the time limit, or reports
other base weights than the first one did. After repeated deaths the next one starts later each time, and the server is
not ready meanwhile. A client that disconnects stops its job; the turn is free once the worker confirms it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, TypeAdapter

from ttsi.errors import ModelError
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import LENGTH, MAX_FRAME_BYTES, AnswerJob, Outcome, Ready, Start, Stop, Unusable, frame

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "ttsi.serve.worker")
CRASH_LOOP = 5
"""Deaths in `CRASH_SECONDS` that make a crash loop."""
CRASH_SECONDS = 60.0
CANCEL_SECONDS = 5.0
"""How long a cancelled job may take to end."""

_MESSAGES: TypeAdapter[Ready | Unusable | Outcome] = TypeAdapter(Ready | Unusable | Outcome)


class WorkerDied(Exception):
    """The worker ended before it answered."""


class Supervisor:
    """Runs one worker at a time, and the next one when it dies.

    Args:
        start: the model to load.
        limits: the time limit of a job.
        command: runs the worker; the number of its socket is appended.
    """

    def __init__(self, start: Start, limits: Limits, command: Sequence[str] = COMMAND) -> None:
        self._start, self._limits, self._command = start, limits, tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[str, asyncio.Future[Outcome]] = {}
        self._deaths: deque[float] = deque(maxlen=CRASH_LOOP)
        self._keeper: asyncio.Task[None] | None = None
        self._alive = asyncio.Event()
        self.base: Ready | None = None
        """The first worker's report about the base weights."""
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id, or None."""
        return self._process.pid if self._process is not None and self._alive.is_set() else None

    @property
    def ready(self) -> bool:
        """Whether a worker with the right base weights is running."""
        return self._alive.is_set() and not self.crash_loop

    @property
    def crash_loop(self) -> bool:
        """Whether workers have died too often recently."""
        return len(self._deaths) == CRASH_LOOP and time.monotonic() - self._deaths[0] < CRASH_SECONDS

    async def start(self) -> None:
        """Start the first worker and wait until it has loaded the model.

        Raises:
            ModelError: the model cannot be served.
        """
        reader = await self._spawn()
        first = await self._first_message(reader)
        if not isinstance(first, Ready):
            await self._end()
            raise ModelError(first.reason if first else "the worker exited while it loaded the model")
        self.base = first
        self._alive.set()
        self._keeper = asyncio.create_task(self._keep(reader))

    async def stop(self) -> None:
        """Stop the worker for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._end()

    async def answer(self, job: AnswerJob) -> Outcome:
        """Run one job; at most one at a time.

        Raises:
            WorkerDied: the worker died or exceeded the time limit.
        """
        if not self.ready:
            raise WorkerDied
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending[job.id] = answer
        try:
            await self._send(job)
            return await asyncio.wait_for(answer, self._limits.answer_seconds)
        except TimeoutError:
            self._kill()
            raise WorkerDied from None
        finally:
            self._pending.pop(job.id, None)

    async def cancel(self, job_id: str, why: Literal["disconnected", "deadline"]) -> None:
        """Stop a job: without an answer where its client disconnected, else with the base's answer."""
        answer = self._pending.get(job_id)
        if answer is None:
            return
        with contextlib.suppress(WorkerDied):
            await self._send(Stop(id=job_id, why=why))
            done, _ = await asyncio.wait({answer}, timeout=CANCEL_SECONDS if why == "disconnected" else None)
            if not done:
                self._kill()

    async def _send(self, message: BaseModel) -> None:
        if self._writer is None:
            raise WorkerDied
        try:
            self._writer.write(frame(message))
            await self._writer.drain()
        except ConnectionError:
            raise WorkerDied from None

    async def _spawn(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as on_error, theirs:
            on_error.enter_context(ours)  # a server that stops meanwhile must not leave it open
            number = theirs.fileno()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                str(number),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(number,),
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
            on_error.pop_all()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=2**20)
        await self._send(self._start)
        return reader

    async def _first_message(self, reader: asyncio.StreamReader) -> Ready | Unusable | None:
        try:
            message = await _read(reader)
        except (EOFError, ConnectionError):
            return None
        return None if isinstance(message, Outcome) else message

    async def _keep(self, reader: asyncio.StreamReader) -> None:
        """Listen to the worker; when it dies, start the next."""
        while True:
            await self._listen(reader)
            self._alive.clear()
            await self._end()
            log.warning("the worker %s, and another one is started", self._ending())
            self._fail_pending()
            self._deaths.append(time.monotonic())
            recent = sum(time.monotonic() - death < CRASH_SECONDS for death in self._deaths)
            await asyncio.sleep(0.0 if recent < 2 else min(30.0, 0.1 * 4.0 ** (recent - 2)))
            self.restarts += 1
            with contextlib.suppress(WorkerDied, OSError):
                reader = await self._spawn()
                greeting = await self._first_message(reader)
                if isinstance(greeting, Ready) and greeting == self.base:
                    self._alive.set()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(EOFError, ConnectionError, ValueError):
            while self._alive.is_set():
                message = await _read(reader)
                answer = self._pending.get(message.id) if isinstance(message, Outcome) else None
                if isinstance(message, Outcome) and answer is not None and not answer.done():
                    answer.set_result(message)

    def _ending(self) -> str:
        """How the last worker ended; the kernel kills with signal 9, too, where memory runs out."""
        code = None if self._process is None else self._process.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return f"{how} (requests that failed with it: {len(self._pending)})"

    def _fail_pending(self) -> None:
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(WorkerDied())

    def _kill(self) -> None:
        self._alive.clear()
        if self._process is not None and self._process.returncode is None:
            # Not Process.kill, which may reap a process that has just ended before asyncio does.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            self._writer = None
        self._kill()
        if self._process is not None:
            await self._process.wait()


async def _read(reader: asyncio.StreamReader) -> Ready | Unusable | Outcome:
    """The worker's next message.

    Raises:
        EOFError: the worker is gone, or its frame is too large.
    """
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise EOFError
    return _MESSAGES.validate_json(await reader.readexactly(length))
