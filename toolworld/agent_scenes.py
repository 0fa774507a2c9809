"""The worlds of the agent tasks: the state in which a task begins, and the values that a request may name.

Inputs: word lists, a simulator in its present state, the values that are chosen already, a random generator. Outputs: a
state for each simulator, and for each slot of a plan a value that fits the state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from toolworld.values import nonsense_word

Words = Mapping[str, list[Any]]
Given = Mapping[str, Any]
Slot = Callable[[Any, Given, Words, random.Random], Any]
"""A value of a slot; raises LookupError where the state has none."""


def draw_state(name: str, words: Words, rng: random.Random) -> dict[str, Any]:
    """The state of a simulator in which a task begins."""
    return _STATES[name](words, rng)


def draw_slot(simulator: str, slot: str, sim: Any, given: Given, words: Words, rng: random.Random) -> Any:
    """A value for a slot: by the rule of its name, or one of the words of its name.

    Raises:
        LookupError: the state has no such value.
    """
    rules = SLOTS[simulator]
    return rules[slot](sim, given, words, rng) if slot in rules else rng.choice(words[slot])


def _files(words: Words, rng: random.Random) -> dict[str, Any]:
    folders = rng.sample(words["folder"], 3)
    names, texts = rng.sample(words["name"], 5), rng.sample(words["text"], 5)
    files = {name: {"folder": rng.choice(folders), "text": text} for name, text in zip(names, texts, strict=True)}
    return {"folders": folders, "files": files}


def _calendar(words: Words, rng: random.Random) -> dict[str, Any]:
    days = rng.sample(words["day"], 3)
    times = rng.sample(words["time"], 5)
    titles = rng.sample(words["title"], 5)
    guests = [sorted(rng.sample(words["person"], rng.choice([0, 0, 1, 2]))) for _ in titles]
    rows = zip(titles, times, guests, strict=True)
    return {"events": {title: {"day": rng.choice(days), "time": time, "guests": who} for title, time, who in rows}}


def _shop(words: Words, rng: random.Random) -> dict[str, Any]:
    brands, names = rng.sample(words["brand"], 2), rng.sample(words["product"], 6)
    catalogue = {name: {"brand": brands[place % 2], "price": rng.randint(6, 240)} for place, name in enumerate(names)}
    basket = {name: rng.choice(words["quantity"]) for name in rng.sample(names, rng.choice([2, 2, 3]))}
    return {"catalogue": catalogue, "basket": basket, "orders": []}


def _mailbox(words: Words, rng: random.Random) -> dict[str, Any]:
    people = rng.sample(words["person"], 6)
    subjects, texts = rng.sample(words["subject"], 5), rng.sample(words["text"], 5)
    messages = {
        subject: {"sender": person, "folder": rng.choice(["inbox", "inbox", "archive", "trash"]), "text": text}
        for subject, person, text in zip(subjects, people, texts, strict=False)
    }
    contacts = {person: _address(words, rng) for person in people[2:]}
    return {"messages": messages, "contacts": contacts, "sent": []}


def _address(words: Words, rng: random.Random) -> str:
    return f"{nonsense_word(rng)}@{rng.choice(words['host'])}"


def _library(words: Words, rng: random.Random) -> dict[str, Any]:
    members, authors = rng.sample(words["person"], 5), rng.sample(words["author"], 3)
    books = {}
    for title in rng.sample(words["title"], 6):
        borrower = rng.choice(members[:3]) if rng.random() < 0.55 else ""
        weeks = rng.choice([2, 2, 3, 4]) if borrower else 0
        books[title] = {"author": rng.choice(authors), "borrower": borrower, "weeks": weeks, "waiting": []}
    return {"books": books, "members": members}


def _bank(words: Words, rng: random.Random) -> dict[str, Any]:
    accounts = {
        name: {"balance": rng.randint(3, 60) * 50, "limit": rng.choice([200, 500, 800]), "locked": rng.random() < 0.3}
        for name in words["account"]
    }
    days = rng.sample(words["day"], 3)
    billers = rng.sample(words["biller"], 3)
    bills = {name: {"amount": rng.randint(12, 160), "due": day} for name, day in zip(billers, days, strict=True)}
    return {"accounts": accounts, "bills": bills, "transfers": [], "payments": []}


def _trains(words: Words, rng: random.Random) -> dict[str, Any]:
    first, second, third = rng.sample(words["city"], 3)
    routes = [(first, second)] * 3 + [(second, third), (third, first)]
    numbers, times = rng.sample(words["number"], 5), rng.sample(words["time"], 5)
    trains = {
        number: {"from": start, "to": end, "departs": time, "price": rng.randint(9, 95)}
        for number, time, (start, end) in zip(numbers, times, routes, strict=True)
    }
    bookings: dict[str, Any] = {}
    for person in rng.sample(words["person"], 3):
        seats = rng.sample(numbers, rng.choice([1, 1, 2]))
        bookings[person] = {number: {"class": rng.choice(words["class"]), "meal": ""} for number in seats}
    return {"trains": trains, "bookings": bookings}


def _vet(words: Words, rng: random.Random) -> dict[str, Any]:
    owners = rng.sample(words["person"], 3)
    animals = {
        name: {
            "species": rng.choice(words["species"]),
            "owner": owner,
            "kilos": rng.randint(1, 70),
            "vaccines": sorted(rng.sample(words["vaccine"], rng.choice([0, 1, 2]))),
        }
        for name, owner in zip(rng.sample(words["name"], 6), owners * 2, strict=True)
    }
    days, times = rng.sample(words["day"], 2), rng.sample(words["time"], 4)
    visits = {
        name: {"day": rng.choice(days), "time": time} for name, time in zip(list(animals)[:4], times, strict=True)
    }
    return {"animals": animals, "visits": visits}


_STATES: dict[str, Callable[[Words, random.Random], dict[str, Any]]] = {
    "files": _files,
    "calendar": _calendar,
    "shop": _shop,
    "mailbox": _mailbox,
    "library": _library,
    "bank": _bank,
    "trains": _trains,
    "vet": _vet,
}


def _where(table: Mapping[str, Mapping[str, Any]], **values: Any) -> list[str]:
    """The names of the entries that have these values, sorted."""
    return sorted(name for name, entry in table.items() if all(entry[key] == value for key, value in values.items()))


def _only(names: Iterable[Any]) -> Any:
    """The one element of a list that has no other."""
    elements = list(names)
    if len(elements) != 1:
        raise LookupError("not one")
    return elements[0]


def _extreme(rows: Iterable[tuple[Any, str]], largest: bool) -> str:
    """The name with the smallest or largest key among at least two, where no other has the same key."""
    ordered = sorted(rows, reverse=largest)
    if len(ordered) < 2 or ordered[0][0] == ordered[1][0]:
        raise LookupError("no extreme")
    return ordered[0][1]


def _end(names: list[str], place: int) -> str:
    """The first or last of at least two names."""
    if len(names) < 2:
        raise LookupError("no list")
    return names[place]


def _values_with(count: Callable[[int], bool], values: list[str], rng: random.Random) -> str:
    """A value that occurs so often."""
    return rng.choice([value for value in sorted(set(values)) if count(values.count(value))])


def _new(words: list[Any], present: Iterable[Any], rng: random.Random) -> Any:
    """A word that is not present."""
    taken = set(present)
    return rng.choice([word for word in words if word not in taken])


def _in_folder(sim: Any, given: Given) -> list[str]:
    table = sim.files if hasattr(sim, "files") else sim.messages
    return _where(table, folder=given["folder"])


def _folders_of(table: Mapping[str, Mapping[str, Any]], key: str = "folder") -> list[str]:
    return [str(entry[key]) for entry in table.values()]


def _rare_words(sim: Any) -> list[str]:
    spoken = [word for file in sim.files.values() for word in sorted(set(file["text"].split())) if len(word) > 3]
    return sorted(word for word in spoken if spoken.count(word) == 1)


def _day_events(sim: Any, day: str) -> list[str]:
    table = sim.events if hasattr(sim, "events") else sim.visits
    return sorted(_where(table, day=day), key=lambda name: str(table[name]["time"]))


def _free_time(sim: Any, g: Given, words: Words, rng: random.Random) -> str:
    """A time that the day of the request has free, and that no value of the request has."""
    table = sim.events if hasattr(sim, "events") else sim.visits
    return str(_new(words["time"], [entry["time"] for entry in table.values()], rng))


def _of_brand(sim: Any, g: Given) -> list[tuple[int, str]]:
    return [(sim.catalogue[name]["price"], name) for name in _where(sim.catalogue, brand=g["brand"])]


def _route(sim: Any, g: Given) -> list[str]:
    return _where(sim.trains, **{"from": g["origin"], "to": g["destination"]})


def _busy_origins(sim: Any) -> list[str]:
    routes = [(train["from"], train["to"]) for train in sim.trains.values()]
    return sorted({start for start, end in routes if routes.count((start, end)) > 1})


def _books(sim: Any, g: Given, out: bool) -> list[str]:
    return [title for title in _where(sim.books, author=g["author"]) if bool(sim.books[title]["borrower"]) == out]


def _authors_with_one(sim: Any, out: bool) -> list[str]:
    authors = sorted({book["author"] for book in sim.books.values()})
    return [author for author in authors if len(_books(sim, {"author": author}, out)) == 1]


def _borrowers(sim: Any) -> list[str]:
    return [book["borrower"] for book in sim.books.values() if book["borrower"]]


_FILES: dict[str, Slot] = {
    "file": lambda s, g, w, r: r.choice(sorted(s.files)),
    "new_file": lambda s, g, w, r: _new(w["name"], s.files, r),
    "full_folder": lambda s, g, w, r: r.choice(sorted(set(_folders_of(s.files)))),
    "crowded_folder": lambda s, g, w, r: _values_with(lambda n: n > 1, _folders_of(s.files), r),
    "other_folder": lambda s, g, w, r: _new(
        s.folders, [s.files[g["name"]]["folder"]] if g["name"] in s.files else [], r
    ),
    "word": lambda s, g, w, r: r.choice(_rare_words(s)),
    "rare_word": lambda s, g, w, r: r.choice(_rare_words(s)),
    "mention": lambda s, g, w, r: _only(n for n in s.files if g["word"] in s.files[n]["text"].split()),
    "biggest": lambda s, g, w, r: _extreme([(len(s.files[n]["text"]), n) for n in _in_folder(s, g)], True),
    "smallest": lambda s, g, w, r: _extreme([(len(s.files[n]["text"]), n) for n in _in_folder(s, g)], False),
    "first_inside": lambda s, g, w, r: _end(_in_folder(s, g), 0),
    "last_inside": lambda s, g, w, r: _end(_in_folder(s, g), -1),
}
_CALENDAR: dict[str, Slot] = {
    "event": lambda s, g, w, r: r.choice(sorted(s.events)),
    "new_event": lambda s, g, w, r: _new(w["title"], s.events, r),
    "full_day": lambda s, g, w, r: r.choice(sorted(set(_folders_of(s.events, "day")))),
    "crowded_day": lambda s, g, w, r: _values_with(lambda n: n > 1, _folders_of(s.events, "day"), r),
    "another_day": lambda s, g, w, r: _new(w["day"], [g["other"]], r),
    "free_time": _free_time,
    "new_guest": lambda s, g, w, r: _new(w["person"], s.events.get(g["title"], {"guests": []})["guests"], r),
    "first_event": lambda s, g, w, r: _end(_day_events(s, g["day"]), 0),
    "last_event": lambda s, g, w, r: _end(_day_events(s, g["day"]), -1),
    "first_of_other": lambda s, g, w, r: _end(_day_events(s, g["other"]), 0),
    "some_event": lambda s, g, w, r: r.choice(_day_events(s, g["day"])),
    "its_time": lambda s, g, w, r: s.events[g["title"]]["time"],
}
_SHOP: dict[str, Slot] = {
    "brand_on_sale": lambda s, g, w, r: r.choice(sorted(set(_folders_of(s.catalogue, "brand")))),
    "new_product": lambda s, g, w, r: _new(sorted(s.catalogue), s.basket, r),
    "in_basket": lambda s, g, w, r: r.choice(sorted(s.basket)),
    "other_quantity": lambda s, g, w, r: _new(w["quantity"], [s.basket.get(g["product"])], r),
    "cheapest": lambda s, g, w, r: _extreme(_of_brand(s, g), False),
    "dearest": lambda s, g, w, r: _extreme(_of_brand(s, g), True),
    "any_of_brand": lambda s, g, w, r: r.choice(_of_brand(s, g))[1],
    "its_price": lambda s, g, w, r: _only({s.catalogue[g["product"]]["price"]}),
    "dearest_in_basket": lambda s, g, w, r: _extreme([(s.catalogue[n]["price"], n) for n in s.basket], True),
}
_MAILBOX: dict[str, Slot] = {
    "message": lambda s, g, w, r: r.choice(sorted(s.messages)),
    "full_folder": lambda s, g, w, r: r.choice(sorted(set(_folders_of(s.messages)))),
    "lone_folder": lambda s, g, w, r: _values_with(lambda n: n == 1, _folders_of(s.messages), r),
    "only_message": lambda s, g, w, r: _only(_in_folder(s, g)),
    "some_message": lambda s, g, w, r: r.choice(_in_folder(s, g)),
    "its_sender": lambda s, g, w, r: s.messages[g["subject"]]["sender"],
    "other_folder": lambda s, g, w, r: _new(w["folder"], [s.messages[g["subject"]]["folder"]], r),
    "contact": lambda s, g, w, r: r.choice(sorted(s.contacts)),
    "its_address": lambda s, g, w, r: s.contacts[g["name"]],
    "new_contact": lambda s, g, w, r: _new(w["person"], s.contacts, r),
    "new_address": lambda s, g, w, r: _address(w, r),
    "first_inside": lambda s, g, w, r: _end(_in_folder(s, g), 0),
    "last_inside": lambda s, g, w, r: _end(_in_folder(s, g), -1),
}
_LIBRARY: dict[str, Slot] = {
    "author_here": lambda s, g, w, r: r.choice(sorted(set(_folders_of(s.books, "author")))),
    "author_one_free": lambda s, g, w, r: r.choice(_authors_with_one(s, False)),
    "author_one_out": lambda s, g, w, r: r.choice(_authors_with_one(s, True)),
    "the_free_one": lambda s, g, w, r: _only(_books(s, g, False)),
    "the_one_out": lambda s, g, w, r: _only(_books(s, g, True)),
    "free_book": lambda s, g, w, r: r.choice(_where(s.books, borrower="")),
    "lent_book": lambda s, g, w, r: r.choice(sorted(n for n in s.books if s.books[n]["borrower"])),
    "member": lambda s, g, w, r: r.choice(s.members),
    "not_waiting": lambda s, g, w, r: _new(s.members, _reservations(s.books[g["title"]]), r),
    "more_weeks": lambda s, g, w, r: r.choice([n for n in w["weeks"] if n > s.books[g["title"]]["weeks"]]),
    "borrower": lambda s, g, w, r: r.choice(sorted(set(_borrowers(s)))),
    "single_borrower": lambda s, g, w, r: _values_with(lambda n: n == 1, _borrowers(s), r),
    "their_book": lambda s, g, w, r: _only(_where(s.books, borrower=g["member"])),
    "first_loan": lambda s, g, w, r: _end(_where(s.books, borrower=g["member"]), 0),
}
_BANK: dict[str, Slot] = {
    "account_here": lambda s, g, w, r: r.choice(sorted(s.accounts)),
    "rich_account": lambda s, g, w, r: r.choice(sorted(n for n in s.accounts if s.accounts[n]["balance"] >= 250)),
    "other_account": lambda s, g, w, r: _new(sorted(s.accounts), [g["source"]], r),
    "bill": lambda s, g, w, r: r.choice(sorted(s.bills)),
    "its_day": lambda s, g, w, r: s.bills[g["biller"]]["due"],
    "highest_bill": lambda s, g, w, r: _extreme([(s.bills[n]["amount"], n) for n in s.bills], True),
    "lowest_bill": lambda s, g, w, r: _extreme([(s.bills[n]["amount"], n) for n in s.bills], False),
    "new_limit": lambda s, g, w, r: _new(w["limit"], [s.accounts[g["account"]]["limit"]], r),
    "other_lock": lambda s, g, w, r: not s.accounts[g["account"]]["locked"],
    "its_balance": lambda s, g, w, r: s.accounts[g["source"]]["balance"],
}
_TRAINS: dict[str, Slot] = {
    "origin": lambda s, g, w, r: r.choice(sorted({train["from"] for train in s.trains.values()})),
    "its_destination": lambda s, g, w, r: r.choice(
        sorted({train["to"] for train in s.trains.values() if train["from"] == g["origin"]})
    ),
    "busy_origin": lambda s, g, w, r: r.choice(_busy_origins(s)),
    "its_busy_destination": lambda s, g, w, r: _only({t["to"] for t in s.trains.values() if t["from"] == g["origin"]}),
    "train": lambda s, g, w, r: r.choice(sorted(s.trains)),
    "new_passenger": lambda s, g, w, r: _new(w["person"], s.bookings, r),
    "passenger": lambda s, g, w, r: r.choice(sorted(s.bookings)),
    "single_passenger": lambda s, g, w, r: r.choice(sorted(n for n in s.bookings if len(s.bookings[n]) == 1)),
    "train_of_passenger": lambda s, g, w, r: r.choice(sorted(s.bookings[g["passenger"]])),
    "new_meal": lambda s, g, w, r: _new(w["meal"], [s.bookings[g["passenger"]][g["train"]]["meal"]], r),
    "other_class": lambda s, g, w, r: _new(w["class"], [s.bookings[g["passenger"]][g["train"]]["class"]], r),
    "first_train": lambda s, g, w, r: _extreme([(s.trains[n]["departs"], n) for n in _route(s, g)], False),
    "cheapest_train": lambda s, g, w, r: _extreme([(s.trains[n]["price"], n) for n in _route(s, g)], False),
    "some_train": lambda s, g, w, r: r.choice(_route(s, g)),
    "its_time": lambda s, g, w, r: s.trains[g["train"]]["departs"],
    "first_booking": lambda s, g, w, r: _end(sorted(s.bookings[g["passenger"]]), 0),
}
_VET: dict[str, Slot] = {
    "animal": lambda s, g, w, r: r.choice(sorted(s.animals)),
    "animal_with": lambda s, g, w, r: r.choice(sorted(s.visits)),
    "animal_without": lambda s, g, w, r: _new(sorted(s.animals), s.visits, r),
    "owner": lambda s, g, w, r: r.choice(sorted({animal["owner"] for animal in s.animals.values()})),
    "one_of_owner": lambda s, g, w, r: r.choice(_where(s.animals, owner=g["owner"])),
    "its_species": lambda s, g, w, r: _only_species(s, g),
    "full_day": lambda s, g, w, r: r.choice(sorted(set(_folders_of(s.visits, "day")))),
    "crowded_day": lambda s, g, w, r: _values_with(lambda n: n > 1, _folders_of(s.visits, "day"), r),
    "first_visit": lambda s, g, w, r: _end(_day_events(s, g["day"]), 0),
    "last_visit": lambda s, g, w, r: _end(_day_events(s, g["day"]), -1),
    "free_time": _free_time,
    "new_kilos": lambda s, g, w, r: _new(w["kilos"], [s.animals[g["animal"]]["kilos"]], r),
    "new_vaccine": lambda s, g, w, r: _new(w["vaccine"], s.animals[g["animal"]]["vaccines"], r),
}
SLOTS: dict[str, dict[str, Slot]] = {
    "files": _FILES,
    "calendar": _CALENDAR,
    "shop": _SHOP,
    "mailbox": _MAILBOX,
    "library": _LIBRARY,
    "bank": _BANK,
    "trains": _TRAINS,
    "vet": _VET,
}
"""Simulator -> slot -> rule."""


def _reservations(book: Mapping[str, Any]) -> list[str]:
    return [*book["waiting"], book["borrower"]]


def _only_species(sim: Any, given: Given) -> str:
    """The species of an animal, where its owner has no other of it."""
    species = str(sim.animals[given["animal"]]["species"])
    _only(_where(sim.animals, owner=given["owner"], species=species))
    return species
