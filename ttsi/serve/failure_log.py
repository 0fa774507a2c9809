"""The operator's log of failures in the server: the type of an exception and where it was raised.

Inputs: exceptions, with the stage. Outputs: a line each, without the text of the exception, which may hold a client's
words. Only what this package itself says about settings and objects of the operator's own stands there, too.
"""

from __future__ import annotations

import logging
import traceback

from ttsi.errors import ConfigError, TTSIError, WrongResult

log = logging.getLogger(__name__)

PLACES = 3
"""Places in the code that a line names, the innermost first: the last is seldom the operator's own."""


class FailureLog:
    """The failures of one request, a line each: one that passes several handlers, or is met again, is logged once."""

    def __init__(self) -> None:
        self._places: set[str] = set()  # no exceptions: these would keep tensors alive

    def report(self, stage: str, error: BaseException) -> None:
        """Log a failure at a stage."""
        line = describe_failure(error)
        place = line.partition(" < ")[0]
        if place not in self._places:
            self._places.add(place)
            log.warning("%s failed: %s", stage, line)


def describe_failure(error: BaseException) -> str:
    """Type, module and line of an exception, or of the one that it was raised from."""
    error = _origin(error)
    frames = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    places = " < ".join(f"{module}:{line}" for module, line in frames[: -PLACES - 1 : -1])
    is_ours = bool(frames) and frames[-1][0].partition(".")[0] == __name__.partition(".")[0]
    advice = ""
    if isinstance(error, WrongResult):
        advice = f": {error.without_value}"
    elif isinstance(error, ConfigError) and is_ours:
        advice = f": {error}"
    return f"{type(error).__name__} at {places or 'an unknown place'}{advice}"


def _origin(error: BaseException) -> BaseException:
    """What an exception was raised from; one of ours says itself what is wrong."""
    passed: set[int] = set()
    while not isinstance(error, TTSIError) and error.__cause__ is not None and id(error) not in passed:
        passed.add(id(error))
        error = error.__cause__
    return error
