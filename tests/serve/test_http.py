"""A graceful shutdown answers every connection that is open when it begins."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from ttsi.serve import http

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Stop = Callable[[uvicorn.Server, socket.socket], Awaitable[None]]


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer 503 to every request."""
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def ours(server: uvicorn.Server, listener: socket.socket) -> None:
    await server.shutdown([listener])


async def uvicorns(server: uvicorn.Server, listener: socket.socket) -> None:
    await uvicorn.Server.shutdown(server, [listener])


def response_during(stop: Stop, accepted: bool) -> bytes:
    """The response to a client that is connected when the server stops and sends its request then.

    Args:
        stop: how the server stops.
        accepted: whether the server has accepted the connection, or only the kernel has.
    """

    async def whole() -> bytes:
        listener = http.listen("127.0.0.1", 0)
        listener.listen()
        config = uvicorn.Config(app, http="h11", lifespan="off", log_config=None, timeout_graceful_shutdown=60)
        config.load()
        service: Any = SimpleNamespace(reject_new=lambda: None)
        server = http._Server(config, service)
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        with socket.create_connection(listener.getsockname()) as client:
            while accepted and not server.server_state.connections:
                await asyncio.sleep(0)
            stopping = asyncio.ensure_future(stop(server, listener))
            while listener.fileno() != -1:
                await asyncio.sleep(0)
            try:
                await asyncio.sleep(0)
                client.sendall(REQUEST)
                client.setblocking(False)
                return await asyncio.get_running_loop().sock_recv(client, 65536)
            except ConnectionError:
                return b""
            finally:
                await stopping

    return asyncio.run(whole())


@pytest.mark.parametrize("accepted", [False, True], ids=["kernel", "server"])
def test_connections_open_at_shutdown_are_answered(accepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LINGER_SECONDS", 60.0)
    answer = response_during(ours, accepted)
    assert answer.startswith(b"HTTP/1.1 503 ") and b"connection: close" in answer


@pytest.mark.parametrize("accepted", [False, True])
def test_control_uvicorn_alone_does_not_answer_them(accepted: bool) -> None:
    assert response_during(uvicorns, accepted) == b""
