"""HTTP routes.

Inputs: HTTP. Outputs: OpenAI's chat completions (whole or streamed), the list of models, health, metrics, and a page to
try them. Requests that are invalid, rejected or abandoned end in this process; only the worker has the model.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ttsi import __version__
from ttsi.serve.chat_request import ChatRequest, InvalidRequest, RequestOptions, read_headers, read_request
from ttsi.serve.fair_queue import Overloaded
from ttsi.serve.pipe import Outcome
from ttsi.serve.replies import DONE, KEEP_ALIVE, ChatReply, sse_event
from ttsi.serve.request_filter import CHAT, INTERNAL_ERROR, RequestFilter, error_body
from ttsi.serve.service import Service

T = TypeVar("T")

CREATED = int(time.time())
NO_SUCH_PATH = (
    f"no such path: this server has POST {CHAT}, GET /v1/models, GET /health/live, GET /health/ready, GET /metrics and "
    "GET /openapi.json"
)
_SCHEMAS = "#/components/schemas/{model}"


def build_app(service: Service) -> ASGIApp:
    """The whole app behind its request filter."""

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
    _document_request(app)
    settings = service.settings
    return RequestFilter(app, settings.keys, settings.hosts, settings.limits, service.metrics, service.check_open)


def _error(
    request: Request, status: int, error: InvalidRequest | Overloaded | str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    param, code = (error.param, error.code) if isinstance(error, InvalidRequest) else (None, None)
    retry = {"retry-after": str(error.retry_after)} if isinstance(error, Overloaded) else {}
    body = error_body(str(error), request.state.request_id, param, code)
    return JSONResponse(body, status, headers={**retry, **(headers or {})})


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(InvalidRequest)
    @app.exception_handler(Overloaded)
    async def rejection(request: Request, error: InvalidRequest | Overloaded) -> Response:
        return _error(request, error.status, error)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, _: Exception) -> Response:
        return _error(request, 500, INTERNAL_ERROR)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _error(request, 404, InvalidRequest(404, NO_SUCH_PATH, code="unknown_url"))
        message = "method not allowed" if error.status_code == 405 else "this request is not supported"
        return _error(request, error.status_code, message, error.headers)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.head("/health/live", include_in_schema=False)  # some load balancers ask so
    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """The front process is running."""
        return {"status": "live"}

    @app.head("/health/ready", include_in_schema=False)
    @app.get("/health/ready", responses={503: {"description": "Not ready"}})
    async def ready() -> JSONResponse:
        """Requests are answered now: a worker with verified base weights is running."""
        state = "ready" if service.ready else "draining" if service.draining else "not ready"
        return JSONResponse({"status": state}, 200 if service.ready else 503)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        gauges = service.metrics
        gauges.ready.set(service.ready)
        gauges.restarts.set(service.supervisor.restarts)
        gauges.waiting.set(service.queue.waiting)
        gauges.inside.set(service.queue.inside)
        return Response(gauges.text(), media_type="text/plain; version=0.0.4")


def _add_models(app: FastAPI, service: Service) -> None:
    entry = {"id": service.settings.name, "object": "model", "created": CREATED, "owned_by": "ttsi"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """List the one model that is served."""
        return {"object": "list", "data": [entry]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """The model with this name."""
        _check_model(name, service)
        return entry


def _check_model(name: str, service: Service) -> None:
    if name != service.settings.name:
        message = f"no such model: this server has {service.settings.name}"
        raise InvalidRequest(404, message, "model", "model_not_found")


def _add_chat(app: FastAPI, service: Service) -> None:
    body = {"schema": {"$ref": _SCHEMAS.format(model="ChatRequest")}}

    @app.post(CHAT, openapi_extra={"requestBody": {"content": {"application/json": body}}})
    async def chat(request: Request) -> Response:
        """Answer a conversation. Where the model is unsure, it first adapts to examples that it writes itself."""
        options = read_request(await request.body(), service.settings.limits, request.state.request_id)
        _check_model(options.model, service)
        options = read_headers(options, request.headers)
        work = service.answer(options, request.state.tenant)
        if options.stream:
            return _Stream(request, service, options, work)
        try:
            outcome = await until_disconnect(request.receive, work)
        except ClientDisconnect:
            return Response(status_code=499)
        reply = ChatReply(options, outcome, service.fingerprint)
        return JSONResponse(reply.completion(), headers=_ignored_header(options) | _fallback_header(outcome))


def _ignored_header(options: RequestOptions) -> dict[str, str]:
    """The header that names the fields without effect."""
    return {"x-ttsi-ignored": ", ".join(options.ignored)} if options.ignored else {}


def _fallback_header(outcome: Outcome) -> dict[str, str]:
    """The header that names the stage at which adaptation failed."""
    return {"x-ttsi-fallback": outcome.fallback} if outcome.fallback else {}


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects.

    Raises:
        ClientDisconnect: it did.
    """
    task, disconnect = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        await _cancel(task, disconnect)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Stream(Response):
    """Server-sent events: comments while the answer is computed, then the answer, then [DONE].

    An error before the first comment is an ordinary error response; a later one is an event.
    """

    def __init__(
        self, request: Request, service: Service, options: RequestOptions, work: Coroutine[Any, Any, Any]
    ) -> None:
        self._request, self._service, self._options, self._work = request, service, options, work
        self.background = None
        self.status_code = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task, disconnect = asyncio.ensure_future(self._work), asyncio.ensure_future(_disconnect(receive))
        interval = self._service.settings.limits.keep_alive_seconds
        started = False
        try:
            while not task.done():
                await asyncio.wait({task, disconnect}, timeout=interval, return_when=asyncio.FIRST_COMPLETED)
                if disconnect.done():
                    return
                if not task.done():
                    started = started or await _start(send, self._options)
                    await _write(send, KEEP_ALIVE)
            await self._finish(task, started, scope, receive, send)
        finally:
            await _cancel(task, disconnect)

    async def _finish(
        self, task: asyncio.Future[Any], started: bool, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            reply = ChatReply(self._options, task.result(), self._service.fingerprint)
        except (InvalidRequest, Overloaded) as error:
            if not started:
                await _error(self._request, error.status, error)(scope, receive, send)
                return
            await _write(send, sse_event(error_body(str(error), self._request.state.request_id)), more=False)
            return
        if not started:
            await _start(send, self._options)
        for chunk in reply.chunks():
            await _write(send, sse_event(chunk))
        await _write(send, DONE, more=False)


async def _start(send: Send, options: RequestOptions) -> bool:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
    headers += [(name.encode(), value.encode()) for name, value in _ignored_header(options).items()]
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


def _document_request(app: FastAPI) -> None:
    """Add the schema of a request, which the route parses itself (`chat_request`), to the OpenAPI document."""
    default = app.openapi

    def openapi() -> dict[str, Any]:
        document = default()
        schema = ChatRequest.model_json_schema(ref_template=_SCHEMAS)
        parts = document.setdefault("components", {}).setdefault("schemas", {})
        parts.update(schema.pop("$defs", {}) | {"ChatRequest": schema})
        return document

    app.openapi = openapi  # type: ignore[method-assign]
