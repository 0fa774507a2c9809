"""The direction of imports: every folder imports only what lies below it, and no modules import each other in a circle.

The table is the architecture: a folder or module of ttsi -> what else of ttsi it may import. Imports are read from the
source, at the top and inside functions alike, so a late import does not hide. `import_module("...")` with a literal
counts, too; the registries of models and benchmarks look their modules up by name, which is the one way upwards.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ttsi"

FLOORS: tuple[set[str], ...] = (
    {
        "types",
        "errors",
        "home",
        "cpu",
        "stats",
        "embedded",
        "atomic",
        "words",
        "plurals",
        "crash_points",
        "config_history",
        "sqlite_errors",
        "log_listener",
    },
    {"setting_types", "object_reference"},
    {"config"},
    {"record", "chat", "call_equality"},
    {"codec", "environments"},
    {"row_schema", "engine", "benchmarks"},
    {"models"},
    {"methods"},
    {"awareness", "synthesis", "adaptation", "answer", "reports"},
    {"batch"},
    {"loop"},
    {"library", "agents"},
    {"runs"},
    {"serve", "interop"},
    {"cli"},
    {"__init__", "__main__"},
)
"""From the ground up. What a row of the table names stands on a lower floor than the row."""

STAGE = {"chat", "config", "errors", "methods", "models", "object_reference", "types"}
ALLOWED: dict[str, set[str]] = {
    "__init__": {
        "agents", "benchmarks", "config", "environments", "loop", "methods", "models", "runs", "types",
    },  # resolved lazily at run time
    "__main__": {"cli"},
    "types": set(),
    "errors": set(),
    "home": set(),
    "stats": set(),
    "embedded": set(),
    "atomic": set(),
    "words": set(),
    "plurals": set(),
    "cpu": set(),  # the environment of the process, before torch is there
    "object_reference": {"errors"},
    "setting_types": {"errors"},
    "config": {"errors", "setting_types"},
    "config_history": set(),
    "crash_points": set(),
    "sqlite_errors": set(),
    "log_listener": set(),
    "call_equality": {"types"},
    "environments": {"chat", "errors", "plurals", "types", "words"},
    "record": {"config", "types"},
    "codec": {"config", "record", "types"},
    "row_schema": {"codec", "record"},
    "chat": {"errors", "plurals", "types", "words"},
    "engine": {"errors"},
    "models": {"atomic", "chat", "config", "cpu", "errors", "home", "object_reference", "plurals", "types"},
    "models.loading": {"cpu", "errors"},
    "models.merging": {"errors"},
    "models.local": {"chat", "config", "engine", "errors", "types"},
    "models.local_loading": {"chat", "embedded", "engine", "errors"},
    "models.protocol": {"chat", "config", "engine", "errors", "types"},  # of the engine a type
    "models.adapted_prefixes": {"engine"},
    "models.base_prefixes": {"engine"},
    "models.prefix_store": {"engine"},  # a type
    "models.job_encoding": {"engine", "types"},
    "models.temporary_adapters": {"config", "engine", "errors", "object_reference", "types"},
    "methods": {"config", "errors", "models", "object_reference", "plurals"},
    "awareness": STAGE | {"call_equality", "environments.experience"},
    "synthesis": STAGE | {"call_equality", "environments.experience", "words"},
    "adaptation": STAGE | {"plurals"},
    "answer": STAGE | {"call_equality"},
    "batch": {
        "adaptation", "awareness",
        "chat.conversation",  # an input is checked where it enters
        "config", "environments.experience", "errors", "methods", "models", "object_reference", "plurals",
        "synthesis", "types",
    },
    "loop": {
        "adaptation", "answer", "awareness", "batch", "config", "environments.experience", "methods", "models",
        "synthesis", "types",
    },
    "benchmarks": {
        "atomic", "chat", "embedded", "environments", "errors", "home", "object_reference", "plurals", "types",
        "words",
    },
    "agents": {
        "answer", "awareness", "batch", "call_equality", "config",
        "crash_points", "environments", "errors", "loop", "methods",
        "models", "plurals", "types",
    },
    "reports": {"call_equality", "config", "errors", "methods", "plurals", "record", "stats", "types", "words"},
    "library": {
        "adaptation", "answer", "atomic", "awareness", "batch", "chat.tool_schema", "codec", "config", "crash_points",
        "errors", "loop", "models", "plurals", "sqlite_errors", "synthesis.schema_examples", "types",
    },
    "runs": {
        "adaptation.shared", "agents", "atomic", "awareness.selection", "batch", "benchmarks", "chat.grounding",
        "codec", "config", "config_history", "crash_points", "environments.environment", "errors",
        "library", "loop", "methods", "models", "object_reference", "plurals",
        "record", "sqlite_errors", "stats", "synthesis", "types",
    },
    "cli": {
        "atomic", "awareness.measures", "awareness.threshold", "batch", "benchmarks", "chat.calls",
        "chat.conversation",  # a file of tools is read as a request's are
        "agents", "codec", "config", "config_history", "cpu",
        "environments", "errors", "interop.trackers", "library", "log_listener", "loop", "methods",
        "models", "object_reference", "plurals", "record", "reports", "row_schema", "runs", "serve", "types",
    },
    "serve": {
        "agents", "answer", "awareness",
        "batch",  # what interrupts a request is one of the loop's interruptions
        "benchmarks", "chat", "config", "config_history", "errors", "library", "log_listener", "loop",
        "methods", "models", "plurals",
        "setting_types",  # the operator's limits are settings
        "types",
    },
    "interop": {"adaptation", "benchmarks", "chat", "config", "errors", "loop", "methods", "models", "runs", "types"},
}  # fmt: skip
"""The most specific key decides; a folder may always import itself."""

ANYWHERE = {"", "__version__"}
"""`import ttsi` and its version load nothing."""

HEAVY = {
    "torch": (
        "engine",
        "models.gguf_conversion",
        "models.in_memory",
        "models.loading",
        "models.local",
        "models.local_loading",
        "models.merging",
        "models.temporary_adapters",
    ),
    "transformers": (
        "engine",
        "chat.template_source",
        "models.adapted_prefixes",
        "models.base_prefixes",
        "models.gguf_conversion",
        "models.in_memory",
        "models.loading",
        "models.local",
        "models.local_loading",
        "models.merging",
        "models.temporary_adapters",
    ),
    "tokenizers": (
        "engine",
        "models.gguf_conversion",
        "models.loading",
        "models.local",
        "models.local_loading",
        "models.merging",
    ),
    "llguidance": ("engine",),
    "openai": ("models.remote",),
    "peft": ("interop", "models.merging"),
    "ray": ("runs.cluster",),
    "cyclopts": ("cli",),
    "matplotlib": ("reports.drawing", "reports.finding", "reports.html", "reports.questions"),
    "jinja2": ("reports.html",),
}
"""Packages from outside that only these may import."""

STANDARD_ONLY = ("types", "record", "atomic", "errors", "config", "config_history", "cpu")


def imported(source: str) -> Iterator[str]:
    """Every module or name that a source imports, in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(value.value) for value in node.args[:1] if isinstance(value, ast.Constant))


