"""Upper bounds on what one request, one key and all clients together may use.

Inputs: what arrived over the network, before anything is allocated for it. Outputs: nothing, or a `DataError` of one
line. The operator sets every number here; a request can only lower those that concern it (`ttsi.serve.chat_request`).

Most past vulnerabilities of model servers were missing upper bounds, and a request that trains costs a hundred times
what a plain answer costs.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ttsi.chat.alternatives import resolve_reference
from ttsi.chat.dialect import DATA_KEYWORDS, SCHEMA_MAPS
from ttsi.errors import DataError
from ttsi.models.prefix_store import DEFAULT_BYTES
from ttsi.setting_types import NonNegativeFloat, NonNegativeInt, check_values

MAX_REFERENCE = 1000
"""Longest `$ref` of a schema, in characters."""


@dataclass(frozen=True)
class Limits:
    """The operator's limits."""

    body_bytes: NonNegativeInt = 4 * 2**20
    """Largest request body."""
    body_seconds: NonNegativeFloat = 20.0
    """Longest time that a request body may take to arrive."""
    json_depth: NonNegativeInt = 64
    """Deepest nesting of a request body."""
    json_nodes: NonNegativeInt = 100_000
    """Most values of a request body: objects, lists, members and their names."""
    messages: NonNegativeInt = 1024
    """Most messages of a request."""
    tools: NonNegativeInt = 128
    """Most tools of a request."""
    schema_bytes: NonNegativeInt = 64 * 2**10
    """Largest schema of one tool, as JSON."""
    schemas_bytes: NonNegativeInt = 256 * 2**10
    """Largest schemas of all tools together, as JSON."""
    schema_depth: NonNegativeInt = 16
    """Deepest nesting of a schema, with its references expanded."""
    schema_nodes: NonNegativeInt = 10_000
    """Most values of a schema, with its references expanded."""
    enum: NonNegativeInt = 1000
    """Most values of an enum."""
    choices: NonNegativeInt = 8
    """Most choices of one request (n)."""
    chars_per_token: NonNegativeInt = 16
    """A prompt with more characters than this times the context is rejected before it is tokenized."""
    adapt_seconds: NonNegativeFloat = 30.0
    """Longest time for adaptation and the adapted answer, counted from the base's answer; then that one is given."""
    answer_seconds: NonNegativeFloat = 120.0
    """Longest time in the worker; a worker that takes longer is restarted."""
    wait_seconds: NonNegativeFloat = 30.0
    """Longest expected wait for the worker; a request that would wait longer is rejected at once. A request that waits
    this long all the same is answered next, by the base."""
    connections: NonNegativeInt = 512
    """Most open requests, including those about to be rejected; beyond it only the health routes answer."""
    queue: NonNegativeInt = 64
    """Most requests that wait for the worker."""
    per_key: NonNegativeInt = 8
    """Most requests of one key that wait or are running."""
    adaptations_per_minute: NonNegativeInt = 120
    """Most adaptations a minute of all keys together; then the base answers."""
    adaptations_per_key: NonNegativeInt = 60
    """Most adaptations a minute of one key; then the base answers."""
    prefix_bytes: NonNegativeInt = DEFAULT_BYTES
    """Memory for what the base read of system texts, tools and conversations, so that a key's next request begins where
    it differs from an earlier one. All keys have equal parts, which only they can reach; 0 keeps nothing."""
    turn_adapter_seconds: NonNegativeFloat = 0.0
    """How long an adapter may answer the later steps of the turn that it was trained in: an agent's requests with
    results of tools behind the same message of the user. 0 drops every adapter behind its answer."""
    turn_adapters: NonNegativeInt = 16
    """Most such adapters of one key, in memory; the oldest goes first."""
    keep_alive_seconds: NonNegativeFloat = 5.0
    """Interval of the comments that keep a stream open while its answer is computed."""
    drain_seconds: NonNegativeFloat = 20.0
    """How long running requests may continue after SIGTERM."""


@dataclass(frozen=True)
class TurnAdapterLimits:
    """How long adapters live for the later steps of a turn (`ttsi.serve.turn_adapters`), and how many."""

    seconds: float = 0.0
    """Longest life of an adapter; 0 keeps none."""
    most: int = 16
    """Most adapters of one key; the oldest goes first."""


def check_limits(limits: Limits) -> None:
    """Refuse a limit that is negative or not finite.

    Raises:
        ConfigError: one line that names the limit.
    """
    check_values(limits, "limits.")


