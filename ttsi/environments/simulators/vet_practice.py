"""A veterinary practice: animals with their owners, visits of one week, weights and vaccines.

Inputs: a state with the tables `animals` and `visits`. Outputs: the tools of `VetPractice`. The paper
(arXiv:2510.07841) has no environments.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ttsi.environments.simulators.simulator import Simulator, entry_name
from ttsi.environments.simulators.times import clock_time

PracticeDay = Literal["monday", "tuesday", "wednesday", "thursday", "friday"]
Vaccine = Literal["rabies", "flu", "fever", "tetanus"]


class VetPractice(Simulator):
    """Animals by their name; an animal has at most one visit, and no two visits begin at the same time."""

    TOOLS: ClassVar[tuple[str, ...]] = (
        "find_animals",
        "list_visits",
        "book_visit",
        "cancel_visit",
        "record_weight",
        "give_vaccine",
    )
    animals: dict[str, dict[str, Any]]
    """Name -> species, owner, kilos and vaccines."""
    visits: dict[str, dict[str, str]]
    """Animal -> day and time."""

    def find_animals(self, owner: str) -> list[dict[str, Any]]:
        """find all animals of an owner"""
        person = entry_name({animal["owner"] for animal in self.animals.values()}, owner, "owner")
        names = [name for name in sorted(self.animals) if self.animals[name]["owner"] == person]
        return [{"animal": name, "species": self.animals[name]["species"]} for name in names]

    def list_visits(self, day: PracticeDay) -> list[dict[str, str]]:
        """list who comes on a day"""
        of_day = [{"animal": name, "time": visit["time"]} for name, visit in self.visits.items() if visit["day"] == day]
        return sorted(of_day, key=lambda visit: visit["time"])

    def book_visit(self, animal: str, day: PracticeDay, time: str) -> str:
        """book a visit to the vet"""
        name, visit = entry_name(self.animals, animal, "animal"), {"day": day, "time": clock_time(time)}
        if visit in self.visits.values():
            raise ValueError(f"{day} {visit['time']} is taken")
        self.visits[name] = visit
        return f"booked {name} on {day} at {visit['time']}"

    def cancel_visit(self, animal: str) -> str:
        """cancel a visit"""
        name = entry_name(self.visits, animal, "visit of")
        del self.visits[name]
        return f"cancelled the visit of {name}"

    def record_weight(self, animal: str, kilos: int) -> str:
        """record the weight in kilos"""
        name = entry_name(self.animals, animal, "animal")
        if not 1 <= kilos <= 900 or kilos == self.animals[name]["kilos"]:
            raise ValueError(f"{name} has {self.animals[name]['kilos']} kilos in the file; give another from 1 to 900")
        self.animals[name]["kilos"] = kilos
        return f"{name} weighs {kilos} kilos"

    def give_vaccine(self, animal: str, vaccine: Vaccine) -> str:
        """note a vaccine"""
        name = entry_name(self.animals, animal, "animal")
        if vaccine in self.animals[name]["vaccines"]:
            raise ValueError(f"{name} has had {vaccine} already")
        self.animals[name]["vaccines"] = sorted([*self.animals[name]["vaccines"], vaccine])
        return f"{name} was given {vaccine}"
