"""A listener of a log hears all of it, and changes nothing for others."""

from __future__ import annotations

import logging

import pytest

from ttsi.log_listener import listening_to

NAME = "ttsi.listened"
LOG = logging.getLogger(NAME)


class Heard(logging.Handler):
    """What a handler was given."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


@pytest.mark.parametrize(("level", "others"), [("WARNING", ["odd"]), ("INFO", ["stage", "odd"])])
def test_the_listener_hears_events_and_others_what_they_asked_for(level: str, others: list[str]) -> None:
    logging.getLogger("ttsi").setLevel(level)
    above, first, second = Heard(), Heard(), Heard()
    logging.getLogger("ttsi").addHandler(above)
    try:
        with listening_to(NAME, first), listening_to(NAME, second):
            LOG.info("stage")
            LOG.warning("odd")
        LOG.info("later")
    finally:
        logging.getLogger("ttsi").removeHandler(above)
    assert first.words == second.words == ["stage", "odd"]
    assert above.words == [*others, *(["later"] if level == "INFO" else [])], "each once"


def test_control_the_log_is_as_it_was() -> None:
    LOG.setLevel(logging.ERROR)
    try:
        with pytest.raises(ValueError, match="inside"), listening_to(NAME, Heard()):
            raise ValueError("inside")
        assert (LOG.level, LOG.propagate, LOG.handlers) == (logging.ERROR, True, [])
    finally:
        LOG.setLevel(logging.NOTSET)
