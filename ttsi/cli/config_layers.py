"""Layers of settings: flags, TTSI_* variables, a YAML file, the method's, the defaults; behind flags a resumed run's.

Inputs: the flags that cyclopts parsed. Outputs: the same arguments, filled layer by layer; a layer only fills what no
layer above it has set, so a setting of the user's always beats the method's.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from cyclopts import App, ArgumentCollection, CycloptsError, Token
from cyclopts.config import Env

from ttsi.cli.layer import fill
from ttsi.cli.resumed_settings import continues_run, resumed_settings
from ttsi.cli.shipped_files import find_file
from ttsi.cli.tau import RECIPES, is_recipe
from ttsi.config import LoopConfig, MethodConfig, RunConfig
from ttsi.config_history import RENAMED, rename_settings
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models.default import ASK_SETTINGS, default_model

SHORT = {"--tau": "--awareness.tau", "--k": "--synthesis.k", "--decoding": "--answer.decoding"}
"""Short names of settings."""

FROM_ENVIRONMENT = frozenset({
    *(f"--{field.name.replace('_', '-')}" for field in (*fields(MethodConfig), *fields(LoopConfig))), *SHORT,
    "--config", "--teacher-price", "--teacher-cache",
    "--model", "--data", "--format", "--batch-size", "--device", "--dtype", "--num-workers", "--ray",
}) - {"--library"}  # fmt: skip
"""Flags that a TTSI_* variable may set: settings, and facts about the machine. Never what a command reads, writes or
deletes."""

_STAGES = {
    field.name: fields(getattr(LoopConfig(), field.name))[0].name
    for field in fields(LoopConfig)
    if is_dataclass(getattr(LoopConfig(), field.name))
}
"""Stages that hold settings, each with the name of one."""

Layer = Callable[[App, tuple[str, ...], ArgumentCollection], None]


def config_layers(restore: bool = True) -> list[Layer]:
    """The layers below the flags, in order, for `cyclopts.App(config=...)`.

    Args:
        restore: a run that goes on has its own settings where none are given. False is for a caller that gives all:
            what it leaves out is a default, and a run with another value is another run.
    """
    return [
        _expand_shortcuts,
        *([_continue_run] if restore else []),
        _environment,
        _expand_shortcuts,
        _yaml,
        _expand_shortcuts,
        _method,
        _check_whole_numbers,
    ]


def method_preset(method: str, model: str) -> LoopConfig:
    """The settings of a method for a model, given by its spec; nothing is loaded.

    Raises:
        ConfigError: there is no such method.
    """
    return preset(method, model)


def model_of(verb: Sequence[str]) -> str:
    """The spec of the model that a verb uses where none is named.

    >>> model_of(["run"])
    'embedded'
    """
    return default_model()[0] if verb and verb[0] in ("ask", "act") else RunConfig.model


def stage_settings(loop: LoopConfig) -> dict[str, Any]:
    """The settings of all stages by dotted name, like "awareness.tau"."""
    stages = {name: stage for name, stage in asdict(loop).items() if isinstance(stage, dict)}
    return {f"{name}.{setting}": value for name, stage in stages.items() for setting, value in stage.items()}


def method_changes(method: str, model: str) -> dict[str, Any]:
    """The defaults that a method changes for a model, by dotted name.

    Raises:
        ConfigError: there is no such method.
    """
    defaults = stage_settings(LoopConfig())
    chosen = stage_settings(method_preset(method, model))
    return {name: value for name, value in chosen.items() if value != defaults[name]}


def upgrade_flags(words: Sequence[str]) -> list[str]:
    """A command line in which flags that older versions had are replaced by today's.

    >>> upgrade_flags(["run", "--synthesis.no-pointed", "--synthesis.tries=3"])
    ['run', '--synthesis.no-unambiguous', '--synthesis.max-rounds=3']
    """
    return [_upgrade_flag(word) for word in words]


def upgrade_settings(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings of a YAML file under today's names; each old name is one line on stderr.

    Raises:
        ConfigError: a setting stands under two names, or a value where a mapping of settings belongs; one line.
    """
    settings = {key: value for key, value in settings.items() if not (key in _STAGES and value is None)}  # "synthesis:"
    names: dict[str, str] = {}
    for name in _dotted_names(settings):
        new = RENAMED.get(name.replace("-", "_"), name.replace("-", "_"))
        if names.setdefault(new, name) != name:
            raise ConfigError(f"{path}: {names[new]} and {name} are the same setting: give {new} alone")
    for stage in _STAGES:
        if stage in settings and not isinstance(settings[stage], Mapping):
            raise ConfigError(
                f"{path}: {stage} holds settings: write a mapping, like {stage}: {{{_STAGES[stage]}: ...}}"
            )
    return rename_settings(settings, on_rename=lambda old, new: _warn_renamed(f"{path}: {old}", new))


def _upgrade_flag(word: str) -> str:
    flag, equals, value = word.partition("=")
    for old, new in RENAMED.items():
        for negative in ("", "no-"):
            if flag == _flag(old, negative):
                _warn_renamed(flag, _flag(new, negative))
                return f"{_flag(new, negative)}{equals}{value}"
    return word


def _flag(setting: str, negative: str = "") -> str:
    stage, dot, name = setting.rpartition(".")
    return f"--{stage}{dot}{negative}{name}".replace("_", "-")


