"""Start and shutdown of the server.

Inputs: the operator's settings and an address. Outputs: an exit code. The worker loads the model before the first
connection is accepted, so a model that cannot be served is an error of the command. SIGTERM and SIGINT drain: the
server accepts nothing new, rejects waiting requests, finishes the running one and exits with code 0. A second signal
exits at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from ttsi.errors import ConfigError
from ttsi.serve.app import build_app
from ttsi.serve.request_filter import LOOPBACK
from ttsi.serve.service import ServerSettings, Service

MAX_HEADER_BYTES = 64 * 2**10
BACKLOG = 512
"""Connections that the kernel queues until the server accepts them."""
LINGER_SECONDS = 1.0
"""How long a connection from before the shutdown may take to send its request."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(host: str, with_keys: bool) -> None:
    """Check that only the loopback interface is open without keys.

    Raises:
        ConfigError: the address can be reached from other machines, and there are no keys.
    """
    if not with_keys and not is_loopback(host):
        raise ConfigError(f"other machines can reach {host}: add --api-keys FILE, or use --host 127.0.0.1")


def allowed_hosts(host: str, named: tuple[str, ...], with_keys: bool) -> tuple[str, ...] | None:
    """The allowed Host headers: loopback names, the address, and those that were named. None allows any."""
    if with_keys and not named and not is_loopback(host):
        return None
    return (*LOOPBACK, host, *named)


class _Server(uvicorn.Server):
    """uvicorn with a graceful shutdown that ends in exit code 0."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on the first signal, exit on the second."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_signal)
        try:
            yield
        finally:
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer every connection that is already open, if only with an error, and accept no new one.

        uvicorn alone drops connections that the kernel has accepted for it, and those whose request it has not read.
        """
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        copies = [listener.dup() for listener in sockets or ()]  # the kernel accepts until these are closed, too
        for server in self.servers:
            server.close()
        queued = [connection for copy in copies for connection in _queued_connections(copy)]
        loop = asyncio.get_running_loop()
        for connection in queued:
            await loop.connect_accepted_socket(self._protocol, connection)
        until = loop.time() + LINGER_SECONDS
        while any(_is_silent(each) for each in state.connections) and loop.time() < until and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """The protocol object that uvicorn creates for a connection."""
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def _on_signal(self) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._service.reject_new()


def _queued_connections(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections that the kernel has queued, then close the listener.

    A connection that arrives in the microseconds between the last accept and the close is reset; TCP has no other way.
    """
    with listener, contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _is_silent(connection: object) -> bool:
    """Whether a connection has sent no request yet."""
    return getattr(connection, "cycle", None) is None


async def serve(settings: ServerSettings, listener: socket.socket, ready: Callable[[str], None]) -> int:
    """Serve until a signal; returns the exit code.

    Args:
        settings: the operator's settings.
        listener: a bound socket.
        ready: called with the address once requests are answered.

    Raises:
        ModelError: the model cannot be served.
    """
    service = Service(settings)
    if not await _start_worker(service):
        return 0
    config = uvicorn.Config(
        build_app(service),
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(settings.limits.drain_seconds) + 7,
    )
    server = _Server(config, service)
    name, port = listener.getsockname()[:2]
    listener.listen(BACKLOG)  # from here on a connection waits instead of being refused
    try:
        ready(f"http://{f'[{name}]' if ':' in name else name}:{port}")
        await server.serve(sockets=[listener])
    finally:
        await service.supervisor.stop()
    return 0


async def _start_worker(service: Service) -> bool:
    """Start the worker; False where a signal stopped that. A model may take minutes to load.

    Raises:
        ModelError: the model cannot be served.
    """
    loop = asyncio.get_running_loop()
    starting = asyncio.ensure_future(service.supervisor.start())
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, starting.cancel)
    try:
        await starting
        return True
    except asyncio.CancelledError:
        await service.supervisor.stop()
        return False
    finally:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another --host or --port"
        ) from None
    return listener
