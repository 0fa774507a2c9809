"""Does every count that stands before a noun agree with it? Read from the f-strings of the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ttsi"
COUNTED = re.compile(r" (unsure |similar |more )?(inputs|rows|examples|adaptations|samples|steps|decisions|requests)\b")
"""Nouns of which there may be one."""


def bare_plurals(source: str) -> list[str]:
    """The plurals that follow a value in an f-string: with 1 they are wrong, which `ttsi.plurals` knows."""
    pairs = [
        (left, right)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.JoinedStr)
        for left, right in zip(node.values, node.values[1:], strict=False)
    ]
    return [
        f"{right.lineno}: {right.value.strip()}"
        for left, right in pairs
        if isinstance(left, ast.FormattedValue) and isinstance(right, ast.Constant) and COUNTED.match(right.value)
    ]


def test_no_count_stands_before_a_plural_that_may_be_wrong() -> None:
    # The engine imports nothing of the rest.
    files = sorted(path for path in PACKAGE.rglob("*.py") if "engine" not in path.parts)
    problems = [f"{path.relative_to(PACKAGE)}:{one}" for path in files for one in bare_plurals(path.read_text("utf-8"))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("f'{n} inputs are kept'", True),
        ("f'{done} of {len(x)} unsure inputs'", True),
        ("f'{with_noun(n, \"input\")} kept'", False),
        ("f'{share} % of the inputs'", False),
        ("f'the inputs of {name}'", False),
    ],
)
def test_control_a_bare_plural_is_seen(line: str, seen: bool) -> None:
    assert bool(bare_plurals(line)) is seen
