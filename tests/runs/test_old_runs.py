"""Folders that an older version wrote, under the old names of settings, fields and statuses, are read and resumed.

`data/old-run` and `data/old-ask-again` were written by the version before the renaming: eight of twelve inputs of
`mine.jsonl` with votes, kept, failed and rejected adaptations, and two that were asked again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ttsi import codec
from ttsi.config import AnswerConfig, LoopConfig, RunConfig
from ttsi.config_history import RENAMED
from ttsi.errors import RunFolderError
from ttsi.record import RunRow
from ttsi.runs import database
from ttsi.runs.store import each_row, read_json, read_rows
from ttsi.types import Answer, Example

DATA = Path(__file__).parent / "data"
SAME = (
    *("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--batch-size", "4", "--output-dir", "old-run"),
    *("--awareness.gate", "all", "--adaptation.min-confidence-gain", "0.5", "--synthesis.max-rounds", "3"),
    *("--synthesis.k", "4", "--answer.strategy", "vote", "--answer.samples", "3", "--answer.repetition-limit", "0"),
    *("--synthesis.drop-worst", "0.1"),
)


@pytest.fixture
def old(ttsi: Any, tmp_path: Path) -> Path:
    """Copies of the old folders and their data, in the folder of the command."""
    for name in ("old-run", "old-ask-again"):
        shutil.copytree(DATA / name, tmp_path / name)
    shutil.copy(DATA / "mine.jsonl", tmp_path / "mine.jsonl")
    return tmp_path


def test_rows_have_the_present_names(old: Path) -> None:
    rows = read_rows(old / "old-run")
    assert Counter(row.episode.adaptation.status for row in rows) == {
        "trained": 6, "training-failed": 2,
    }  # fmt: skip
    assert sum(row.episode.adaptation.refused.startswith("the model is not surer") for row in rows) == 3
    assert all(row.episode.base and len(row.episode.base.samples) == 3 for row in rows)
    assert all(row.question is not None and row.question.gold for row in rows)
    assert {row.episode.adaptation.status for row in read_rows(old / "old-ask-again")} == {"resampled"}
    # Control: the folder does hold the old names.
    with closing(sqlite3.connect(old / "old-run" / "run.db")) as db:
        texts = "".join(text for (text,) in db.execute("SELECT json FROM episodes"))
    assert all(word in texts for word in ('"draws"', '"faults"', '"declined"', '"rejected"'))


def test_settings_and_metrics_have_the_present_names(old: Path) -> None:
    loop = read_json(old / "old-run" / "config.json")["settings"]["loop"]
    assert codec.from_json(LoopConfig, loop).synthesis.max_rounds == loop["synthesis"]["max_rounds"] == 3
    assert (loop["synthesis"]["drop_worst"], loop["adaptation"]["min_confidence_gain"]) == (0.1, 0.5)
    metrics = read_json(old / "old-run" / "summary.json")["metrics"]
    assert (metrics["adaptations.training-failed"], metrics["adaptations.refused"]) == (2, 3)
    written = json.loads((old / "old-run" / "config.json").read_text())["settings"]["loop"]
    for name in (name for name in RENAMED if "." in name):
        stage, _, field = name.partition(".")
        assert field in written[stage] and field not in loop[stage]


def test_an_old_run_is_reported_compared_and_exported(ttsi: Any, old: Path) -> None:
    assert ttsi("report", "old-run", "old-ask-again", "--output", "report.md").code == 0
    shutil.copytree(old / "old-run", old / "twin")
    assert ttsi("compare", "old-run", "twin").code == 0
    assert ttsi("export", "old-run", "--output", "rows.jsonl").code == 0
    lines = (old / "rows.jsonl").read_text().splitlines()
    assert [codec.loads(RunRow, line) for line in lines] == read_rows(old / "old-run")
    assert '"draws"' not in lines[0] and '"samples"' in lines[0]


def _by_old_rules(grades: dict[str, Any] | None) -> dict[str, Any]:
    assert grades is not None
    return {rule: sides for rule, sides in grades.items() if not rule.endswith("omit-unstated")}


def test_an_old_run_of_equal_settings_resumes(ttsi: Any, old: Path) -> None:
    before = read_rows(old / "old-run")
    digest = read_json(old / "old-run" / "config.json")["digest"]
    resumed = ttsi(*SAME, "--resume", "--limit", "8")
    assert resumed.code == 0, resumed.err
    assert read_json(old / "old-run" / "config.json")["digest"] == digest, "a new name is no other setting"
    # Twelve instead of eight, under the new names, beside the old rows.
    resumed = ttsi(*SAME, "--resume", "--limit", "12")
    assert resumed.code == 0, resumed.err
    rows = read_rows(old / "old-run")
    assert (len(rows), [replace(row, grades=_by_old_rules(row.grades)) for row in rows[:8]]) == (12, before)
    assert "strict omit-unstated" in rows[0].grades, "other data are graded again, by a rule that came later, too"
    assert read_json(old / "old-run" / "summary.json")["n"] == 12
    assert ttsi(*SAME[:-2], "--synthesis.drop-worst", "0.2", "--resume").code == 2, "control: other settings do not"


def test_an_old_run_does_not_go_on_under_a_default_that_came_later(ttsi: Any, old: Path) -> None:
    at = SAME.index("--answer.repetition-limit")
    today = str(AnswerConfig().repetition_limit)
    refused = ttsi(*SAME[:at], "--answer.repetition-limit", today, *SAME[at + 2 :], "--resume")
    assert refused.code == 2 and "answer.repetition_limit" in refused.err
    # What is left out is as the old run had it, before there was such a setting.
    assert ttsi(*SAME[:at], *SAME[at + 2 :], "--resume").code == 0


def test_the_digest_of_a_finished_old_run_is_the_commands(ttsi: Any, old: Path) -> None:
    """So that its default folder is found again."""
    assert ttsi(*SAME, "--limit", "8", "--clean").code == 0
    fresh = read_json(old / "old-run" / "config.json")
    assert fresh["digest"] == json.loads((DATA / "old-run" / "config.json").read_text())["digest"]


def test_every_new_name_exists_and_no_old_one_does() -> None:
    for names, old in ((RENAMED.values(), False), (RENAMED.keys(), True)):
        for name in names:
            stage, _, field = name.rpartition(".")
            assert hasattr(getattr(LoopConfig(), stage) if stage else RunConfig(), field) != old, name
    kinds = {"Answer": Answer, "Example": Example, "RunRow": RunRow}
    for kind, fields in codec.RENAMED_FIELDS.items():
        present = {field.name for field in dataclasses.fields(kinds[kind])}
        assert set(fields.values()) <= present and not set(fields) & present


def test_control_an_unknown_key_is_refused(old: Path) -> None:
    for kind, text in ((Answer, '{"text":"","calls":[],"draw":[]}'), (Example, '{"query":"","calls":[],"texts":""}')):
        with pytest.raises(ValueError, match="Unexpected keyword argument"):
            codec.loads(kind, text)
    # Both names at once would be two values of one field.
    with pytest.raises(ValueError, match="draws"):
        codec.loads(Answer, '{"text":"","calls":[],"draws":[],"samples":[]}')
    with closing(database.connect(old / "old-run" / "run.db")) as db:
        names = [*database.COLUMNS.split(", "), "checksum"]
        columns = dict(
            zip(names, db.execute(f"SELECT {', '.join(names)} FROM episodes LIMIT 1").fetchone(), strict=True)
        )
        columns["json"] = columns["json"].replace('"draws"', '"dice"')
        columns["checksum"] = database.checksum(tuple(columns[name] for name in names[:-1]))
        db.execute("UPDATE episodes SET json = :json, checksum = :checksum WHERE input_hash = :input_hash", columns)
    with pytest.raises(RunFolderError, match=r"cannot read.*dice.*use the ttsi that wrote it"):
        list(each_row(old / "old-run"))
