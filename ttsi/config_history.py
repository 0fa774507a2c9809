"""The history of the settings: their earlier names, and a digest that no new setting changes.

Inputs: settings as older files, command lines and run folders have them; a dataclass of settings. Outputs: the same
settings under the names of today; 16 hex digits that are equal for equal settings, in every version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

RENAMED = {
    "synthesis.tries": "synthesis.max_rounds",
    "synthesis.pointed": "synthesis.unambiguous",
    "synthesis.trim": "synthesis.drop_worst",
    "adaptation.min_surer": "adaptation.min_confidence_gain",
    "writer": "teacher",
    "writer_budget": "teacher_budget",
    "train": "train_data",
    "data_dir": "data",
}
"""A setting's first name, in older YAML files, command lines and run folders -> its name now."""


def without_removed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run folder without those that no longer exist, and with what stood for a later one then.

    >>> without_removed({"library": {"folder": "a.lib", "min_inputs": 2}})
    {'library': {'folder': 'a.lib', 'start': 'zero'}}
    >>> without_removed({"loop": {"answer": {"calls": "one", "tool": "get_weather"}}})
    {'loop': {'answer': {'calls': 'one', 'tools': ['get_weather']}}}
    """
    result = dict(settings)
    library, loop = settings.get("library"), settings.get("loop")
    if isinstance(library, Mapping) and "min_inputs" in library:
        result["library"] = {**_without(library, "min_inputs"), "start": "zero"}
    answer = loop.get("answer") if isinstance(loop, Mapping) else None
    if isinstance(loop, Mapping) and isinstance(answer, Mapping) and "tool" in answer:
        tools = [] if answer["tool"] is None else [answer["tool"]]
        result["loop"] = {**loop, "answer": {**_without(answer, "tool"), "tools": tools}}
    return result


def _without(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != name}


def rename_settings(
    settings: Mapping[str, Any],
    names: Mapping[str, str] = RENAMED,
    on_rename: Callable[[str, str], None] = lambda old, new: None,
    section: str = "",
) -> dict[str, Any]:
    """Settings under new names; one that stands under both names is left alone, for its reader to refuse.

    Args:
        settings: nested, or with dotted names; the stages may lie under `loop`, as they do in a run's record.
        names: dotted name -> dotted name, in the same section.
        on_rename: called with the old and the new name of each setting that is renamed.
        section: what precedes the names of `settings`, like "synthesis.".

    >>> rename_settings({"loop": {"synthesis": {"trim": 0.25, "k": 4}}, "writer": None})
    {'loop': {'synthesis': {'drop_worst': 0.25, 'k': 4}}, 'teacher': None}
    """
    renamed: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{section}{key}"
        if isinstance(value, Mapping):
            value = rename_settings(value, names, on_rename, "" if name == "loop" else f"{name}.")
        new = names.get(name.replace("-", "_"))
        if new is None or new.removeprefix(section) in settings:
            renamed[key] = value
        else:
            renamed[new.removeprefix(section)] = value
            on_rename(name, new)
    return renamed


ADDED: dict[str, object] = {
    "synthesis.filter": (),
    "synthesis.prompt": None,
    "adaptation.objective": "cross-entropy",
    "order_seed": None,
    "answer.omit_unstated": False,
    "answer.tools": (),
    "answer.repetition_limit": 0,
    "answer.fill_omitted": False,
    "answer.convert_dates": False,
    "adaptation.scope": "all",
    "adaptation.held_back": 0,
    "adaptation.refuse_unstated": False,
    "adaptation.keep_decision": False,
}
"""Settings that the first run folders lack -> the default with which they mean the same."""


def with_first_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's default settings, in which a setting that older run folders lack is what they did without it."""
    loop = {name: dict(value) if isinstance(value, Mapping) else value for name, value in settings["loop"].items()}
    outer = dict(settings)
    for name, default in ADDED.items():
        stage, _, setting = name.rpartition(".")
        (loop[stage] if stage else outer)[setting] = default
    return {**outer, "loop": loop}


AGENT_DEFAULTS: dict[str, object] = {
    "life": "decision",
    "max_steps": 20,
    "max_turns": 100,
    "execute_examples": True,
    "execute_answers": True,
    "examples": "turn",
    "end_at_repeat": True,
    "max_failures": 3,
    "call_seconds": 30.0,
}
"""The settings of an agent with which a run without environments is what it was before there were any."""
AGENT_ADDED = ("max_turns",)
"""Those of them that the first agents' run folders lack."""


def digest(settings: object) -> str:
    """First 16 hex digits of the SHA-256 of a dataclass's values: equal settings, equal digest.

    Every setting counts under its first name, and an added setting only where it is not at its default: so runs of
    older versions keep their digest and can be resumed.
    """
    values: dict[str, Any] = asdict(settings)  # type: ignore[call-overload]
    if values.get("library", {}).get("folder", "") is None:
        del values["library"]
    if "agent" in values and values["agent"] == AGENT_DEFAULTS:
        del values["agent"]
    for name in AGENT_ADDED:
        if values.get("agent", {}).get(name) == AGENT_DEFAULTS[name]:
            del values["agent"][name]
    loop = values.get("loop", values)
    for name, default in ADDED.items():
        stage, _, setting = name.rpartition(".")
        settings = loop.get(stage, {}) if stage else values
        if setting in settings and settings[setting] == default:
            del settings[setting]
    values = rename_settings(values, {new: old for old, new in RENAMED.items()})
    canonical = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
