"""A worker that dies, hangs or changes is replaced, its request fails, and the base weights are verified."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest

from tests.serve.test_worker import job
from ttsi.errors import ModelError
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import Outcome, Start
from ttsi.serve.supervisor import Supervisor, WorkerDied

COMMAND = (sys.executable, "-m", "tests.serve.faulty_worker")
Story = Callable[[Supervisor], Awaitable[None]]


def play(story: Story, limits: Limits | None = None) -> None:
    """A story with a supervisor that is stopped at its end."""

    async def whole() -> None:
        supervisor = Supervisor(Start(model="x", device="auto", dtype="auto"), limits or Limits(), COMMAND)
        await supervisor.start()
        try:
            await story(supervisor)
        finally:
            await supervisor.stop()
        assert supervisor.pid is None or _gone(supervisor.pid)

    asyncio.run(whole())


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def answered(supervisor: Supervisor, text: str = "Do I need an umbrella in Lima") -> Outcome:
    """An answer as soon as a worker is ready."""
    async with asyncio.timeout(60):
        while not supervisor.ready:
            await asyncio.sleep(0.01)
        return await supervisor.answer(job(text))


@pytest.mark.parametrize("how", ["die", "change"])
def test_a_worker_that_dies_or_changes_is_replaced_by_one_with_the_same_base(how: str) -> None:
    async def story(supervisor: Supervisor) -> None:
        before, base = await answered(supervisor), supervisor.base
        first = supervisor.pid
        with pytest.raises(WorkerDied):
            await supervisor.answer(job(f"{how} now"))
        after = await answered(supervisor)
        assert after.choices == before.choices
        assert supervisor.base == base and supervisor.restarts == 1 and supervisor.pid != first

    play(story)


def test_a_worker_that_hangs_is_killed() -> None:
    async def story(supervisor: Supervisor) -> None:
        with pytest.raises(WorkerDied):
            await supervisor.answer(job("hang now"))
        supervisor._limits = Limits()  # a busy machine may take longer than that for an honest answer
        assert (await answered(supervisor)).state == "answered"

    play(story, Limits(answer_seconds=1.0))


def test_a_signal_from_outside_is_survived_and_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def story(supervisor: Supervisor) -> None:
        assert supervisor.pid is not None
        assert (await answered(supervisor)).state == "answered"
        assert "worker" not in caplog.text  # the control
        os.kill(supervisor.pid, signal.SIGSEGV)
        while supervisor.restarts == 0:
            await asyncio.sleep(0.01)
        assert (await answered(supervisor)).state == "answered"

    play(story)
    ended = "the worker was killed by signal 11 (requests that failed with it: 0), and another one is started"
    assert [record.getMessage() for record in caplog.records if record.name == "ttsi.serve.supervisor"] == [ended]


def test_a_disconnect_stops_even_an_endless_loop() -> None:
    async def story(supervisor: Supervisor) -> None:
        endless = job("spin now")
        task = asyncio.create_task(supervisor.answer(endless))
        while not supervisor._pending:
            await asyncio.sleep(0)
        await supervisor.cancel(endless.id, "disconnected")
        assert (await task).state == "disconnected"
        assert supervisor.restarts == 0
        assert (await answered(supervisor)).state == "answered"

    play(story)


def test_a_deadline_turns_an_endless_loop_into_the_bases_answer() -> None:
    async def story(supervisor: Supervisor) -> None:
        late = job("spin umbrella Lima").model_copy(update={"adapt_seconds": 0.2})
        outcome = await supervisor.answer(late)
        assert (outcome.state, outcome.fallback) == ("answered", "deadline")
        plain = late.model_copy(update={"id": "2", "config": job(method="base").config})
        assert (await supervisor.answer(plain)).choices == outcome.choices

    play(story)


def test_a_cancelled_job_gives_the_bases_answer() -> None:
    async def story(supervisor: Supervisor) -> None:
        task = asyncio.create_task(supervisor.answer(job("spin umbrella Lima")))
        while not supervisor._pending:
            await asyncio.sleep(0)
        await supervisor.cancel("1", "deadline")
        assert (await task).fallback == "deadline"

    play(story)


def test_a_crash_loop_is_not_ready() -> None:
    async def story(supervisor: Supervisor) -> None:
        for _ in range(5):
            supervisor._deaths.append(asyncio.get_running_loop().time())
        assert supervisor.crash_loop and not supervisor.ready
        with pytest.raises(WorkerDied):
            await supervisor.answer(job())

    play(story)


def test_a_worker_with_another_base_never_answers() -> None:
    async def story(supervisor: Supervisor) -> None:
        assert supervisor.base is not None
        supervisor.base = supervisor.base.model_copy(update={"base_sha256": "0" * 64})  # as if it had been another
        with pytest.raises(WorkerDied):
            await supervisor.answer(job("die now"))
        while supervisor.restarts < 2:
            await asyncio.sleep(0.01)
        assert not supervisor.ready

    play(story)


def test_a_model_that_cannot_be_loaded_is_an_error_of_one_line() -> None:
    async def whole() -> None:
        start = Start(model="scripted:none", device="auto", dtype="auto")
        with pytest.raises(ModelError, match="no such model"):
            await Supervisor(start, Limits(), COMMAND).start()

    asyncio.run(whole())


def test_a_server_that_stops_while_its_worker_starts_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []

    async def endless(*_command: str, **_settings: object) -> None:
        await asyncio.sleep(3600)

    def remembered() -> tuple[socket.socket, socket.socket]:
        pairs.append(socketpair())
        return pairs[-1]

    async def whole() -> None:
        starting = asyncio.create_task(Supervisor(Start(model="x", device="auto", dtype="auto"), Limits()).start())
        while not pairs:
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    async def shielded() -> None:
        with monkeypatch.context() as patched:
            patched.setattr("ttsi.serve.supervisor.socket.socketpair", remembered)
            patched.setattr("asyncio.create_subprocess_exec", endless)
            await whole()

    socketpair = socket.socketpair
    asyncio.run(shielded())
    assert [end.fileno() for pair in pairs for end in pair] == [-1, -1]
