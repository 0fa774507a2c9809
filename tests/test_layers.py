"""Does every folder import only what lies below it?

The table is the architecture: a folder or module of ttsi -> what else of ttsi it may import. Imports are read from the
source, at the top and inside functions alike, so a late import does not hide. `import_module("...")` with a literal
counts, too; the registries of models and benchmarks look their modules up by name, which is the one way upwards.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ttsi"

STAGE = {"chat", "config", "errors", "object_reference", "models", "types"}
ALLOWED: dict[str, set[str]] = {
    "__init__": {"config", "loop", "methods", "models", "types"},  # names for type checkers; found lazily at run time
    "__main__": {"cli"},
    "types": set(),
    "errors": set(),
    "object_reference": {"errors"},
    "record": {"types"},
    "home": set(),
    "cpu": set(),  # the environment of the process, before torch is there
    "config": {"errors"},
    "methods": {"config", "errors", "object_reference"},
    "chat": {"errors", "types"},
    "engine": {"adaptation.schedule", "config", "errors"},
    "models": {"chat", "config", "cpu", "errors", "home", "object_reference", "types"},
    "models.loading": {"cpu", "errors"},
    "models.merging": {"errors"},
    "models.local": {"chat", "config", "engine", "errors", "types"},
    "awareness": STAGE,
    "synthesis": STAGE,
    "adaptation": STAGE,
    "answer": STAGE,
    "loop": {"adaptation", "answer", "awareness", "config", "errors", "models", "synthesis", "types"},
    "benchmarks": {"chat", "errors", "home", "object_reference", "types"},
    "embedded": {"chat", "synthesis.prompts", "types"},
    "reports": {"config", "errors", "methods", "record", "types"},
    "runs": {
        "benchmarks",
        "config",
        "errors",
        "loop",
        "models",
        "record",
        "reports.stats",
        "synthesis.prompts",
        "types",
    },
    "runs.sources": {"adaptation.shared", "benchmarks", "config", "errors", "loop", "methods", "models", "types"},
    "cli": {
        "chat.calls",
        "awareness.measures",
        "awareness.threshold",
        "benchmarks",
        "chat.conversation",  # a file of tools is read as a request's are
        "config",
        "cpu",
        "errors",
        "interop.trackers",
        "loop",
        "methods",
        "models",
        "record",
        "reports",
        "runs",
        "serve",
        "types",
    },
    "serve": {"answer", "chat", "config", "errors", "loop", "models", "types"},
    "interop": {"adaptation", "benchmarks", "chat", "config", "errors", "loop", "methods", "models", "runs", "types"},
}
"""The most specific key decides; a folder may always import itself."""

ANYWHERE = {"", "__version__"}
"""`import ttsi` and its version load nothing."""

HEAVY = {
    "torch": ("engine", "embedded.train", "models.gguf_conversion", "models.loading", "models.local", "models.merging"),
    "transformers": (
        "engine",
        "embedded.train",
        "embedded.tokenizer",
        "chat.template_source",
        "models.gguf_conversion",
        "models.loading",
        "models.local",
        "models.merging",
    ),
    "tokenizers": (
        "engine",
        "embedded.tokenizer",
        "models.gguf_conversion",
        "models.loading",
        "models.local",
        "models.merging",
    ),
    "llguidance": ("engine",),
    "openai": ("models.remote",),
    "peft": ("interop", "models.merging"),
    "ray": ("runs.cluster",),
    "cyclopts": ("cli",),
    "matplotlib": ("reports.pictures", "reports.plots"),
    "jinja2": ("reports.page",),
}
"""Packages from outside that only these may import."""

STANDARD_ONLY = ("types", "record", "errors", "config", "cpu")


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
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def test_every_import_points_downwards() -> None:
    found = modules()
    assert len(found) > 20
    assert [line for module, source in found.items() for line in offences(module, source)] == []


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
        ("reports.record", "from ttsi.runs.store import Row"),
        ("cli.report", "from matplotlib.figure import Figure"),
        ("reports.tables", "from ttsi import load_model"),
        ("loop", "from . import cli"),
        ("runs.runner", "from ttsi.cli import main"),
        ("embedded.world", "from ttsi.synthesis import synthesise"),
        ("somewhere_new", "import json"),
    ],
)
def test_control_an_offence_is_seen(module: str, source: str) -> None:
    assert len(offences(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("engine.lora", "import torch\nfrom ttsi.engine.schedule import learning_rates"),
        ("embedded.corpus", "from ttsi.synthesis.prompts import LEAD"),
        ("awareness", "from ttsi.awareness.measures import margin\nimport math"),
        ("benchmarks.toolworld", "import ttsi"),
    ],
)
def test_control_what_is_allowed_passes(module: str, source: str) -> None:
    assert offences(module, source) == []
