"""Export of a run's rows as JSONL, CSV or Parquet.

Inputs: a run folder. Outputs: a file of rows in the benchmark's order.

* JSONL: everything, one row a line, as `ttsi.row_schema` describes it. Numbers that JSON cannot write are the
  strings "nan", "inf" and "-inf".
* CSV: one flat line per row, for spreadsheets. A value that is missing is empty, one that is not a number is `nan`.
* Parquet: the same columns with types (extra `parquet`), and the whole row as JSON in the column `row`. What is missing
  is null, what is not a number is NaN.

The file is replaced whole, as the run's own files are. `is_export` recognises a file that was written so.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ttsi import codec
from ttsi.atomic import replacement
from ttsi.errors import ConfigError, RunFolderError
from ttsi.record import STAGES, RunRow
from ttsi.runs.folder import read_json
from ttsi.runs.store import each_row
from ttsi.types import Answer

FORMATS = ("jsonl", "csv", "parquet")
ROW_GROUP = 1000
"""Rows of a Parquet row group; so many are in memory at once."""

HALVES = "backslashreplace"
"""How half a surrogate pair, which a model can write and UTF-8 cannot hold, stands in a file: as \\ud800."""

COLUMNS: dict[str, type] = {
    "position": int, "input_id": str, "input_hash": str, "repeat": int, "attempts": int, "error": str,
    "unsure": bool, "measure": str, "value": float, "tau": float, "examples_written": int, "examples_kept": int,
    "adaptation": str, "refused": str, "samples": int, "steps": int, "loss_first": float, "loss_last": float,
    "base_text": str, "base_calls": str, "base_right": bool,
    "adapted_text": str, "adapted_calls": str, "adapted_right": bool, "tags": str,
    "seconds_awareness": float, "seconds_synthesis": float, "seconds_adaptation": float, "seconds_answer": float,
}  # fmt: skip
"""The columns of CSV and Parquet; `right` is by the rule of the run's headline."""


def export_rows(folder: Path, kind: str, target: Path) -> int:
    """Write a run's rows to a file.

    Returns:
        The number of rows.

    Raises:
        RunFolderError: there is no run, it is damaged, or the file cannot be written.
        ConfigError: Parquet is wanted and not installed.
    """
    try:
        with replacement(target) as part:
            if kind == "parquet":
                return _write_parquet(folder, part)
            with part.open("w", encoding="utf-8", errors=HALVES, newline="") as file:
                return _write_jsonl(folder, file) if kind == "jsonl" else _write_csv(folder, file)
    except OSError as error:
        raise RunFolderError(f"{target} cannot be written ({error.strerror}): choose another --output") from error


def is_export(path: Path, kind: str) -> bool:
    """Whether a file is an export: all lines of JSONL are rows, or CSV and Parquet have these very columns.

    Raises:
        ConfigError: Parquet is wanted and not installed.
        OSError, ValueError, RecursionError: it is no file, or of another kind.
    """
    if kind == "parquet":
        _, parquet = _arrow()
        return bool(parquet.read_schema(path).names == [*COLUMNS, "row"])
    with path.open(encoding="utf-8", newline="") as file:
        if kind == "csv":
            return file.readline() == ",".join(COLUMNS) + "\n"
        return all(_is_row(json.loads(line)) for line in file)


def _is_row(value: Any) -> bool:
    """Whether a JSON value is a row of this version or an older one; a key of the user's own makes it theirs."""
    names = {field.name for field in fields(RunRow)}
    return isinstance(value, dict) and {"episode", "repeat", "position"} <= value.keys() <= names


def _write_jsonl(folder: Path, file: IO[str]) -> int:
    return sum(1 for row in each_row(folder) if file.write(codec.dumps(row) + "\n"))


def _write_csv(folder: Path, file: IO[str]) -> int:
    writer = csv.DictWriter(file, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    matcher = _matcher(folder)
    return sum(1 for row in each_row(folder) if writer.writerow(flat(row, matcher)))


def _write_parquet(folder: Path, target: Path) -> int:
    arrow, parquet = _arrow()
    kinds = {int: arrow.int64(), str: arrow.string(), bool: arrow.bool_(), float: arrow.float64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()] + [("row", arrow.string())])
    rows, matcher, count = each_row(folder), _matcher(folder), 0
    with parquet.ParquetWriter(target, schema) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            values = [{**_encodable(flat(row, matcher)), "row": codec.dumps(row)} for row in group]
            writer.write_table(arrow.Table.from_pylist(values, schema=schema))
            count += len(group)
    return count


def _encodable(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.encode(errors=HALVES).decode() if isinstance(value, str) else value
        for name, value in values.items()
    }


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'ttsi[parquet]', or use --format jsonl") from None
    return pyarrow, parquet


def _matcher(folder: Path) -> str:
    return str(read_json(folder / "config.json")["data"]["matcher"])


def flat(row: RunRow, matcher: str) -> dict[str, Any]:
    """A row as the columns of COLUMNS; None where there is no value."""
    episode = row.episode
    aware, adaptation, losses = episode.awareness, episode.adaptation, episode.adaptation.losses
    grades = row.grades[matcher] if row.grades is not None else {}
    values: list[Any] = [
        row.position, episode.input_id, episode.input_hash, row.repeat, row.attempts, episode.error,
        aware and aware.unsure, aware and aware.measure, aware and aware.value, aware and aware.tau,
        len(episode.examples), sum(example.refused is None for example in episode.examples),
        adaptation.status, adaptation.refused or None, adaptation.samples, adaptation.steps,
        losses[0] if losses else None, losses[-1] if losses else None,
        *_text_and_calls(episode.base), grades.get("base"), *_text_and_calls(episode.adapted), grades.get("adapted"),
        codec.canonical(dict(row.tags)),
        *(episode.seconds.get(stage) for stage in STAGES),
    ]  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _text_and_calls(answer: Answer | None) -> Sequence[str | None]:
    if answer is None:
        return None, None
    return answer.text, codec.canonical([{"name": call.name, "arguments": call.arguments} for call in answer.calls])
