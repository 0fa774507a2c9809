"""A calendar of one week: events with a day, a time and guests.

Inputs: a state with the table `events`. Outputs: the tools of `CalendarApp`. The paper (arXiv:2510.07841) has no
environments.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ttsi.environments.simulators.simulator import Simulator, entry_name, existing, plain
from ttsi.environments.simulators.times import clock_time

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday"]


class CalendarApp(Simulator):
    """Events of one week; a title stands once, and no two events have the same day and time."""

    TOOLS: ClassVar[tuple[str, ...]] = ("list_events", "add_event", "move_event", "cancel_event", "invite_guest")
    events: dict[str, dict[str, Any]]
    """Title -> day, time and guests."""

    def list_events(self, day: Day) -> list[dict[str, Any]]:
        """list the events of a day"""
        of_day = [{"title": title, "time": e["time"]} for title, e in self.events.items() if e["day"] == day]
        return sorted(of_day, key=lambda event: str(event["time"]))

    def add_event(self, title: str, day: Day, time: str) -> str:
        """add a new event"""
        if existing(self.events, title):
            raise ValueError(f"there is an event {plain(title)} already")
        self.events[plain(title)] = {"day": day, "time": self._free_time(day, time), "guests": []}
        return f"added {plain(title)}"

    def move_event(self, title: str, day: Day, time: str) -> str:
        """move an event to another day"""
        name = entry_name(self.events, title, "event")
        self.events[name].update(time=self._free_time(day, time), day=day)
        return f"moved {name}"

    def cancel_event(self, title: str) -> str:
        """cancel an event"""
        name = entry_name(self.events, title, "event")
        del self.events[name]
        return f"cancelled {name}"

    def invite_guest(self, title: str, guest: str) -> str:
        """invite a guest"""
        name = entry_name(self.events, title, "event")
        if existing(self.events[name]["guests"], guest):
            raise ValueError(f"{plain(guest)} is invited already")
        self.events[name]["guests"] = sorted([*self.events[name]["guests"], plain(guest)])
        return f"invited {plain(guest)}"

    def _free_time(self, day: str, time: str) -> str:
        start = clock_time(time)
        taken = [title for title, event in self.events.items() if (event["day"], event["time"]) == (day, start)]
        if taken:
            raise ValueError(f"{day} {start} is taken by {taken[0]}")
        return start
