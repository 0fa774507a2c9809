"""Rows of the controls, and the files that keep them: one JSON line per input.

Inputs: records of inputs. Outputs: files that are appended to and read back. What a kill left half-written is cut off
before the next line, and two processes may append to one file. Its settings are part of each `ControlRow`, so that a
file cannot mix two experiments.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Generic, TypeVar

from ttsi import codec
from ttsi.errors import DataError
from ttsi.record import Key
from ttsi.types import Answer, Awareness, Example, ToolCall


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """What every kept record names: the input that it is about."""

    input: str
    """SHA-256 (hex) of the input's content."""
    repeat: int
    """How many inputs with the same content come before it in the benchmark."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds by stage: this input's share of its batch."""

    @property
    def key(self) -> Key:
        """What pairs it with the same input elsewhere."""
        return self.input, self.repeat


@dataclass(frozen=True, kw_only=True)
class BaseRecord(InputRecord):
    """The base's answer to an input and its confidence: the same for every control."""

    answer: Answer
    awareness: Awareness


@dataclass(frozen=True, kw_only=True)
class WrittenRecord(InputRecord):
    """The examples that a model wrote for an input: the same for every control that selects from them."""

    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class ControlRow(InputRecord):
    """One input under one control."""

    control: str
    model: str
    benchmark: str
    settings: str
    """Digest of all that the results depend on."""
    id: str
    base: bool
    """Is the base's answer right, by the benchmark's rule?"""
    adapted: bool
    """The same of the answer given in the end."""
    changed: bool = False
    """The two answers call something else."""
    status: str = "none"
    """Of the adaptation (`ttsi.types.Adaptation`)."""
    written: int = 0
    """Examples made, kept and refused."""
    kept: int = 0
    near: int = 0
    """Kept examples that are near-copies of the request."""
    losses: tuple[float, ...] = ()
    """Loss before each step, in nats per label token."""
    logprob_shift: float | None = None
    """How far the adapter moved the answer (`ttsi.types.Adaptation`)."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """The base's confidence by every measure."""
    base_calls: tuple[ToolCall, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    request: str = ""
    examples: tuple[Example, ...] = ()
    """Without tools of their own, which are long; to be judged by hand."""
    error: str | None = None
    """Why the input could not be answered; then both answers count as wrong."""


Record = TypeVar("Record", bound=InputRecord)


class RecordFile(Generic[Record]):
    """A file of records of one kind; of two with one key the first counts."""

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self.path, self._kind = path, kind

    def read(self) -> dict[Key, Record]:
        """The records by key, in the order of the file; an empty mapping where there is no file.

        Raises:
            DataError: a whole line is no record of this kind.
        """
        if not self.path.is_file():
            return {}
        records: dict[Key, Record] = {}
        with _locked(self.path) as file:
            lines = file.read().split(b"\n")[:-1]  # the last is empty, or was never finished
        for number, line in enumerate(lines, 1):
            try:
                record = codec.loads(self._kind, line.decode())
            except ValueError as error:
                reason = str(error).splitlines()[0]
                raise DataError(
                    f"{self.path}, line {number}: {reason}: delete the line, or name another file"
                ) from None
            records.setdefault(record.key, record)
        return records

    def append(self, records: Iterable[Record]) -> None:
        """Write records behind the last whole line."""
        lines = "".join(f"{codec.dumps(record)}\n" for record in records).encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path) as file:
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.write(lines)


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The file, open at its beginning, for this process alone."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file
