"""The library of a run: opened for as long as the run goes on, with the requests on which its adapters are held back.

Inputs: settings, a model. Outputs: a `LibraryUse`, or None where the run has no library. The batches of a run with
a library are done in the order of the plan, one after the other, because each is answered by what came before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ttsi.benchmarks import load as load_benchmark
from ttsi.config import MethodConfig
from ttsi.errors import ConfigError, LibraryError
from ttsi.models import Model, adapter_keeper
from ttsi.runs.store import Store

if TYPE_CHECKING:
    from ttsi.library import LibraryUse

log = logging.getLogger(__name__)


@contextmanager
def run_library(
    config: MethodConfig,
    model: Model,
    origin: str,
    data: Path | None = None,
    *,
    in_order: bool = True,
    retry_failed: bool = False,
) -> Iterator[LibraryUse | None]:
    """The library of a run, open; None where it has none.

    Args:
        config: the settings.
        model: the model that answers.
        origin: the name of the run, for the library's record.
        data: the folder with downloaded benchmarks, where the retention set is one.
        in_order: False where batches are done out of order.
        retry_failed: inputs that failed are to be tried again.

    Raises:
        ConfigError: the method trains no adapters, or the batches would not be done in order.
        ModelError: the model does not run in this process.
        LibraryError: the folder is in use, damaged, or cannot be written.
    """
    settings = config.library
    if settings.folder is None:
        yield None
        return
    from ttsi.library import RETENTION_ROWS, AdapterLibrary, LibraryUse, check_library, empty_notice, unfit_notice

    check_library(config.loop)
    adapter_keeper(model)
    if not in_order:
        raise ConfigError("--library answers each batch by what came before it: leave --num-workers and --ray out")
    if retry_failed:
        raise ConfigError("--library learned from inputs behind the failed ones: leave --retry-failed out")
    rows = load_benchmark(settings.retention, data).samples if settings.admission == "tested" else ()
    with AdapterLibrary(settings.folder) as library:
        for notice in (empty_notice(library), unfit_notice(library, model, config.loop)):
            if notice:
                log.warning("library: %s", notice)
        yield LibraryUse(library, settings, [row.input for row in rows[:RETENTION_ROWS]], origin)


def library_state(use: LibraryUse | None) -> dict[str, str]:
    """The part of config.json about a run's library as the run began: new, or used before; nothing without one."""
    if use is None:
        return {}
    is_new = not use.library.entries and not use.library.last_tag
    return {"library": "new" if is_new else "used before"}


def check_unchanged(use: LibraryUse, store: Store) -> None:
    """Refuse to go on with a run whose library has learned from others since, or is another one.

    Raises:
        LibraryError: the last thing that the library learned is not from this run.
    """
    if store.keys() and not use.library.last_tag.startswith(f"{store.run_id()}/"):
        raise LibraryError(
            f"{use.library.folder} is not as this run left it, so that the answers would not be those of one run: "
            "start over with --clean and a new --library"
        )
