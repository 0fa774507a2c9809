"""`ttsi env`: versions, device and threads, and how a model is prompted: for bug reports."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from ttsi import __version__, cpu
from ttsi.cli.progress import loading, print_notes
from ttsi.cli.settings import Device, Dtype, FormatName
from ttsi.models import Model, load

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "llguidance", "numpy", "cyclopts")


def env(
    *,
    model: str | None = None,
    format: FormatName = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Print versions, device and threads, for bug reports.

    With --model also how this model is prompted.

    Args:
        model: A model to load and describe (ttsi ls models).
    """
    loaded = None if model is None else _load(model, format, device, dtype)
    facts = {"ttsi": __version__, "python": platform.python_version(), "platform": platform.platform()}
    facts |= {name: _version(name) for name in PACKAGES}
    facts |= {"gpu": _gpu(), "cpu": cpu.capability(), "cores": str(cpu.cores()), **cpu.in_force()}
    _print(facts)
    if loaded is not None:
        print()
        _print_model(loaded)


def _print(facts: Mapping[str, str]) -> None:
    for name, value in facts.items():
        print(f"{name:<16} {value}")


def _load(spec: str, format: str | None, device: str, dtype: str) -> Model:
    with loading(spec):
        model = load(spec, device=device, dtype=dtype, format=format)
    print_notes(model)
    return model


def _print_model(model: Model) -> None:
    """Facts about a model that loading it revealed."""
    description = model.describe()
    facts = {"model": model.spec, "format": model.format.name}
    names = ("dtype", "device", "parameters", "context")
    facts |= {name: str(description[name]) for name in names if name in description}
    if "torch" in sys.modules:
        facts["threads"] = str(sys.modules["torch"].get_num_threads())
    _print(facts)
    handshake = getattr(model, "handshake", None)
    if handshake is not None:
        print(f"\n{handshake.table()}")


def _version(package: str) -> str:
    # From the installed metadata: importing torch to ask it would take seconds.
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _gpu() -> str:
    if os.path.isdir("/proc/driver/nvidia/gpus"):
        count = len(os.listdir("/proc/driver/nvidia/gpus"))
        return f"{count} NVIDIA"
    if shutil.which("nvidia-smi"):
        return "NVIDIA driver installed"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Apple (mps)"
    return "none found"
