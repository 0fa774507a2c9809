"""The folder of a library: an index and one safetensors file per adapter, with one writer at a time.

    library.db                  what was learned from which inputs, and on which evidence (`ttsi.library.index`)
    adapters/ID.safetensors     an adapter under PEFT's names; its SHA-256 stands in the index
    adapters/ID.SHA.safetensors the same after it has learned more; SHA are the first digits of its own SHA-256

An adapter's file is on the disk before the index names it, so that a killed writer leaves at most a file that nobody
names; the next writer deletes it. A file that is not as it was written is refused by name, and the inputs that it was
for are adapted as without it. Nothing here is ever added to the base's weights.

Inputs: adapters as bytes, with their examples and their evidence. Outputs: the same, after any crash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

from ttsi import codec, crash_points
from ttsi.atomic import FileLocked, lock_file, write_atomically
from ttsi.errors import LibraryError, on_one_line
from ttsi.library.entry import AdapterKey, LibraryEntry, PooledInput, Status
from ttsi.library.entry_rows import (
    GONE,
    Replaced,
    delete_pool,
    delete_rows,
    delete_what_counts_no_more,
    read_entries,
)
from ttsi.library.index import LibraryIndex
from ttsi.types import Answer, Example, Prompt

log = logging.getLogger(__name__)

INDEX, ADAPTERS, LOCK = "library.db", "adapters", "library.lock"
KEYS = "keys"
"""Below it a server keeps a library for each of its keys."""
_FILE = re.compile(r"[0-9a-f]{12}(\.[0-9a-f]{12})?\.safetensors(\.part)?")


class AdapterLibrary:
    """An open library; use it in a `with` block."""

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        """Open a folder.

        Args:
            folder: made when missing, where it is to be written.
            writable: be its only writer.

        Raises:
            LibraryError: it is being written, damaged, no library, holds other files, or the disk refuses.
        """
        self.folder = folder
        self._lock: IO[str] | None = None
        self._step: int | None = None
        self._entries: dict[str, LibraryEntry] = {}
        self._replaced: Replaced = []
        with self._disk_named(), ExitStack() as opened:
            if writable:
                self._refuse_other_files()
                (folder / ADAPTERS).mkdir(parents=True, exist_ok=True)
                self._lock = self._take_lock()
                opened.callback(self._lock.close)
            self._index = LibraryIndex(folder / INDEX, writable=writable)
            opened.callback(self._index.close)
            self._read()
            if writable:
                # Files of what the last step evicted or trained further stay: it may still be undone.
                self._delete_files(self._replaced_last())
            opened.pop_all()  # nothing went wrong: they stay open

    def __enter__(self) -> AdapterLibrary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index and let the lock go."""
        self._index.close()
        if self._lock is not None:
            self._lock.close()

    def _refuse_other_files(self) -> None:
        if self.folder.is_dir() and not (self.folder / INDEX).exists():
            others = [path.name for path in self.folder.iterdir() if path.name not in (ADAPTERS, LOCK, KEYS)]
            if others or any((self.folder / ADAPTERS).glob("*")):
                raise LibraryError(f"{self.folder} holds other files and no library: choose an empty or new --library")

    def _take_lock(self) -> IO[str]:
        try:
            return lock_file(self.folder / LOCK)
        except FileLocked as locked:
            raise LibraryError(
                f"{self.folder} is being written by process {locked.owner}: wait for it, or choose another --library"
            ) from None

    # What it holds

    @property
    def entries(self) -> list[LibraryEntry]:
        """Every entry, oldest first."""
        return list(self._entries.values())

    def entry(self, name: str) -> LibraryEntry:
        """The entry whose id begins so.

        Raises:
            LibraryError: there is none, or there are several.
        """
        matching = [entry for id_, entry in self._entries.items() if name and id_.startswith(name)]
        if len(matching) != 1:
            count = f"{len(matching)} entries" if matching else "no entry"
            raise LibraryError(f"{count} in {self.folder} whose id begins with {name!r}: ttsi library ls {self.folder}")
        return matching[0]

    def adapter(self, entry: LibraryEntry) -> bytes:
        """The safetensors file of an entry.

        Raises:
            LibraryError: it is missing, or not as it was written.
        """
        path = self._adapter_path(entry)
        if not entry.bytes:
            raise LibraryError(f"entry {entry.id} has no adapter: {entry.reason}")
        advice = f"ttsi library rm {self.folder} {entry.id}"
        if self._lock is None:
            advice = f"try again if another process writes to {self.folder}, else {advice}"
        try:
            file = path.read_bytes()
        except OSError as error:
            raise LibraryError(f"{path} cannot be read ({error.strerror}): {advice}") from error
        if hashlib.sha256(file).hexdigest() != entry.sha256:
            raise LibraryError(f"{path} is not as it was written: {advice}")
        return file

    def usable_adapter(self, entry: LibraryEntry) -> bytes | None:
        """The file of an entry, or None with the reason in the log; a damaged or missing one evicts its entry."""
        if entry.id not in self._entries:
            return None
        try:
            return self.adapter(entry)
        except LibraryError as error:
            log.warning("%s; inputs are adapted as without it", error)
            if not isinstance(error.__cause__, OSError) or isinstance(error.__cause__, FileNotFoundError):
                self.evict(entry, "its file is damaged")
            return None

    def pooled_inputs(self, tools_hash: str, key: AdapterKey | None = None) -> list[PooledInput]:
        """The unsure inputs that had these tools, with their examples, oldest first; with a key those of its model."""
        wanted = {"tools_hash": tools_hash} | ({} if key is None else {"key_digest": key.digest})
        return [
            PooledInput(
                row.values["step"], tools_hash, row.values["input_hash"],
                tuple(codec.from_json(Example, one) for one in json.loads(row.values["examples"])),
                row.values["origin"],
            )
            for row in self._index.rows("inputs", **wanted)
        ]  # fmt: skip

    def has_evidence(self, entry: LibraryEntry, input_hash: str) -> bool:
        """Whether an input has counted for or against an entry."""
        return self._index.has("evidence", id=entry.id, input_hash=input_hash)

    def has_other_input(self, tools_hash: str, key: AdapterKey, inputs: Sequence[str]) -> bool:
        """Whether the pool has an input with these tools beside those of these hashes."""
        rows = self._index.rows("inputs", tools_hash=tools_hash, key_digest=key.digest)
        return any(row.values["input_hash"] not in inputs for row in rows)

    def retention_answers(self, digest: str) -> list[tuple[Prompt, Answer]]:
        """The base's own answers to a retention set, as far as they are there."""
        contents = (json.loads(row.values["content"]) for row in self._index.rows("retention", digest=digest))
        return [(codec.from_json(Prompt, prompt), codec.from_json(Answer, answer)) for prompt, answer in contents]

    @property
    def last_tag(self) -> str:
        """The name of the last step; "" where there is none."""
        return self._index.last_tag()

    # Steps, which change it

    @contextmanager
    def step(self, tag: str | None = None) -> Iterator[None]:
        """A step: all of the block's changes are kept, or none of them.

        Args:
            tag: names the step; taken again, as by a run that was killed and resumed, it replaces itself. None is a
                step that is never taken again.

        Raises:
            LibraryError: other steps were taken since; or the disk is full.
        """
        again = self._index.has_step(tag)
        try:
            with self._disk_named(), self._index.step(tag) as number:
                if again:
                    self._read()  # without what this tag had left
                self._step = number
                if not again:
                    delete_what_counts_no_more(self._index, self._entries, self._replaced)
                    self._replaced = []
                yield
                crash_points.reach("library: step not yet committed")
        except BaseException:
            self._step = None
            self._read()
            raise
        self._step = None
        crash_points.reach("library: step committed")
        if not again:
            # Only now: had this step failed, the one before it could still be undone, and would need its files.
            self._delete_files(self._replaced_last())

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within a step: all of the block's changes, or none of them where it raises."""
        try:
            with self._index.attempt():
                yield
        except BaseException:
            self._read()
            raise

    def add_input(
        self, tools_hash: str, key: AdapterKey, input_hash: str, examples: Sequence[Example], origin: str
    ) -> None:
        """Pool the examples of an unsure input; nothing where they are pooled already."""
        if self._index.has("inputs", tools_hash=tools_hash, key_digest=key.digest, input_hash=input_hash):
            return
        text = json.dumps([codec.to_json(example) for example in examples])
        self._index.add(
            "inputs", step=self._now(), tools_hash=tools_hash, key_digest=key.digest, input_hash=input_hash,
            origin=origin, examples=text,
        )  # fmt: skip

    def add_entry(self, entry: LibraryEntry, file: bytes) -> LibraryEntry:
        """Add an adapter; its hash and size follow from the file, its id from the file, the tools and the step."""
        digest = hashlib.sha256(file).hexdigest()
        entry = entry.without_counts()
        name = hashlib.sha256(f"{digest} {entry.tools_hash} {self._now()}".encode()).hexdigest()[:12]
        entry = replace(entry, id=name, step=self._now(), created=time.time(), version=0)
        return self._update(self._write(entry, file))

    def train_further(self, entry: LibraryEntry, file: bytes, inputs: Sequence[str], examples: int) -> LibraryEntry:
        """Replace the adapter of an entry by one that has learned so many examples of these inputs, too.

        Its evidence and its uses stay.
        """
        old = self._entries[entry.id]
        learned = replace(
            old, version=old.version + 1, inputs=old.inputs + tuple(inputs), examples=old.examples + examples,
            last_learned=time.time(),
        )  # fmt: skip
        self._replaced.append((self._now(), old))
        return self._update(self._write(learned, file))

    def _write(self, entry: LibraryEntry, file: bytes) -> LibraryEntry:
        """Write a version of an entry: its file, then the row that names it."""
        entry = replace(entry, sha256=hashlib.sha256(file).hexdigest(), bytes=len(file))
        with self._disk_named():
            path = self._adapter_path(entry)
            write_atomically(path, file, at=lambda step: crash_points.reach(f"adapter: {step}"))
        content = json.dumps(codec.to_json(entry.without_counts()), sort_keys=True)
        self._index.add("entries", step=self._now(), id=entry.id, content=content)
        return entry

    def add_evidence(self, entry: LibraryEntry, input_hash: str, gain: float) -> LibraryEntry:
        """Count a later input: how much likelier (nats) the adapter finds its answer than the base does."""
        self._index.add("evidence", step=self._now(), id=entry.id, input_hash=input_hash, gain=gain)
        return self._update(self._entries[entry.id].with_evidence(gain))

    def set_status(
        self, entry: LibraryEntry, status: Status, reason: str = "", divergence: float | None = None
    ) -> LibraryEntry:
        """Admit an entry, or refuse it for a reason; with its divergence, where that was measured."""
        measured = "" if divergence is None else divergence
        self._index.add("changes", step=self._now(), id=entry.id, status=status, reason=reason, divergence=measured)
        return self._update(self._entries[entry.id].with_status(status, reason, measured))

    def add_use(self, entry: LibraryEntry, input_hash: str, given: bool) -> LibraryEntry:
        """Count an answer that was asked of an entry, and whether it was given."""
        now = time.time()
        self._index.add("uses", step=self._now(), id=entry.id, input_hash=input_hash, given=int(given), time=now)
        return self._update(self._entries[entry.id].with_uses(1, int(given), now))

    def add_retention_answers(self, digest: str, answers: Sequence[tuple[Prompt, Answer]]) -> None:
        """Keep the base's own answers to a retention set."""
        for place, pair in enumerate(answers):
            content = json.dumps([codec.to_json(part) for part in pair])
            self._index.add("retention", step=self._now(), digest=digest, place=place, content=content)

    def evict(self, entry: LibraryEntry, reason: str) -> None:
        """Take an entry out; its file goes when the next step begins, so that this one can still be undone."""
        self._index.add("changes", step=self._now(), id=entry.id, status=GONE, reason=reason, divergence="")
        self._replaced.append((self._now(), self._entries.pop(entry.id, entry)))

    def evict_beyond(self, max_bytes: int, unused_since: float) -> None:
        """Evict entries that were neither used nor made since a time, then the least useful ones beyond a size.

        Refused entries count as least useful, then those that were used, or made, longest ago. The index counts, too.
        """
        for entry in self.entries:
            if entry.last_touch < unused_since:
                self.evict(entry, "not used for too long")
        ranked = sorted(self.entries, key=lambda entry: (entry.status != "refused", entry.last_touch))
        size = sum(entry.bytes for entry in ranked) + self._index.bytes()
        for entry in ranked:
            if size <= max_bytes:
                break
            self.evict(entry, "no room")
            size -= entry.bytes

    def remove(self, entry: LibraryEntry) -> None:
        """Delete an entry for good, with all that it learned from: its evidence, and the pooled examples.

        Its file goes when the next step begins, or the next writer opens the folder.
        """
        self._now()
        delete_rows(self._index, entry.id)
        delete_pool(self._index, entry.tools_hash, entry.key.digest)
        self._entries.pop(entry.id, None)

    def _update(self, entry: LibraryEntry) -> LibraryEntry:
        self._entries[entry.id] = entry
        return entry

    def _now(self) -> int:
        if self._step is None:
            raise LibraryError("a library is changed within a step only: use `with library.step(tag):`")
        return self._step

    # How it is read

    def _read(self) -> None:
        try:
            self._entries, self._replaced = read_entries(self._index)
        except ValueError as error:
            raise LibraryError(f"{self.folder} holds an entry of another ttsi ({on_one_line(error)})") from None

    def _replaced_last(self) -> set[str]:
        """Names of the files of entries that the last step evicted, and of versions that it trained further."""
        last = self._index.last_step()
        return {self._adapter_path(entry).name for step, entry in self._replaced if step == last}

    def _delete_files(self, spared: set[str]) -> None:
        """Delete adapters' files that no entry names, but for these."""
        named = spared | {self._adapter_path(entry).name for entry in self._entries.values()}
        for path in (self.folder / ADAPTERS).iterdir():
            if _FILE.fullmatch(path.name) and path.name not in named:
                path.unlink(missing_ok=True)

    def _adapter_path(self, entry: LibraryEntry) -> Path:
        version = f".{entry.sha256[:12]}" if entry.version else ""
        return self.folder / ADAPTERS / f"{entry.id}{version}.safetensors"

    @contextmanager
    def _disk_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise LibraryError(f"{self.folder} cannot be used as a library ({reason})") from error
