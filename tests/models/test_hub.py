"""A hub that cannot be reached is named at once, and is not asked again and again."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from ttsi.errors import ModelError
from ttsi.models import hub, load


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A machine without network: what was tried."""
    tried: list[Any] = []

    def refuse(place: Any, *_: Any) -> Any:
        tried.append(place)
        raise OSError("Name or service not known")

    hub._reachable.cache_clear()
    for name in (*hub.PROXIES, "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


@pytest.fixture(autouse=True)
def forgetful() -> Any:
    yield
    hub._reachable.cache_clear()


def test_a_model_that_is_nowhere_is_one_line_after_one_try(nowhere: list[Any]) -> None:
    with pytest.raises(ModelError, match=r"huggingface\.co cannot be reached and no/such was not downloaded before"):
        load("hf:no/such")
    assert nowhere == [("huggingface.co", 443)]


def test_control_folders_and_proxies_are_no_matter_of_reach(
    nowhere: list[Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.is_local(str(tmp_path)) and hub.advice(str(tmp_path)) == ""
    assert nowhere == []
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert not hub.is_local("no/such"), "only the client knows the way through a proxy"


def test_a_mirror_is_asked_instead(nowhere: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example:8080")
    assert hub.is_local("no/such")
    assert nowhere == [("mirror.example", 8080)]
