"""The load test (`tests/trials/server_load.py`) with small numbers: what it counts, not how fast this machine is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.conftest import Server, running
from tests.serve.test_server import FAULTY, complete, post
from tests.trials import server_load
from tests.trials.server_requests import body_of, wait_for
from ttsi.benchmarks import load
from ttsi.serve.chat_request import read_request
from ttsi.serve.limits import Limits


def test_load_is_answered_and_counted() -> None:
    found = server_load.load(1)
    assert found["adapting: at 0.5 of that"]["n"] > 0
    assert found["answers by what adaptation did"]["trained"] > 0


def test_control_a_queue_that_is_too_small_is_seen() -> None:
    # Ten times what it can do: so much is too much whatever else the machine does meanwhile.
    found = server_load.load(1, queue=1, share=10.0)
    assert any("503: refused" in said for said in found.values() if isinstance(said, dict))


def test_who_is_refused_is_told_when_to_come_again() -> None:
    found = server_load.overload(1)
    assert found["refused"]["n"] > 0 and found["refused without Retry-After"] == 0
    assert set(found["not answered"]) <= {"503: refused", "429: refused"}


def test_a_quiet_key_is_answered_beside_one_that_floods() -> None:
    """Twice what the worker can do, which the front process can still read: worker time is what is shared out."""
    found = server_load.fairness(1, times=2.0, quiet=15.0, lead=0.5)
    assert found["quiet key beside it"]["n"] > 0  # how many of them is a matter of the machine
    assert found["flood by status"].keys() & {429, 503}


def test_control_a_quiet_request_under_the_loud_key_is_refused() -> None:
    assert server_load.fairness(1, shared=True, quiet=5.0, lead=1.0)["quiet key not answered"]


def test_a_soak_compares_its_first_third_with_its_last() -> None:
    found = server_load.soak(0, seconds=3.0)
    assert found["worker restarts"] == 0
    assert found["first third"]["n"] > 0 and found["last third"]["n"] > 0


def test_the_client_is_given_the_runs_answers() -> None:
    found = server_load.gain(6, "scripted:demo")
    assert found["same answers as the run, base and adapted"] == [6, 6]
    assert found["server, base and adapted %"] == found["run, base and adapted %"]


def test_a_request_is_timed_from_when_it_was_due(server: Server) -> None:
    requests: Iterator[bytes] = iter([post(b"[")] * 1000)

    async def stalled() -> list[server_load.Heard]:
        asking = asyncio.create_task(server_load.arrivals(server.url, requests, 50.0, 1.0))
        await asyncio.sleep(0)
        server_load.time.sleep(2.0)  # nobody sends anything: every request becomes late
        return await asking

    heard = asyncio.run(stalled())
    assert len(heard) > 10 and all(each.status == 400 for each in heard)
    assert min(each.due + each.seconds for each in heard) >= 2.0 - 0.2


@pytest.mark.parametrize(("share", "milliseconds"), [(0.5, 2000.0), (0.99, 4000.0), (0.25, 1000.0)])
def test_a_percentile_is_one_of_the_values(share: float, milliseconds: float) -> None:
    assert server_load.at(share, [4.0, 1.0, 3.0, 2.0]) == milliseconds
    assert server_load.at(share, []) is None


@pytest.mark.parametrize(("wait", "answer"), [(0.2, "book_flight"), (30.0, "get_weather")])
def test_who_has_waited_too_long_is_answered_by_the_base(wait: float, answer: str) -> None:
    """30 seconds are the control: there is time to adapt."""
    options = ("adapt_seconds=1.0", f"wait_seconds={wait}")
    with running(*options, command=FAULTY) as server, server.client() as client, ThreadPoolExecutor() as pool:
        before = pool.submit(complete, client, "spin umbrella Lima")
        wait_for(lambda: server.metric("ttsi_requests_inside") == 1)
        assert complete(client)["choices"][0][1][0][0] == answer
        assert server.metric("ttsi_late_total") == (answer == "book_flight")
        before.result()


def test_every_input_of_toolworld_reaches_the_server_as_it_is() -> None:
    """Else the gain through the client would be that of other inputs than the run's."""
    inputs = [sample.input for sample in load("toolworld").samples]
    arrived = [read_request(json.dumps(body_of(item, "m")).encode(), Limits(), "id").item for item in inputs]
    assert [(each.messages, each.tools) for each in arrived] == [(item.messages, item.tools) for item in inputs]


def test_control_a_conversation_without_its_calls_is_another() -> None:
    item = next(
        sample.input for sample in load("toolworld").samples if any(m.tool_calls for m in sample.input.messages)
    )
    body = body_of(item, "m")
    body["messages"] = [{"role": each["role"], "content": each["content"]} for each in body["messages"]]
    assert read_request(json.dumps(body).encode(), Limits(), "id").item.messages != item.messages


@pytest.mark.parametrize("rate", [0.0, 0.5, 1000.0])
def test_a_load_of_any_rate_has_a_request(server: Server, rate: float) -> None:
    """A machine that is busy otherwise answers so few a second that none would be due in a short test."""
    requests: Iterator[bytes] = iter([post(b"[")] * 10_000)
    heard = asyncio.run(server_load.arrivals(server.url, requests, rate, 0.05))
    assert heard[0].due == 0.0 and heard[0].status == 400
    assert (len(heard) > 1) == (rate == 1000.0), "the control"
