"""What is this machine? Versions, devices and threads, for bug reports."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from ttsi import __version__

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "llguidance", "numpy", "cyclopts")


def env() -> None:
    """Versions, device and threads: paste this into a bug report."""
    facts = {"ttsi": __version__, "python": platform.python_version(), "platform": platform.platform()}
    facts |= {name: _version(name) for name in PACKAGES}
    facts |= {"gpu": _gpu(), "cores": str(_cores()), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set")}
    for name, value in facts.items():
        print(f"{name:<16} {value}")


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


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
