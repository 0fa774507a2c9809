"""Reading a finished or unfinished run from its folder.

Inputs: a run folder. Outputs: a `Run`, typed: its rows, its settings as the `RunConfig` that it was made with, what
they were resolved to (model, data, versions), and the summary counted anew from the rows. Folders of older versions are
read as well: a setting that did not exist yet has its default. No model and no network are needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ttsi import codec
from ttsi.config import RunConfig
from ttsi.config_history import rename_settings, without_removed
from ttsi.errors import ConfigError, RunFolderError, on_one_line
from ttsi.plurals import kind_of
from ttsi.record import Run, RunData, RunRow
from ttsi.runs.corpus_f1 import CorpusF1
from ttsi.runs.row_export import COLUMNS, flat
from ttsi.runs.store import read_json, read_rows
from ttsi.runs.summary import summarise


class LoadedRun(Run):
    """A `Run` that was read from its folder."""

    def to_pandas(self) -> Any:
        """One line per input, with the columns of `ttsi export --format csv`.

        Returns:
            A pandas.DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise ConfigError("to_pandas needs pandas: pip install pandas") from None
        return pandas.DataFrame([flat(row, self.data.matcher) for row in self.rows], columns=list(COLUMNS))


def load_run(folder: Path | str) -> LoadedRun:
    """Read a run folder.

    Raises:
        RunFolderError: there is no run, it is damaged, or none of its inputs is done; one line.
    """
    if not isinstance(folder, str | os.PathLike):
        raise RunFolderError(f"folder is {kind_of(folder)}: give the path of a run's folder")
    folder = Path(folder)
    rows = read_rows(folder)
    if not rows:
        raise RunFolderError(f"{folder} holds no finished input: go on with ttsi run --resume")
    try:
        run = run_from_record(folder.resolve().name, read_json(folder / "config.json"), rows)
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{folder}/config.json lacks {error}: run it again with this version of ttsi") from None
    except (ValueError, ConfigError) as error:
        raise RunFolderError(f"{folder}/config.json cannot be read: {on_one_line(error)}") from None
    return replace(run, folder=folder)


def run_from_record(name: str, record: Mapping[str, Any], rows: Sequence[RunRow]) -> LoadedRun:
    """A run from its rows and what config.json holds.

    Raises:
        KeyError, TypeError, ValueError, ConfigError: the record is not one of a run.
    """
    data = record["data"]
    return LoadedRun(
        name=name,
        rows=rows,
        config=parse_settings(record["settings"]),
        summary=_summary(rows, record),
        data=RunData(str(data["benchmark"]), str(data["checksum"]), str(data["matcher"]), int(data["n"])),
        model=record.get("model") or {},
        train=record.get("train"),
        prompt_hash=record.get("prompt"),
        versions=record.get("versions", {}),
        machine=record.get("machine", {}),
        record=record,
    )


def parse_settings(settings: Mapping[str, Any]) -> RunConfig:
    """The settings of a record (`ttsi.runs.provenance.settings_of`) as the `RunConfig` that they were written from."""
    config: RunConfig = codec.from_json(RunConfig, rename_settings(without_removed(settings)))
    return config


def _summary(rows: Sequence[RunRow], record: Mapping[str, Any]) -> dict[str, Any]:
    f1 = CorpusF1(record["data"]["benchmark"], record["settings"]["loop"]["adapt"])
    for row in rows:
        f1.add(row, row.question.gold if row.question else None)
    summary = summarise(rows, record)
    summary["metrics"] |= f1.metrics()
    # Through JSON, so that a summary made here equals one that was read from a file.
    return dict(json.loads(json.dumps(summary)))
