"""Models whose temporary adapters start from files, or are kept as files.

    StartedFrom       its jobs start from stored adapters; a job's seed, which is its input's own, names its file, so
                      that the file stays with its job where a batch is tried again input by input
    AdapterRecorder   keeps the file of every adapter that it trains
    adapter_config    PEFT's settings, from the header of such a file
    write_adapter     a folder that PEFT loads, from such a file

Inputs: a model, adapters as safetensors files. Outputs: the same model. The paper (arXiv:2510.07841) starts each
adapter fresh and keeps none.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ttsi.atomic import write_atomically
from ttsi.config import AdaptationConfig
from ttsi.errors import first_line
from ttsi.models.protocol import ADAPTER_CONFIG, Jobs, Model, ModelWrapper, Starts, adapter_keeper
from ttsi.types import Adaptation, TrainingExample

log = logging.getLogger(__name__)

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
"""The files of PEFT's folder."""
ACTIVATED = "alora_invocation_tokens"
"""PEFT's setting of an adapter that does not act on the whole prompt (`adaptation.scope` suffix)."""


class StartedFrom(ModelWrapper):
    """A model whose jobs start from these files, by their seeds; a job without one starts fresh."""

    def __init__(self, model: Model, files: Mapping[int, bytes]) -> None:
        super().__init__(model)
        self._files = files

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """See `Model.adapted`."""
        files = [self._files.get(seed) for seed in seeds]
        return adapter_keeper(self._model).adapted_from(files, jobs, config, seeds)


class AdapterRecorder(ModelWrapper):
    """A model that keeps the file of every adapter that it trains, by the adapter's SHA-256."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.files: dict[str, bytes] = {}

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """See `Model.adapted`."""
        return self._recorded(self._model.adapted(jobs, config, seeds))

    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """See `KeepsAdapters`."""
        return self._recorded(super().adapted_from(files, jobs, config, seeds))

    @contextmanager
    def _recorded(self, block: AbstractContextManager[list[Adaptation]]) -> Iterator[list[Adaptation]]:
        with block as outcomes:
            for index, outcome in enumerate(outcomes):
                if outcome.status == "trained":
                    try:
                        self.files[outcome.adapter_sha256] = adapter_keeper(self._model).adapter_file(index)
                    except Exception as error:  # the answer does not depend on the file
                        log.warning("an adapter is not kept (%s: %s)", type(error).__name__, first_line(error))
            yield outcomes


def adapter_config(file: bytes) -> dict[str, Any]:
    """PEFT's settings, from the header of a safetensors file.

    Raises:
        ValueError: the header is damaged, or holds none.
    """
    try:
        [length] = struct.unpack_from("<Q", file)
        header = json.loads(file[8 : 8 + length])
        settings: dict[str, Any] = json.loads(header["__metadata__"][ADAPTER_CONFIG])
    except (struct.error, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"no adapter_config in the header of the adapter: {error}") from None
    return settings


def write_adapter(folder: Path, file: bytes) -> None:
    """Write an adapter as the folder that `peft.PeftModel.from_pretrained` loads; it is made where it does not exist.

    Raises:
        OSError: the disk is full or read-only.
        ValueError: the header of the file holds no settings.
    """
    settings = json.dumps(adapter_config(file), indent=2) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS, file)
    write_atomically(folder / SETTINGS, settings)
