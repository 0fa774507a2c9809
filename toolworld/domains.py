"""The everyday domains of the world: tools and the phrasings of their requests.

Inputs: one YAML file per domain under `domains/`, written by hand for this project. Outputs: `Domain` objects.
`python -m toolworld.domains` checks all files.

A phrasing ("ask") is text with slots: `{city}` is the value of an argument, `[ on {date}]` is a part that appears only
when its optional arguments are given, `{flag|with it|without it}` words a boolean, `{address.street}` names a field of
a nested argument.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "domains"

STRING_KINDS = (
    "person", "city", "country", "place", "title", "word", "phrase", "product", "company", "email",
    "url", "date", "time", "weekday", "month", "code", "digits4", "language", "currency", "color",
    "animal", "food",
)  # fmt: skip
SLOT = re.compile(r"\{([a-z_0-9.]+)(?:\|([^{}|]*)\|([^{}|]*))?\}")
OPTIONAL_PART = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Argument:
    """One argument of a tool: its key, the kind of value it takes and whether it may be left out."""

    key: str
    kind: Any
    """A name from STRING_KINDS, "bool", a list (enum), or {"int": [lo, hi]}, {"number": [lo, hi]},
    {"list": kind}, {"object": {key: kind}}."""
    optional: bool


@dataclass(frozen=True)
class DomainTool:
    """One tool of a domain, with the ways people ask for it."""

    name: str
    does: str
    short: str
    arguments: tuple[Argument, ...]
    asks: tuple[str, ...]


@dataclass(frozen=True)
class Domain:
    """A named group of tools that would be offered together."""

    name: str
    tools: tuple[DomainTool, ...]


def slots(text: str) -> set[str]:
    """The argument keys (without nested fields) that `text` mentions."""
    return {match.group(1).split(".")[0] for match in SLOT.finditer(text)}


def required_text(ask: str) -> str:
    """The ask without its optional parts."""
    return OPTIONAL_PART.sub("", ask)


def _arguments(raw: dict[str, Any]) -> tuple[Argument, ...]:
    return tuple(Argument(str(key).rstrip("?"), kind, str(key).endswith("?")) for key, kind in raw.items())


def load(path: Path) -> Domain:
    """Read one domain file."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    tools = tuple(
        DomainTool(
            name=tool["name"],
            does=tool["does"],
            short=tool["short"],
            arguments=_arguments(tool.get("args") or {}),
            asks=tuple(tool["asks"]),
        )
        for tool in raw["tools"]
    )
    return Domain(raw["domain"], tools)


@lru_cache
def all_domains() -> dict[str, Domain]:
    """Every domain by name, in alphabetical order."""
    domains = [load(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return {domain.name: domain for domain in domains}


def problems(domain: Domain) -> list[str]:
    """What is wrong with a domain file, one line each; empty when it is sound."""
    lines = []
    if not 5 <= len(domain.tools) <= 7:
        lines.append(f"{domain.name}: {len(domain.tools)} tools, want 5 to 7")
    for tool in domain.tools:
        lines += [f"{domain.name}.{tool.name}: {line}" for line in _tool_problems(tool)]
    return lines


def _tool_problems(tool: DomainTool) -> list[str]:
    lines = [line for argument in tool.arguments for line in _kind_problems(argument.kind)]
    keys = {argument.key for argument in tool.arguments}
    required = {argument.key for argument in tool.arguments if not argument.optional}
    if not re.fullmatch(r"[a-z][a-z0-9_]*", tool.name):
        lines.append("name must be snake_case")
    if not 3 <= len(tool.does.split()) <= 10:
        lines.append("'does' must have 3 to 10 words")
    if len(tool.asks) < 6:
        lines.append(f"{len(tool.asks)} asks, want at least 6")
    if SLOT.search(tool.short) or SLOT.search(tool.does):
        lines.append("no slots in 'short' or 'does'")
    for ask in tool.asks:
        if not required <= slots(required_text(ask)) or not slots(ask) <= keys:
            lines.append(f"slots of {ask!r} do not fit the arguments")
        if slots(required_text(ask)) - required:
            lines.append(f"optional argument outside [...] in {ask!r}")
        if re.search(r"[{}\[\]]", SLOT.sub("", OPTIONAL_PART.sub(r"\1", ask))):
            lines.append(f"stray bracket in {ask!r}")
    return lines


def _kind_problems(kind: Any) -> list[str]:
    if isinstance(kind, str) and (kind in STRING_KINDS or kind == "bool"):
        return []
    if isinstance(kind, list) and all(isinstance(value, str) for value in kind) and len(kind) > 1:
        return []
    if isinstance(kind, dict) and len(kind) == 1:
        name, inner = next(iter(kind.items()))
        if name in ("int", "number") and len(inner) == 2:
            return []
        if name == "list":
            return _kind_problems(inner)
        if name == "object" and isinstance(inner, dict):
            return [line for field in inner.values() for line in _kind_problems(field)]
    return [f"unknown kind {kind!r}"]


def main() -> int:
    """Check every domain file; print what is wrong."""
    lines = [line for domain in all_domains().values() for line in problems(domain)]
    names = [tool.name for domain in all_domains().values() for tool in domain.tools]
    lines += [f"tool name {name} is used twice" for name in sorted(set(names)) if names.count(name) > 1]
    print("\n".join(lines) or f"{len(all_domains())} domains, {len(names)} tools: all sound")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
