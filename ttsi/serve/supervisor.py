"""Who keeps the worker alive?

Inputs: jobs. Outputs: outcomes, or `WorkerDied`. A worker that dies, hangs beyond the limit or reports another base
than the first one did is replaced; one that dies again and again is replaced ever more slowly, and meanwhile the server
is not ready. A client that leaves stops its job, and the turn is free when the worker says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence

from pydantic import BaseModel, TypeAdapter

from ttsi.errors import ModelError
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import LENGTH, LONGEST, Job, Outcome, Ready, Start, Stop, Unusable, frame

COMMAND = (sys.executable, "-m", "ttsi.serve.worker")
CRASH_LOOP = 5
"""Deaths in `CRASH_SECONDS` that make a crash loop."""
CRASH_SECONDS = 60.0
LEAVE_SECONDS = 5.0
"""How long a job that was stopped may take to end."""

_MESSAGES: TypeAdapter[Ready | Unusable | Outcome] = TypeAdapter(Ready | Unusable | Outcome)


class WorkerDied(Exception):
    """The worker ended before it answered."""


class Supervisor:
    """One worker at a time, and the next one when it dies."""

    def __init__(self, start: Start, limits: Limits, command: Sequence[str] = COMMAND) -> None:
        """Nothing runs yet.

        Args:
            start: which model.
            limits: how long a job may take.
            command: what runs the worker; the number of its socket is added.
        """
        self._start, self._limits, self._command = start, limits, tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[str, asyncio.Future[Outcome]] = {}
        self._deaths: deque[float] = deque(maxlen=CRASH_LOOP)
        self._keeper: asyncio.Task[None] | None = None
        self._alive = asyncio.Event()
        self.base: Ready | None = None
        """What the first worker said about the base."""
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id, when there is one."""
        return self._process.pid if self._process is not None and self._alive.is_set() else None

    @property
    def ready(self) -> bool:
        """Whether a worker with the right base listens."""
        return self._alive.is_set() and not self.crash_loop

    @property
    def crash_loop(self) -> bool:
        """Whether workers died too often of late."""
        return len(self._deaths) == CRASH_LOOP and time.monotonic() - self._deaths[0] < CRASH_SECONDS

    async def start(self) -> None:
        """Start the first worker and wait until it has loaded the model.

        Raises:
            ModelError: the model cannot be served.
        """
        reader = await self._spawn()
        first = await self._first(reader)
        if not isinstance(first, Ready):
            await self._end()
            raise ModelError(first.reason if first else "the worker ended while it loaded the model")
        self.base = first
        self._alive.set()
        self._keeper = asyncio.create_task(self._keep(reader))

    async def stop(self) -> None:
        """End the worker for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._end()

    async def ask(self, job: Job) -> Outcome:
        """Have one job done; at most one at a time.

        Raises:
            WorkerDied: it was not.
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

    async def hurry(self, job_id: str, left: bool) -> None:
        """Stop a job: at once when its client left, else with the base's answer."""
        answer = self._pending.get(job_id)
        if answer is None:
            return
        with contextlib.suppress(WorkerDied):
            await self._send(Stop(id=job_id, why="left" if left else "late"))
            done, _ = await asyncio.wait({answer}, timeout=LEAVE_SECONDS if left else None)
            if not done:
                self._kill()

    async def _send(self, record: BaseModel) -> None:
        if self._writer is None:
            raise WorkerDied
        try:
            self._writer.write(frame(record))
            await self._writer.drain()
        except ConnectionError:
            raise WorkerDied from None

    async def _spawn(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as unconnected, theirs:
            unconnected.enter_context(ours)  # a server that stops meanwhile must not leave it open
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
            unconnected.pop_all()
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=2**20)
        await self._send(self._start)
        return reader

    async def _first(self, reader: asyncio.StreamReader) -> Ready | Unusable | None:
        try:
            message = await _read(reader)
        except (EOFError, ConnectionError):
            return None
        return None if isinstance(message, Outcome) else message

    async def _keep(self, reader: asyncio.StreamReader) -> None:
        """Listen to the worker; when it is gone, start the next."""
        while True:
            await self._listen(reader)
            self._alive.clear()
            await self._end()
            self._fail_pending()
            self._deaths.append(time.monotonic())
            recent = sum(time.monotonic() - death < CRASH_SECONDS for death in self._deaths)
            await asyncio.sleep(0.0 if recent < 2 else min(30.0, 0.1 * 4.0 ** (recent - 2)))
            self.restarts += 1
            with contextlib.suppress(WorkerDied, OSError):
                reader = await self._spawn()
                again = await self._first(reader)
                if isinstance(again, Ready) and again == self.base:
                    self._alive.set()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(EOFError, ConnectionError, ValueError):
            while self._alive.is_set():
                message = await _read(reader)
                answer = self._pending.get(message.id) if isinstance(message, Outcome) else None
                if isinstance(message, Outcome) and answer is not None and not answer.done():
                    answer.set_result(message)

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
        EOFError: the worker is gone (or says what nobody understands).
    """
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > LONGEST:
        raise EOFError
    return _MESSAGES.validate_json(await reader.readexactly(length))
