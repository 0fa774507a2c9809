"""What is light stays light, beyond torch: `import ttsi` needs no rich and no numpy, a scripted run no torch.

`tests/test_imports.py` holds the check for the command's help and listings.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def loaded(code: str, *names: str) -> set[str]:
    """Which of the named modules a fresh interpreter has after running `code`."""
    ask = f"{code}\nimport sys; print('LOADED', *[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_the_package_costs_nothing() -> None:
    code = "import ttsi; ttsi.Input, ttsi.preset, ttsi.LoopConfig"
    assert loaded(code, "torch", "rich", "numpy", "jsonschema") == set()


def test_env_reads_versions_without_importing() -> None:
    assert loaded("from ttsi.cli import main; assert main(['env']) == 0", "torch", "transformers", "numpy") == set()


def test_a_scripted_run_imports_no_torch(tmp_path: Path) -> None:
    arguments = ["run", "--model", "scripted:demo", "--limit", "2", "--output-dir", str(tmp_path), "--json"]
    assert loaded(f"from ttsi.cli import main; assert main({arguments!r}) == 0", "torch", "transformers") == set()


def test_control_what_is_imported_is_seen() -> None:
    assert loaded("import numpy", "numpy", "torch") == {"numpy"}
