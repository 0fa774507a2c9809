"""An ASGI filter before the app: host, origin, API key, size, capacity, body.

Inputs: a connection. Outputs: the same connection with its whole body read, or an error response. The checks run in
this order, before anything is allocated for a request: Host, Origin, key, announced length, capacity for a completion,
then the bytes as they arrive. Rejecting here costs a fraction of what a route costs, which matters in a flood. Where
there are keys, everything but `/health/` needs one. A browser can send a key as the password of Basic authentication,
so that the page at `/` works.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttsi.serve.api_keys import LOCAL, key_name
from ttsi.serve.failure_log import describe_failure
from ttsi.serve.fair_queue import Overloaded
from ttsi.serve.limits import Limits
from ttsi.serve.metrics import Metrics

log = logging.getLogger(__name__)

CHAT = "/v1/chat/completions"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEALTH_PATHS = ("/health/live", "/health/ready")
MAX_HEADERS = 100
INTERNAL_ERROR = "internal error; give the operator this id"

_Rejection = tuple[int, str] | tuple[int, str, int]
"""Status, message, and the seconds of Retry-After where a retry makes sense."""


def error_body(message: str, request_id: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's format."""
    return {"error": {"message": message, "type": "ttsi_error", "param": param, "code": code, "id": request_id}}


class RequestFilter:
    """Rejects connections before they reach the app.

    Args:
        app: the app behind the filter.
        keys: name -> digest; empty where no key is needed.
        hosts: allowed names in a Host header; None for any.
        limits: the operator's limits.
        metrics: counts the responses.
        check: raises `Overloaded` where a completion for this key could not start now.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Mapping[str, bytes],
        hosts: Iterable[str] | None,
        limits: Limits,
        metrics: Metrics,
        check: Callable[[str], None],
    ) -> None:
        self._app, self._keys, self._limits, self._metrics, self._check = app, keys, limits, metrics, check
        self._connections = 0
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Filter one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            self._connections += 1
            try:
                await self._http(scope, receive, send)
            finally:
                self._connections -= 1
        # Anything else, such as a WebSocket, gets no response, which uvicorn turns into an error.

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_{secrets.token_hex(12)}"
        sender = _Sender(send, request_id, self._metrics)
        headers = Headers(scope=scope)
        tenant = self._tenant(headers)
        rejection = self._rejection(scope, headers, tenant)
        if rejection is None:
            body = await self._body(receive)
            if isinstance(body, bytes):
                scope["state"] = {**scope.get("state", {}), "request_id": request_id, "tenant": tenant}
                await self._call_app(scope, _BodyReplay(body, receive), sender)
                return
            rejection = body
        await sender.reject(*rejection)

    async def _call_app(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        try:
            await self._app(scope, receive, sender)
        except Exception as error:
            # The text of the exception must not reach the client, also where an error handler itself fails.
            log.error("internal error, request %s: %s", scope["state"]["request_id"], describe_failure(error))
            if sender.started:
                raise
            await sender.reject(500, INTERNAL_ERROR)

    def _rejection(self, scope: Scope, headers: Headers, tenant: str | None) -> _Rejection | None:
        """The reason to reject a request before its body is read, or None."""
        if self._connections > self._limits.connections and scope["path"] not in HEALTH_PATHS:
            return 503, "the server is busy", 1
        if len(scope["headers"]) > MAX_HEADERS:
            return 431, f"at most {MAX_HEADERS} headers are allowed"
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return 403, "this Host is not allowed"
        origin = headers.get("origin")
        if origin is not None and _origin_host(origin) != host.lower():
            return 403, "cross-origin requests are not allowed"
        if scope["path"] not in HEALTH_PATHS and tenant is None:
            wrong = "this API key is not known" if "authorization" in headers else "an API key is required"
            return 401, f"{wrong}: send `Authorization: Bearer KEY`"
        if headers.get("content-encoding", "identity") != "identity":
            return 415, "compressed request bodies are not supported"
        length = headers.get("content-length")
        if length is not None and (not length.isdigit() or int(length[:12]) > self._limits.body_bytes):
            return 413, f"the body is larger than {self._limits.body_bytes} bytes"
        return self._overload(tenant) if tenant and scope["method"] == "POST" and scope["path"] == CHAT else None

    def _overload(self, tenant: str) -> _Rejection | None:
        try:
            self._check(tenant)
        except Overloaded as error:
            return error.status, str(error), error.retry_after
        return None

    def _tenant(self, headers: Headers) -> str | None:
        """The name of the request's key; None where it has no valid one."""
        if not self._keys:
            return LOCAL
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            credentials = _password(credentials)
        elif scheme.lower() != "bearer":
            credentials = ""
        return key_name(credentials.strip(), self._keys)

    async def _body(self, receive: Receive) -> bytes | _Rejection:
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return 400, "the connection closed before the body was complete"
                    size += len(message.get("body", b""))
                    if size > self._limits.body_bytes:
                        return 413, f"the body is larger than {self._limits.body_bytes} bytes"
                    parts.append(message.get("body", b""))
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            return 408, f"the body did not arrive within {self._limits.body_seconds:g} seconds"


class _BodyReplay:
    """`receive` for a request whose body was read already: the body, then later messages (only the disconnect)."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Sender:
    """`send` that adds the headers of every response and counts its status."""

    def __init__(self, send: Send, request_id: str, metrics: Metrics) -> None:
        self._send, self._id, self._metrics = send, request_id, metrics
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._metrics.requests.labels(str(message["status"])).inc()
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self._id.encode()),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)

    async def reject(self, status: int, message: str, retry_after: int = 0) -> None:
        """Respond with an error, and with Retry-After where it is not 0."""
        body = json.dumps(error_body(message, self._id)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b'Basic realm="ttsi", charset="UTF-8"'))
        if retry_after:
            headers.append((b"retry-after", str(retry_after).encode()))
        if status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return name.strip("[]").lower()


def _origin_host(origin: str) -> str:
    """Host and port of an Origin header; "" where it cannot be parsed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
