"""The adapter of a fine-tuning run, kept in its folder, and before that the state of its training.

    adapter/adapter_model.safetensors, adapter/adapter_config.json   as `peft.PeftModel.from_pretrained` loads it
    adapter/training.json                                            the record of its training, and the file's SHA-256
    adapter/checkpoint.safetensors                                   the state of a training that has not ended

Inputs: a run folder; the file of an adapter and the record of its training, or a checkpoint. Outputs: both, for a run
that goes on. The record is written last: without it, or where the file is not the one that it names, there is no
adapter, and the run trains it again, from the checkpoint on where there is one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from ttsi import codec
from ttsi.atomic import sync_folder, write_atomically
from ttsi.models.adapter_files import ACTIVATED, SETTINGS, WEIGHTS, write_adapter
from ttsi.types import Adaptation

log = logging.getLogger(__name__)

FOLDER = "adapter"
RECORD = "training.json"
CHECKPOINT = "checkpoint.safetensors"


class CheckpointFile:
    """The file of one checkpoint."""

    def __init__(self, path: Path) -> None:
        """The file need not be there; its folder is made with the first checkpoint."""
        self.path = path

    def read(self) -> bytes | None:
        """The kept file; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        return self.path.read_bytes() if self.path.is_file() else None

    def write(self, file: bytes) -> None:
        """Keep this file in place of the last one.

        Raises:
            OSError: the disk is full or read-only.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, file)


class SharedAdapterFolder:
    """The adapter in a run's folder."""

    def __init__(self, run: Path) -> None:
        """The run need not have one yet."""
        self.path = run / FOLDER
        self.checkpoint = CheckpointFile(self.path / CHECKPOINT)

    def read(self) -> tuple[bytes, Adaptation] | None:
        """The file of the adapter and the record of its training; None where there is none, or it is damaged."""
        try:
            record = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            file = (self.path / WEIGHTS).read_bytes()
            if hashlib.sha256(file).hexdigest() == record["sha256"]:
                return file, codec.from_json(Adaptation, record["adaptation"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the same as a file of another hash
        log.warning("the adapter in %s is damaged: it is trained again", self.path)
        return None

    def write(self, file: bytes, adaptation: Adaptation) -> None:
        """Keep an adapter; the checkpoint of its training goes.

        Raises:
            OSError: the disk is full or read-only.
        """
        (self.path / RECORD).unlink(missing_ok=True)
        write_adapter(self.path, file)
        record = {"sha256": hashlib.sha256(file).hexdigest(), "adaptation": codec.to_json(adaptation)}
        write_atomically(self.path / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        self.checkpoint.path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the adapter, and its folder where nothing else is in it."""
        if self.path.is_dir():
            for name in (RECORD, WEIGHTS, SETTINGS, CHECKPOINT):
                (self.path / name).unlink(missing_ok=True)
                (self.path / f"{name}.part").unlink(missing_ok=True)
            if not any(self.path.iterdir()):
                self.path.rmdir()
                sync_folder(self.path.parent)

    @property
    def is_activated(self) -> bool | None:
        """Whether the adapter does not act on the whole prompt; None where there is none that PEFT loads."""
        try:
            settings = json.loads((self.path / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        is_adapter = "peft_type" in settings and (self.path / RECORD).is_file()  # a scripted model's has no weights
        return bool(settings.get(ACTIVATED)) if is_adapter else None
