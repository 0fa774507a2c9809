"""Checks of a model folder's files: complete, unchanged, and data only.

Inputs: a model folder. Outputs: nothing, or a `ModelError` that names the file.

* A folder with a `MANIFEST.json` is checked against it: SHA-256 and size of every file. safetensors has no checksum of
  its own, and a flipped bit loads silently. The embedded model ships with one;
  `python -m ttsi.models.weight_files FOLDER` writes one for any folder.
* Weights are read from safetensors only.
* A folder that brings Python files or asks for code (`auto_map`) is refused, unless the operator names exactly that
  folder in TTSI_TRUST_MODEL_CODE. The check is ours, because such flags of loaders have been bypassed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ttsi.errors import ModelError, on_one_line

MANIFEST = "MANIFEST.json"
TRUST = "TTSI_TRUST_MODEL_CODE"
"""Environment variable: folders whose code may run, separated as in PATH."""
REMEDY = "install the model again"
"""The advice in errors about files that differ from the manifest."""
SETTINGS = ("config.json", "tokenizer_config.json", "generation_config.json", "processor_config.json")


def check(folder: Path, *, manifest_required: bool = False) -> bool:
    """Refuse a folder that no model may be loaded from; returns whether its own code may run.

    Raises:
        ModelError: one line that names the file.
    """
    if manifest_required or (folder / MANIFEST).exists():
        verify(folder)
    if is_trusted(folder):
        return True
    weights = any(folder.glob("*.safetensors"))
    if not weights and not any((folder / name).is_file() for name in SETTINGS) and not any(folder.glob("*.gguf")):
        raise ModelError(f"{folder} holds no model: neither config.json nor a file of weights")
    _refuse_code(folder)
    if not weights:
        packed = min(folder.glob("*.gguf"), default=None)
        if packed is not None:
            raise ModelError(f"{folder} has no .safetensors file: name a GGUF file of it, --model {packed}")
        raise ModelError(
            f"{folder} has no .safetensors file: ttsi reads weights in no other format, convert them first"
        )
    return False


def verify(folder: Path) -> None:
    """Compare a folder with its manifest.

    Raises:
        ModelError: a file is missing, changed or not in the manifest, or there is no manifest.
    """
    path = folder / MANIFEST
    try:
        expected: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
        listed = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in expected.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}): {REMEDY}") from None
    present = dict(_files(folder))
    for name in sorted(listed.keys() - present.keys()):
        raise ModelError(f"{folder / name} is missing: {REMEDY}")
    for name in sorted(present.keys() - listed.keys()):
        raise ModelError(f"{folder / name} is not in {MANIFEST}: remove it, or {REMEDY}")
    for name, (size, sha256) in listed.items():
        if present[name].stat().st_size != size or _sha256(present[name]) != sha256:
            raise ModelError(f"{folder / name} is not the file that {MANIFEST} lists: {REMEDY}")


def write_manifest(folder: Path) -> Path:
    """Write the manifest of a folder as it is now."""
    files = {name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for name, path in sorted(_files(folder))}
    path = folder / MANIFEST
    path.write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    return path


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file that a loader may read, so neither prose nor Python's caches."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != MANIFEST and path.suffix not in (".md", ".pyc"):
            yield path.relative_to(folder).as_posix(), path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_trusted(folder: Path) -> bool:
    """Whether the operator has named exactly this folder in TTSI_TRUST_MODEL_CODE."""
    return folder.resolve() in {Path(name).resolve() for name in os.environ.get(TRUST, "").split(os.pathsep) if name}


def _refuse_code(folder: Path) -> None:
    hint = f"ttsi runs no model code (if you have read it and trust it, set {TRUST} to this folder)"
    script = next(iter(sorted(folder.rglob("*.py"))), None)
    if script is not None:
        raise ModelError(f"{folder} brings code of its own ({script.name}); {hint}")
    for name in SETTINGS:
        path = folder / name
        try:
            settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise ModelError(f"cannot read {path}: {on_one_line(error)}") from error
        if isinstance(settings, dict) and "auto_map" in settings:
            raise ModelError(f"{path} asks for code of its own (auto_map); {hint}")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(write_manifest(Path(argument)))
