"""A teacher fails in every way: does the run end, is each fault counted, is no answer lost?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from tests.models.endpoint import EXAMPLE, Behaviour, breaks, hangs, says, sends, serving
from tests.models.test_remote import Clock
from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import RunConfig, TeacherConfig
from ttsi.methods import preset
from ttsi.models import load
from ttsi.models.remote import RemoteModel
from ttsi.runs.provenance import resolve
from ttsi.runs.runner import run
from ttsi.runs.store import open_run, read_rows

N = 4


def go(folder: Path, monkeypatch: pytest.MonkeyPatch, *behaviours: Behaviour, gone: bool = False) -> dict[str, Any]:
    """A run of TT-D on four inputs, adapting everywhere, one example each; its summary."""
    path = write(folder / "mine.jsonl", rows(N))
    loop = preset("ttd", "embedded")
    loop = replace(
        loop,
        awareness=replace(loop.awareness, gate="all"),
        synthesis=replace(loop.synthesis, k=1, tools="free", unambiguous=False),
        # One example seldom makes the demo more confident.
        adaptation=replace(loop.adaptation, min_confidence_gain=None),
    )
    config = RunConfig(str(path), "scripted:demo", method="ttd", teacher="openai:small", loop=loop)
    teaching = TeacherConfig(cache=folder / "teacher.db", parallel=1, timeout=0.2 if hangs in behaviours else 5.0)
    benchmark, model, clock = load_benchmark(str(path)), load("scripted:demo"), Clock()
    with serving(*behaviours) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1" if gone else endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        teacher = RemoteModel("small", teaching, "run", now=clock.now, sleep=clock.sleep)
        with open_run(folder / "run", resolve(config, benchmark, model, teacher)) as store:
            return run(benchmark, model, teacher, config, store)


UNKNOWN = EXAMPLE.replace("get_weather", "launch_rocket")
FAULTS: dict[str, tuple[Behaviour, str, str]] = {
    "429": (sends(b"{}", 429), "429", "teacher"),
    "500": (sends(b"{}", 500), "500", "teacher"),
    "hang": (hangs, "timeout", "teacher"),
    "cut off": (breaks, "broken", "teacher"),
    "garbage": (sends(b"<html>"), "garbage", "teacher"),
    "truncated": (says(EXAMPLE[:30], "length"), "truncated", "parse"),
    "not an example": (says("Sorry, I cannot help with that."), "", "parse"),
    "wrong tool": (says(UNKNOWN), "", "schema"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_run_ends_and_the_base_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    behaviour, fault, refused = FAULTS[name]
    summary = go(tmp_path, monkeypatch, behaviour)
    recorded = read_rows(tmp_path / "run")
    assert (summary["n"], summary["n_error"], len(recorded)) == (N, 0, N)
    assert all(row.episode.adapted == row.episode.base is not None for row in recorded)
    assert summary["base"]["score"] == summary["adapted"]["score"]
    examples = [example for row in recorded for example in row.episode.examples]
    counted = Counter(word for example in examples for word in example.attempt_errors)
    reported = {key.rpartition(".")[2]: n for key, n in summary["metrics"].items() if key.startswith("teacher.fault.")}
    assert reported == dict(counted)
    assert counted[fault] >= N if fault else not counted
    assert summary["metrics"][f"examples.refused.{refused}"] == len(examples) >= N


def test_nobody_at_home_is_a_fault_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = go(tmp_path, monkeypatch, says(EXAMPLE), gone=True)
    assert (summary["n"], summary["n_error"]) == (N, 0)
    assert summary["metrics"]["teacher.fault.refused"] == 3 * N


def test_control_a_teacher_that_works_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = go(tmp_path, monkeypatch, says(EXAMPLE))
    assert summary["gain"]["fixed"] > 0
    assert not [key for key in summary["metrics"] if key.startswith("teacher.fault.")]
    assert summary["metrics"]["examples.tokens"] == 120 * N


def test_faults_in_the_middle_cost_only_their_own_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviours = [says(EXAMPLE), sends(b"{}", 429), says(EXAMPLE), sends(b"<html>"), says(EXAMPLE)]
    summary = go(tmp_path, monkeypatch, *behaviours)
    statuses = [row.episode.adaptation.status for row in read_rows(tmp_path / "run")]
    assert Counter(statuses) == {"trained": N - 1, "none": 1}
    assert summary["metrics"]["teacher.fault.429"] == summary["metrics"]["teacher.fault.garbage"] == 1
