"""A run with a teacher dies on the way: is what was received ever asked for, and paid for, again?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from tests.models.endpoint import Endpoint, serving
from tests.worlds import rows, write
from ttsi import crash_points
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import RunConfig, TeacherConfig
from ttsi.methods import preset
from ttsi.models import load
from ttsi.models.remote import RemoteModel
from ttsi.runs.provenance import resolve
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_rows

N = 6


class Crash(BaseException):
    """Stands for the end of the process: nothing catches it."""


def start(folder: Path, cache: Path, point: str | None = None) -> dict[str, Any]:
    """A run of TT-D, adapting everywhere; dies at the second passage of a point, or goes on with what is there."""
    path, loop = write(folder / "mine.jsonl", rows(N)), preset("ttd", "embedded")
    synthesis = replace(loop.synthesis, k=2, tools="free", unambiguous=False)
    loop = replace(loop, awareness=replace(loop.awareness, gate="all"), synthesis=synthesis)
    config = RunConfig(str(path), "scripted:demo", method="ttd", teacher="openai:small", loop=loop, batch_size=2)
    benchmark, model = load_benchmark(str(path)), load("scripted:demo")
    teacher = RemoteModel("small", TeacherConfig(cache=cache, parallel=1, timeout=5.0), "run")
    passages = Counter[str]()

    def crash(passed: str) -> None:
        passages[passed] += 1
        if passed == point and passages[passed] == 2:
            raise Crash

    crash_points.hook = crash
    try:
        resolved = resolve(config, benchmark, model, teacher)
        with open_run(folder / "run", resolved, resume=(folder / "run").exists()) as store:
            return run(benchmark, model, teacher, config, store)
    finally:
        crash_points.hook = None


def requests(endpoint: Endpoint) -> Counter[str]:
    return Counter(json.dumps(request, sort_keys=True) for request in endpoint.asked)


@pytest.mark.parametrize("point", ["batch: answered", "row: not yet committed"])
def test_what_was_received_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with serving() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        (tmp_path / "whole").mkdir()
        whole = start(tmp_path / "whole", tmp_path / "whole.db")
        plain = requests(endpoint)
        assert set(plain.values()) == {1} and plain.total() >= 2 * N
        endpoint.asked.clear()
        with pytest.raises(Crash):
            start(tmp_path, tmp_path / "teacher.db", point)
        assert len(read_rows(tmp_path / "run")) < N
        assert 0 < requests(endpoint).total() < plain.total()
        again = start(tmp_path, tmp_path / "teacher.db")
        assert requests(endpoint) == plain
    assert again["results_sha256"] == whole["results_sha256"]


def test_control_without_the_file_of_its_replies_a_batch_is_paid_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with serving() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        with pytest.raises(Crash):
            start(tmp_path, tmp_path / "one.db", "batch: answered")
        start(tmp_path, tmp_path / "other.db")
        assert max(requests(endpoint).values()) == 2
