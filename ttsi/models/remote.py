"""A teacher behind an OpenAI-compatible endpoint (TT-D; the paper's is gpt-5-mini).

Inputs: "openai:NAME", OPENAI_BASE_URL and OPENAI_API_KEY, and `TeacherConfig`. Outputs: a `Model` that writes and does
nothing else: log-probabilities and adapters need weights, so it can be a run's teacher and never its model.

Tools and format go into the system message, and a begun answer becomes the request to begin like that. A grammar cannot
be sent; every example is checked on arrival anyway. Replies are kept (`ttsi.models.ledger`). Attempts are few, wait
(Retry-After, else 1, 2, 4 ... seconds) and end on time; no redirect is followed; a body has a largest size. Whatever
goes wrong is one word in `Generation.attempt_errors`, and the base answers an input without examples:

    refused timeout broken     no connection; no whole reply in time; cut off on the way            tried again
    408 409 429 500 502 ...    the server's status; tried again, others (400 401 404 302) not
    truncated empty garbage large wrong-start    a reply that cannot be used; paid for, kept, not requested again
    budget down                not sent at all: the budget is used up; five failures in a row, one minute of silence
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from ttsi.chat.calls import FORMATS
from ttsi.chat.templates import plain_text_turns
from ttsi.config import AdaptationConfig, TeacherConfig
from ttsi.errors import ConfigError, ModelError
from ttsi.models import Generation, Request
from ttsi.models.completion_parsing import read_completion, without_prefix
from ttsi.models.ledger import Ledger, LedgerReply, read_budget, read_price
from ttsi.types import Adaptation, Prompt, TrainingExample, to_openai

if TYPE_CHECKING:
    from openai import OpenAI

RETRIED = frozenset({"refused", "timeout", "broken", "408", "409", "429", "500", "502", "503", "504", "529"})
"""Faults after which the same request may succeed."""
PERHAPS_BILLED = frozenset({"timeout", "broken", "large"})
FORMAT = "plain"
"""How it writes calls."""
MAX_REPLY_BYTES = 4 * 2**20
MAX_WAIT_SECONDS = 60.0
"""A server that asks for a longer wait is not tried again."""
DOWN_AFTER_FAILURES, DOWN_SECONDS = 5, 60.0
"""After so many failures in a row nothing is sent for so long."""


class _Fault(Exception):
    """An attempt that brought nothing; `args[0]` is its word."""

    def __init__(self, word: str, wait: float | None = None) -> None:
        super().__init__(word)
        self.word, self.wait = word, wait


class RemoteModel:
    """A teacher behind an endpoint; see the module's header."""

    def __init__(
        self,
        name: str,
        config: TeacherConfig,
        run: str = "",
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect to nothing yet.

        Raises:
            ConfigError: the budget or the price is not understood, or a budget in usd has no price.
            ModelError: the openai package or a key is missing.
        """
        self.spec, self.format = f"openai:{name}", FORMATS[FORMAT]
        self._name, self._config, self._run = name, config, run
        self._now, self._sleep = now, sleep
        self._budget, self._price = read_budget(config.budget), read_price(config.price)
        if self._budget.dollars is not None and config.price is None:
            raise ConfigError("a teacher budget in usd needs --teacher-price, dollars per million tokens: 0.25,2.00")
        self._lock, self._failures, self._down_until = threading.Lock(), 0, -1.0
        with self._client() as client:
            self._endpoint = _public_address(str(client.base_url))

    def describe(self) -> dict[str, Any]:
        """Name and address, in place of weights that cannot be seen."""
        return {"spec": self.spec, "kind": "remote", "format": self.format.name, "endpoint": self._endpoint}

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """Always None: only the endpoint can tell."""
        return None

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> NoReturn:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.spec} can only write, it gives no log-probabilities of a text: use it as --teacher")

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """Refused.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.spec} can only write, it has no weights to adapt: use it as --teacher")

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """One continuation per request, in order; where there is none, `error` names the reason.

        Raises:
            ConfigError: a request names an adapter.
            ModelError: the cache cannot be opened.
        """
        if any(request.adapter is not None for request in requests):
            raise ConfigError(f"{self.spec} has no adapters: use it as --teacher")
        if not requests:
            return []
        with (
            Ledger(self._config.cache, self._run, self._budget) as ledger,
            self._client() as client,
            ThreadPoolExecutor(min(self._config.parallel, len(requests))) as pool,
        ):
            return list(pool.map(lambda request: self._write(client, ledger, request), requests))

    def _write(self, client: OpenAI, ledger: Ledger, request: Request) -> Generation:
        payload = _payload(self._name, self.format.name, request, self._endpoint)
        key = hashlib.sha256(json.dumps([self._endpoint, payload], sort_keys=True).encode()).hexdigest()
        kept = ledger.find(key)
        if kept is not None:
            return _generation(request, kept, [])
        errors: list[str] = []
        for attempt in range(self._config.attempts):
            if self._is_down():
                return _no_reply("down", [*errors, "down"])
            tokens, dollars = self._most(payload, request)
            number = ledger.begin(key, tokens, dollars)
            if number is None:
                return _no_reply("budget", [*errors, "budget"])
            try:
                reply = self._reply(self._body(client, payload), payload)
            except _Fault as fault:
                ledger.fail(number, fault.word, fault.word in PERHAPS_BILLED)
                errors.append(fault.word)
                wait = fault.wait if fault.wait is not None else _backoff_seconds(key, attempt)
                if fault.word not in RETRIED or attempt + 1 == self._config.attempts or wait > MAX_WAIT_SECONDS:
                    break
                self._sleep(wait)
                continue
            ledger.keep(number, key, reply)
            self._count(failed=False)
            return _generation(request, reply, errors)
        self._count(failed=True)
        return _no_reply(errors[-1], errors)

    def _body(self, client: OpenAI, payload: dict[str, Any]) -> bytes:
        """The body of one reply.

        Raises:
            _Fault: there is none.
        """
        import openai

        body, deadline = bytearray(), self._now() + self._config.timeout
        try:
            with client.chat.completions.with_streaming_response.create(**payload) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        raise _Fault("large")
                    if self._now() > deadline:
                        raise _Fault("timeout")
        except _Fault:
            raise
        except openai.APITimeoutError:
            raise _Fault("timeout") from None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, _Fault):
                raise error.__cause__ from None
            # Never connected: nothing was billed. Anything later may have been.
            raise _Fault("refused" if type(error.__cause__).__name__ == "ConnectError" else "broken") from None
        except Exception as error:  # while the body is read the HTTP library's own errors come through
            raise _Fault("timeout" if "Timeout" in type(error).__name__ else "broken") from None
        return bytes(body)

    def _reply(self, body: bytes, payload: dict[str, Any]) -> LedgerReply:
        reply = read_completion(body)
        prompt = reply.prompt_tokens if reply.prompt_tokens is not None else _estimated_tokens(payload)
        written = reply.completion_tokens if reply.completion_tokens is not None else len(reply.text.encode()) // 3
        return LedgerReply(reply.text, reply.finished, prompt, written, self._cost(prompt, written), reply.fault)

    def _most(self, payload: dict[str, Any], request: Request) -> tuple[int, float]:
        """The most tokens and dollars that an attempt should take."""
        prompt = _estimated_tokens(payload)
        return prompt + request.max_tokens, self._cost(prompt, request.max_tokens)

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self._price[0] + completion_tokens * self._price[1]) / 1e6

    def _is_down(self) -> bool:
        with self._lock:
            return self._now() < self._down_until

    def _count(self, *, failed: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            if self._failures >= DOWN_AFTER_FAILURES:
                self._failures, self._down_until = 0, self._now() + DOWN_SECONDS

    def _client(self) -> OpenAI:
        try:
            import openai
        except ImportError:
            raise ModelError(
                "a teacher behind an endpoint needs the openai package: pip install 'ttsi[teacher]'"
            ) from None
        import os

        key = os.environ.get("OPENAI_API_KEY") or ("none" if os.environ.get("OPENAI_BASE_URL") else None)
        try:
            hooks = {"response": [_refuse_status]}
            timeout = openai.Timeout(min(self._config.timeout, 30.0), connect=min(self._config.timeout, 5.0))
            return openai.OpenAI(
                api_key=key,
                max_retries=0,
                timeout=timeout,
                http_client=openai.DefaultHttpxClient(follow_redirects=False, timeout=timeout, event_hooks=hooks),
                default_headers={"Accept-Encoding": "identity"},
            )
        except openai.OpenAIError:
            raise ModelError(
                "no key for the teacher: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of yours"
            ) from None


def load(rest: str, *, device: str = "auto", dtype: str = "auto", format: str | None = None) -> RemoteModel:
    """A teacher without a budget, for Python; the command gives a `TeacherConfig`.

    Its prompt says how to write calls, in the one format that needs no template, so that no other can be chosen.

    Raises:
        ModelError: no name, no key, or the openai package is missing.
        ConfigError: another format is wanted.
    """
    if not rest:
        raise ModelError("the endpoint's model has no name: write openai:NAME")
    if format not in (None, FORMAT):
        raise ConfigError(f"openai:{rest} writes its calls in the format {FORMAT!r}, not {format!r}: leave format out")
    return RemoteModel(rest, TeacherConfig())


def _payload(name: str, format_name: str, request: Request, endpoint: str) -> dict[str, Any]:
    prompt = request.prompt
    tools = [to_openai(tool) for tool in prompt.tools]
    turns = plain_text_turns(FORMATS[format_name], prompt.messages, tools)
    if prompt.prefix:
        turns.append({"role": "user", "content": f"Begin your answer with exactly this, then go on:\n{prompt.prefix}"})
    # Hosted models that think take only the new name of the limit, and many servers of one's own only the old.
    limit = "max_completion_tokens" if "api.openai.com" in endpoint else "max_tokens"
    sampling = {"temperature": request.temperature, "seed": request.seed % 2**31}
    return {"model": name, "messages": turns, limit: request.max_tokens, **sampling}


def _generation(request: Request, reply: LedgerReply, errors: list[str]) -> Generation:
    tokens, errors = reply.prompt_tokens + reply.completion_tokens, [*errors, *([reply.fault] if reply.fault else [])]
    if reply.fault in ("garbage", "empty"):
        return Generation("", tokens, 0.0, 0.0, False, reply.fault, reply.dollars, tuple(errors))
    text = without_prefix(request.prompt.prefix, reply.text)
    if text is None:
        errors = [*errors, "wrong-start"]
        return Generation("", tokens, 0.0, 0.0, False, "wrong-start", reply.dollars, tuple(errors))
    return Generation(text, tokens, 0.0, 0.0, reply.finished, None, reply.dollars, tuple(errors))


def _refuse_status(response: Any) -> None:
    """Refuse whatever is no success before its body is read, which may be endless, too.

    Raises:
        _Fault: the status.
    """
    if not response.is_success:
        raise _Fault(str(response.status_code), _retry_after(response.headers.get("retry-after")))


def _no_reply(error: str, errors: list[str]) -> Generation:
    return Generation("", 0, 0.0, 0.0, False, error, attempt_errors=tuple(errors))


def _backoff_seconds(key: str, attempt: int) -> float:
    """1, 2, 4 ... seconds, up to half less so that parallel requests do not retry together; the same every time."""
    return float(2**attempt * random.Random(f"{key}{attempt}").uniform(0.5, 1.0))


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, a number or a date; None when it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if seconds == seconds else None


def _estimated_tokens(payload: dict[str, Any]) -> int:
    """Tokens of a prompt, estimated on the high side: one for every three bytes."""
    return len(json.dumps(payload["messages"], ensure_ascii=False).encode()) // 3


def _public_address(url: str) -> str:
    """An address without user, password and query, which may be secret.

    >>> _public_address("https://me:secret@example.org/v1/?key=secret")
    'https://example.org/v1'
    """
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}".rstrip("/")
