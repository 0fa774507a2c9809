"""Who gets past the door, and how much may they carry?

An ASGI layer around the app. Inputs: a connection. Outputs: the same connection with its whole body read, or a
refusal. In this order, before anything is allocated for a request: Host, Origin, key, announced length, whether a
question could be answered now, then the bytes as they come. Refusing here costs a fraction of what a route costs, which
is what a flood is made of. Everything but `/health/` needs a key where there are keys; a browser may show one as the
password of Basic authentication, so that the page at `/` works.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttsi.serve.keys import LOCAL, owner
from ttsi.serve.limits import Limits
from ttsi.serve.metrics import Metrics
from ttsi.serve.turns import Refused

CHAT = "/v1/chat/completions"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN = ("/health/live", "/health/ready")
MAX_HEADERS = 100

_No = tuple[int, str] | tuple[int, str, int]
"""Status, reason, and after how many seconds to come again where that would help."""


def error_body(message: str, request_id: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": "ttsi_error", "param": param, "code": code, "id": request_id}}


class Gate:
    """The door."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Mapping[str, bytes],
        hosts: Iterable[str] | None,
        limits: Limits,
        metrics: Metrics,
        check: Callable[[str], None],
    ) -> None:
        """Before `app`.

        Args:
            app: what lies behind it.
            keys: name -> digest; empty where no key is needed.
            hosts: names that a Host header may give; None for any.
            limits: the operator's.
            metrics: where refusals are counted.
            check: raises `Refused` where a question of this key could not be answered now.
        """
        self._app, self._keys, self._limits, self._metrics, self._check = app, keys, limits, metrics, check
        self._open = 0
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            self._open += 1
            try:
                await self._http(scope, receive, send)
            finally:
                self._open -= 1
        # Anything else, a WebSocket say, is left unanswered, which the server turns into a refusal.

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"req_{secrets.token_hex(12)}"
        answered = _Answered(send, request_id, self._metrics)
        tenant = self._tenant(scope)
        refused = self._refused(scope, tenant)
        if refused is None:
            body = await self._body(scope, receive)
            if isinstance(body, bytes):
                scope["state"] = {**scope.get("state", {}), "request_id": request_id, "tenant": tenant}
                await self._inner(scope, _Replayed(body, receive), answered)
                return
            refused = body
        await answered.refuse(*refused)

    async def _inner(self, scope: Scope, receive: Receive, answered: _Answered) -> None:
        try:
            await self._app(scope, receive, answered)
        except Exception:
            # Nothing of the exception may reach the client; a handler that fails is a fault of ours all the same.
            if answered.begun:
                raise
            await answered.refuse(500, "an internal error; the id tells the operator which")

    def _refused(self, scope: Scope, tenant: str | None) -> _No | None:
        """Status, reason and when to come again, before the body is looked at."""
        headers = scope["headers"]
        if self._open > self._limits.connections and scope["path"] not in OPEN:
            return 503, "the server is busy", 1
        if len(headers) > MAX_HEADERS:
            return 431, f"there are more than {MAX_HEADERS} headers"
        host = _host(_header(scope, b"host") or "")
        if self._hosts is not None and host not in self._hosts:
            return 403, "this Host is not served here"
        origin = _header(scope, b"origin")
        if origin is not None and _site(origin) != (_header(scope, b"host") or "").lower():
            return 403, "requests of other sites' pages are not answered"
        if scope["path"] not in OPEN and tenant is None:
            return 401, "a key is needed: send it as `Authorization: Bearer KEY`"
        if _header(scope, b"content-encoding") not in (None, "identity"):
            return 415, "compressed bodies are not read"
        length = _header(scope, b"content-length")
        if length is not None and (not length.isdigit() or int(length[:12]) > self._limits.body_bytes):
            return 413, f"the body is longer than {self._limits.body_bytes} bytes"
        return self._not_now(tenant) if tenant and scope["method"] == "POST" and scope["path"] == CHAT else None

    def _not_now(self, tenant: str) -> _No | None:
        try:
            self._check(tenant)
        except Refused as error:
            return error.status, str(error), error.retry_after
        return None

    def _tenant(self, scope: Scope) -> str | None:
        """The name of the key that was shown."""
        if not self._keys:
            return LOCAL
        kind, _, shown = (_header(scope, b"authorization") or "").partition(" ")
        if kind.lower() == "basic":
            shown = _password(shown)
        elif kind.lower() != "bearer":
            shown = ""
        return owner(shown.strip(), self._keys)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | _No:
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return 400, "the request ended before its body did"
                    size += len(message.get("body", b""))
                    if size > self._limits.body_bytes:
                        return 413, f"the body is longer than {self._limits.body_bytes} bytes"
                    parts.append(message.get("body", b""))
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            return 408, f"the body took longer than {self._limits.body_seconds:g} seconds"


class _Replayed:
    """`receive` of a request whose body was read: the body, then whatever comes, which is only the disconnect."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answered:
    """`send` that adds the id and what every answer carries, and counts it."""

    def __init__(self, send: Send, request_id: str, metrics: Metrics) -> None:
        self._send, self._id, self._metrics = send, request_id, metrics
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self._metrics.requests.labels(str(message["status"])).inc()
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self._id.encode()),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)

    async def refuse(self, status: int, reason: str, retry_after: int = 0) -> None:
        """Answer with an error, and after how many seconds to come again where that would help."""
        body = json.dumps(error_body(reason, self._id)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b'Basic realm="ttsi", charset="UTF-8"'))
        if retry_after:
            headers.append((b"retry-after", str(retry_after).encode()))
        if status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def _host(given: str) -> str:
    """The name of a Host header, without port and brackets."""
    name = given.rpartition(":")[0] if not given.endswith("]") and ":" in given else given
    return name.strip("[]").lower()


def _site(origin: str) -> str:
    """Where an Origin header says that a page came from; "" where it says nothing usable."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
