"""Files of a run folder beside its database: config.json, summary.json and the writer's lock.

Inputs: a folder, JSON values. Outputs: `config.json` and `summary.json`, replaced whole (`ttsi.atomic`) and read with
the names of today, a run's settings, the lock of the one writer, and the fields in which two configurations differ.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ttsi import codec, crash_points
from ttsi.atomic import FileLocked, lock_file, sync_folder, write_atomically
from ttsi.benchmarks import is_file
from ttsi.config import RunConfig
from ttsi.config_history import rename_settings, with_first_defaults, without_removed
from ttsi.errors import RunFolderError, on_one_line
from ttsi.runs.shared_adapter import SharedAdapterFolder

log = logging.getLogger(__name__)

DATABASE = ("run.db", "run.db-wal", "run.db-shm")
PARTS = ("config.json.part", "summary.json.part", "run.db.part", "run.db.part-journal", "run.db.damaged")
"""Files that a crash or a repair may leave; a run ignores them."""
LOCK = "run.lock"
START_OVER = "start over with --clean (in Python: clean=True)"
"""The end of many refusals."""
NOT_COMPARED = frozenset({
    "machine", "library", "settings.data", "settings.data_dir", "settings.library.folder", "data.checksum", "data.n",
    *(f"{part}.{key}" for part in ("model", "writer") for key in ("handshake", "notes", "unadapted_share")),
})  # fmt: skip
"""Fields that may differ when a run is resumed. The machine does not change the run, and its library has learned since.
Inputs are matched by their content, so the data may be reordered or grow. A model is identified by its hashes and its
format."""


class OtherRun(RunFolderError):
    """The folder holds another run.

    Args:
        folder: the folder.
        changes: dotted field of config.json -> its value there and now.

    Attributes:
        in_settings: whether the settings differ, and not only weights, versions or data.
    """

    def __init__(self, folder: Path, changes: Mapping[str, tuple[Any, Any]]) -> None:
        self.in_settings = any(path.startswith("settings.") for path in changes)
        fields = (
            f"{path.removeprefix('settings.').removeprefix('loop.')}: {json.dumps(was)} -> {json.dumps(now)}"
            for path, (was, now) in changes.items()
        )
        super().__init__(
            f"{folder} is another run, it differs in {'; '.join(fields)}: use the same settings, or {START_OVER}"
        )


def holds_run(folder: Path) -> bool:
    """Is there a run in the folder, finished or not?

    A config.json alone may be another program's, as in every folder of a model.
    """
    if any((folder / name).exists() for name in DATABASE):
        return True
    return _has_key(folder / "config.json", "settings") or _has_key(folder / "summary.json", "benchmark")


def _has_key(path: Path, key: str) -> bool:
    """Whether the file is a JSON object with this name at its top."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and key in value


def was_started(folder: Path) -> bool:
    """Was a run started here? One that was killed at once leaves nothing but its lock."""
    return holds_run(folder) or (folder / LOCK).exists()


def check_switches(*, resume: bool, clean: bool) -> None:
    """Refuse to continue a run and to start it over at once.

    Raises:
        RunFolderError: both are wanted.
    """
    if resume and clean:
        raise RunFolderError("--resume goes on and --clean starts over: choose one")


def check_free(folder: Path, *, resume: bool, clean: bool) -> None:
    """Refuse a folder that a run may not be written to.

    Raises:
        RunFolderError: the folder holds a run or other files; one line with the way on.
    """
    check_switches(resume=resume, clean=clean)
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file: choose another --output-dir")
    if holds_run(folder):
        if not resume and not clean:
            raise RunFolderError(f"{folder} already holds a run: go on with --resume, or start over with --clean")
    elif folder.exists() and any(entry.name not in (LOCK, *PARTS) for entry in folder.iterdir()):
        raise RunFolderError(f"{folder} holds other files and no run: choose an empty or new --output-dir")


def delete_run(folder: Path) -> None:
    """Delete a run and nothing else."""
    # The summary goes first: while it is there the run counts as finished.
    for name in ("summary.json", *DATABASE, "config.json", *PARTS):
        (folder / name).unlink(missing_ok=True)
        if name in ("summary.json", "run.db"):
            crash_points.reach(f"folder: deleted {name}")
        if name == "summary.json":
            SharedAdapterFolder(folder).delete()
    sync_folder(folder)


