"""What leaving out unstated optional arguments gives without training, read off recorded runs.

    python -m dev.omission_control RUN [RUN ...]

`--answer.omit-unstated` changes an answer after it is written, so its effect on the recorded answers of the base and of
the adapted model is computed from them. Runs of several seeds are averaged input by input.

Inputs: run folders of one benchmark, without the setting; also those of versions whose runs did not grade it. Outputs:
the scores (lenient) of base and adapted answers with and without the omission, and the paired differences. Benchmarks
with a grader of their owners' are compared leniently, too, where an optional argument that their grader forgives counts
as missing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ttsi.benchmarks.matching import lenient
from ttsi.chat.grounding import StatedValues, conversation_text, without_unstated
from ttsi.record import RunRow
from ttsi.runs.store import each_row
from ttsi.stats import paired_bootstrap
from ttsi.types import Answer, ToolCall

SIDES = ("base", "base, omitted", "adapted", "adapted, omitted")
PAIRS = ((0, 1), (0, 2), (1, 2), (1, 3))
"""Before and after, as places in `SIDES`."""

Verdicts = tuple[bool, bool, bool, bool]
"""Whether each of `SIDES` is right."""


def verdicts(row: RunRow) -> Verdicts | None:
    """Whether an input's answers are right; None where it has none or no gold."""
    base, adapted, question = row.episode.base, row.episode.adapted, row.question
    if base is None or adapted is None or question is None or question.gold is None:
        return None
    item, gold = question.input, question.gold
    stated = StatedValues.of(conversation_text(item.messages))
    of_base, of_adapted = (
        (_is_right(answer, gold), _is_right(without_unstated(answer, item.tools, stated), gold))
        for answer in (base, adapted)
    )
    return *of_base, *of_adapted


def _is_right(answer: Answer, gold: Sequence[ToolCall]) -> bool:
    return answer.error is None and lenient(answer.calls, gold)


def lines(found: Sequence[Sequence[Verdicts]]) -> Iterator[str]:
    """The scores and the differences of inputs, each with its verdicts under every seed."""
    means = [[sum(one[side] for one in seeds) / len(seeds) for seeds in found] for side in range(len(SIDES))]
    for side, values in zip(SIDES, means, strict=True):
        yield f"{side:18} {100 * sum(values) / len(values):5.1f} %"
    for before, after in PAIRS:
        interval = paired_bootstrap(means[before], means[after])
        bounds = "" if interval is None else f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
        points = 100 * (sum(means[after]) - sum(means[before])) / len(found)
        changes = [(one[before], one[after]) for seeds in found for one in seeds]
        fixed, broken = changes.count((False, True)), changes.count((True, False))
        yield f"{SIDES[before]} -> {SIDES[after]}: {points:+.1f}{bounds}, {fixed} / {broken}"


def main() -> None:
    """Print the table of the runs named on the command line."""
    by_input: dict[str, list[Verdicts]] = {}
    for folder in sys.argv[1:]:
        for row in each_row(Path(folder)):
            found = verdicts(row)
            if found is not None:
                by_input.setdefault(row.episode.input_id, []).append(found)
    print(f"{len(by_input)} inputs of {len(sys.argv) - 1} runs")
    print("\n".join(lines(list(by_input.values()))))


if __name__ == "__main__":
    main()
