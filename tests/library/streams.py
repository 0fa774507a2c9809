"""Small streams over one list of tools, for the scripted demo and for the embedded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.worlds import TOOLS, few_everywhere, tool
from ttsi.chat.conversation import read_tools
from ttsi.config import LibraryConfig, LoopConfig
from ttsi.library import AdapterLibrary, LibraryUse, improve_with_library
from ttsi.models import Model
from ttsi.types import Episode, Input, Message

PLACES = ("Lima", "Rome", "Kyoto", "Paris", "Quito", "Cairo", "Oslo", "Delhi", "Lagos", "Hanoi", "Perth", "Turin")
QUESTIONS = tuple(f"Will there be rain and cold and an umbrella in {place}" for place in PLACES)
"""Requests that the demo gets wrong until it has learned a word of them."""
SONGS = read_tools([tool("sing", "Sing a song"), tool("dance", "Dance a dance")])
OTHER = Input("other", (Message("user", "Sing a song"),), SONGS)
"""A request with other tools."""


def inputs(questions: Sequence[str] = QUESTIONS) -> list[Input]:
    """One input a question, each with the same three tools."""
    tools = read_tools(TOOLS)
    return [Input(f"q{number}", (Message("user", text),), tools) for number, text in enumerate(questions)]


def answer(
    library: AdapterLibrary, items: Sequence[Input], model: Model, config: LoopConfig, **settings: object
) -> list[Episode]:
    """The stream one input after another, each in a step of its own."""
    changed: Any = settings
    use = LibraryUse(library, replace(LibraryConfig(folder=Path("library")), **changed), [OTHER], "test")
    episodes = []
    for item in items:
        with library.step(item.id):
            episodes += improve_with_library(use, [item], model, None, config)
    return episodes


def unsure_below(tau: float) -> LoopConfig:
    """Settings of the demo that judge by the mean log-probability of the answer."""
    config = few_everywhere()
    awareness = replace(config.awareness, gate="unsure", measure="answer_mean", tau=tau)
    return replace(config, awareness=awareness)


UNSURE = unsure_below(-0.3)
"""The base's answers to `QUESTIONS` lie below, those of an adapter that knows the word above."""
