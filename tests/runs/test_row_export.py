"""What is exported is what was recorded, whole as JSONL, flat as CSV and Parquet; NaN is never null or 0."""

from __future__ import annotations

import copy
import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.runs.test_store import question
from tests.test_codec import EMPTY, FULL
from ttsi import codec
from ttsi.errors import RunFolderError
from ttsi.row_schema import row_schema
from ttsi.runs.row_export import COLUMNS, export_rows
from ttsi.runs.store import RunRow, open_run, read_rows
from ttsi.types import Adaptation

DOCUMENT = Path(__file__).parents[2] / "docs" / "episode.schema.json"
GRADES = {"strict": {"base": True, "adapted": False}}
ODD = replace(FULL, input_hash="ef" * 32, adaptation=Adaptation("training-failed", 1, 2, (1.0, math.nan)))
ROWS = [
    RunRow(FULL, 0, 0, GRADES, {"kind": "a"}, question=question(0)),
    RunRow(EMPTY, 0, 1),
    RunRow(ODD, 0, 2, GRADES, {}, 3),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three rows: a full one, one that failed, and one with a loss that is not a number."""
    with open_run(tmp_path / "run", {"data": {"matcher": "strict"}}) as store:
        for row in ROWS:
            store.record(row)
    return tmp_path / "run"


def test_jsonl_comes_back_equal_and_obeys_its_schema(folder: Path, tmp_path: Path) -> None:
    assert export_rows(folder, "jsonl", tmp_path / "rows.jsonl") == 3
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [codec.dumps(codec.loads(RunRow, line)) for line in lines] == [codec.dumps(row) for row in ROWS]
    validator = jsonschema.Draft202012Validator(row_schema())
    for line in lines:
        validator.validate(json.loads(line))
    assert '"losses":[1.0,"nan"]' in lines[2]
    assert json.loads(lines[0])["question"]["gold"] == [{"name": "look", "arguments": {"where": "here"}}]


def test_control_the_schema_refuses_what_is_no_row() -> None:
    validator = jsonschema.Draft202012Validator(row_schema())
    row = json.loads(codec.dumps(ROWS[0]))
    assert validator.is_valid(row)
    for break_it in (
        lambda r: r.pop("repeat"),
        lambda r: r.update(extra=1),
        lambda r: r["episode"].update(input_id=None),
        lambda r: r["episode"]["adaptation"].update(status="merged"),
        lambda r: r["episode"]["adaptation"].update(losses=[None]),
        lambda r: r["episode"]["awareness"].update(value="none"),
        lambda r: r["episode"]["base"]["calls"].append({"name": "f"}),
        lambda r: r["grades"]["strict"].update(base=1),
        lambda r: r["question"]["input"]["messages"][0].update(role="judge"),
    ):
        broken = copy.deepcopy(row)
        break_it(broken)
        assert not validator.is_valid(broken)


def test_the_documented_schema_is_the_codes() -> None:
    """Write it again with: ttsi export --schema > docs/episode.schema.json."""
    jsonschema.Draft202012Validator.check_schema(row_schema())
    assert json.loads(DOCUMENT.read_text(encoding="utf-8")) == row_schema()
    described = row_schema()["$defs"]["Episode"]["properties"]["seconds"]
    assert "this input's share" in described["description"], "the line under a field is its description"


def test_csv_tells_missing_from_not_a_number(folder: Path, tmp_path: Path) -> None:
    assert export_rows(folder, "csv", tmp_path / "rows.csv") == 3
    with (tmp_path / "rows.csv").open(newline="") as file:
        full, failed, odd = csv.DictReader(file)
    assert list(full) == list(COLUMNS)
    assert (full["base_right"], full["adapted_right"], full["loss_last"]) == ("True", "False", "0.5")
    assert json.loads(full["base_calls"])[0]["name"] == "f"
    assert (failed["error"], failed["base_text"], failed["value"], failed["loss_last"]) == (
        "prompt: too long",
        "",
        "",
        "",
    )
    assert (odd["loss_last"], odd["attempts"]) == ("nan", "3")


def test_parquet_has_types_and_everything(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    assert export_rows(folder, "parquet", tmp_path / "rows.parquet") == 3
    table: list[dict[str, Any]] = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [codec.loads(RunRow, row["row"]).key for row in table] == [row.key for row in ROWS]
    assert (table[0]["base_right"], table[0]["steps"], table[0]["value"]) == (True, 2, 0.5)
    assert table[1]["loss_last"] is None
    assert math.isnan(table[2]["loss_last"])


def test_the_command_says_where_and_damaged_runs_export_nothing(ttsi: Any, folder: Path, tmp_path: Path) -> None:
    result = ttsi("export", str(folder), "--format", "csv")
    assert (result.code, result.out) == (0, "")
    assert f"3 rows written to {tmp_path / 'run.csv'}" in result.err
    assert json.loads(ttsi("export", "--schema").out) == row_schema()
    (folder / "run.db").write_bytes(b"nothing" * 900)
    result = ttsi("export", str(folder))
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.jsonl", "run", "run.csv"]
    assert "which run?" in ttsi("export").err
    with pytest.raises(RunFolderError, match="holds no run"):
        export_rows(tmp_path, "jsonl", tmp_path / "x.jsonl")


def test_rows_are_exported_in_the_benchmarks_order(folder: Path) -> None:
    assert [row.position for row in read_rows(folder)] == [0, 1, 2]
