"""One episode as plain text, for readers who are new to the method.

Inputs: an `Episode` and its `Input`. Outputs: text in the order of the method (arXiv:2510.07841): the candidates and
how confident the model was (H), the examples that were kept and refused (G), the losses of the training (T), the answer
before and after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ttsi.plurals import with_noun
from ttsi.types import Adaptation, Answer, Awareness, Episode, Example, Input, ToolCall

BAR = 24
"""Characters of a bar that stands for 100 %."""


def story(item: Input, episode: Episode, *, ascii_only: bool = False) -> str:
    """The whole story.

    Args:
        item: the question.
        episode: what happened.
        ascii_only: draw bars with # where the terminal cannot show blocks.
    """
    return "\n".join(_tell(item, episode, "#" if ascii_only else "█"))


def _tell(item: Input, episode: Episode, block: str) -> Iterator[str]:
    yield f"Request   {one_line(item.messages[-1].content, 400)}"
    yield f"Tools     {', '.join(tool.name for tool in item.tools)}"
    if episode.awareness is not None:
        yield from _tell_awareness(episode.awareness, block)
    if episode.examples:
        yield from _tell_examples(episode.examples)
    yield from _tell_adaptation(episode)
    yield from _tell_left_out(episode.adaptation)
    yield from _tell_answers(episode)
    if episode.error is not None:
        yield f"\nThis input failed: {episode.error}"
    yield "\nSeconds   " + ", ".join(f"{stage} {spent:.2f}" for stage, spent in episode.seconds.items())


def _tell_awareness(awareness: Awareness, block: str) -> Iterator[str]:
    yield "\n1. Is the model sure? How likely it finds each action:"
    width = max((len(candidate.action) for candidate in awareness.candidates), default=0)
    for candidate in sorted(awareness.candidates, key=lambda c: -c.probability):
        bar = block * round(BAR * candidate.probability)
        yield f"   {candidate.action:<{width}}  {candidate.probability:6.1%}  {bar}".rstrip()
    verdict = "below tau: unsure" if awareness.unsure else "not below tau: sure"
    yield f"   {awareness.measure} {awareness.value:.3f}, tau {awareness.tau:g}: {verdict}"


def _tell_examples(examples: Sequence[Example]) -> Iterator[str]:
    kept = sum(example.refused is None for example in examples)
    yield f"\n2. Similar examples, made without knowing the answer: {kept} of {len(examples)} kept"
    for example in examples:
        if example.refused is None:
            yield f"   + {one_line(example.query)}"
            yield f"       {_calls(example.calls)}"
        else:
            yield f"   - refused ({example.refused}): {one_line(example.query or example.text)}"


def _tell_adaptation(episode: Episode) -> Iterator[str]:
    done: Adaptation = episode.adaptation
    why = f" ({done.reason})" if done.reason else ""
    if done.status == "trained":
        kept = sum(example.refused is None for example in episode.examples)
        again = done.samples - kept
        calls = f"{with_noun(kept, 'example')}, {again} of them once more with the called tool off the list,"
        what = calls if 0 < again <= kept else with_noun(done.samples, "example")
        start = ", from the library's adapter on" if done.started_from else ""
        steps = with_noun(done.steps, "step")
        yield f"\n3. A temporary adapter learned {what} in {steps}{start}. Loss before each step:"
        yield "   " + " ".join(f"{loss:.3f}" for loss in done.losses)
        yield from _tell_effect(done)
        yield "   It was dropped after the answer; the model is as it was."
        if done.held_back_losses:
            losses = " ".join(f"{loss:.3f}" for loss in done.held_back_losses)
            yield f"   Loss on examples held back, from no step on: {losses}. The adapter of the lowest answered."
    elif done.status == "in-context":
        put = with_noun(done.samples, "example was", "examples were")
        yield f"\n3. {put} put into the prompt; nothing was trained."
    elif done.status == "reused":
        yield "\n2. The temporary adapter of an earlier decision answers; nothing was written or trained."
        yield from _tell_effect(done)
    elif done.status == "shared":
        rows = with_noun(done.samples, "row")
        yield f"\n2. The run's one adapter answers, which learned {rows} of the training data."
    elif done.status == "library":
        yield f"\n2. The library's adapter {done.library_entry} answers; nothing was written or trained."
        yield from _tell_effect(done)
    elif done.status == "resampled":
        yield f"\n2. Nothing was learned; the model answers a second time{why}."
    elif done.status == "training-failed":
        yield f"\n3. The adaptation was given up{why}: the model answers as it is."
    elif episode.examples:
        yield f"\n3. Nothing was learned{why}: the model answers as it is."
    else:
        because = _why_not_adapted(episode.awareness) or why
        yield f"\n2. No examples were written and nothing was learned{because}: the model answers as it is."
    if done.refused:
        yield f"   The new answer is not taken ({done.refused}): the base's stays."


def _why_not_adapted(awareness: Awareness | None) -> str:
    if awareness is None:
        return ""
    if awareness.unsure and awareness.in_words:
        return " because the model answered in words (--answer.calls required demands a call)"
    return "" if awareness.unsure else " because the model is sure"


def _tell_effect(done: Adaptation) -> Iterator[str]:
    if done.unadapted:
        yield f"   It acts behind the first {done.unadapted} tokens of the prompt, which stay as the base reads them."
    if done.logprob_shift is not None:
        yield f"   It moved the log-probability of its answer by {done.logprob_shift:+.3f} nats per token."


def _tell_left_out(done: Adaptation) -> Iterator[str]:
    if done.left_out:
        yield f"   {done.left_out} more would not fit the model's context and were left out."


def _tell_answers(episode: Episode) -> Iterator[str]:
    if episode.base is not None:
        yield f"\nBefore    {_answer(episode.base)}"
    if episode.adapted is not None:
        changed = episode.base is None or _content(episode.base) != _content(episode.adapted)
        yield f"After     {_answer(episode.adapted)}{'' if changed else '   (unchanged)'}"


def _content(answer: Answer) -> tuple[str, str | None]:
    return (_calls(answer.calls) or answer.text, answer.error)


def _answer(answer: Answer) -> str:
    if answer.error is not None:
        return f"{one_line(answer.text)}   (not readable: {answer.error})"
    return _calls(answer.calls) or f'no call: "{one_line(answer.text)}"'


def _calls(calls: Sequence[ToolCall]) -> str:
    return _clean("; ".join(map(call_text, calls)))


def call_text(call: ToolCall) -> str:
    """A call as one would write it in a program.

    >>> call_text(ToolCall("rate", {"film": "Up", "stars": 5}))
    'rate(film="Up", stars=5)'
    """
    inside = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in call.arguments.items())
    return f"{call.name}({inside})"


def _clean(text: str) -> str:
    """Without control characters: what a model or a user wrote must not control the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def one_line(text: str, longest: int = 110) -> str:
    """A text on one line of a terminal, cut when it is long."""
    line = _clean(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 3] + "..."
