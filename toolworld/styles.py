"""Phrasing styles of requests, and their split into training, validation and test.

A style (`Way`) is a frame round a core. The core is a hand-written phrasing of the tool ("ask") or a skeleton for any
tool: its short imperative and its arguments as key-value mentions. Some styles are trained for answering, others are
held out for validation or for test. Of the held-out ones, half appear when the model learns to write requests
("reverse") and half never do ("never"). Training to write also uses styles invented on the spot, so that the model
learns to imitate the style of the seed.

Inputs: a random generator and a split. Outputs: `Way` objects.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Seen = Literal["trained", "reverse", "never"]
ASK = "{ask}"


@dataclass(frozen=True)
class Skeleton:
    """A core for any tool: `text` with {short} and {pairs}, one `pair` per argument, joined by `join`."""

    text: str
    pair: str
    join: str


@dataclass(frozen=True)
class Way:
    """A frame with {core} and a core: None for a hand-written phrasing, else a skeleton."""

    frame: str
    skeleton: Skeleton | None
    seen: Seen


FRAMES: dict[str, tuple[str, ...]] = {
    "trained": (
        "{core}", "{core}", "{core}", "please {core}", "{core} please", "hi, {core}", "{core}, thanks", "hello. {core}",
        "hey, {core}", "i need help: {core}", "one thing, {core}", "quick question, {core}", "{core}!", "ok {core}",
        "so, {core}", "{core} if you can", "good morning, {core}", "{core} now",
    ),
    "validation-reverse": ("before i forget, {core}", "{core}, that is all for today"),
    "validation-never": ("my neighbour told me you can do it: {core}", "{core}. do not ask me why"),
    "test-reverse": ("last wish for tonight: {core}", "{core}, and then you may rest"),
    "test-never": (
        "it has been a long week and so {core}", "{core} because my sister keeps calling",
        "as agreed earlier, {core}",
    ),
}  # fmt: skip

SKELETONS: dict[str, tuple[Skeleton, ...]] = {
    "trained": (
        Skeleton("{short} with {pairs}", "{key} {value}", " and "),
        Skeleton("{short}, {pairs}", "{key} {value}", ", "),
        Skeleton("{short}, {pairs}", "{key} is {value}", ", "),
        Skeleton("{short}: {pairs}", "{key} = {value}", "; "),
        Skeleton("{short} ({pairs})", "{key}: {value}", ", "),
        Skeleton("i want to {short}. {pairs}", "the {key} is {value}", ", "),
        Skeleton("can you {short} with {pairs}?", "{key} {value}", " and "),
    ),
    "validation-reverse": (
        Skeleton("{pairs}: {short}", "{value} for {key}", ", "),
        Skeleton("{short} using {pairs}", "{value} as {key}", " plus "),
    ),
    "validation-never": (
        Skeleton("take {pairs} and {short}", "{value} ({key})", ", "),
        Skeleton("{short}, let {pairs}", "{key} be {value}", " and "),
    ),
    "test-reverse": (
        Skeleton("here you go: {pairs}. {short}", "{value} is the {key}", ", "),
        Skeleton("{short} and put {pairs}", "{value} under {key}", ", "),
        Skeleton("given {pairs}, {short}", "{key} of {value}", " and "),
    ),
    "test-never": (
        Skeleton("{pairs} - {short}", "{key} -> {value}", " / "),
        Skeleton("{short}. {pairs}", "i chose {value} as its {key}", ", "),
        Skeleton("{short} where {pairs}", "{value} makes the {key}", " and "),
    ),
}
WORDLESS = (
    Skeleton("{pairs}", "{key} {value}", ", "),
    Skeleton("{pairs}", "{key} {value}", " and "),
    Skeleton("{pairs}", "{value} {key}", ", "),
    Skeleton("{pairs}", "the {key} is {value}", ", "),
)
"""Cores with the arguments only, without the action."""
_FILLERS = (
    "so then well also just now here there go do make let use want need take give set put get have see say with from "
    "under over by into near after before while since once maybe really kindly simply first next still only"
).split()


def _pick(split: str, rng: random.Random) -> Way:
    seen: Seen = "trained" if split == "trained" else "reverse" if split.endswith("reverse") else "never"
    if rng.random() < 0.5:
        return Way(rng.choice(FRAMES["trained"]), rng.choice(SKELETONS[split]), seen)
    return Way(rng.choice(FRAMES[split]), None, seen)


def trained_way(rng: random.Random) -> Way:
    """A way of asking that answering is trained on."""
    return _pick("trained", rng)


def wordless_way(rng: random.Random) -> Way:
    """A trained frame round keys and values only."""
    return Way(rng.choice(FRAMES["trained"]), rng.choice(WORDLESS), "trained")


def held_out_way(split: Literal["validation", "test"], rng: random.Random) -> Way:
    """A way of asking that answering is never trained on; half of them are met in writing."""
    return _pick(f"{split}-{rng.choice(['reverse', 'never'])}", rng)


def writing_way(rng: random.Random) -> Way:
    """A way of asking for writing: trained, held out in reverse, or made up on the spot."""
    roll = rng.random()
    if roll < 0.35:
        return trained_way(rng)
    if roll < 0.55:
        return _pick(rng.choice(["validation-reverse", "test-reverse"]), rng)
    return _made_up_way(rng)


def _made_up_way(rng: random.Random) -> Way:
    def filler(low: int, high: int) -> str:
        return " ".join(rng.choice(_FILLERS) for _ in range(rng.randint(low, high)))

    if rng.random() < 0.4:
        frame = f"{filler(1, 4)}, {{core}}" if rng.random() < 0.5 else f"{{core}} {filler(1, 4)}"
        return Way(frame, None, "reverse")
    pair = rng.choice(["{key} F {value}", "{value} F {key}", "F {value} F {key}", "F {key} {value}", "{value} {key}"])
    while "F" in pair:
        pair = pair.replace("F", filler(1, 2), 1)
    order = rng.choice(["{short} F {pairs}", "{pairs} F {short}", "{short}, {pairs}", "F {pairs}. {short}"])
    skeleton = Skeleton(order.replace("F", filler(1, 2)), pair, rng.choice([", ", " and ", "; ", " / ", " plus "]))
    return Way("{core}", skeleton, "reverse")
