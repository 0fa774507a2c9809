"""The entries of a library, from the rows of its index.

Inputs: an index, whose rows only add to each other. Outputs: the entries as they are now, and what was replaced:
entries that were evicted, and earlier versions of those that were trained further.

The paper (arXiv:2510.07841) keeps nothing.
"""

from __future__ import annotations

import json

from ttsi import codec
from ttsi.library.entry import LibraryEntry
from ttsi.library.index import LibraryIndex

GONE = "deleted"
"""Status of an entry that was evicted, in the index."""

Replaced = list[tuple[int, LibraryEntry]]
"""Entries, each with the step that replaced or evicted it."""


def read_entries(index: LibraryIndex) -> tuple[dict[str, LibraryEntry], Replaced]:
    """The entries by their ids, oldest first, and those that were replaced or evicted.

    Raises:
        ValueError: an entry was written by another version.
        LibraryError: the index is damaged.
    """
    entries: dict[str, LibraryEntry] = {}
    replaced: Replaced = []
    for row in index.rows("entries"):
        id_, step = row.values["id"], row.values["step"]
        if id_ in entries:
            replaced.append((step, entries[id_]))
        entries[id_] = codec.from_json(LibraryEntry, json.loads(row.values["content"]))
    for row in index.rows("evidence"):
        if entry := entries.get(row.values["id"]):
            entries[entry.id] = entry.with_evidence(row.values["gain"])
    for row in index.rows("uses"):
        if entry := entries.get(row.values["id"]):
            entries[entry.id] = entry.with_use(bool(row.values["given"]), row.values["time"])
    for row in index.rows("changes"):
        entry = entries.get(row.values["id"])
        if entry and row.values["status"] == GONE:
            replaced.append((row.values["step"], entries.pop(entry.id)))
        elif entry:
            values = row.values
            entries[entry.id] = entry.with_status(values["status"], values["reason"], values["divergence"])
    return dict(sorted(entries.items(), key=lambda pair: pair[1].step)), replaced