def within(name: str, places: set[str] | tuple[str, ...]) -> bool:
    """Is a dotted name one of these places, or inside one?"""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def importers(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Every module and the modules of the package that it imports, in full.

    A package's own `__init__` may fetch a module of its folder late, by which a registry finds what is registered.
    """
    names = {_full(module): module for module in sources}
    graph: dict[str, set[str]] = {}
    for name, module in names.items():
        late = set(imported(sources[module])) - set(imported(_top_level(sources[module])))
        graph[name] = set()
        for target in imported(sources[module]):
            while target and target not in names:
                target = target.rpartition(".")[0]
            fetched = target.startswith(f"{name}.") and any(within(one, {target}) for one in late)
            if target not in ("", "ttsi", name) and not fetched:
                graph[name].add(target)
    return graph


def _full(module: str) -> str:
    return "ttsi" if module == "__init__" else f"ttsi.{module}"


def _top_level(source: str) -> str:
    """The statements that run when the module is imported."""
    body = ast.parse(source).body
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return "\n".join(ast.unparse(node) for node in body if not isinstance(node, definitions))


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """One circle of modules that import each other, else nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def climbs(allowed: Mapping[str, Iterable[str]], floors: Iterable[Iterable[str]] = FLOORS) -> list[str]:
    """The entries of a table that do not lie below their row, one line each."""
    floor = {name: number for number, names in enumerate(floors) for name in names}
    pairs = [(row, entry) for row, entries in allowed.items() for entry in entries]
    return [
        f"{row} may import {entry}, which is not below it"
        for row, entry in pairs
        if not floor[entry.partition(".")[0]] < floor[row.partition(".")[0]]
    ]


def offences(module: str, source: str) -> list[str]:
    """What a module ("loop", "engine.lora") imports and must not, one line each."""
    rule = max((key for key in ALLOWED if within(module, (key,))), key=len, default=None)
    if rule is None:
        return [f"{module} is in no row of the table: add it to ALLOWED"]
    return [f"{module} imports {name}" for name in imported(source) if not _legal(module, rule, name)]


def _legal(module: str, rule: str, name: str) -> bool:
    top, _, inner = name.partition(".")
    if top == "ttsi":
        return inner in ANYWHERE or within(inner, ALLOWED[rule] | {rule.partition(".")[0]})
    if top == "":
        return False  # a relative import: write the full name, so that it can be searched for
    if module in STANDARD_ONLY:
        return top in sys.stdlib_module_names
    return top not in HEAVY or within(module, HEAVY[top])


def modules() -> dict[str, str]:
    """Every module's dotted name (without ttsi) and its source."""
    sources = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def test_every_import_points_downwards() -> None:
    sources = modules()
    assert len(sources) > 20
    assert [line for module, source in sources.items() for line in offences(module, source)] == []


def test_the_table_itself_points_downwards() -> None:
    assert climbs(ALLOWED) == []


def test_control_an_entry_that_climbs_is_seen() -> None:
    assert climbs({"engine": {"adaptation.schedule"}}) == [
        "engine may import adaptation.schedule, which is not below it"
    ]
    assert climbs(
        {"runs": {"reports"}, "models.local_loading": {"embedded"}}, ({"embedded"}, {"models", "runs", "reports"})
    ) == ["runs may import reports, which is not below it"]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = importers(modules())
    assert sum(map(len, graph.values())) > 100
    assert circle(graph) == []


@pytest.mark.parametrize("late", ["", "def late():\n    "])
def test_control_a_circle_is_seen(late: str) -> None:
    downwards = {
        "runs": "",
        "runs.executor": "from ttsi.runs.training_data import data",
        "runs.training_data": "import json",
    }
    assert circle(importers(downwards)) == []
    back = {**downwards, "runs.training_data": f"{late}from ttsi.runs.executor import execute"}
    assert set(circle(importers(back))) == {"ttsi.runs.executor", "ttsi.runs.training_data"}


def test_control_a_package_may_fetch_its_own_module_late_only() -> None:
    remote = {"models.remote": "from ttsi.models import Request"}
    assert circle(importers({**remote, "models": "def load():\n    from ttsi.models.remote import load"})) == []
    assert circle(importers({**remote, "models": "from ttsi.models.remote import load"})) != []


def test_nothing_of_the_workshop_is_imported_or_installed() -> None:
    workshop = ("toolworld", "speed", "tests", "dev", "clients")
    sources = modules()
    assert [(module, name) for module in sources for name in imported(sources[module]) if within(name, workshop)] == []
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["ttsi"]


def test_stages_do_not_know_each_other_in_the_table_either() -> None:
    stages = {"awareness", "synthesis", "adaptation", "answer"}
    for stage in stages:
        assert not {entry.partition(".")[0] for entry in ALLOWED[stage]} & stages


def test_nobody_imports_the_command() -> None:
    assert [key for key, allowed in ALLOWED.items() if "cli" in allowed] == ["__main__"]


def test_reports_reach_no_model_code() -> None:
    assert not ALLOWED["reports"] & {"models", "engine", "loop", "chat", "runs", "awareness", "synthesis", "adaptation"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("types", "import yaml"),
        ("types", "from ttsi.config import LoopConfig"),
        ("chat.calls", "from ttsi.models import Prompt"),
        ("awareness.measures", "import torch"),
        ("awareness", "from ttsi.synthesis import synthesise"),
        ("synthesis", "from ttsi import adaptation"),
        ("answer", "def late():\n    from ttsi.engine.decoding import decode"),
        ("engine.lora", "from ttsi.adaptation import adapted"),
        ("models.scripted", "from torch import nn"),
        ("models.scripted", "from importlib import import_module\nimport_module('ttsi.engine.lora')"),
        ("reports.tables", "import ttsi.models"),
        ("reports.groups", "from ttsi.runs.store import Row"),
        ("cli.report", "from matplotlib.figure import Figure"),
        ("reports.tables", "from ttsi import load_model"),
        ("loop", "from . import cli"),
        ("runs.runner", "from ttsi.cli import main"),
        ("embedded", "from ttsi.synthesis import synthesise"),
        ("engine.training", "from ttsi.adaptation.examples import training_examples"),
        ("runs.summary", "from ttsi.reports.phrases import percent"),
        ("somewhere_new", "import json"),
    ],
)
def test_control_an_offence_is_seen(module: str, source: str) -> None:
    assert len(offences(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine.lora", "import torch\nfrom ttsi.engine.schedule import learning_rates"),
        ("benchmarks.toolworld", "from ttsi.embedded import DATA"),
        ("awareness", "from ttsi.awareness.measures import margin\nimport math"),
        ("benchmarks.toolworld", "import ttsi"),
    ],
)
def test_control_what_is_allowed_passes(module: str, source: str) -> None:
    assert offences(module, source) == []
