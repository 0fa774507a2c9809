"""OpenAI's own client against a real server."""

from __future__ import annotations

import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.serve.conftest import UNSURE, Server, body, chat_body, running
from tests.worlds import REQUESTS, TOOLS
from ttsi.cli.serve import _announce

FAULTY = ("-m", "tests.serve.commanded_server")


def complete(client: openai.OpenAI, text: str = UNSURE, **more: Any) -> dict[str, Any]:
    """A completion without what differs from call to call."""
    return stable(client.chat.completions.create(**chat_body(text, **more)).model_dump())


def stable(completion: dict[str, Any]) -> dict[str, Any]:
    """Message, reason and usage of each choice; ids and the time left out."""
    choices = [(c["message"]["content"], calls(c["message"]), c["finish_reason"]) for c in completion["choices"]]
    return {"choices": choices, "usage": completion["usage"]["total_tokens"]}


def calls(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(c["function"]["name"], c["function"]["arguments"]) for c in message["tool_calls"] or []]


def streamed(client: openai.OpenAI, text: str = UNSURE, **more: Any) -> dict[str, Any]:
    """The same from a stream, put together as clients do."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    messages: dict[int, dict[str, Any]] = {}
    usage = None
    with client.chat.completions.create(**chat_body(text, **options, **more)) as stream:
        for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                add(messages.setdefault(choice.index, {"content": None, "calls": [], "finish": None}), choice)
    choices = [(c["content"] or None, [tuple(call) for call in c["calls"]], c["finish"]) for c in messages.values()]
    assert usage is not None
    return {"choices": choices, "usage": usage.total_tokens}


def add(message: dict[str, Any], choice: Any) -> None:
    if choice.delta.content is not None:
        message["content"] = (message["content"] or "") + choice.delta.content
    for call in choice.delta.tool_calls or []:
        if call.index == len(message["calls"]):
            assert call.id and call.type == "function"
            message["calls"].append([call.function.name, ""])
        message["calls"][call.index][1] += call.function.arguments or ""
    if choice.finish_reason:
        message["finish"] = choice.finish_reason


@pytest.mark.parametrize("seed", [-3, -(2**63), 2**63 - 1])
def test_any_seed_of_openai_is_adapted(client: openai.OpenAI, seed: int) -> None:
    raw = client.chat.completions.with_raw_response
    answer = raw.create(**chat_body(seed=seed), extra_headers={"X-TTSI-Details": "on"})
    assert "x-ttsi-fallback" not in answer.headers and '"adaptation":"trained"' in answer.text


def test_an_unsure_call_is_improved_and_the_details_explain_it(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**chat_body(), extra_headers={"X-TTSI-Details": "on"}).model_dump()
    assert stable(completion)["choices"] == [(None, [("get_weather", '{"city": "Lima"}')], "tool_calls")]
    [details] = completion["ttsi"]
    assert details["unsure"] and details["adapted"] and details["base_calls"][0]["name"] == "book_flight"
    assert details["losses"] and details["examples"] and details["seconds"].keys() >= {"awareness", "synthesis"}
    assert "ttsi" not in client.chat.completions.create(**chat_body()).model_dump()


def test_a_request_may_switch_adaptation_off_but_not_up(client: openai.OpenAI) -> None:
    off = client.chat.completions.create(**chat_body(), extra_headers={"X-TTSI-Adapt": "off", "X-TTSI-Details": "on"})
    assert calls(off.model_dump()["choices"][0]["message"])[0][0] == "book_flight"
    assert off.model_dump()["ttsi"][0]["adaptation"] == "none"
    for header in ({"X-TTSI-Adapt": "always"}, {"X-TTSI-Seconds": "0"}, {"X-TTSI-Seconds": "1e9"}):
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**chat_body(), extra_headers=header)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n": 3},
        {"tool_choice": "none"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "find_hotel"}}},
        {"parallel_tool_calls": False},
        {"tool_choice": "none", "stop": "tools"},
        {"tool_choice": "none", "max_tokens": 2},
    ],
    ids=json.dumps,
)
def test_streamed_and_plain_answers_are_equal(client: openai.OpenAI, more: dict[str, Any]) -> None:
    plain = complete(client, **more)
    assert streamed(client, **more) == plain
    assert all(choice[2] for choice in plain["choices"])


def test_control_another_answer_is_not_equal(client: openai.OpenAI) -> None:
    assert streamed(client, UNSURE) != complete(client, "Where can I sleep and stay in Rome")


def test_finish_reasons_are_openais(client: openai.OpenAI) -> None:
    assert complete(client)["choices"][0][2] == "tool_calls"
    assert complete(client, tool_choice="none")["choices"][0][2] == "stop"
    assert complete(client, tool_choice="none", max_tokens=2)["choices"][0] == ("I have", [], "length")
    assert complete(client, tool_choice="none", stop=[" no"])["choices"][0] == ("I have", [], "stop")


def test_a_stream_is_written_as_openai_writes_it(server: Server) -> None:
    raw = exchange(server, post(body(stream=True)))
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert b"200" in head.split(b"\r\n")[0] and b"text/event-stream" in head
    lines = [line for line in rest.decode().splitlines() if line.startswith(("data:", ":"))]
    assert lines[-1] == "data: [DONE]"
    finals = [json.loads(line[6:])["choices"][0]["finish_reason"] for line in lines[:-1]]
    assert finals[-1] == "tool_calls" and set(finals[:-1]) == {None}


def test_models_are_listed_and_an_unknown_one_is_not_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["scripted:demo"]
    assert client.models.retrieve("scripted:demo").id == "scripted:demo"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("../../etc/passwd")
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(**{**chat_body(), "model": "gpt-4o"})
    error: Any = raised.value.body
    assert (error["message"], error["code"]) == ("no such model: this server has scripted:demo", "model_not_found")
    assert "gpt-4o" not in json.dumps(error)  # a client's own words are not repeated


def test_errors_carry_an_id_and_nothing_from_inside(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**chat_body(n=1000))
    error: Any = raised.value.body
    assert error["id"].startswith("req_") and error["param"] == "n"
    assert raised.value.response.headers["x-request-id"] == error["id"]
    assert not any(word in json.dumps(error) for word in ("Traceback", "/", "0x", "pydantic"))


def test_the_agents_loop_of_calls_and_results_works(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(**chat_body()).choices[0].message
    assert first.tool_calls
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "rain"}
    messages = [{"role": "user", "content": UNSURE}, first.model_dump(exclude_none=True), result]
    again = client.chat.completions.create(**{**chat_body(), "messages": messages})  # type: ignore[call-overload]
    assert again.choices[0].finish_reason in ("stop", "tool_calls")


@pytest.mark.parametrize("path", ["responses", "completions", "embeddings", "../chat/completions"])
def test_an_unknown_path_is_answered_with_those_there_are(client: openai.OpenAI, server: Server, path: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.post(f"/{path}", body=chat_body(), cast_to=object)
    error: Any = raised.value.body
    assert (error["code"], error["param"], error["id"][:4]) == ("unknown_url", None, "req_")
    named = re.findall(r"(GET|POST) (/[\w/.]+)", error["message"])
    assert ("POST", "/v1/chat/completions") in named and "\n" not in error["message"]
    assert f"/v1/{path}" not in error["message"], "a client's own words are not repeated"
    documented = json.loads(server.get("/openapi.json"))["paths"]
    there = [(method, route) for method, route in named if method.lower() in documented.get(route, {})]
    assert [*there, ("GET", "/openapi.json")] == named


def test_control_an_error_of_a_known_path_is_its_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("nope")
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.APIStatusError) as refused:
        client.get("/chat/completions", cast_to=object)
    assert (refused.value.status_code, refused.value.code) == (405, None)


def test_the_openapi_document_names_the_routes_and_the_request(server: Server) -> None:
    document = json.loads(server.get("/openapi.json"))
    assert {"/v1/chat/completions", "/v1/models", "/health/live", "/health/ready", "/metrics"} <= set(document["paths"])
    assert "messages" in document["components"]["schemas"]["ChatRequest"]["properties"]


@pytest.mark.parametrize("with_keys", [True, False])
def test_a_server_without_keys_warns_when_it_starts(with_keys: bool, capsys: pytest.CaptureFixture[str]) -> None:
    _announce("http://127.0.0.1:1", with_keys)
    printed = capsys.readouterr().out
    assert printed.startswith("ttsi: http://127.0.0.1:1/v1 answers")
    assert ("no API keys: anyone who can reach this address can use it" in printed) != with_keys
    assert ("whose password is a key" in printed) == with_keys


def test_the_metrics_count_what_happened_in_a_fixed_number_of_series(server: Server, client: openai.OpenAI) -> None:
    before = server.metric('ttsi_answers_total{adaptation="trained"}') if "trained" in server.get("/metrics") else 0.0
    complete(client)
    assert server.metric('ttsi_answers_total{adaptation="trained"}') == before + 1
    for number in range(30):
        complete(client, f"{number} umbrella", user=f"user {number}")
    names = [line.split("{")[0] for line in server.get("/metrics").splitlines() if not line.startswith("#")]
    assert max(names.count(name) for name in names) <= 50


def test_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    page = server.get("/")
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert "src=" not in page and "@import" not in page and "<link" not in page


def test_adaptations_beyond_the_budget_are_the_bases_answers() -> None:
    with running("--limits.adaptations-per-key", "1") as server, server.client() as client:
        assert complete(client)["choices"][0][1][0][0] == "get_weather"
        assert complete(client)["choices"][0][1][0][0] == "book_flight"
        assert server.metric("ttsi_budget_spent_total") == 1


def test_deadlines_in_a_row_leave_the_base_to_answer_at_once_and_are_tried_again() -> None:
    def fallback(client: openai.OpenAI, text: str = "spin umbrella Lima") -> str | None:
        raw = client.chat.completions.with_raw_response.create(**chat_body(text))
        assert raw.parse().choices[0].message.tool_calls
        return raw.headers.get("x-ttsi-fallback")

    options = ("adapt_seconds=0.05", "adaptations_per_key=4")
    with running(*options, command=FAULTY) as server, server.client() as client:
        found = [fallback(client) for _ in range(5)]
        assert found == ["deadline"] * 3 + [
            "not-tried",
            "deadline",
        ]  # the fourth adaptation of the budget is the fifth's
        assert server.metric('ttsi_fallbacks_total{stage="deadline"}') == 4
        assert server.metric('ttsi_fallbacks_total{stage="not-tried"}') == 1
        assert fallback(client) is None and server.metric("ttsi_budget_spent_total") == 1
        assert server.metric("ttsi_worker_restarts") == 0


def test_a_stream_is_kept_alive() -> None:
    options = ("keep_alive_seconds=0.05", "adapt_seconds=0.5")
    with running(*options, command=FAULTY) as server:
        raw = exchange(server, post(body("spin umbrella Lima", stream=True))).decode()
        assert ": still working\n\n" in raw and raw.rstrip("\r\n0").endswith("data: [DONE]")
        assert '"finish_reason":"tool_calls"' in raw
        assert server.metric('ttsi_fallbacks_total{stage="deadline"}') == 1
        with server.client() as client:  # the client accepts a stream with such comments
            assert streamed(client, "spin umbrella Lima")["choices"][0][2] == "tool_calls"


def test_a_worker_that_dies_is_503_and_the_clients_retry_succeeds() -> None:
    with running(command=FAULTY) as server, server.client() as client:
        with pytest.raises(openai.InternalServerError) as raised:
            complete(client, "die now")
        assert raised.value.status_code == 503 and raised.value.response.headers["retry-after"] == "2"
        with server.client(max_retries=8) as patient:
            assert complete(patient)["choices"][0][2] == "tool_calls"
        assert server.metric("ttsi_worker_restarts") == 1
        with pytest.raises(openai.APIError, match="being restarted"), server.client() as other:
            streamed(other, "die now")


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnect_stops_the_work(stream: bool) -> None:
    options = ("keep_alive_seconds=0.05", "adapt_seconds=600")
    with running(*options, command=FAULTY) as server:
        for _ in range(3):
            connection = connect(server)
            connection.sendall(post(body("spin on", stream=stream)))
            wait_for_gauge(server, "ttsi_requests_inside", 1.0)
            connection.close()
            wait_for_gauge(server, "ttsi_requests_inside", 0.0)
        assert server.metric("ttsi_disconnects_total") == 3 and server.metric("ttsi_worker_restarts") == 0
        with server.client() as client:
            assert complete(client)["choices"][0][1] == [("get_weather", '{"city": "Lima"}')]


def test_a_timeout_of_the_client_is_a_disconnect() -> None:
    with running("adapt_seconds=600", command=FAULTY) as server, server.client(timeout=0.5) as client:
        with pytest.raises(openai.APITimeoutError):
            complete(client, "spin on")
        wait_for_gauge(server, "ttsi_requests_inside", 0.0)


def wait_for_gauge(server: Server, metric: str, value: float) -> None:
    """Ask until a gauge has a value; each question is a round trip, and there is a last one."""
    assert any(server.metric(metric) == value for _ in range(3000))


def connect(server: Server) -> socket.socket:
    """A bare connection."""
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def post(data: bytes, *headers: str) -> bytes:
    """A request by hand."""
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    lines += (
        [f"Content-Length: {len(data)}"] if not any("ength" in line or "chunked" in line for line in headers) else []
    )
    return "\r\n".join([*lines, "", ""]).encode() + data


def exchange(server: Server, request: bytes) -> bytes:
    """What comes back until the server closes."""
    with connect(server) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_every_request_of_the_small_world_is_answered(client: openai.OpenAI) -> None:
    for text, name in REQUESTS.items():
        assert complete(client, text)["choices"][0][1][0][0] in {tool["function"]["name"] for tool in TOOLS}, name


def test_objects_of_ones_own_are_served() -> None:
    here = "tests.serve.own_objects"
    options = ("--awareness.measure", f"{here}:minus_two", "--synthesis.filter", f"{here}:refuse_all")
    with running(*options, model=f"{here}:load") as own:
        body = {**chat_body(), "model": f"{here}:load"}
        completion = own.client().chat.completions.create(**body, extra_headers={"X-TTSI-Details": "on"}).model_dump()
        assert own.end() == 0
    [details] = completion["ttsi"]
    assert (details["measure"], details["value"], details["unsure"]) == (f"{here}:minus_two", -2.0, True)
    assert "own: no" in {example["refused"] for example in details["examples"]} and not details["adapted"]
