"""The loop as a key of the server has it: alone, with the key's library, or with the adapters of its turns.

Inputs: one input with its settings and the base's answer. Outputs: its episode.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from ttsi.config import LoopConfig
from ttsi.errors import LibraryError
from ttsi.library import LibraryUse, answer_with_library
from ttsi.loop import improve
from ttsi.models import Model
from ttsi.types import Answer, Episode, Input

log = logging.getLogger(__name__)

Improver = Callable[[Input, Model, LoopConfig, int, Sequence[Answer]], Episode]
"""(input, model, settings, repeat, the base's answer) -> episode."""


def improve_alone(item: Input, model: Model, config: LoopConfig, repeat: int, answers: Sequence[Answer]) -> Episode:
    """The loop as it is: everything that was learned is dropped behind the answer."""
    return improve([item], model, None, config, repeat, answers)[0]


def improve_with_library(
    use: LibraryUse,
    item: Input,
    model: Model,
    config: LoopConfig,
    repeat: int,
    answers: Sequence[Answer],
) -> Episode:
    """With the library's adapters, as far as it can be used."""
    try:
        with use.library.step():
            return answer_with_library(use, [item], model, None, config, repeat, answers)[0]
    except LibraryError as error:
        log.warning("%s; this request is answered without a library", error)
    return improve_alone(item, model, config, repeat, answers)


def improver_of(use: LibraryUse | None) -> Improver:
    """With this library, or alone."""
    return improve_alone if use is None else partial(improve_with_library, use)
