"""The trials of `dev/serve_trials.py` with small numbers; that file runs them with large ones."""

from __future__ import annotations

from dev import serve_trials


def test_nobody_changes_anybody_elses_answers() -> None:
    found = serve_trials.isolation(18)
    assert found["changed"] == 0
    assert found["adaptations beside"] > 0


def test_control_an_adapter_that_outlives_its_request_is_seen() -> None:
    assert serve_trials.isolation(18, model="leaky")["changed"] > 0


def test_hostile_requests_are_answered_or_a_clients_fault() -> None:
    found = serve_trials.hostile(300)
    assert found["statuses"].keys() <= {200, 400, 404} and found["restarts"] == 0


def test_control_a_request_that_kills_the_worker_is_seen() -> None:
    assert serve_trials.kills(1)["restarts"] == 1


def test_disconnects_leave_nothing_behind() -> None:
    assert serve_trials.disconnects(4) == {"disconnects": 4, "next answered": True}


def test_a_server_stopped_under_load_ends_with_0() -> None:
    found = serve_trials.sigterms(1)
    assert found["exit codes"] == {0: 1}
