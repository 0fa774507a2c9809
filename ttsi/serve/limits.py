"""How much may one request, one key or everybody together ask for?

Inputs: what came over the wire, before anything is allocated for it. Outputs: nothing, or a `DataError` of one line.
Every number here is the operator's; a request may only lower what concerns it (`ttsi.serve.wire`).

Not in the paper (arXiv:2510.07841). Most past flaws of model servers were missing upper bounds, and a request that
trains costs a hundred times what one that only asks costs.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttsi.errors import DataError


@dataclass(frozen=True)
class Limits:
    """The operator's limits."""

    body_bytes: int = 4 * 2**20
    """Longest request body."""
    body_seconds: float = 20.0
    """Longest time that a request body may take to arrive."""
    json_depth: int = 64
    """Deepest nesting of a request body."""
    json_nodes: int = 100_000
    """Most objects, lists and members of a request body."""
    messages: int = 1024
    """Most messages of a request."""
    tools: int = 128
    """Most tools of a request."""
    schema_bytes: int = 64 * 2**10
    """Longest schema of one tool, as JSON."""
    schemas_bytes: int = 256 * 2**10
    """Longest schemas of all tools together, as JSON."""
    schema_depth: int = 16
    """Deepest nesting of a schema, what its references point at included."""
    schema_nodes: int = 10_000
    """Most values of a schema, what its references point at counted each time."""
    enum: int = 1000
    """Most values of an enum."""
    choices: int = 8
    """Most choices of one request (n)."""
    chars_per_token: int = 16
    """A prompt with more characters than this times the context is refused before it is made into tokens."""
    adapt_seconds: float = 30.0
    """Longest time for stages 1 to 3 and the adapted answer; then the base answers."""
    answer_seconds: float = 120.0
    """Longest time in the worker; a worker that takes longer is replaced."""
    wait_seconds: float = 30.0
    """Longest expected wait for the worker; where it would be longer, a request is refused at once. Who has waited so
    long all the same is answered next, by the base."""
    connections: int = 512
    """Most requests that are open at once, who is about to be refused included; beyond it only health answers."""
    queue: int = 64
    """Most requests that wait for the worker."""
    per_key: int = 8
    """Most requests of one key that wait or are answered."""
    adaptations_per_minute: int = 120
    """Most adaptations of all keys together; then the base answers."""
    adaptations_per_key: int = 60
    """Most adaptations a minute of one key; then the base answers."""
    keep_alive_seconds: float = 5.0
    """How often a stream says that it is still there while its answer is made."""
    drain_seconds: float = 20.0
    """How long requests under way may go on after SIGTERM."""


def check_nesting(value: Any, limits: Limits) -> None:
    """Refuse JSON that is too deep or has too many values, without recursion.

    Raises:
        DataError: it is, or a number in it is not finite, or a string holds half a character.
    """
    count = 0
    level: list[Any] = [value]
    for _ in range(limits.json_depth + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            else:
                _check_leaf(item)
        count += len(below)
        if count > limits.json_nodes:
            raise DataError(f"the body holds more than {limits.json_nodes} values")
        if not below:
            return
        level = below
    raise DataError(f"the body is nested deeper than {limits.json_depth} levels")


def _check_leaf(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError("a number is not finite")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DataError("a string holds half a character (a lone surrogate)") from None


def check_schemas(schemas: Sequence[Any], limits: Limits) -> None:
    """Refuse schemas that are too large, too deep, or that grow when their references are followed.

    Raises:
        DataError: one is.
    """
    total = 0
    for schema in schemas:
        size = len(json.dumps(schema))
        total += size
        if size > limits.schema_bytes:
            raise DataError(f"a schema is longer than {limits.schema_bytes} bytes")
        if total > limits.schemas_bytes:
            raise DataError(f"the schemas are together longer than {limits.schemas_bytes} bytes")
        _Measured(schema, limits).check()


class _Measured:
    """How large a schema is when every local reference is replaced by what it points at."""

    def __init__(self, root: Any, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._known: dict[str, tuple[int, int]] = {}
        self._open: set[str] = set()

    def check(self) -> None:
        """Raise where the schema exceeds a limit."""
        nodes, depth = self._size(self._root, 0)
        if depth > self._limits.schema_depth:
            raise DataError(f"a schema is nested deeper than {self._limits.schema_depth} levels")
        if nodes > self._limits.schema_nodes:
            raise DataError(f"a schema has more than {self._limits.schema_nodes} values")

    def _size(self, node: Any, level: int) -> tuple[int, int]:
        """(values, depth) of a node; a schema that contains itself is counted once."""
        if level > self._limits.json_depth:
            raise DataError(f"a schema is nested deeper than {self._limits.schema_depth} levels")
        nodes, depth = 1, 0
        for key, inner in _members(node):
            if key == "enum" and isinstance(inner, list) and len(inner) > self._limits.enum:
                raise DataError(f"an enum has more than {self._limits.enum} values")
            more, below = self._referred(inner, level) if key == "$ref" else self._size(inner, level + 1)
            nodes = min(nodes + more, 10**9)
            depth = max(depth, below + 1)
        return nodes, depth

    def _referred(self, reference: Any, level: int) -> tuple[int, int]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise DataError("a $ref must point into the schema itself (start with #)")
        if reference in self._open:
            return 1, 0
        if reference not in self._known:
            self._open.add(reference)
            self._known[reference] = self._size(_target(self._root, reference), level + 1)
            self._open.discard(reference)
        return self._known[reference]


def _members(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list):
        yield from (("", item) for item in node)


def _target(root: Any, reference: str) -> Any:
    """What a local JSON pointer points at; None where it points nowhere."""
    node = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


class Budget:
    """How many adaptations are left this minute: a bucket that fills evenly, per key and for all."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        """Full buckets."""
        self._limits, self._clock = limits, clock
        self._all = _Bucket(limits.adaptations_per_minute, clock())
        self._keys: dict[str, _Bucket] = {}

    def take(self, tenant: str, amount: int = 1) -> bool:
        """Take so many adaptations where both buckets hold them; else take none."""
        now = self._clock()
        own = self._keys.setdefault(tenant, _Bucket(self._limits.adaptations_per_key, now))
        both = (own, self._all)
        if not all(bucket.holds(amount, now) for bucket in both):
            return False
        for bucket in both:
            bucket.left -= amount
        return True

    def give_back(self, tenant: str, amount: int = 1) -> None:
        """Return what was taken and not used."""
        for bucket in (self._keys[tenant], self._all):
            bucket.left = min(bucket.left + amount, float(bucket.size))


class _Bucket:
    def __init__(self, size: int, now: float) -> None:
        self.size, self.left, self._at = size, float(size), now

    def holds(self, amount: int, now: float) -> bool:
        self.left = min(self.left + (now - self._at) * self.size / 60.0, float(self.size))
        self._at = now
        return self.left >= amount
