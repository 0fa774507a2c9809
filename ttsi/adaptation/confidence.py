"""The guards on an adapted answer: it can be read, is more confident, has no worse values, and still calls.

Inputs: both answers, and the input of the guard on values. Outputs: None, or the reason why the base answers. The paper
(arXiv:2510.07841) returns every adapted answer. Where the model is less confident of it, the examples were mostly bad;
where it has values that the conversation does not state, or lacks some that it does, it is more often broken than fixed
(dev/log.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

from ttsi.chat.grounding import (
    StatedValues,
    arguments_place,
    conversation_text,
    leaves,
    unstated_arguments,
    unstated_values,
)
from ttsi.chat.schema_choices import is_among
from ttsi.types import END_TURN, Answer, Example, Input, ToolCall


def worse_values(base: Answer, adapted: Answer, item: Input, examples: Sequence[Example] = ()) -> str | None:
    """None unless the adapted answer's values are worse than the base's; then one line that names the arguments.

    They are worse where it has more values that the conversation does not state, or a new one of these from one of the
    examples, or as many and leaves out one that the base's answer took from the conversation. An unreadable answer of
    the base is never preferred.
    """
    if base.error is not None:
        return None
    stated = StatedValues.of(conversation_text(item.messages))
    before, after = (
        [name for call in answer.calls for name in unstated_arguments(call, item.tools, stated)]
        for answer in (base, adapted)
    )
    if len(after) > len(before):
        return f"the conversation does not state its {_each_once(after)}"
    theirs = _values(call for example in examples for call in _untried_calls(example)) - _values(base.calls)
    invented = (pair for call in adapted.calls for pair in unstated_values(call, item.tools, stated))
    copied = [name for name, value in invented if _any_case(value) in theirs]
    if copied:
        return f"an example states its {_each_once(copied)}, and the conversation does not"
    left_out = _left_out(base.calls, adapted.calls, item, stated) if len(after) == len(before) else ()
    return f"it leaves out what the conversation states: {_each_once(left_out)}" if left_out else None


def _each_once(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _untried_calls(example: Example) -> Iterator[ToolCall]:
    """The calls of a kept example but those that succeeded in an agent's environment, whose values exist there."""
    if example.refused is None:
        for call, result in zip_longest(example.calls, example.results):
            if result is None or result.error:
                yield call


def _values(calls: Iterable[ToolCall]) -> set[Any]:
    """The strings, without regard to case, and the numbers in the arguments of calls."""
    return {_any_case(value) for call in calls for _, value in leaves(dict(call.arguments))}


def _any_case(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


def _left_out(
    before: Sequence[ToolCall], after: Sequence[ToolCall], item: Input, stated: StatedValues
) -> tuple[str, ...]:
    """The arguments with stated values that calls of the same tool lack now, where no other argument took the value.

    A value that is the schema's default may go.
    """
    used = StatedValues.of("\n".join(str(value) for call in after for _, value in leaves(dict(call.arguments))))
    tools = {call.name for call in after}
    kept = {(call.name, name) for call in after for name in call.arguments}
    lost = [
        name
        for call in before
        for name, value in call.arguments.items()
        if call.name in tools and (call.name, name) not in kept
        if not is_among(value, arguments_place(call, item.tools).part(name).defaults)
        if _are_stated([inner for _, inner in leaves({name: value})], stated, used)
    ]
    return tuple(dict.fromkeys(lost))


def _are_stated(values: Sequence[Any], stated: StatedValues, used: StatedValues) -> bool:
    """Whether the conversation states all of these values, and the call has none of them elsewhere."""
    return bool(values) and all(value in stated and value not in used for value in values)


def call_dropped(base: Answer, adapted: Answer) -> str | None:
    """None unless the base calls a tool and the adapted answer calls none; then one line that says so.

    >>> from ttsi.types import ToolCall
    >>> call, words = Answer("", (ToolCall("f", {}),)), Answer("Hello", ())
    >>> call_dropped(call, words), call_dropped(words, call), call_dropped(words, words)
    ('it calls no tool, and the base calls one', None, None)
    """
    before, after = ([call for call in answer.calls if call.name != END_TURN] for answer in (base, adapted))
    return "it calls no tool, and the base calls one" if before and not after else None


def lack_of_confidence(base: Answer, adapted: Answer, margin: float | None) -> str | None:
    """None when the adapted answer counts, else one line with the reason.

    Each answer's mean log-probability per token (nats) is that under the weights that wrote it; the adapted one must
    be larger by more than `margin`. Where only one of the two can be read, that one counts: an answer that repeats
    itself to the end has the highest log-probability of all. Without a margin every adapted answer counts.

    >>> old, new = Answer("", (), logprob=-2.0, tokens=10), Answer("", (), logprob=-1.0, tokens=10)
    >>> lack_of_confidence(old, new, 0.05), lack_of_confidence(new, old, 0.05)
    (None, 'the model is not surer of it: -0.200 nats per token, the base -0.100')
    >>> lack_of_confidence(new, old, None)
    >>> looped = Answer("", (), error="cut off: it repeats itself", logprob=-0.1, tokens=10)
    >>> lack_of_confidence(looped, old, 0.05), lack_of_confidence(old, looped, None)
    (None, None)
    >>> lack_of_confidence(old, looped, 0.05)
    'it cannot be read: cut off: it repeats itself'
    """
    if margin is None or (base.error is not None and adapted.error is None):
        return None
    if adapted.error is not None and base.error is None:
        return f"it cannot be read: {adapted.error}"
    before, after = (answer.logprob / max(1, answer.tokens) for answer in (base, adapted))
    if after > before + margin:
        return None
    return f"the model is not surer of it: {after:.3f} nats per token, the base {before:.3f}"
