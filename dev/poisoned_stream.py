"""A run in which some inputs teach wrong calls: each of their examples has the call of the next.

    python -m dev.poisoned_stream 10 run --benchmark STREAM --model smollm2 --library DIR

Inputs: N, so that one of N inputs is such, by its hash; the arguments of `ttsi`. Outputs: those of `ttsi`.
The grades are untouched. What a library makes of such a stream shows on the other inputs: compare them with those of a
run without this.
"""

from __future__ import annotations

import sys
from typing import Any

import ttsi.loop
from dev.control_examples import rotate_labels
from ttsi.cli import main
from ttsi.types import Example


def is_poisoned(input_hash: str, one_of: int) -> bool:
    """Whether an input teaches wrong calls.

    >>> sum(is_poisoned(f"{number:032x}", 10) for number in range(1000))
    100
    """
    return int(input_hash, 16) % one_of == 0


def poison(one_of: int) -> None:
    """Let one of so many inputs teach wrong calls from now on, in this process."""
    synthesise = ttsi.loop.synthesise

    def poisoned(writer: Any, inputs: Any, *args: Any, **options: Any) -> list[tuple[Example, ...]]:
        written = synthesise(writer, inputs, *args, **options)
        return [
            tuple(rotate_labels(examples)) if is_poisoned(item.content_hash, one_of) else examples
            for item, examples in zip(inputs, written, strict=True)
        ]

    ttsi.loop.synthesise = poisoned  # type: ignore[assignment]


if __name__ == "__main__":
    poison(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
