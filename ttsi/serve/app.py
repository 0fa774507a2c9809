"""Which routes are there?

Inputs: HTTP. Outputs: OpenAI's chat completions (whole or as a stream), the list of models, health, metrics and a page
to try it. A request that is wrong, refused or left alone ends in this process; the model is only known to the worker.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ttsi import __version__
from ttsi.serve.gate import CHAT, Gate, error_body
from ttsi.serve.replies import DONE, KEEP_ALIVE, Reply, event
from ttsi.serve.service import Lowered, Service
from ttsi.serve.turns import Refused
from ttsi.serve.wire import Asked, ChatRequest, Refusal, read_request

T = TypeVar("T")

CREATED = int(time.time())
_SCHEMAS = "#/components/schemas/{model}"


class ClientLeft(Exception):
    """Nobody reads the answer any more."""


def build(service: Service) -> ASGIApp:
    """The whole app, behind its door."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.drain()

    app = FastAPI(title="ttsi", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_health(app, service)
    _add_models(app, service)
    _add_chat(app, service)
    _add_page(app)
    _describe(app)
    settings = service.settings
    return Gate(app, settings.keys, settings.hosts, settings.limits, service.metrics, service.check_open)


def _failed(request: Request, status: int, error: Refusal | Refused | str, retry_after: int = 0) -> JSONResponse:
    param, code = (error.param, error.code) if isinstance(error, Refusal) else (None, None)
    body = error_body(str(error), request.state.request_id, param, code)
    return JSONResponse(body, status, headers={"retry-after": str(retry_after)} if retry_after else None)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refusal(request: Request, error: Refusal) -> Response:
        return _failed(request, error.status, error)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return _failed(request, error.status, error, error.retry_after)

    @app.exception_handler(Exception)
    async def fault(request: Request, _: Exception) -> Response:
        return _failed(request, 500, "an internal error; the id tells the operator which")

    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> Response:
        known = {404: "there is nothing at this address", 405: "this method is not served here"}
        response = _failed(request, error.status_code, known.get(error.status_code, "the request is not served"))
        response.headers.update(error.headers or {})
        return response


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the front process answers."""
        return {"status": "live"}

    @app.get("/health/ready", responses={503: {"description": "Not now"}})
    async def ready() -> JSONResponse:
        """Whether a request would be answered: a worker with the verified base listens."""
        state = "ready" if service.ready else "draining" if service.draining else "not ready"
        return JSONResponse({"status": state}, 200 if service.ready else 503)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """The numbers, in Prometheus' text format."""
        gauges = service.metrics
        gauges.ready.set(service.ready)
        gauges.restarts.set(service.supervisor.restarts)
        gauges.waiting.set(service.turns.waiting)
        gauges.inside.set(service.turns.inside)
        return Response(gauges.text(), media_type="text/plain; version=0.0.4")


def _add_models(app: FastAPI, service: Service) -> None:
    entry = {"id": service.settings.name, "object": "model", "created": CREATED, "owned_by": "ttsi"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [entry]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """The model, by its name."""
        if name != service.settings.name:
            raise Refusal(404, "there is no such model (see /v1/models)", "model", "model_not_found")
        return entry


def _add_chat(app: FastAPI, service: Service) -> None:
    body = {"schema": {"$ref": _SCHEMAS.format(model="ChatRequest")}}

    @app.post(CHAT, openapi_extra={"requestBody": {"content": {"application/json": body}}})
    async def chat(request: Request) -> Response:
        """Answer a conversation; what the model is unsure about, it first learns from examples it writes itself."""
        asked = read_request(await request.body(), service.settings.limits, request.state.request_id)
        if asked.model != service.settings.name:
            raise Refusal(404, "there is no such model (see /v1/models)", "model", "model_not_found")
        lowered, details = _lowered(request), request.headers.get("x-ttsi-details", "").lower() in ("on", "1", "true")
        work = service.answer(asked, request.state.tenant, lowered)
        if asked.stream:
            return _Stream(request, service, asked, work, details)
        try:
            outcome = await unless_left(request.receive, work)
        except ClientLeft:
            return Response(status_code=499)
        return JSONResponse(Reply(asked, outcome, service.fingerprint, details).whole(), headers=_ignored(asked))


def _ignored(asked: Asked) -> dict[str, str]:
    """The header that names what had no effect."""
    return {"x-ttsi-ignored": ", ".join(asked.ignored)} if asked.ignored else {}


def _lowered(request: Request) -> Lowered:
    """What this request's headers take less of.

    Raises:
        Refusal: a header says something else.
    """
    switch = request.headers.get("x-ttsi-adapt", "on").lower()
    if switch not in ("on", "off"):
        raise Refusal(400, "the header X-TTSI-Adapt is `on` or `off`")
    given = request.headers.get("x-ttsi-seconds")
    if given is None:
        return Lowered(switch == "on")
    if not (given.isascii() and given.isdigit() and 0 < len(given) < 7 and int(given) > 0):
        raise Refusal(400, "the header X-TTSI-Seconds is a whole number of seconds")
    return Lowered(switch == "on", float(given))


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client leaves.

    Raises:
        ClientLeft: it left.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        await _cancelled(task, gone)


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Stream(Response):
    """Server-sent events: a sign of life while the answer is made, then the answer, then [DONE].

    A refusal that comes at once is an ordinary error; one that comes after the first sign of life is an event.
    """

    def __init__(
        self, request: Request, service: Service, asked: Asked, work: Coroutine[Any, Any, Any], details: bool
    ) -> None:
        self._request, self._service, self._asked, self._work = request, service, asked, work
        self._details = details
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        task, gone = asyncio.ensure_future(self._work), asyncio.ensure_future(_left(receive))
        every = self._service.settings.limits.keep_alive_seconds
        begun = False
        try:
            while not task.done():
                await asyncio.wait({task, gone}, timeout=every, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if not task.done():
                    begun = begun or await _begin(send, self._asked)
                    await _write(send, KEEP_ALIVE)
            await self._finish(task, begun, scope, receive, send)
        finally:
            await _cancelled(task, gone)

    async def _finish(self, task: asyncio.Future[Any], begun: bool, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = Reply(self._asked, task.result(), self._service.fingerprint, self._details)
        except (Refusal, Refused) as error:
            retry = error.retry_after if isinstance(error, Refused) else 0
            if not begun:
                await _failed(self._request, error.status, error, retry)(scope, receive, send)
                return
            await _write(send, event(error_body(str(error), self._request.state.request_id)), more=False)
            return
        if not begun:
            await _begin(send, self._asked)
        for chunk in reply.chunks():
            await _write(send, event(chunk))
        await _write(send, DONE, more=False)


async def _begin(send: Send, asked: Asked) -> bool:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
    headers += [(name.encode(), value.encode()) for name, value in _ignored(asked).items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    return True


async def _write(send: Send, data: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


def _add_page(app: FastAPI) -> None:
    source = files("ttsi.serve").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'"
        headers = {"content-security-policy": f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
        return HTMLResponse(source.replace("NONCE", nonce), headers=headers)


def _describe(app: FastAPI) -> None:
    """Put the request's schema, which is read by hand (`ttsi.serve.wire`), into the OpenAPI document."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        schema = ChatRequest.model_json_schema(ref_template=_SCHEMAS)
        parts = document.setdefault("components", {}).setdefault("schemas", {})
        parts.update(schema.pop("$defs", {}) | {"ChatRequest": schema})
        return document

    app.openapi = openapi  # type: ignore[method-assign]