def take_lock(folder: Path) -> IO[str]:
    """Become the folder's only writer, for as long as the file is open.

    Raises:
        RunFolderError: another process writes here.
    """
    try:
        return lock_file(folder / LOCK)
    except FileLocked as locked:
        raise RunFolderError(
            f"{folder} is being written by process {locked.owner}: wait for it, or choose another --output-dir"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """config.json or summary.json of a run folder, with the present names of what older versions wrote.

    Raises:
        RunFolderError: it is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("settings", {}), dict):
            raise ValueError("it holds no settings")
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} cannot be read ({on_one_line(error)}): {START_OVER}") from None
    settings, metrics = content.get("settings"), content.get("metrics")
    if isinstance(settings, dict) and isinstance(settings.get("loop"), dict):
        content["settings"] = rename_settings(without_removed(settings))
    for part in (content.get("model"), content.get("writer")):
        if isinstance(part, dict) and part.get("format") == "ours":
            part["format"] = "marked"
    if isinstance(metrics, dict):
        content["metrics"] = {codec.RENAMED_METRICS.get(name, name): value for name, value in metrics.items()}
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of it.

    Raises:
        ValueError: it holds a number that is not finite.
        OSError: the disk is full or read-only.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a surrogate pair, as an error may quote it, has no place in UTF-8: it stands there as JSON's \ud800.
    text = text.encode(errors="backslashreplace").decode()
    write_atomically(path, text, at=lambda step: crash_points.reach(f"{path.name}: {step}"))


@contextmanager
def disk_named(folder: Path) -> Iterator[None]:
    """Turn an error of the disk (full, read-only, no permission) into one line about the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunFolderError(
            f"{folder} cannot be written ({reason}): make room or choose another --output-dir. "
            "Recorded inputs are kept; go on with --resume"
        ) from error


def differences(old: Any, new: Any) -> list[str]:
    """The dotted fields in which two configurations differ, with both values.

    >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
    ['a.b: 1 -> 2']
    """
    return [f"{path}: {json.dumps(was)} -> {json.dumps(now)}" for path, (was, now) in _changes(old, new).items()]


def _changes(old: Any, new: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted field -> its two values, where they differ."""
    if path in NOT_COMPARED:
        return {}
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        inner = [(f"{path}.{key}" if path else key, key) for key in keys]
        return {
            field: both for name, key in inner for field, both in _changes(old.get(key), new.get(key), name).items()
        }
    return {} if old == new else {path: (old, new)}


def _with_defaults(old: Any, new: Any, defaults: Any) -> Any:
    """An older record's settings, completed with the settings that are newer than it, at their defaults."""
    if not all(isinstance(value, dict) for value in (old, new, defaults)):
        return old
    added = {key: defaults[key] for key in new.keys() & defaults.keys() - old.keys()}
    return {key: _with_defaults(value, new.get(key), defaults.get(key)) for key, value in old.items()} | added


def _without_unused_library(record: dict[str, Any]) -> dict[str, Any]:
    """How a library would be used says nothing of a run without one."""
    settings = record.get("settings", {})
    if settings.get("library", {}).get("folder") is not None:
        return record
    return {**record, "settings": {name: value for name, value in settings.items() if name != "library"}}


def _grows(old: int | None, new: int | None) -> bool:
    """Does the new limit include more inputs?"""
    return old is not None and (new is None or new > old)


def recorded_settings(folder: Path) -> dict[str, Any]:
    """The settings of the run in a folder; those that an older record lacks are what it did without them.

    Raises:
        RunFolderError: config.json is missing or damaged.
    """
    recorded, defaults = read_json(folder / "config.json").get("settings", {}), _first_defaults()
    settings = dict(_with_defaults(recorded, defaults, defaults))
    if is_file(str(settings["benchmark"])):  # older versions took any split of a file, and read the whole
        settings["split"] = defaults["split"]
    return settings


def _first_defaults() -> dict[str, Any]:
    # Through JSON, so that tuples and lists compare as they are stored.
    return dict(json.loads(json.dumps(with_first_defaults(asdict(RunConfig())))))


def check_same(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in the folder, if it is the same run, or the same with a larger limit or a file moved.

    Where the data are others, a warning is logged: recorded inputs are matched by their content.

    Raises:
        OtherRun: it is another run; the line lists what differs.
    """
    old = read_json(folder / "config.json")
    new, defaults = json.loads(json.dumps(config)), {"settings": _first_defaults()}
    if "sources" not in old:  # an older record
        new.pop("sources", None)
    new = _without_unused_library(new)
    changes = _changes(_with_defaults(_without_unused_library(old), new, defaults), new)
    if _grows(*(one.get("settings", {}).get("limit") for one in (old, config))):
        changes.pop("settings.limit", None)
    # The digest follows from the settings, which are compared themselves.
    changes.pop("digest", None)
    before, now = (str(one.get("settings", {}).get("benchmark")) for one in (old, new))
    same_data = len({one.get("data", {}).get("checksum") for one in (old, new)}) == 1
    if is_file(before) and is_file(now):
        for field in ("settings.split", *(("settings.benchmark", "data.benchmark") if same_data else ())):
            changes.pop(field, None)
    if changes:
        raise OtherRun(folder, changes)
    if not same_data:
        log.warning("%s has changed since it was last run into %s: rows are matched by content", now, folder)
    return old
