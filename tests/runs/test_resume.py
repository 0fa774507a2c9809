"""A run goes on with data that were reordered or have grown, tries failures again on request, and refuses the rest."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import row, rows, write
from ttsi import codec, loop
from ttsi.errors import RunFolderError
from ttsi.runs.folder import check_same
from ttsi.runs.store import read_json, read_rows
from ttsi.types import Adaptation, Episode

MINE = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--batch-size", "4", "--output-dir", "out")


def results(folder: Path) -> list[str]:
    """Every row without wall times."""
    return [codec.dumps(r.episode).partition('"seconds"')[0] + f"{r.position} {r.grades}" for r in read_rows(folder)]


def test_reordered_and_grown_data_go_on(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    improved: list[str] = []
    real = loop.improve

    def improve(inputs: Any, *rest: Any) -> list[Episode]:
        improved.extend(item.id for item in inputs)
        return real(inputs, *rest)

    monkeypatch.setattr(loop, "improve", improve)
    old = rows(10)
    write(tmp_path / "mine.jsonl", old[:8])
    assert ttsi(*MINE).code == 0
    improved.clear()
    write(tmp_path / "mine.jsonl", [*old[8:], *reversed(old[:8])])
    assert ttsi(*MINE, "--resume").code == 0
    assert improved == ["q8", "q9", "q7", "q6"], "only the batch with new inputs is done, whole"
    assert [r.episode.input_id for r in read_rows(tmp_path / "out")] == [f"q{i}" for i in (8, 9, *range(7, -1, -1))]
    grown = read_json(tmp_path / "out" / "summary.json")
    assert ttsi(*MINE[:-1], "fresh").code == 0
    assert results(tmp_path / "fresh") == results(tmp_path / "out")
    assert read_json(tmp_path / "fresh" / "summary.json")["results_sha256"] == grown["results_sha256"]
    assert read_json(tmp_path / "out" / "config.json")["data"]["n"] == 10


def test_gold_that_was_corrected_grades_again(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = rows(4)
    write(tmp_path / "mine.jsonl", lines)
    assert ttsi(*MINE).code == 0
    before = read_json(tmp_path / "out" / "summary.json")["base"]["score"]
    write(tmp_path / "mine.jsonl", [{**line, "gold": [{"name": "nothing", "arguments": {}}]} for line in lines])
    monkeypatch.setattr(loop, "improve", None)
    assert ttsi(*MINE, "--resume").code == 0
    assert read_json(tmp_path / "out" / "summary.json")["base"]["score"] == 0 < before


def test_a_share_that_was_drawn_from_other_data_is_refused(ttsi: Any, tmp_path: Path) -> None:
    random_gate = ("--awareness.gate", "random", "--awareness.share", "0.5")
    write(tmp_path / "mine.jsonl", rows(6))
    assert ttsi(*MINE, *random_gate).code == 0
    assert ttsi(*MINE, *random_gate, "--resume").code == 0, "the same data go on"
    before = (tmp_path / "out" / "summary.json").read_bytes()
    write(tmp_path / "mine.jsonl", rows(10))
    result = ttsi(*MINE, *random_gate, "--resume")
    assert (result.code, result.err.count("\n")) == (2, 2)
    assert (
        "mine.jsonl has changed since it was last run" in result.err and "drew its share from other data" in result.err
    )
    assert (tmp_path / "out" / "summary.json").read_bytes() == before


def test_data_without_a_recorded_input_are_refused(ttsi: Any, tmp_path: Path) -> None:
    assert ttsi(*MINE).code == 0
    before = (tmp_path / "out" / "summary.json").read_bytes()
    write(tmp_path / "mine.jsonl", rows(8)[1:])
    result = ttsi(*MINE, "--resume")
    assert result.code == 2
    assert "1 input that is no longer in the data (the first: 'q0')" in result.err
    assert (tmp_path / "out" / "summary.json").read_bytes() == before, "a refused command changes nothing"


class Flaky:
    """The loop, failing for some inputs for as long as it is told to."""

    def __init__(self, *ids: str) -> None:
        self.ids, self.real = set(ids), loop.improve

    def __call__(self, inputs: Any, *rest: Any) -> list[Episode]:
        return [
            Episode(item.id, item.content_hash, None, None, None, error="teacher: timeout")
            if item.id in self.ids
            else episode
            for item, episode in zip(inputs, self.real(inputs, *rest), strict=True)
        ]


def test_failed_inputs_are_owed_again_on_request(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ttsi(*MINE[:-1], "whole").code == 0
    flaky = Flaky("q1", "q6")
    monkeypatch.setattr(loop, "improve", flaky)
    assert ttsi(*MINE).code == 1
    assert ttsi(*MINE, "--resume").code == 1, "nothing is tried again unasked"
    flaky.ids = {"q6"}
    assert ttsi(*MINE, "--retry-failed").code == 1
    assert [r.attempts for r in read_rows(tmp_path / "out")] == [1, 2, 1, 1, 1, 1, 2, 1]
    flaky.ids = set()
    assert ttsi(*MINE, "--retry-failed").code == 0
    assert [r.attempts for r in read_rows(tmp_path / "out")] == [1, 2, 1, 1, 1, 1, 3, 1]
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert read_json(tmp_path / "out" / "summary.json")["n_retried"] == 2


def test_inputs_whose_adaptation_failed_are_owed_again_on_request(
    ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.improve

    def without_memory(inputs: Any, *rest: Any) -> list[Episode]:
        failed = Adaptation("training-failed", reason="MemoryError: no memory")
        return [
            replace(episode, adapted=episode.base, adaptation=failed) if episode.input_id in ("q1", "q6") else episode
            for episode in real(inputs, *rest)
        ]

    assert ttsi(*MINE[:-1], "whole").code == 0
    monkeypatch.setattr(loop, "improve", without_memory)
    assert ttsi(*MINE).code == 0
    assert ttsi(*MINE, "--resume").code == 0
    assert [r.attempts for r in read_rows(tmp_path / "out")] == [1] * 8
    monkeypatch.setattr(loop, "improve", real)
    assert ttsi(*MINE, "--retry-failed").code == 0
    assert [r.attempts for r in read_rows(tmp_path / "out")] == [1, 2, 1, 1, 1, 1, 2, 1]
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_a_stop_while_failures_are_tried_again_keeps_them(
    ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> list[Episode]:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "improve", Flaky("q1"))
    assert ttsi(*MINE).code == 1
    monkeypatch.setattr(loop, "improve", interrupted)
    assert ttsi(*MINE, "--retry-failed").code == 130
    assert len(read_rows(tmp_path / "out")) == 8
    assert not (tmp_path / "out" / "summary.json").exists(), "the run is not complete any more"


def test_a_run_can_take_in_more_inputs_later(ttsi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ttsi(*MINE, "--limit", "3").code == 0
    first = results(tmp_path / "out")
    improved: list[str] = []
    real = loop.improve

    def improve(inputs: Any, *rest: Any) -> Any:
        improved.extend(item.id for item in inputs)
        return real(inputs, *rest)

    monkeypatch.setattr(loop, "improve", improve)
    assert ttsi(*MINE, "--limit", "5", "--resume").code == 0
    assert results(tmp_path / "out")[:3] == first
    assert ttsi(*MINE, "--resume").code == 0
    assert len(results(tmp_path / "out")) == 5, "what is left out is as the run has it"
    assert ttsi(*MINE, "--limit", "100", "--resume").code == 0
    whole = results(tmp_path / "out")
    assert read_json(tmp_path / "out" / "config.json")["settings"]["limit"] == 100
    assert read_json(tmp_path / "out" / "summary.json")["n"] == len(whole) == 8
    assert set(improved) <= {f"q{i}" for i in range(8)}
    # The same as if it had never been cut short.
    assert ttsi(*MINE[:-1], "whole").code == 0
    assert whole == results(tmp_path / "whole")
    # Control: fewer are another run, and so is a larger limit with another seed.
    assert "limit: 100 -> 3" in ttsi(*MINE, "--limit", "3", "--resume").err
    assert ttsi(*MINE[:-1], "three", "--limit", "3").code == 0
    result = ttsi(*MINE[:-1], "three", "--limit", "5", "--seed", "9", "--resume")
    assert (result.code, "seed: 0 -> 9" in result.err) == (2, True)


def test_a_run_of_an_older_version_goes_on(ttsi: Any, tmp_path: Path) -> None:
    assert ttsi(*MINE, "--limit", "4").code == 0
    file = tmp_path / "out" / "config.json"
    record = json.loads(file.read_text())
    del record["settings"]["loop"]["answer"]["calls"], record["settings"]["format"]
    file.write_text(json.dumps({**record, "digest": "0" * 16}))
    assert ttsi(*MINE, "--resume").code == 0
    # Control: what the older version did not know is not passed over where it is asked for now.
    file.write_text(json.dumps({**record, "digest": "0" * 16}))
    refused = ttsi(*MINE, "--resume", "--answer.calls", "one")
    assert (refused.code, 'answer.calls: "auto" -> "one"' in refused.err) == (2, True)


@pytest.mark.parametrize(("format_before", "same"), [("ours", True), ("hermes", False)])
def test_a_run_with_the_earlier_name_of_the_embedded_format_goes_on(
    format_before: str, same: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model": {"format": format_before}}))
    with nullcontext() if same else pytest.raises(RunFolderError, match=r"model\.format"):
        check_same(tmp_path, {"model": {"format": "marked"}})


def test_every_difference_is_listed(ttsi: Any) -> None:
    assert ttsi(*MINE).code == 0
    result = ttsi(*MINE, "--resume", "--k", "3", "--seed", "5")
    assert result.code == 2
    for part in ("synthesis.k: 8 -> 3", "seed: 0 -> 5"):
        assert part in result.err


def test_every_event_is_one_line_with_ids(ttsi: Any, tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", [*rows(2), row("Is the weather fine in Oslo", "get_weather", id="again")])
    lines = ttsi(*MINE, "--quiet", "--verbose").err.splitlines()
    recorded = [line for line in lines if "input recorded" in line]
    hashes = {r.episode.input_hash[:12] for r in read_rows(tmp_path / "out")}
    assert [line.split("input=")[1].split()[0] for line in recorded] == ["'q0'", "'q1'", "'again'"]
    assert all(any(f"hash={short}" in line for short in hashes) for line in recorded)
    assert "repeat=1" in recorded[2]
    name = json.loads((tmp_path / "out" / "config.json").read_text())["digest"][:8]
    assert all(f"run={name}" in line for line in recorded)
    for event in ("run begun", "batch begun", "run finished"):
        assert sum(event in line for line in lines) == 1
    # Control: without the flag there is none.
    assert ttsi(*MINE, "--quiet", "--clean").err == ""


def test_a_run_from_before_a_librarys_start_is_read_and_gone_on_with(tmp_path: Path) -> None:
    """Its record has a setting that is no more, and another default of one that is."""
    old = {"settings": {"limit": 1, "library": {"folder": None, "gate": "sure", "min_inputs": 2}, "loop": {"seed": 0}}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    new = {
        "settings": {"limit": 1, "library": {"folder": None, "gate": "surer", "start": "stored"}, "loop": {"seed": 0}}
    }
    assert check_same(tmp_path, new)["settings"]["limit"] == 1
    used = {"settings": {**old["settings"], "library": {"folder": "a.lib", "gate": "sure", "min_inputs": 2}}}
    (tmp_path / "config.json").write_text(json.dumps(used))
    new["settings"]["library"] = {"folder": "a.lib", "gate": "sure", "start": "stored"}
    with pytest.raises(RunFolderError, match=r'library\.start: "zero" -> "stored"'):  # what the old run did
        check_same(tmp_path, new)
