"""The desk of a library: books that are lent, returned, reserved and kept for longer.

Inputs: a state with the tables `books` and `members`. Outputs: the tools of `LibraryDesk`. The paper (arXiv:2510.07841)
has no environments.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ttsi.environments.simulators.simulator import Simulator, entry_name


class LibraryDesk(Simulator):
    """Books by their title; the loan of a new borrower is two weeks."""

    TOOLS: ClassVar[tuple[str, ...]] = (
        "find_books",
        "list_loans",
        "lend_book",
        "return_book",
        "reserve_book",
        "extend_loan",
    )
    books: dict[str, dict[str, Any]]
    """Title -> author, borrower ("" for none), weeks and the members who wait for it."""
    members: list[str]

    def find_books(self, author: str) -> list[dict[str, str]]:
        """find the books of an author"""
        name = entry_name({book["author"] for book in self.books.values()}, author, "author")
        titles = [title for title in sorted(self.books) if self.books[title]["author"] == name]
        return [{"title": title, "status": "out" if self.books[title]["borrower"] else "free"} for title in titles]

    def list_loans(self, member: str) -> list[dict[str, Any]]:
        """list what a member has borrowed"""
        name = entry_name(self.members, member, "member")
        titles = [title for title in sorted(self.books) if self.books[title]["borrower"] == name]
        return [{"title": title, "weeks": self.books[title]["weeks"]} for title in titles]

    def lend_book(self, title: str, member: str) -> str:
        """lend a book to a member"""
        book, name = entry_name(self.books, title, "book"), entry_name(self.members, member, "member")
        if self.books[book]["borrower"]:
            raise ValueError(f"{book} is out")
        self.books[book].update(borrower=name, weeks=2)
        return f"lent {book} to {name}"

    def return_book(self, title: str) -> str:
        """take back a book"""
        book = self._lent_book(title)
        self.books[book].update(borrower="", weeks=0)
        return f"{book} is back"

    def reserve_book(self, title: str, member: str) -> str:
        """reserve a book"""
        book, name = self._lent_book(title), entry_name(self.members, member, "member")
        if name in self.books[book]["waiting"]:
            raise ValueError(f"{name} waits for {book} already")
        self.books[book]["waiting"].append(name)
        return f"reserved {book} for {name}"

    def extend_loan(self, title: str, weeks: int) -> str:
        """extend a loan to more weeks"""
        book = self._lent_book(title)
        if not self.books[book]["weeks"] < weeks <= 12:
            raise ValueError(f"{book} is lent for {self.books[book]['weeks']} weeks; give more, and at most 12")
        self.books[book]["weeks"] = weeks
        return f"{book} is lent for {weeks} weeks"

    def _lent_book(self, title: str) -> str:
        book = entry_name(self.books, title, "book")
        if not self.books[book]["borrower"]:
            raise ValueError(f"{book} is not out")
        return book
