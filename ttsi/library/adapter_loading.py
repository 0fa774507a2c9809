"""Adapters of a library on the model, for as long as a block lasts.

Inputs: adapters' files by the ids of their entries. Outputs: their places. Nothing is merged, and an adapter that the
model refuses costs the others nothing.

The paper (arXiv:2510.07841) has one adapter at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ttsi.config import AdaptationConfig
from ttsi.errors import ModelError
from ttsi.library.adapter_library import AdapterLibrary
from ttsi.models import Model, adapter_keeper

log = logging.getLogger(__name__)


@contextmanager
def stored_adapters(
    library: AdapterLibrary, model: Model, files: Mapping[str, bytes], config: AdaptationConfig
) -> Iterator[dict[str, int]]:
    """Put adapters on the model for a block. Id of an entry -> its place.

    An adapter that does not fit is evicted, and has no place.

    Raises:
        ModelError: each fits alone, but not all together.
    """
    with ExitStack() as block:
        yield _load(block, library, model, files, config)


def _load(
    block: ExitStack, library: AdapterLibrary, model: Model, files: Mapping[str, bytes], config: AdaptationConfig
) -> dict[str, int]:
    keeper = adapter_keeper(model)
    try:
        block.enter_context(keeper.with_adapters(list(files.values()), config))
        return {id_: place for place, id_ in enumerate(files)}
    except ModelError as error:
        if len(files) == 1:
            [misfit] = files
            log.warning("library: entry %s is not used: %s", misfit, error)
            library.evict(library.entry(misfit), "it does not fit its model")
            return {}
        fitting = {}
        for id_, file in files.items():
            with ExitStack() as alone:
                if _load(alone, library, model, {id_: file}, config):
                    fitting[id_] = file
        if len(fitting) == len(files):
            raise
    return _load(block, library, model, fitting, config)
