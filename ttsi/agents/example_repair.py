"""Repair of an example that failed: a value that the environment named in its complaint takes the place of a wrong one.

Inputs: an example, which call of it failed, the words of the failure. Outputs: the same example with another value, in
the call and in the request, once for each value that the words name. "there is no file x; there are: a, b" names a
and b. So most examples can be executed, though no tool listed the state before.

The paper (arXiv:2510.07841) executes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ttsi.types import Example, ToolCall

MOST_REPAIRS = 12
"""Most values that are tried for one example."""
LONGEST_VALUE = 40
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`")


def values_named(text: str) -> list[str]:
    """The values that a complaint names: what is quoted, and the parts of a list behind a colon.

    >>> values_named("ValueError: there is no file x; there are: plan.txt, 'my notes'")
    ['my notes', 'plan.txt']
    """
    quoted = [next(filter(None, match.groups())) for match in _QUOTED.finditer(text)]
    clauses = [clause.rpartition(":")[2] for clause in re.split(r"[;\n]", text) if ":" in clause]
    listed = [part.strip(" .'\"`") for clause in clauses for part in re.split(r",| or ", clause)]
    values = [value for value in (*quoted, *listed) if 0 < len(value) <= LONGEST_VALUE]
    return list(dict.fromkeys(value for value in values if len(value.split()) <= 4))


def repairs(example: Example, failed: int, complaint: str) -> Iterator[Example]:
    """The example with another value in its failed call, at most `MOST_REPAIRS` times.

    Args:
        example: a wrong value that its request does not state exactly once, as whole words, stays.
        failed: the place of the failed call.
        complaint: what the environment said.
    """
    call = example.calls[failed]
    strings = {name: value for name, value in call.arguments.items() if isinstance(value, str) and value}
    wrong = {name: value for name, value in strings.items() if len(_whole(value).findall(example.query)) == 1}
    tried = [
        (name, old, new) for name, old in wrong.items() for new in values_named(complaint) if new not in wrong.values()
    ]
    for name, old, new in tried[:MOST_REPAIRS]:
        fixed = ToolCall(call.name, {**call.arguments, name: new})
        calls = (*example.calls[:failed], fixed, *example.calls[failed + 1 :])
        yield replace(example, query=_whole(old).sub(new.replace("\\", r"\\"), example.query), calls=calls)


def _whole(value: str) -> re.Pattern[str]:
    """A value as whole words."""
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")