def check_nesting(value: Any, limits: Limits) -> None:
    """Check the depth and number of values of JSON, without recursion.

    Raises:
        DataError: it is too deep or too large, a number is not finite, or a string holds a lone surrogate.
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
            raise DataError("a string holds a lone surrogate (half of a UTF-16 pair)") from None


def check_schemas(schemas: Sequence[Any], limits: Limits) -> None:
    """Check the size and depth of schemas, with their references expanded.

    Raises:
        DataError: one is too large or too deep, or refers to something outside itself.
    """
    total = 0
    for schema in schemas:
        size = len(json.dumps(schema))
        total += size
        if size > limits.schema_bytes:
            raise DataError(f"a schema is larger than {limits.schema_bytes} bytes")
        if total > limits.schemas_bytes:
            raise DataError(f"the schemas together are larger than {limits.schemas_bytes} bytes")
        _SchemaSize(schema, limits).check()


class _SchemaSize:
    """The size of a schema when every local reference is replaced by its target."""

    def __init__(self, root: Any, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._sizes: dict[str, tuple[int, int]] = {}
        self._in_progress: set[str] = set()

    def check(self) -> None:
        """Raise where the schema exceeds a limit."""
        nodes, depth = self._size(self._root, 0)
        if depth > self._limits.schema_depth:
            raise DataError(f"a schema is nested deeper than {self._limits.schema_depth} levels")
        if nodes > self._limits.schema_nodes:
            raise DataError(f"a schema has more than {self._limits.schema_nodes} values")

    def _size(self, node: Any, level: int, place: _Place = "schema") -> tuple[int, int]:
        """(values, depth) of a node; a schema that refers to itself is counted once."""
        if level > self._limits.json_depth:
            raise DataError(f"a schema is nested deeper than {self._limits.schema_depth} levels")
        nodes, depth = 1, 0
        for key, inner in _members(node):
            if place == "schema" and key == "enum" and isinstance(inner, list) and len(inner) > self._limits.enum:
                raise DataError(f"an enum has more than {self._limits.enum} values")
            if place == "schema" and key == "$ref":
                more, below = self._reference_size(inner, level)
            else:
                more, below = self._size(inner, level + 1, _place_below(key, place))
            nodes = min(nodes + more, 10**9)
            depth = max(depth, below + 1)
        return nodes, depth

    def _reference_size(self, reference: Any, level: int) -> tuple[int, int]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise DataError("a $ref must point into its own schema (start with #)")
        if len(reference) > MAX_REFERENCE:
            raise DataError(f"a $ref has more than {MAX_REFERENCE} characters")
        if reference in self._in_progress:
            return 1, 0
        if reference not in self._sizes:
            self._in_progress.add(reference)
            self._sizes[reference] = self._size(resolve_reference(reference, self._root), level + 1)
            self._in_progress.discard(reference)
        return self._sizes[reference]


_Place = Literal["schema", "names", "data"]
"""What a value of a schema is: a schema, schemas by the names of properties, or data, in which nothing is a keyword."""


def _place_below(key: str, place: _Place) -> _Place:
    if place == "data" or (place == "schema" and key in DATA_KEYWORDS):
        return "data"
    return "names" if place == "schema" and key in (*SCHEMA_MAPS, "dependencies") else "schema"


def _members(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list):
        yield from (("", item) for item in node)


class AdaptationBudget:
    """The adaptations left this minute: a token bucket per key, and one for all."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._all = _TokenBucket(limits.adaptations_per_minute, clock())
        self._keys: dict[str, _TokenBucket] = {}

    def spend(self, tenant: str, amount: int = 1) -> bool:
        """Spend so many adaptations if both buckets hold them, else none."""
        now = self._clock()
        own = self._keys.setdefault(tenant, _TokenBucket(self._limits.adaptations_per_key, now))
        both = (own, self._all)
        if not all(bucket.holds(amount, now) for bucket in both):
            return False
        for bucket in both:
            bucket.left -= amount
        return True

    def refund(self, tenant: str, amount: int = 1) -> None:
        """Return adaptations that were spent and not used."""
        for bucket in (self._keys[tenant], self._all):
            bucket.left = min(bucket.left + amount, float(bucket.size))


class _TokenBucket:
    def __init__(self, size: int, now: float) -> None:
        self.size, self.left, self._at = size, float(size), now

    def holds(self, amount: int, now: float) -> bool:
        self.left = min(self.left + (now - self._at) * self.size / 60.0, float(self.size))
        self._at = now
        return self.left >= amount
