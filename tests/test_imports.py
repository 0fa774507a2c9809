"""Is a look at the package cheap? `import ttsi`, `--help` and `ls` load no torch, a scripted run none either.

The looks run one after another in one fresh interpreter, which notes after each what it has imported so far: what one
of them loads too much shows there and in all after it. What may load more has an interpreter of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "llguidance", "tokenizers", "scipy", "peft", "matplotlib", "jinja2"}
LOOKS: dict[str, tuple[str, set[str]]] = {
    "import": (
        "import ttsi; ttsi.Input, ttsi.preset, ttsi.LoopConfig, ttsi.__version__",
        HEAVY | {"rich", "numpy", "jsonschema"},
    ),
    "env": ("command('env')", HEAVY | {"numpy"}),
    "--help": ("command('--help')", HEAVY),
    "run --help": ("command('run', '--help')", HEAVY),
    "report --help": ("command('report', '--help')", HEAVY),
    "ls models": ("command('ls', 'models')", HEAVY),
    "ls measures": ("command('ls', 'measures')", HEAVY),
    "ls benchmarks": ("command('ls', 'benchmarks')", HEAVY),
    "run": (
        "command('run', '--model', 'scripted:demo', '--limit', '2', '--output-dir', f'{folder}/run', '--json')",
        {"torch", "transformers"},
    ),
}
"""Code, and what it must not load."""

COMMAND = """
def command(*arguments):
    from ttsi.cli import main
    assert main(arguments) == 0, arguments
"""


def loaded(*codes: str, folder: Path = ROOT) -> list[set[str]]:
    """The packages (first part of the name) that a fresh interpreter has after each of the codes, in turn."""
    program = f"""
import contextlib, json, sys
folder = {str(folder)!r}
{COMMAND}
packages = []
for code in {codes!r}:
    with contextlib.redirect_stdout(sys.stderr):
        exec(code)
    packages.append(sorted({{name.partition(".")[0] for name in sys.modules}}))
print(json.dumps(packages))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [set(names) for names in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What is loaded after each look."""
    codes = [code for code, _ in LOOKS.values()]
    return dict(zip(LOOKS, loaded(*codes, folder=tmp_path_factory.mktemp("looks")), strict=True))


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_is_cheap(look: str, looks: dict[str, set[str]]) -> None:
    assert "ttsi" in looks[look]
    assert looks[look] & LOOKS[look][1] == set()


def test_control_the_local_model_loads_both() -> None:
    before, after = loaded("import json", "import ttsi.models.local")
    assert not {"torch", "transformers", "numpy"} & before
    assert {"torch", "transformers", "numpy"} <= after


def test_an_unknown_name_is_an_attribute_error() -> None:
    import ttsi

    with pytest.raises(AttributeError, match="has no attribute 'improv'"):
        _ = ttsi.improv


def test_every_public_name_is_found() -> None:
    import ttsi

    assert all(getattr(ttsi, name) is not None for name in ttsi.__all__)
    assert set(ttsi.__all__) <= set(dir(ttsi))
