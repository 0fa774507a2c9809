"""What is a group of runs called, and in what does it differ from others?

Inputs: groups of runs. Outputs: the settings that differ from the method's preset, short names made of them, and the
sentence that heads a page of several groups. Two groups of a report differ in some setting, so names that leave out
nothing but the usual tell them apart. The paper (arXiv:2510.07841) names its rows by method and model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ttsi.methods import METHODS, preset
from ttsi.reports import pairing
from ttsi.reports.record import Group, calls, flat
from ttsi.reports.words import between, count, listing, percent, score

DECODING, CALLS = "answer.decoding", "answer.calls"


def changed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The loop's settings, by dotted name, in which a run differs from its method's preset; the seed is not one."""
    settings = config["settings"]
    usual: dict[str, Any] = {}
    if settings["method"] in METHODS:
        loop = preset(settings["method"], "embedded" if _embedded(config) else None)
        usual = dict(flat(_as_json(asdict(loop))))
    mine = dict(flat(_as_json(settings["loop"])))
    return {
        name: value
        for name, value in mine.items()
        # A tau of infinity is a word in config.json and a number in the preset.
        if name not in ("seed", "adapt") and (name not in usual or usual[name] != value != str(usual[name]))
    }


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as config.json has them, where a tuple is a list."""
    return dict(json.loads(json.dumps(settings)))


def _embedded(config: Mapping[str, Any]) -> bool:
    """Did a model answer that has the settings of the embedded one? As `ttsi.models.is_embedded`, of one long gone."""
    scripted = str(config["settings"]["model"]).startswith("scripted:")
    return scripted or bool((config.get("model") or {}).get("format", "ours") in ("ours", "marked"))


def knobs(group: Group) -> dict[str, Any]:
    """The settings in which a group differs from its method's preset, but for the decoding and the demand for calls."""
    return {name: value for name, value in changed(group.config).items() if name not in (DECODING, CALLS)}


def label(group: Group) -> str:
    """The method, and what is unusual about it."""
    settings = group.config["settings"]
    parts = [settings["method"], *(f"{name.partition('.')[2]} {value}" for name, value in knobs(group).items())]
    if settings.get("teacher") is not None:
        parts.append(f"teacher {settings['teacher']}")
    if settings.get("train_data") is not None:
        parts.append(f"{count(group.config['train']['n'])} rows of {settings['train_data']}")
    return with_decoding(", ".join(parts), group)


def with_decoding(name: str, group: Group) -> str:
    """The name, and how answers were decoded and calls demanded where that is unusual."""
    decoding = group.config["settings"]["loop"]["answer"]["decoding"]
    demanded = calls(group.config)
    shown = name if decoding == "constrained" else f"{name}, {decoding}"
    return shown if demanded == "auto" else f"{shown}, calls {demanded}"


def title(group: Group) -> str:
    """What was run, in a few words."""
    return f"{label(group)} with {group.config['settings']['model']} on {group.config['data']['benchmark']}"


def several(found: Sequence[Group]) -> str:
    """What was run, for several groups."""
    benchmarks = list(dict.fromkeys(str(group.config["data"]["benchmark"]) for group in found))
    where = listing(benchmarks) if len(benchmarks) <= 3 else f"{len(benchmarks)} benchmarks"
    return f"{len(found)} settings on {where}"


def compared(found: Sequence[Group]) -> str:
    """The best of several groups, where they answered the same questions in the same way."""
    folders = sum(len(group.runs) for group in found)
    counted = f"{folders} runs in {len(found)} settings, {found[0].letter} to {found[-1].letter}."
    if not all(pairing.same_questions(found[0], group) for group in found[1:]):
        return f"{counted} They answered different inputs or were decoded differently: compare gains, not scores."
    finals = [(score(group, pairing.final_side(group.runs[0])), group) for group in found]
    scored = [(final, group) for final, group in finals if final is not None]
    if not scored:
        return counted
    top, interval = max((final for final, _ in scored), key=lambda final: final[0])
    best = listing([f"{group.letter} ({title(group)})" for final, group in scored if final[0] == top])
    said = f"{percent(top)}, 95 % interval {between(interval)}"
    return f"{counted} {best} gave the most right answers in the end: {said}."
