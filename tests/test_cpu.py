"""Threads sleep while they wait, unless the user said otherwise or it is too late; whose value holds can be seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ttsi import cpu

ROOT = Path(__file__).parents[1]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the torch wheels for Linux bring GNU's OpenMP")
LOADED = "import ttsi; ttsi.load_model('embedded')"
COMMAND = (
    "from ttsi.cli import main; "
    "main(['ask', 'a film', '--tools', 'examples/tools.json', '--model', 'embedded', '--method', 'base'])"
)


def openmp(code: str, **variables: str) -> dict[str, str]:
    """What OpenMP took from its environment in a fresh process; it prints that when it is loaded."""
    environment = {name: value for name, value in os.environ.items() if name not in cpu.WAITING}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE", **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    lines = [line.strip().partition(" = ") for line in done.stderr.splitlines()]
    return {name: value.strip("'") for name, sign, value in lines if sign}


@LINUX
@pytest.mark.parametrize("code", [LOADED, COMMAND], ids=["python", "command"])
def test_threads_do_not_spin(code: str) -> None:
    assert openmp(code)["GOMP_SPINCOUNT"] == "0"


@LINUX
def test_what_the_user_set_holds() -> None:
    assert openmp(LOADED, OMP_WAIT_POLICY="ACTIVE")["OMP_WAIT_POLICY"] == "ACTIVE"
    assert openmp(LOADED, GOMP_SPINCOUNT="1234")["GOMP_SPINCOUNT"] == "1234"


@LINUX
def test_control_torch_alone_spins_and_after_it_nothing_helps() -> None:
    late = (
        "import os, torch; os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'; from ttsi import cpu; cpu.sleep_while_waiting()"
    )
    assert openmp("import torch")["GOMP_SPINCOUNT"] != "0"
    assert openmp(late)["GOMP_SPINCOUNT"] != "0"


def test_nothing_is_set_over_the_users_value_or_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_set_here", set())
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in cpu.WAITING:
        for other in cpu.WAITING:
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, "7")
        assert not cpu.sleep_while_waiting()
        assert cpu.in_force()[name] == "7 (from the environment)"
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "torch", sys)
    assert not cpu.sleep_while_waiting()
    assert "OMP_WAIT_POLICY" not in os.environ
    # Control: with neither it is set, and said to be ours.
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_WAIT_POLICY", "to be restored")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert cpu.sleep_while_waiting()
    assert cpu.in_force()["OMP_WAIT_POLICY"] == "PASSIVE (set by ttsi)"


def test_a_library_is_left_alone_until_a_model_is_loaded() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in cpu.WAITING}
    code = "import os, ttsi; ttsi.load_model('scripted:demo'); print(os.environ.get('OMP_WAIT_POLICY'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


@pytest.mark.parametrize(
    ("flags", "fast"), [("fpu avx512_bf16", True), ("amx_bf16", True), ("avx2 avx512f", False), ("", False)]
)
def test_bfloat16_is_fast_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, fast: bool
) -> None:
    monkeypatch.setattr(cpu, "instructions", lambda: frozenset(flags.split()))
    assert cpu.is_fast_with_bfloat16() is fast
