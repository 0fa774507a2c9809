"""A library of adapters for each API key: no key can reach, count or time another's.

Inputs: the operator's settings, the name of a request's key. Outputs: that key's library, which is opened when it is
first needed. Without keys it is the operator's own folder. With keys each has a folder of its own below, which begins
with copies of the adapters that were admitted in the operator's. A library that cannot be opened is named in the log,
and its key is served as without one.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from ttsi.benchmarks import load as load_benchmark
from ttsi.config import LibraryConfig
from ttsi.errors import LibraryError
from ttsi.library import RETENTION_ROWS, AdapterLibrary, LibraryUse, learn, tools_hash, unfit_notice
from ttsi.library.adapter_library import INDEX, KEYS
from ttsi.library.entry import AdapterKey
from ttsi.library.exchange import give_admitted
from ttsi.library.stored_answers import fitting_entry
from ttsi.models import Model, adapter_keeper
from ttsi.serve.api_keys import LOCAL
from ttsi.serve.interruptible import DeadlineExceeded, InterruptibleModel, Interrupts, StageProgress
from ttsi.serve.pipe import AnswerJob, Outcome
from ttsi.types import Input

log = logging.getLogger(__name__)

MOST_OPEN = 16
"""Libraries that are open at the same time; then the one that was not used for longest is closed."""


class TenantLibraries:
    """The libraries of all keys; used by one thread."""

    def __init__(self, config: LibraryConfig | None, retention: Sequence[Input] = ()) -> None:
        """Libraries below a folder.

        Args:
            config: the settings, whose folder is the operator's library, with a folder per key, and whose `max_bytes`
                is a key's quota; None, or without a folder, is no library at all.
            retention: requests on whose answers no adapter may have much effect.
        """
        self._config, self._retention = config, retention
        self._open: OrderedDict[str, AdapterLibrary] = OrderedDict()
        self._too_long: set[tuple[str, str]] = set()  # (key, list of tools) of which learning took too long
        self._checked: set[str] = set()  # keys whose library was compared with the model

    @classmethod
    def for_keys(cls, config: LibraryConfig | None, model: Model) -> TenantLibraries:
        """The libraries of all keys, with the requests that their adapters may not change.

        Raises:
            TTSIError: these requests cannot be read, or the model's adapters cannot be kept.
        """
        if config is not None:
            adapter_keeper(model)
        tested = config is not None and config.admission == "tested"
        rows = load_benchmark(config.retention).samples if config is not None and tested else ()
        return cls(config, [row.input for row in rows[:RETENTION_ROWS]])

    def learn(self, model: Model, job: AnswerJob, outcome: Outcome, interrupts: Interrupts) -> bool:
        """Let the library of a job's key learn from what was answered; False where that was stopped or failed."""
        wanted = outcome.state == "answered" and outcome.fallback is None and bool(outcome.episodes)
        use = self.of(job.tenant) if wanted and job.config.adapt else None
        if use is None:
            return True
        if job.tenant not in self._checked and (notice := unfit_notice(use.library, model, job.config)):
            log.warning("library: %s", notice)
        self._checked.add(job.tenant)
        lesson = job.tenant, tools_hash(job.options.item.tools)
        if lesson in self._too_long:
            return True
        progress = StageProgress()
        learning = InterruptibleModel(model, interrupts, progress)
        try:
            with interrupts.allowing(DeadlineExceeded), use.library.step():
                learn(use, learning, [(job.options.item, outcome.episodes[0])], job.config)
            return True
        except DeadlineExceeded:
            self._too_long.add(lesson)
            log.warning("library: learning a list of tools took too long, and is not tried again: raise adapt-seconds")
            return False
        except Exception as error:
            progress.report(error)
            log.warning("library: nothing was learned from a request")
            return False

    def can_answer(self, model: Model, job: AnswerJob) -> bool:
        """Whether the library of a job's key has an adapter to try on it, which may answer without training."""
        use = self.of(job.tenant)
        if use is None:
            return False
        key = AdapterKey.of(model.describe(), job.config.adaptation)
        return fitting_entry(use.library, job.options.item, key, use.config) is not None

    def of(self, tenant: str) -> LibraryUse | None:
        """The library of a key; None where there is none, or it cannot be opened."""
        if self._config is None or self._config.folder is None:
            return None
        if tenant not in self._open:
            library = self._open_folder(self._config.folder, tenant)
            if library is None:
                return None
            self._open[tenant] = library
        self._open.move_to_end(tenant)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].close()
        return LibraryUse(self._open[tenant], self._config, self._retention, "serve")

    def close(self) -> None:
        """Close every library that is open."""
        for library in self._open.values():
            library.close()
        self._open.clear()

    def _open_folder(self, folder: Path, tenant: str) -> AdapterLibrary | None:
        try:
            library = AdapterLibrary(tenant_folder(folder, tenant))
        except LibraryError as error:
            log.warning("%s; this key is served without a library", error)
            return None
        try:
            if tenant != LOCAL and (folder / INDEX).is_file():
                with AdapterLibrary(folder, writable=False) as operators, library.step():
                    give_admitted(operators, library)
        except LibraryError as error:
            log.warning("%s; a key is served without the adapters of this library", error)
        return library


def tenant_folder(folder: Path, tenant: str) -> Path:
    """The folder of a key's library, in whose name the key's does not show; the operator's where there are no keys."""
    return folder if tenant == LOCAL else folder / KEYS / hashlib.sha256(tenant.encode()).hexdigest()[:16]
