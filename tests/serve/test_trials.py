"""The trials of `tests/trials/server_promises.py` with small numbers; that file runs them with large ones."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.serve.test_server import FAULTY
from tests.trials import server_promises, server_requests


def test_nobody_changes_anybody_elses_answers() -> None:
    found = server_promises.isolation(18)
    assert found["changed"] == 0
    assert found["adaptations beside"] > 0


def test_control_an_adapter_that_outlives_its_request_is_seen() -> None:
    assert server_promises.isolation(18, model="leaky")["changed"] > 0


def test_hostile_requests_are_answered_or_a_clients_fault() -> None:
    unharmed(server_promises.hostile(300))


def test_requests_made_from_the_document_are_answered_or_a_clients_fault() -> None:
    pytest.importorskip("schemathesis")
    unharmed(server_promises.documented(100))


def unharmed(found: server_requests.Figures) -> None:
    """Nothing is our fault and nobody died."""
    assert found["statuses"].keys() <= {200, 400, 404} and found["worker restarts"] == 0
    assert found["neither answered nor refused as OpenAI does"] == {}


def test_a_killed_worker_is_replaced_by_one_that_answers_alike() -> None:
    found = server_promises.kills(1)
    assert found["worker restarts"] == found["ready again"] == 1
    assert found["answers changed, of 6"] == 0


def test_control_a_worker_that_is_not_replaced_by_its_like_is_seen() -> None:
    assert server_promises.kills(1, "other", FAULTY, patience=2.0)["ready again"] == 0


def test_disconnects_leave_nothing_behind() -> None:
    assert server_promises.disconnects(4) == {"disconnects": 4, "next answered": True}


def test_a_server_stopped_under_load_ends_with_0_and_leaves_nobody_without_an_answer() -> None:
    found = server_promises.sigterms(1)
    assert found["exit codes"] == {0: 1}
    # TCP has no last look: who connects in the microseconds in which the door closes is reset, unheard.
    assert lost(found) in ({}, {"connection reset": 1})


def test_control_a_server_that_is_killed_drops_its_clients() -> None:
    found = server_promises.sigterms(2, stop=signal.SIGKILL)
    assert found["exit codes"] == {-signal.SIGKILL: 2}
    assert sum(lost(found).values()) > 2


def lost(found: dict[str, Any]) -> dict[str, int]:
    """What those heard who were neither answered nor refused."""
    return {said: n for said, n in found["what they heard"].items() if said not in ("answered", "refused")}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "no answer"),
        (b"HTTP/1.1 200 OK\r\n", "cut"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"choices": [{"finish', "no JSON"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"choices": [{"finish_reason": "stop"}]}', "answered"),
        (b"HTTP/1.1 503 Busy\r\n\r\nService Unavailable", "no JSON"),
        (b'HTTP/1.1 503 Busy\r\n\r\n{"detail": "busy"}', "no error of OpenAI's form"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n5\r\ndata: [DONE]\n\n", "cut"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n5\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", "answered"),
    ],
)
def test_control_what_is_no_answer_is_not_taken_for_one(raw: bytes, says: str) -> None:
    assert server_requests.verdict(raw) == says
