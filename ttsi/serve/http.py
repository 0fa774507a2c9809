"""How does the server start, and how does it end?

Inputs: the operator's settings and an address. Outputs: an exit code. The worker loads the model before the first
connection is accepted, so a model that cannot be served is an error of the command. SIGTERM and SIGINT drain: no new
connection, what waits is refused, what runs is finished, exit code 0; a second signal ends at once.
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
from ttsi.serve.app import build
from ttsi.serve.gate import LOOPBACK
from ttsi.serve.service import Service, Settings

MAX_HEADER_BYTES = 64 * 2**10
BACKLOG = 512
"""Connections that the system keeps until they are taken."""
LINGER_SECONDS = 1.0
"""How long a connection that came before the door was closed may take to say what it wants."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(host: str, with_keys: bool) -> None:
    """Refuse to listen to everybody without keys.

    Raises:
        ConfigError: that is what was asked for.
    """
    if not with_keys and not is_loopback(host):
        raise ConfigError(f"{host} can be reached from elsewhere: give --api-keys FILE, or stay with --host 127.0.0.1")


def hosts_for(host: str, named: tuple[str, ...], with_keys: bool) -> tuple[str, ...] | None:
    """Which Host headers are served: the loopback names, the address itself and what was named; any behind keys."""
    if with_keys and not named and not is_loopback(host):
        return None
    return (*LOOPBACK, host, *named)


class _Server(uvicorn.Server):
    """uvicorn, with signals that end in exit code 0."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on the first signal, end on the second."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._signalled)
        try:
            yield
        finally:
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door behind those who are in it: whoever is connected is answered, even if it is with a refusal.

        uvicorn alone drops connections that the system has accepted for it, and those whose request it has not read.
        """
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        doors = [listener.dup() for listener in sockets or ()]  # the system listens until these are closed, too
        for server in self.servers:
            server.close()
        unheard = [connection for door in doors for connection in _waiting(door)]
        loop = asyncio.get_running_loop()
        for connection in unheard:
            await loop.connect_accepted_socket(self._protocol, connection)
        until = loop.time() + LINGER_SECONDS
        while any(_silent(each) for each in state.connections) and loop.time() < until and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for a connection that it accepts itself."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _signalled(self) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._service.refuse_new()


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that the system has accepted and nobody has taken; the listener is closed behind the last.

    Who comes in the microseconds between the last look and the closing is reset, unheard: TCP has no other way.
    """
    with listener, contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _silent(connection: object) -> bool:
    """Whether nothing has been asked on a connection yet."""
    return getattr(connection, "cycle", None) is None


async def serve(settings: Settings, listener: socket.socket, ready: Callable[[str], None]) -> int:
    """Serve until a signal; the exit code.

    Args:
        settings: the operator's.
        listener: a bound socket.
        ready: told the address when requests are answered.

    Raises:
        ModelError: the model cannot be served.
    """
    service = Service(settings)
    await service.supervisor.start()
    config = uvicorn.Config(
        build(service),
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
    listener.listen(BACKLOG)  # from here on a connection waits where it would have been refused
    try:
        ready(f"http://{f'[{name}]' if ':' in name else name}:{port}")
        await server.serve(sockets=[listener])
    finally:
        await service.supervisor.stop()
    return 0


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
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None
    return listener
