"""Two tools that are really run, and a conversation that needs both.

Inputs: the calls that a client's loop makes of them. Outputs: what they return, and a record of every call, by which
the conversation is judged: the right tools with the right arguments, in order, and words that hold no mark of a call.
"""

from __future__ import annotations

import re

FILM = "hidden bird"
TURNS = (
    f"give 4 stars to the film {FILM}",
    f"list when the film {FILM} is shown in Oslo",
    "tell me a joke",
)
"""What the user says; the last asks for nothing that a tool does."""
RIGHT = [("rate_film", {"film": FILM, "stars": 4}), ("list_showtimes", {"film": FILM, "city": "Oslo"})]
MOST_STEPS = 4
"""Requests that a loop may make for one turn."""
_MARK = re.compile(r"<\|?[a-z_/=,;]+\|?>|\[TOOL_CALLS\]|\{\s*\"name\"")


class Cinema:
    """A cinema's desk."""

    def __init__(self) -> None:
        """Nothing was asked of it."""
        self.ran: list[tuple[str, dict[str, object]]] = []

    def rate_film(self, film: str, stars: float) -> str:
        """give stars to a film you saw"""
        self.ran.append(("rate_film", {"film": film, "stars": stars}))
        return f"{film} has {stars:g} stars now"

    def list_showtimes(self, film: str, city: str) -> str:
        """list when a film is shown in a city"""
        self.ran.append(("list_showtimes", {"film": film, "city": city}))
        return f"{film} is shown in {city} at 20:00"

    def run(self, name: str, arguments: dict[str, object]) -> str:
        """The result of a call, for loops that are written by hand."""
        tools = {"rate_film": self.rate_film, "list_showtimes": self.list_showtimes}
        return str(tools[name](**arguments))  # type: ignore[arg-type]  # a wrong call is to fail

    def fault(self, words: list[str]) -> str | None:
        """What was wrong with a conversation, None where nothing was; `words` is what its user read."""
        if self.ran != RIGHT:
            return f"ran {self.ran}"
        marked = next((text for text in words if _MARK.search(text)), None)
        if marked is not None:
            return f"a mark of a call reached the user: {marked!r}"
        return None if words and words[-1].strip() else "the last question got no words"
