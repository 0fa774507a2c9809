"""A trajectory as plain text: each decision of an agent, what it learned for it, and what its calls returned.

Inputs: a `Trajectory`. Outputs: lines in the order of events. For a decision that was adapted they hold the answer
before and after, and what the environment said to the written examples.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from textwrap import wrap

from ttsi.plurals import with_noun
from ttsi.reports.story import call_text, one_line
from ttsi.types import Answer, Example, Step, Trajectory, Turn

ENDS = {
    "done": "the agent ended the turn",
    "repeated": "the agent repeated its last calls, which ended the turn",
    "errors": "calls that failed ended the turn",
    "steps": "the limit of steps ended the turn",
    "failed": "the turn failed",
    "stopped": "you stopped the turn",
}
EMPTY = {"reused": "the adapter of an earlier decision"}
"""What a decision learned from without a step of its own."""
LINE_WIDTH = 100
"""Characters of a line of an answer in words."""
LONGEST_REASON = 240
"""Characters of a reason: the advice stands at its end."""
MOST_REASONS = 3
"""Reasons for refused examples that are listed, the commonest."""


def trajectory_story(trajectory: Trajectory) -> str:
    """The whole conversation."""
    lines = [line for number, turn in enumerate(trajectory.turns, start=1) for line in _turn(number, turn)]
    return "\n".join([*lines, *([f"Failed: {trajectory.error}"] if trajectory.error else [])])


def _turn(number: int, turn: Turn) -> Iterator[str]:
    request = next((message.content for message in reversed(turn.messages) if message.role == "user"), "")
    yield f"Turn {number}  {one_line(request, 300)}"
    for place, step in enumerate(turn.steps, start=1):
        yield from _step(place, step)
    if turn.end != "open":
        yield f"   {ENDS[turn.end]}"


def _step(place: int, step: Step) -> Iterator[str]:
    words, error = _words(step.answer), step.answer and step.answer.error
    heading = "wrote:" if error else "in words:"
    yield f"{place:>3}. {_confidence(step)}{heading if words else _answer(step.answer)}"
    yield from words
    if words and error:
        yield f"       (not readable: {_advice(error)})"
    if step.examples:
        yield f"       {_examples(step.examples)}"
    if step.adaptation.status != "none":
        yield f"       {_adaptation(step)}"
    elif step.adaptation.reason:
        yield f"       not adapted: {step.adaptation.reason}"
    for result in step.results:
        yield f"     {'! ' if result.error else '> '}{one_line(result.content, 200)}"
    if step.error:
        yield f"     failed: {step.error}"


def _confidence(step: Step) -> str:
    if step.awareness is None:
        return ""
    return f"{'unsure' if step.awareness.unsure else 'sure'} ({step.awareness.value:.2f}): "


def _answer(answer: Answer | None) -> str:
    if answer is None:
        return "no answer"
    if answer.error is not None:
        return f"{one_line(answer.text)}   (not readable: {_advice(answer.error)})"
    return one_line("; ".join(map(call_text, answer.calls)), 300) or f'"{one_line(answer.text)}"'


def _words(answer: Answer | None) -> list[str]:
    """The lines of an answer without calls that is too long for one: it ends the turn, so the user reads all of it."""
    if answer is None or answer.calls:
        return []
    paragraphs = [one_line(line, sys.maxsize) for line in answer.text.splitlines() if line.strip()]
    if " ".join(paragraphs) == one_line(answer.text):
        return []
    return [f"       {line}" for paragraph in paragraphs for line in wrap(paragraph, LINE_WIDTH)]


def _advice(error: str) -> str:
    """Why an answer is not readable, and what to do about it."""
    return f"{error}: --answer.max-tokens allows more" if error.endswith("max_tokens") else error


def _examples(examples: tuple[Example, ...]) -> str:
    kept = sum(example.refused is None for example in examples)
    executed = sum(example.refused is None and bool(example.results) for example in examples)
    reasons = Counter(one_line(example.refused, LONGEST_REASON) for example in examples if example.refused is not None)
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(MOST_REASONS))
    return f"examples: {kept} of {len(examples)} kept, {executed} executed" + (f". Refused: {listed}" if listed else "")


def _adaptation(step: Step) -> str:
    done = step.adaptation
    learned = f"{with_noun(done.samples, 'training example')} in {with_noun(done.steps, 'step')}"
    parts = [learned if done.steps else EMPTY.get(done.status, "")]
    shift = done.logprob_shift
    parts += [] if shift is None else [f"log-probability of its answer {shift:+.2f} nats per token"]
    parts += [done.reason, f"answer refused ({done.refused})" if done.refused else ""]
    before, after = _answer(step.base), _answer(step.answer)
    changed = "" if step.base is None or before == after else f"; before: {before}"
    return f"{done.status}: {', '.join(part for part in parts if part)}{changed}"
