"""The ticket desk of a railway: trains between cities, and the seats and meals that passengers booked.

Inputs: a state with the tables `trains` and `bookings`. Outputs: the tools of `TrainDesk`. The paper (arXiv:2510.07841)
has no environments.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ttsi.environments.simulators.simulator import Simulator, entry_name, existing, plain

TravelClass = Literal["first", "second"]
Meal = Literal["soup", "salad", "sandwich", "pasta"]


class TrainDesk(Simulator):
    """Trains of one day; a passenger has at most one seat in a train. Prices in whole euros."""

    TOOLS: ClassVar[tuple[str, ...]] = ("find_trains", "book_seat", "list_bookings", "cancel_seat", "order_meal")
    trains: dict[str, dict[str, Any]]
    """Number -> origin, destination, departure and price."""
    bookings: dict[str, dict[str, dict[str, str]]]
    """Passenger -> number of the train -> class and meal ("" for none)."""

    def find_trains(self, origin: str, destination: str) -> list[dict[str, Any]]:
        """find trains from one city to another"""
        cities = {end for train in self.trains.values() for end in (train["from"], train["to"])}
        route = entry_name(cities, origin, "city"), entry_name(cities, destination, "city")
        numbers = [number for number in self.trains if self._route(number) == route]
        rows = [{"train": number, **self._times(number)} for number in numbers]
        return sorted(rows, key=lambda row: str(row["departs"]))

    def book_seat(self, train: str, passenger: str, travel_class: TravelClass) -> str:
        """book a seat"""
        number = entry_name(self.trains, train, "train")
        name = existing(self.bookings, passenger) or plain(passenger)
        seats = self.bookings.setdefault(name, {})
        if number in seats and seats[number]["class"] == travel_class:
            raise ValueError(f"{name} has a {travel_class} class seat in {number} already")
        seats[number] = {"class": travel_class, "meal": seats.get(number, {}).get("meal", "")}
        return f"booked {number} for {name}"

    def list_bookings(self, passenger: str) -> list[dict[str, str]]:
        """list all bookings of a passenger"""
        seats = self.bookings[entry_name(self.bookings, passenger, "passenger")]
        return [{"train": number, "class": seats[number]["class"]} for number in sorted(seats)]

    def cancel_seat(self, train: str, passenger: str) -> str:
        """cancel a trip"""
        name, number = self._booking(train, passenger)
        del self.bookings[name][number]
        if not self.bookings[name]:
            del self.bookings[name]
        return f"cancelled {number} for {name}"

    def order_meal(self, train: str, passenger: str, meal: Meal) -> str:
        """order a meal on board"""
        name, number = self._booking(train, passenger)
        if self.bookings[name][number]["meal"] == meal:
            raise ValueError(f"{name} gets {meal} already")
        self.bookings[name][number]["meal"] = meal
        return f"{meal} for {name}"

    def _booking(self, train: str, passenger: str) -> tuple[str, str]:
        name = entry_name(self.bookings, passenger, "passenger")
        return name, entry_name(self.bookings[name], train, f"seat of {name} in")

    def _route(self, number: str) -> tuple[str, str]:
        return self.trains[number]["from"], self.trains[number]["to"]

    def _times(self, number: str) -> dict[str, Any]:
        return {key: self.trains[number][key] for key in ("departs", "price")}
