"""Notices of a library that does not answer: it is new, it fits another model, or it was made for other tools.

Inputs: a library, and what it is to be used for. Outputs: a line for whoever uses it, "" where there is nothing to say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ttsi.config import LoopConfig
from ttsi.library.adapter_library import ADAPTERS, INDEX, KEYS, LOCK, AdapterLibrary
from ttsi.library.entry import AdapterKey, entries_of, tools_hash
from ttsi.models import Model
from ttsi.types import Tool, to_openai


def empty_notice(library: AdapterLibrary) -> str:
    """What to say of a library without any adapter; "" where it has one."""
    if library.entries:
        return ""
    state = "has no adapter yet" if library.last_tag else "is new, and empty"
    return f"{library.folder} {state}: it learns from requests. {_prepare(library.folder)}"


def folder_notice(folder: Path) -> str:
    """The same of a folder that is not open; none is made.

    Raises:
        LibraryError: it is damaged.
    """
    if (folder / INDEX).is_file():
        with AdapterLibrary(folder, writable=False) as library:
            return empty_notice(library)
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if present - {ADAPTERS, LOCK, KEYS}:
        return f"{folder} holds other files and no library: choose an empty or new --library"
    state = "has no adapter that every key gets" if KEYS in present else "is new, and empty"
    return f"{folder} {state}: it learns from requests. {_prepare(folder)}"


def _prepare(folder: Path) -> str:
    return f"ttsi library prepare {folder} TOOLS.json trains an adapter ahead"


def unfit_notice(library: AdapterLibrary, model: Model, config: LoopConfig) -> str:
    """What to say of a library none of whose admitted adapters fits a model and its settings; "" where one does."""
    admitted = [entry for entry in library.entries if entry.status == "admitted"]
    key = AdapterKey.of(model.describe(), config.adaptation)
    if not admitted or any(entry.key == key for entry in admitted):
        return ""
    differences = "; ".join(dict.fromkeys(entry.key.difference(key) for entry in admitted))
    return f"no admitted adapter in {library.folder} fits {model.spec} here: {differences}"


def tools_notice(library: AdapterLibrary, tools: Sequence[Tool], model: Model, config: LoopConfig) -> str:
    """Why a library does not answer requests with these tools; "" where it has an admitted adapter for them."""
    key, wanted = AdapterKey.of(model.describe(), config.adaptation), tools_hash(tools)
    entries = entries_of(library.entries, wanted, key)
    if any(entry.status == "admitted" for entry in entries):
        return ""
    if entries:
        return f"the adapter {entries[-1].id} for these tools does not answer: it is {entries[-1].standing}"
    unfit = [entry for entry in library.entries if entry.tools_hash == wanted and entry.status == "admitted"]
    if unfit:
        return f"the adapter {unfit[-1].id} for these tools does not fit here: {unfit[-1].key.difference(key)}"
    what = f"{library.folder} has no adapter for these tools"
    same_names = [entry for entry in library.entries if entry.key == key and _names(entry.tools) == _names(tools)]
    if same_names:
        entry = same_names[-1]
        what += f", only {entry.id} for other tools of the same names ({describe_changes(entry.tools, tools)})"
    return f"{what}: ttsi library prepare trains one"


def _names(tools: Sequence[Tool]) -> list[str]:
    return sorted(tool.name for tool in tools)


def describe_changes(earlier: Sequence[Tool], tools: Sequence[Tool]) -> str:
    """Which tools differ from earlier ones of the same names, and in what.

    >>> old = Tool("f", "Do it", {"type": "object"}), Tool("g", "", {})
    >>> describe_changes(old, (Tool("f", "Do that", {"type": "string"}), Tool("g", "", {})))
    'f has another description and other parameters'
    """
    by_name = {tool.name: tool for tool in earlier}
    changes = []
    for tool in tools:
        old = by_name[tool.name]
        parts = ["another description"] * (tool.description != old.description)
        parts += ["other parameters"] * (_parameters(tool) != _parameters(old))
        if parts:
            changes.append(f"{tool.name} has {' and '.join(parts)}")
    return ", ".join(changes)


def _parameters(tool: Tool) -> str:
    return json.dumps(to_openai(tool)["function"]["parameters"], sort_keys=True)
