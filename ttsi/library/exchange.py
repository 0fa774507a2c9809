"""Entries of a library as folders: for PEFT, for another library, for a look inside.

    adapter_model.safetensors, adapter_config.json   the adapter, as `peft.PeftModel.from_pretrained` loads it
    entry.json                                       its tools, what it fits, its evidence
    examples.jsonl                                   the examples that it learned, an input per line

Inputs: an entry, a folder. Outputs: the folder, or the entry in another library. There it is a candidate that has to
prove itself again: evidence is not taken over, because nothing shows that it was gathered honestly. Only where the
operator of a server gives it to a key's library (`give_admitted`), it stays admitted.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

from ttsi import codec
from ttsi.atomic import write_atomically
from ttsi.errors import LibraryError, on_one_line
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.entry import LibraryEntry, PooledInput, entries_of, tools_hash
from ttsi.models.adapter_files import WEIGHTS, adapter_config, write_adapter

log = logging.getLogger(__name__)

GIVEN = "operator"
"""Origin of entries that were given, with the SHA-256 of what was given."""
ENTRY, EXAMPLES = "entry.json", "examples.jsonl"


def export_entry(library: AdapterLibrary, entry: LibraryEntry, folder: Path) -> Path:
    """Write an entry into a new folder; the folder.

    Raises:
        LibraryError: its file is damaged, or the folder is not empty or cannot be written.
    """
    file = library.adapter(entry)
    learned = [one for one in library.pooled_inputs(entry.tools_hash, entry.key) if one.input_hash in entry.inputs]
    try:
        if folder.exists() and any(folder.iterdir()):
            raise LibraryError(f"{folder} is not empty: choose another folder")
        write_adapter(folder, file)
        write_atomically(folder / ENTRY, json.dumps(codec.to_json(entry), indent=2, ensure_ascii=False) + "\n")
        write_atomically(folder / EXAMPLES, "".join(codec.dumps(one) + "\n" for one in learned))
    except OSError as error:
        raise LibraryError(f"{folder} cannot be written ({error.strerror})") from None
    return folder


def import_entry(library: AdapterLibrary, folder: Path) -> LibraryEntry:
    """Add what `export_entry` wrote, as a candidate without evidence; within a step.

    Raises:
        LibraryError: the folder is incomplete or damaged.
    """
    try:
        file = (folder / WEIGHTS).read_bytes()
        entry = codec.loads(LibraryEntry, (folder / ENTRY).read_text(encoding="utf-8"))
        lines = (folder / EXAMPLES).read_text(encoding="utf-8").split("\n")
        learned = [codec.loads(PooledInput, line) for line in lines if line]
        adapter_config(file)
    except OSError as error:
        raise LibraryError(f"{folder} holds no entry of a library ({error.strerror}: {error.filename})") from None
    except ValueError as error:
        raise LibraryError(f"{folder} holds a damaged entry ({on_one_line(error)})") from None
    if hashlib.sha256(file).hexdigest() != entry.sha256 or tools_hash(entry.tools) != entry.tools_hash:
        raise LibraryError(f"{folder} holds a damaged entry: its adapter or its tools are not those of {ENTRY}")
    if entries_of(library.entries, entry.tools_hash, entry.key):
        raise LibraryError(f"{library.folder} has an entry for these tools: ttsi library rm deletes it")
    for one in learned:
        library.add_input(entry.tools_hash, entry.key, one.input_hash, one.examples, one.origin)
    unproven = replace(
        entry, status="candidate", reason="", wins=0, losses=0, divergence=None, tries=0, uses=0, last_use=0.0
    )  # fmt: skip
    return library.add_entry(unproven, file)


def give_admitted(source: AdapterLibrary, library: AdapterLibrary) -> None:
    """Give a library the admitted entries of another, whose owner vouches for them.

    An entry of these tools that the library has itself stays; one that was given earlier makes room for a newer one. A
    damaged one is named in the log, and not given. Within a step of the library; the source is only read.

    Raises:
        LibraryError: the library cannot be written.
    """
    for entry in source.entries:
        origin = f"{GIVEN} {entry.sha256}"
        own = entries_of(library.entries, entry.tools_hash, entry.key)
        if entry.status != "admitted" or any(old.origin == origin or not old.origin.startswith(GIVEN) for old in own):
            continue
        try:
            file = source.adapter(entry)
        except LibraryError as error:
            log.warning("%s; it is not given to the library of a key", error)
            continue
        for old in own:
            library.evict(old, "a newer one was given")
        added = library.add_entry(replace(entry, status="candidate", origin=origin), file)
        library.set_status(added, "admitted", divergence=entry.divergence)
