"""The entries of a library, from the rows of its index.

Inputs: an index, whose rows only add to each other. Outputs: the entries as they are now, and what was replaced:
entries that were evicted, and earlier versions of those that were trained further; an index without the rows that
count no more.

The paper (arXiv:2510.07841) keeps nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ttsi import codec
from ttsi.library.entry import LibraryEntry
from ttsi.library.index import LibraryIndex

GONE = "deleted"
"""Status of an entry that was evicted, in the index."""

Replaced = list[tuple[int, LibraryEntry]]
"""Entries, each with the step that replaced or evicted it."""


MAX_INPUTS = 5000
"""Most inputs that are pooled and that no entry has learned; the oldest go first."""
MAX_USES = 1000
"""Most answers that have a row each; beyond it their counts are added up."""
_OF_ENTRY = ("entries", "evidence", "changes", "uses", "use_counts")


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
    for row in index.rows("use_counts"):
        if entry := entries.get(row.values["id"]):
            entries[entry.id] = entry.with_uses(*(row.values[name] for name in ("tries", "uses", "last_use")))
    for row in index.rows("uses"):
        if entry := entries.get(row.values["id"]):
            entries[entry.id] = entry.with_uses(1, row.values["given"], row.values["time"])
    for row in index.rows("changes"):
        entry = entries.get(row.values["id"])
        if entry and row.values["status"] == GONE:
            replaced.append((row.values["step"], entries.pop(entry.id)))
        elif entry:
            values = row.values
            entries[entry.id] = entry.with_status(values["status"], values["reason"], values["divergence"])
    return dict(sorted(entries.items(), key=lambda pair: pair[1].step)), replaced


def delete_rows(index: LibraryIndex, id_: str) -> None:
    """Delete an entry with its evidence and its uses."""
    for table in _OF_ENTRY:
        index.delete(table, [row.rowid for row in index.rows(table, id=id_)])


def delete_pool(index: LibraryIndex, tools_hash: str, key_digest: str) -> None:
    """Delete the pooled inputs of a list of tools."""
    rows = index.rows("inputs", tools_hash=tools_hash, key_digest=key_digest)
    index.delete("inputs", [row.rowid for row in rows])


def delete_what_counts_no_more(index: LibraryIndex, entries: Mapping[str, LibraryEntry], replaced: Replaced) -> None:
    """Delete evicted entries with what they learned from, old versions, and pooled inputs beyond the limit.

    As a new step begins: nothing can be undone any more that was done before the last one.
    """
    pools = {(entry.tools_hash, entry.key.digest) for entry in entries.values()}
    for _, entry in replaced:
        pool = entry.tools_hash, entry.key.digest
        if entry.id not in entries:
            delete_rows(index, entry.id)
            if pool not in pools:  # else a new adapter of these tools has taken its place
                delete_pool(index, *pool)
    versions = [(row.rowid, row.values["id"]) for row in index.rows("entries")]
    newest = {id_: rowid for rowid, id_ in versions}
    index.delete("entries", [rowid for rowid, id_ in versions if rowid != newest[id_]])
    waiting = [
        row.rowid for row in index.rows("inputs")
        if (row.values["tools_hash"], row.values["key_digest"]) not in pools
    ] if index.count("inputs") > MAX_INPUTS else []  # fmt: skip
    index.delete("inputs", waiting[: max(0, len(waiting) - MAX_INPUTS)])
    if index.count("uses") > MAX_USES:
        _add_uses_up(index, entries)


def _add_uses_up(index: LibraryIndex, entries: Mapping[str, LibraryEntry]) -> None:
    """One row of counts per entry in place of a row per use."""
    for table in ("uses", "use_counts"):
        index.delete(table, [row.rowid for row in index.rows(table)])
    # They belong to the steps that are over: undoing the one that begins leaves them.
    before = index.last_step() - 1
    for entry in entries.values():
        index.add(
            "use_counts", step=before, id=entry.id, tries=entry.tries, uses=entry.uses, last_use=entry.last_use
        )  # fmt: skip
