"""Ledger of a teacher's replies and of what a run has spent on them, in one SQLite file.

Inputs: requests by their hash, attempts, replies. Outputs: the kept reply, or permission to try.

* `attempts` gets its row before a request goes out (the intent); it is closed when a reply or a fault comes back. An
  attempt that a crash left open may have been billed: it counts at what was reserved for it.
* `replies` is written before a reply is used, so that no reply is requested twice, also by another run.
* The budget is a run's (`run` is its name): the sum over its attempts, read from the file each time, so that a resumed
  run goes on counting. Replies from the file cost nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ttsi.errors import ConfigError, ModelError


@dataclass(frozen=True)
class LedgerReply:
    """A teacher's reply, as it is kept."""

    text: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int
    dollars: float
    fault: str = ""
    """"garbage", "truncated", "empty", or "" for a reply that can be used."""


@dataclass(frozen=True)
class TeacherBudget:
    """The most that a run may spend on a teacher; None is no limit."""

    tokens: int | None = None
    dollars: float | None = None


def read_budget(text: str | None) -> TeacherBudget:
    """ "200000tokens", "2.50usd" or both with a comma.

    >>> read_budget("200000tokens,2.50usd")
    TeacherBudget(tokens=200000, dollars=2.5)

    Raises:
        ConfigError: it is neither.
    """
    limits: dict[str, float] = {}
    for part in (text or "").replace(" ", "").lower().split(","):
        unit = next((unit for unit in ("tokens", "usd") if part.endswith(unit)), "")
        number = _number(part.removesuffix(unit)) if unit else None
        if part and (number is None or unit in limits):
            raise ConfigError(f"teacher budget {text!r} is not understood: write 200000tokens, 2.50usd, or both")
        if number is not None:
            limits[unit] = number
    return TeacherBudget(int(limits["tokens"]) if "tokens" in limits else None, limits.get("usd"))


def read_price(text: str | None) -> tuple[float, float]:
    """Dollars per million tokens (prompt, completion); without a price, nothing.

    >>> read_price("0.25,2")
    (0.25, 2.0)

    Raises:
        ConfigError: it is not two numbers.
    """
    if text is None:
        return 0.0, 0.0
    numbers = [_number(part.strip()) for part in text.split(",")]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        raise ConfigError(f"teacher price {text!r}: write dollars per million tokens read and written, like 0.25,2.00")
    return numbers[0], numbers[1]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


class Ledger:
    """An open file of attempts and replies; use it in a `with` block, from any thread."""

    def __init__(self, path: Path, run: str, budget: TeacherBudget) -> None:
        """Open the file, made when missing.

        Raises:
            ModelError: it cannot be opened as such.
        """
        self._run, self._budget, self._lock = run, budget, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
            _create_tables(self._db)
        except (OSError, sqlite3.Error) as error:
            raise ModelError(f"the teacher's cache {path} cannot be opened: {error}") from None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def find(self, key: str) -> LedgerReply | None:
        """The kept reply to this request, or None."""
        with self._lock:
            columns = "text, finished, read, written, dollars, fault"
            row = self._db.execute(f"SELECT {columns} FROM replies WHERE key = ?", (key,)).fetchone()
        return None if row is None else LedgerReply(row[0], bool(row[1]), *row[2:])

    def begin(self, key: str, tokens: int, dollars: float) -> int | None:
        """Reserve the most that an attempt can cost and return its number; None when the budget has no room."""
        with self._lock, self._db:
            spent_tokens, spent_dollars = self._sum_expenses()
            over_tokens = self._budget.tokens is not None and spent_tokens + tokens > self._budget.tokens
            over_dollars = self._budget.dollars is not None and spent_dollars + dollars > self._budget.dollars
            if over_tokens or over_dollars:
                return None
            values = (self._run, key, "begun", tokens, dollars)
            inserted = self._db.execute(
                "INSERT INTO attempts (run, key, state, tokens, dollars) VALUES (?, ?, ?, ?, ?)", values
            )
            return inserted.lastrowid

    def keep(self, number: int, key: str, reply: LedgerReply) -> None:
        """Close an attempt and keep its reply, in one transaction."""
        tokens = reply.prompt_tokens, reply.completion_tokens
        row = (key, reply.text, reply.finished, *tokens, reply.dollars, reply.fault)
        with self._lock, self._db:
            self._db.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._close(number, "replied", sum(tokens), reply.dollars)

    def fail(self, number: int, fault: str, billed: bool) -> None:
        """Close an attempt without a reply; where it may have been billed, its reservation stays spent."""
        with self._lock, self._db:
            if billed:
                self._db.execute("UPDATE attempts SET state = ? WHERE id = ?", (f"failed: {fault}", number))
            else:
                self._close(number, f"failed: {fault}", 0, 0.0)

    def _close(self, number: int, state: str, tokens: int, dollars: float) -> None:
        self._db.execute(
            "UPDATE attempts SET state = ?, tokens = ?, dollars = ? WHERE id = ?", (state, tokens, dollars, number)
        )

    def _sum_expenses(self) -> tuple[int, float]:
        total = "SELECT COALESCE(SUM(tokens), 0), COALESCE(SUM(dollars), 0.0) FROM attempts WHERE run = ?"
        tokens, dollars = self._db.execute(total, (self._run,)).fetchone()
        return int(tokens), float(dollars)


def _create_tables(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    with db:
        db.execute(
            "CREATE TABLE IF NOT EXISTS attempts (id INTEGER PRIMARY KEY, run TEXT NOT NULL, key TEXT NOT NULL, "
            "state TEXT NOT NULL, tokens INTEGER NOT NULL, dollars REAL NOT NULL)"
        )
        db.execute(
            "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, text TEXT NOT NULL, finished INTEGER NOT NULL, "
            "read INTEGER NOT NULL, written INTEGER NOT NULL, dollars REAL NOT NULL, fault TEXT NOT NULL)"
        )
