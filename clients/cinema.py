"""Two tools that really run, and a conversation that needs both.

Inputs: the calls of a client's loop. Outputs: their results, and a record of every call. The record decides whether the
conversation was right: the right tools with the right arguments, in order, and text without any mark of a call.
"""

from __future__ import annotations

import re

FILM = "hidden bird"
TURNS = (
    f"give 4 stars to the film {FILM}",
    f"list when the film {FILM} is shown in Oslo",
    "tell me a joke",
)
"""The user's turns; the last one needs no tool."""
RIGHT = [("rate_film", {"film": FILM, "stars": 4}), ("list_showtimes", {"film": FILM, "city": "Oslo"})]
MOST_STEPS = 4
"""Most requests of a loop for one turn."""
_MARK = re.compile(r"<\|?[a-z_/=,;]+\|?>|\[TOOL_CALLS\]|\{\s*\"name\"")


class Cinema:
    """The tools of a cinema, and a record of their calls."""

    def __init__(self) -> None:
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
        """The result of a call, for hand-written loops."""
        tools = {"rate_film": self.rate_film, "list_showtimes": self.list_showtimes}
        return str(tools[name](**arguments))  # type: ignore[arg-type]  # a wrong call must fail

    def fault(self, words: list[str]) -> str | None:
        """The first error of a conversation, or None; `words` is the text that its user read."""
        if self.ran != RIGHT:
            return f"ran {self.ran}"
        marked = next((text for text in words if _MARK.search(text)), None)
        if marked is not None:
            return f"a mark of a call reached the user: {marked!r}"
        return None if words and words[-1].strip() else "the last turn got no text"
