"""The records of the library: what was learned, from which inputs, and on which evidence it is used.

Inputs -> outputs: rows of the index (`ttsi.library.index`) as frozen dataclasses. The paper (arXiv:2510.07841) drops
every adapter after one answer and names lasting improvement as future work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ttsi.config import AdaptationConfig
from ttsi.library.admission import ALPHA, e_value
from ttsi.types import Example, Tool, to_openai


@dataclass(frozen=True)
class AdapterKey:
    """What an adapter fits: one model, and one way of training."""

    weights_sha256: str
    template_sha256: str
    format: str
    rank: int
    alpha: float
    scope: str

    @classmethod
    def of(cls, model: Mapping[str, Any], config: AdaptationConfig) -> AdapterKey:
        """The key of a model, by its description, and of the settings."""
        return cls(
            str(model.get("weights_sha256", "")),
            str(model.get("chat_template_sha256", "")),
            str(model.get("format", "")),
            config.rank,
            config.alpha,
            config.scope,
        )

    def difference(self, other: AdapterKey) -> str:
        """In what this key differs from another; "" where it does not."""
        parts = [
            f"{name} {old}, not {new}"
            for name in ("format", "rank", "alpha", "scope")
            if (old := getattr(self, name)) != (new := getattr(other, name))
        ]
        if self.weights_sha256 != other.weights_sha256:
            parts.insert(0, f"other weights ({self.weights_sha256[:12]}): another model, or another --dtype")
        elif self.template_sha256 != other.template_sha256:
            parts.insert(0, "another chat template")
        return ", ".join(parts)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        return _digest(asdict(self))


@dataclass(frozen=True)
class PooledInput:
    """The examples that were written for one unsure input, and that were learned for it."""

    step: int
    """The step of the library at which it came."""
    tools_hash: str
    input_hash: str
    examples: tuple[Example, ...]
    origin: str
    """The run, or "ask", in which it came."""


Status = Literal["candidate", "admitted", "refused"]


@dataclass(frozen=True)
class LibraryEntry:
    """An adapter for one list of tools."""

    id: str
    """12 digits, a hash of its first file, its tools and the step in which it was added."""
    step: int
    status: Status
    tools_hash: str
    tools: tuple[Tool, ...]
    key: AdapterKey
    sha256: str
    """Of its safetensors file."""
    bytes: int
    inputs: tuple[str, ...]
    """Hashes of the inputs whose examples it learned."""
    examples: int
    """How many examples it learned."""
    version: int = 0
    """How often it has learned more since its first training."""
    wins: int = 0
    """Later inputs whose own examples it found likelier than the base did, before it learned them."""
    losses: int = 0
    divergence: float | None = None
    """On the retention set (`ttsi.library.admission`), in nats per token."""
    reason: str = ""
    """Why it is refused."""
    created: float = 0.0
    """Seconds since 1970."""
    last_learned: float = 0.0
    last_use: float = 0.0
    tries: int = 0
    """Answers that it was asked for."""
    uses: int = 0
    """Those that were given."""
    origin: str = ""
    prepared: bool = False
    """It was trained ahead, on examples of all its tools (`ttsi.library.preparation`), and learns no more once it is
    admitted."""

    @property
    def last_touch(self) -> float:
        """When it was made, last learned or was last used, in seconds since 1970."""
        return max(self.created, self.last_learned, self.last_use)

    @property
    def standing(self) -> str:
        """Its status, and why it is not admitted."""
        if self.status == "admitted":
            return "admitted"
        if self.status == "refused":
            return f"refused ({self.reason})"
        evidence = f"{e_value(self.wins, self.losses):.3g} of the {1 / ALPHA:g} that admit it"
        return f"a candidate ({self.wins} of {self.wins + self.losses} tests won: evidence {evidence})"

    def without_counts(self) -> LibraryEntry:
        """The entry as it is written: what is counted later stands in rows of its own."""
        return replace(self, wins=0, losses=0, tries=0, uses=0, last_use=0.0)

    def with_evidence(self, gain: float) -> LibraryEntry:
        """With one input more for or against it: how much likelier (nats) it found the input's examples."""
        return replace(self, wins=self.wins + (gain > 0), losses=self.losses + (gain < 0))

    def with_uses(self, tries: int, uses: int, when: float) -> LibraryEntry:
        """With so many answers more that were asked of it and given, up to a time."""
        return replace(self, tries=self.tries + tries, uses=self.uses + uses, last_use=max(self.last_use, when))

    def with_status(self, status: Status, reason: str, divergence: Any) -> LibraryEntry:
        """In a new status; "" is no new divergence."""
        measured = self.divergence if divergence == "" else divergence
        return replace(self, status=status, reason=reason, divergence=measured)


def tools_hash(tools: Sequence[Tool]) -> str:
    """SHA-256 (hex) of a list of tools, in whatever order.

    >>> f, g = (Tool(name, "", {"type": "object"}) for name in "fg")
    >>> tools_hash([f, g]) == tools_hash([g, f]), tools_hash([f]) == tools_hash([g])
    (True, False)
    """
    return _digest(sorted(json.dumps(to_openai(tool), sort_keys=True) for tool in tools))


def entries_of(entries: Iterable[LibraryEntry], tools_digest: str, key: AdapterKey) -> list[LibraryEntry]:
    """The entries for one list of tools that fit one model and its settings, in their order."""
    return [entry for entry in entries if (entry.tools_hash, entry.key) == (tools_digest, key)]


def shared_tools(one: Sequence[Tool], other: Sequence[Tool]) -> float:
    """The share of the tools of two lists that stand in both (Jaccard), equal in name, description and parameters."""
    first, second = ({tools_hash([tool]) for tool in tools} for tools in (one, other))
    return len(first & second) / max(1, len(first | second))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()
