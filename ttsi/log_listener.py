"""A handler that hears the events of one log, such as the stages of the loop, whatever level others have asked for.

Inputs: the name of a log and a handler. Outputs: every record from INFO on to the handler for as long as a block lasts;
other handlers see what they saw before. The paper (arXiv:2510.07841) has no log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

STAGE_LOG = "ttsi.batch"
"""The name of the log with an event at the start of each stage, which has the stage and the number of inputs."""


@contextmanager
def listening_to(name: str, handler: logging.Handler) -> Iterator[None]:
    """Send the log's records to the handler for as long as the block lasts; blocks may be nested."""
    log = logging.getLogger(name)
    before = log.level, log.propagate
    others = _Others(log) if log.propagate else None
    log.setLevel(min(logging.INFO, log.getEffectiveLevel()))
    log.propagate = False
    for one in (handler, others):
        if one is not None:
            log.addHandler(one)
    try:
        yield
    finally:
        for one in (handler, others):
            if one is not None:
                log.removeHandler(one)
        log.setLevel(before[0])
        log.propagate = before[1]


class _Others(logging.Handler):
    """The handlers of the logs above, for the records that they would see without a listener."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__(log.getEffectiveLevel())
        self._parent = log.parent

    def emit(self, record: logging.LogRecord) -> None:
        if self._parent is not None:
            self._parent.callHandlers(record)