def _warn_renamed(old: str, new: str) -> None:
    print(f"ttsi: {old} is now called {new}", file=sys.stderr)


def _continue_run(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """The run that the command continues; only flags and the file that one of them names stand above it."""
    if continues_run(commands, arguments):
        _yaml(app, commands, arguments)
        _expand_shortcuts(app, commands, arguments)
        resumed_settings(app, commands, arguments)


def _environment(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """TTSI_... variables."""
    settable = arguments.filter_by(parse=True)
    settable[:] = [argument for argument in settable if argument.name.partition(".")[0] in FROM_ENVIRONMENT]
    Env("TTSI_", command=False)(app, commands, settable)
    for old, new in RENAMED.items():
        variable = f"TTSI_{old.upper().replace('.', '_')}"
        argument = next((argument for argument in settable if argument.name == _flag(new)), None)
        if variable in os.environ and argument is not None and not argument.tokens:
            _warn_renamed(variable, f"TTSI_{new.upper().replace('.', '_')}")
            argument.append(Token(keyword=variable, value=os.environ[variable], source="env"))


def _expand_shortcuts(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give a short name's value to the setting that it stands for, unless a higher layer has set that one."""
    by_name = {argument.name: argument for argument in arguments}
    for short, long in SHORT.items():
        if short not in by_name or not by_name[short].tokens:
            continue
        values, present = by_name[short].tokens, by_name[long].tokens
        if short == "--tau":
            if is_recipe(values[0].value):
                continue  # worked out when the other settings are complete (ttsi.cli.settings.complete)
            _check_number(values[0].value)
        if not present:
            for token in values:
                by_name[long].append(token)
        elif present[0].source == values[0].source and present[0].value != values[0].value:
            raise ConfigError(f"{short} and {long} are the same setting and differ: give one of them")


def _check_number(tau: str) -> None:
    try:
        float(tau)
    except ValueError:
        ways = ", ".join(f"{name}:NUMBER:RUN" for name in RECIPES)
        raise ConfigError(f"--tau {tau}: write a number, or choose one from a finished run: {ways}") from None


def _yaml(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """The file that --config (or TTSI_CONFIG) names."""
    name = _value(arguments, "--config")
    if name is None:
        return
    path = find_file(Path(name))
    settings = upgrade_settings(read_yaml(path), path)
    names = {argument.name.removeprefix("--") for argument in arguments}
    for setting in _dotted_names(settings):
        if setting.replace("_", "-") not in names:
            raise ConfigError(f"{path}: {_unknown_setting(setting, names)}")
    try:
        fill(settings, str(path), app, commands, arguments)
    except CycloptsError as error:
        # Its own message comes in several lines and forms; the file's name must be in it.
        text = " ".join(str(error).split()).removeprefix(f"{type(error).__name__} ")
        raise ConfigError(text if str(path) in text else f"{path}: {text}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file is an empty mapping.

    Raises:
        ConfigError: there is no such file, it is not YAML, or it holds something else; one line.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path} must be a mapping of names to values, like tau: 0.9")
    return content or {}


class _YAML(yaml.SafeLoader):
    """YAML in which every key of a mapping stands once, as YAML demands; PyYAML takes the last of two values."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = list[Any]()
        for key, _ in node.value:
            keys.append((key.tag, key.value if isinstance(key, yaml.ScalarNode) else id(key)))
            if keys[-1] in keys[:-1]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice; keep one of the two", key.start_mark
                )
        return super().construct_mapping(node, deep)


def _dotted_names(settings: Mapping[str, Any], section: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _dotted_names(value, f"{section}{key}.")
        else:
            yield f"{section}{key}"


def _unknown_setting(setting: str, names: set[str]) -> str:
    close = difflib.get_close_matches(setting.replace("_", "-"), names, n=1)
    hint = f"did you mean {close[0].replace('-', '_')!r}?" if close else "--help lists the settings"
    return f"unknown setting {setting!r}; {hint}"


def _method(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """The values that the method sets for this model, where no layer above has set one."""
    if not any(argument.name == "--method" for argument in arguments):
        return
    method, model = _value(arguments, "--method") or MethodConfig.method, _value(arguments, "--model")
    settings = method_changes(method, model or model_of(commands))
    if list(commands) in (["ask"], ["act"]) and _value(arguments, "--answer.decoding") != "free":
        settings |= ASK_SETTINGS.get(model or model_of(commands), {})
    if settings:
        fill(settings, f"method {method}", app, commands, arguments)


def _check_whole_numbers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 2.5 where a whole number belongs: cyclopts would round it without a word. 8.0 is one."""
    for argument in arguments:
        if argument.hint is int or int in get_args(argument.hint):
            for token in argument.tokens:
                if "." in token.value and not _is_whole(token.value):
                    file = f"{token.source}: {argument.name.removeprefix('--')}"
                    name = {"cli": argument.name, "env": token.keyword}.get(token.source, file)
                    raise ConfigError(f"{name} is {token.value}: use a whole number")


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return True  # no number at all: cyclopts says so


def _value(arguments: ArgumentCollection, name: str) -> str | None:
    """The value that a flag has so far."""
    for argument in arguments:
        if argument.name == name and argument.tokens:
            return argument.tokens[0].value
    return None
