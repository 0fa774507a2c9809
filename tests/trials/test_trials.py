"""The trials at the sizes of the log: `pytest -m trials` (hours; `-k NAME` for one of them).

Each also runs as a command with a size of one's own, see the headers of the three files. Small sizes of the same
trials, beside their controls, are part of every `make test` (tests/serve, tests/runs).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trials import agent_episodes, library_folder, reliability, server_load, server_promises
from tests.trials.server_requests import Figures, say

pytestmark = pytest.mark.trials


@pytest.mark.parametrize(
    ("trial", "n"),
    [("kills", 300), ("journals", 1000), ("files", 200), ("orders", 20), ("scale", 100_000), ("nodes", 3)],
)
def test_a_run_survives(trial: str, n: int, tmp_path: Path) -> None:
    """The trial itself asserts what is promised."""
    if trial == "nodes":
        pytest.importorskip("ray")
    say(trial, reliability.FIGURES[trial](n, tmp_path))


@pytest.mark.parametrize(("trial", "n"), [("kills", 300), ("damage", 200), ("planted", 1000)])
def test_a_library_survives(trial: str, n: int, tmp_path: Path) -> None:
    """The trial itself asserts what is promised."""
    say(f"library: {trial}", library_folder.FIGURES[trial](n, tmp_path))


@pytest.mark.parametrize(("spec", "n"), [("scripted:demo", 1000), ("embedded", 200)])
def test_episodes_of_an_agent_leave_no_memory_behind(spec: str, n: int) -> None:
    figures = agent_episodes.episodes(n, spec)
    say("agent episodes", figures)
    assert figures["mb_after_all"] <= 1.1 * figures["mb_after_a_tenth"]


@pytest.mark.parametrize(
    ("trial", "n", "promised"),
    [
        (server_promises.isolation, 1000, {"changed": 0}),
        (server_promises.hostile, 20_000, {"worker restarts": 0, "neither answered nor refused as OpenAI does": {}}),
        (server_promises.documented, 20_000, {"worker restarts": 0, "neither answered nor refused as OpenAI does": {}}),
        (server_promises.kills, 50, {"worker restarts": 50, "ready again": 50, "answers changed, of 6": 0}),
        (server_promises.disconnects, 500, {"next answered": True}),
        (server_promises.sigterms, 25, {"exit codes": {0: 25}}),
        (server_load.gain, 640, {"same answers as the run, base and adapted": [640, 640]}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_server_keeps_its_promises(trial: Callable[..., Figures], n: int, promised: dict[str, Any]) -> None:
    if trial is server_promises.documented:
        pytest.importorskip("schemathesis")
    figures = trial(n)
    say(trial.__name__, figures)
    assert {name: figures[name] for name in promised} == promised


@pytest.mark.parametrize(
    ("trial", "n"),
    [(server_load.load, 60), (server_load.overload, 60), (server_load.fairness, 60), (server_load.soak, 30)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_load_is_measured(trial: Callable[..., Figures], n: int) -> None:
    """The figures are for a reader (`-s` shows them): how fast a server is depends on the machine."""
    figures = trial(n)
    say(trial.__name__, figures)
    assert figures
