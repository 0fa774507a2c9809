"""Names of groups of runs, made of the settings that differ from the method's preset.

Two groups of a report differ in some setting, so names that leave out nothing but what the preset says tell them apart.
The paper (arXiv:2510.07841) names its rows by method and model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ttsi.config import CUSTOM, AgentConfig, LibraryConfig, RunConfig
from ttsi.methods import METHODS, preset
from ttsi.record import Run
from ttsi.reports.groups import Group, flatten
from ttsi.reports.phrases import count, listing, number_of

DECODING, CALLS = "answer.decoding", "answer.calls"


def usual_method(config: RunConfig) -> str:
    """The method with whose preset a run's settings are compared: TT-SI's or TT-D's where they are no method's."""
    if config.method == CUSTOM:
        return "ttsi" if config.teacher is None else "ttd"
    return config.method


def changed_settings(config: RunConfig, embedded: bool = True) -> dict[str, Any]:
    """The loop's settings, by dotted name, in which a run differs from its `usual_method`'s preset; never the seed.

    Args:
        config: the run's.
        embedded: whether the preset is the embedded model's, which has settings of its own.
    """
    usual: dict[str, Any] = {}
    if (method := usual_method(config)) in METHODS:
        usual = dict(flatten(asdict(preset(method, "embedded" if embedded else None))))
    return {
        name: value
        for name, value in flatten(asdict(config.loop))
        if name not in ("seed", "adapt") and (name not in usual or usual[name] != value)
    }


def changed_agent(config: RunConfig) -> dict[str, Any]:
    """The agent's settings, by dotted name, that are not the default."""
    return _differences("agent", config.agent, AgentConfig())


def changed_library(config: RunConfig) -> dict[str, Any]:
    """The library's settings, by dotted name, that are not the default; never its folder, and none without one."""
    if config.library.folder is None:
        return {}
    return _differences("library", config.library, LibraryConfig(config.library.folder))


def _differences(stage: str, config: AgentConfig | LibraryConfig, usual: AgentConfig | LibraryConfig) -> dict[str, Any]:
    values, defaults = asdict(config), asdict(usual)
    return {f"{stage}.{name}": value for name, value in values.items() if value != defaults[name]}


def has_embedded_settings(run: Run) -> bool:
    """Whether the model's presets are those of the embedded one, as `ttsi.models.is_embedded` decides before a run."""
    return run.config.model.startswith("scripted:") or run.model.get("format", "marked") in ("marked", "ours")


def variations(group: Group) -> dict[str, Any]:
    """The settings in which a group differs from its method's preset, except the decoding and the demand for calls."""
    changed = changed_settings(group.config, has_embedded_settings(group.first))
    return {name: value for name, value in changed.items() if name not in (DECODING, CALLS)}


def surroundings(group: Group) -> dict[str, Any]:
    """What differs from the default around the loop: the agent's settings, and a library and its settings."""
    library = {} if group.config.library.folder is None else {"library": True, **changed_library(group.config)}
    return {**changed_agent(group.config), **library}


def label(group: Group) -> str:
    """The method, and what is unusual about it."""
    config = group.config
    unusual = {**variations(group), **changed_agent(config)}
    parts = [config.method, *(f"{name.partition('.')[2]} {value}" for name, value in unusual.items())]
    if config.library.folder is not None:
        parts.append("library used before" if group.first.began_with_library == "used before" else "library")
        parts += [f"{name.replace('.', ' ')} {value}" for name, value in changed_library(config).items()]
    if config.format is not None:
        parts.append(f"format {config.format}")
    if config.teacher is not None:
        parts.append(f"teacher {config.teacher}")
    if config.train_data is not None and group.first.train is not None:
        parts.append(f"{number_of(group.first.train['n'], 'row')} of {config.train_data}")
    return add_decoding(", ".join(parts), group)


def letter_and_label(group: Group) -> str:
    """The letter and the label."""
    return f"{group.letter}: {label(group)}"


def add_decoding(name: str, group: Group) -> str:
    """The name, and how answers were decoded and calls demanded where that is unusual."""
    answer = group.config.loop.answer
    decoded = name if answer.decoding == "constrained" else f"{name}, {answer.decoding}"
    return decoded if answer.calls == "auto" else f"{decoded}, calls {answer.calls}"


def title(group: Group) -> str:
    """Method, model and benchmark."""
    return f"{label(group)} with {group.config.model} on {group.first.data.benchmark}"


def letter_and_title(group: Group) -> str:
    """The letter and the title."""
    return f"{group.letter}: {title(group)}"


def benchmark_and_model(group: Group) -> str:
    """The benchmark and the model, for tables with a row per benchmark."""
    return add_decoding(f"{group.first.data.benchmark}, {group.config.model}", group)


def title_of_several(groups: Sequence[Group]) -> str:
    """What several groups were run on."""
    benchmarks = list(dict.fromkeys(group.first.data.benchmark for group in groups))
    where = listing(benchmarks) if len(benchmarks) <= 3 else f"{len(benchmarks)} benchmarks"
    return f"{len(groups)} settings on {where}"


def seeds(group: Group) -> str:
    """The seeds of a group."""
    numbers = [str(run.seed) for run in group.runs]
    return f"seed {numbers[0]}" if len(numbers) == 1 else f"seeds {', '.join(numbers)}"


def unfinished_warning(group: Group) -> str | None:
    """A warning where inputs are missing."""
    parts = [
        f"{run.name} holds {count(len(run.rows))} of {number_of(run.data.n, 'input')}"
        for run in group.runs
        if len(run.rows) < run.data.n
    ]
    return f"Not finished: {'; '.join(parts)}. Everything here counts only these." if parts else None
