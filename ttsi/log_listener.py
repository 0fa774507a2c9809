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
    """Send the log's records to the handler for as long as the block lasts."""
    log = logging.getLogger(name)
    before = log.level, log.propagate
    log.propagate = log.isEnabledFor(logging.INFO)
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
