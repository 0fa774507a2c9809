"""Conversations rendered as a model's tokens, and where its answer begins and ends.

Inputs: a tokenizer with its own chat template, a `Format`, what the template carries (`ttsi.chat.handshake`), and a
`Prompt` or `TrainingExample`. Outputs: text, or token ids.

Text from users, tools and models is data. Before it is rendered, every control token spelled out in it is broken by a
zero-width space (`neutralise`), so that none is ever encoded as one. The date and other defaults of a template are
fixed (`ttsi.chat.template_source`), so that a prompt has the same tokens on every day.

The tokenizer is any object that behaves like one of transformers' fast tokenizers. Transformers is not imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from ttsi.chat.calls import FORMATS, Format
from ttsi.chat.handshake import Handshake, probe_template
from ttsi.chat.template_source import DAY, Render, fix_date, fixed_variables, template_error
from ttsi.chat.template_turns import NOTHING, fit_turns, openai_call
from ttsi.chat.thinking import THINKING
from ttsi.errors import ModelError
from ttsi.types import Message, Prompt, Tool, ToolCall, TrainingExample, answered_calls, to_openai

Tokenizer: TypeAlias = Any
"""`apply_chat_template`, `__call__`, `chat_template`, `eos_token_id`, `eos_token`, `added_tokens_decoder`."""


BREAK = "\u200b"
"""The zero-width space that breaks a control token's spelling."""

_PROBE = "an answer to find again"


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The control tokens, text -> id: the tokens that a decoder skips, as `ttsi.chat.lark.localise` takes them."""
    return {str(token): int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def special_strings(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The spellings to neutralise in text from outside: control tokens, and added tokens with a function.

    An added token has a function if it is a mark of a family's calls or of thinking, or if the chat template writes
    it. Qwen's <tool_call> is one. Gemma's tokens for HTML tags have none, so a user's <b> stays <b>.
    """
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    used = {mark for fmt in FORMATS.values() for mark in fmt.marks} | {mark for pair in THINKING for mark in pair}
    template = json.dumps(tokenizer.chat_template or "", ensure_ascii=False)
    written = {token for token in added if not token.isspace() and len(token) > 2 and token in template}
    return tuple(sorted({*special_ids(tokenizer), *(added & used), *written} - {""}))


def neutralise(text: str, specials: Iterable[str]) -> str:
    """The text with U+200B after the first character of each control token spelled out in it.

    A control token of one character cannot be broken and is replaced. Neutral text stays as it is.
    """
    pattern = _any_of(tuple(specials))
    while pattern is not None and pattern.search(text):  # again, because spellings may overlap
        text = pattern.sub(lambda match: match[0][:1] * (len(match[0]) > 1) + BREAK + match[0][1:], text)
    return text


@lru_cache(maxsize=16)
def _any_of(specials: tuple[str, ...]) -> re.Pattern[str] | None:
    spellings = sorted({special for special in specials if special}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spellings))) if spellings else None


def neutralise_call(call: ToolCall, specials: Iterable[str]) -> ToolCall:
    """The call with every string in it, keys and name too, neutralised."""
    spellings = tuple(specials)
    arguments = _neutralise_value(dict(call.arguments), spellings)
    return replace(call, name=neutralise(call.name, spellings), arguments=arguments)


def prompt_text(
    tokenizer: Tokenizer, fmt: Format, prompt: Prompt, specials: Iterable[str], handshake: Handshake | None = None
) -> str:
    """The prompt as the model's own template writes it, up to and including `prompt.prefix`.

    Parts that the template does not carry are written in words (`ttsi.chat.template_turns`). Thinking that it opens is
    closed. The prefix is the caller's own text and is appended as it is.

    Args:
        handshake: the handshake with the model; by default the one with its template alone.

    Raises:
        ModelError: there is no chat template, or it refuses this conversation.
    """
    spellings = tuple(specials)
    handshake = handshake or handshake_with(tokenizer, fmt.name)
    tools = [_neutralise_value(to_openai(tool), spellings) for tool in prompt.tools]
    messages = [_neutralise_message(message, spellings) for message in prompt.messages]
    text = _render(tokenizer, *fit_turns(openai_turns(messages), tools, fmt, handshake.carries))
    return text + handshake.thinking + prompt.prefix


_HANDSHAKES: WeakKeyDictionary[Any, dict[tuple[str, str | None], Handshake]] = WeakKeyDictionary()


def handshake_with(tokenizer: Tokenizer, format_name: str | None = None) -> Handshake:
    """The handshake with a tokenizer's template, cached.

    Args:
        format_name: the format to use; None for the template's own.

    Raises:
        ModelError: there is no chat template, or it carries no conversation.
    """
    cache, key = _HANDSHAKES.setdefault(tokenizer, {}), (json.dumps(tokenizer.chat_template), format_name)
    if key not in cache:
        tokens = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        own = probe_template(renderer(tokenizer), tokens=tokens)
        fits = format_name in (None, own.format)
        cache[key] = own if fits else probe_template(renderer(tokenizer), format_name, tokens)
    return cache[key]


def renderer(tokenizer: Tokenizer) -> Render:
    """The tokenizer's chat template, for a handshake."""

    def render(turns: Any, tools: Any, *, answer: bool = True, now: Any = DAY) -> str:
        return _render(tokenizer, list(turns), list(tools), answer, now)

    return render


def encode_prompt(
    tokenizer: Tokenizer, fmt: Format, prompt: Prompt, specials: Iterable[str], handshake: Handshake | None = None
) -> list[int]:
    """`prompt_text` as token ids. The template writes any begin-of-text token."""
    return _encode(tokenizer, prompt_text(tokenizer, fmt, prompt, specials, handshake))


def encode_training_example(
    tokenizer: Tokenizer,
    fmt: Format,
    example: TrainingExample,
    specials: Iterable[str],
    handshake: Handshake | None = None,
) -> tuple[list[int], int]:
    """Token ids of prompt, target and end of turn, and how many of them are the prompt.

    Prompt and target are tokenised apart. Tokenised together, the prompt's last and the target's first characters
    could become one token, which never occurs when the model answers. Control tokens spelled in the target are
    neutralised too, except the format's own marks outside the calls' strings.

    Raises:
        ModelError: no chat template, or no end-of-turn token.
    """
    spellings = tuple(specials)
    prompt = encode_prompt(tokenizer, fmt, example.prompt, spellings, handshake)
    target = neutralise_target(fmt, example.target, example.prompt.tools, spellings)
    return [*prompt, *_encode(tokenizer, target), end_of_turn(tokenizer)], len(prompt)


def neutralise_target(fmt: Format, target: str, tools: Sequence[Tool], specials: Iterable[str]) -> str:
    """An answer to learn, or its beginning, with the format's marks whole and everything else neutralised."""
    specials = tuple(specials)
    parsed = fmt.parse(target, tools)
    if parsed.calls and fmt.render(parsed.calls, parsed.reasoning, tools) == target:
        calls = [neutralise_call(call, specials) for call in parsed.calls]
        return fmt.render(calls, neutralise(parsed.reasoning, specials), tools)
    return neutralise(target, set(specials) - set(fmt.marks))


def decode_answer(tokenizer: Tokenizer, prompt: Sequence[int], ids: Sequence[int]) -> str:
    """The text of the tokens behind a prompt."""
    # Some decoders strip the space of the first token, so the last prompt token is decoded along with the answer.
    before, both = _decode(tokenizer, prompt[-1:]), _decode(tokenizer, [*prompt[-1:], *ids])
    return both[len(before) :] if both.startswith(before) else _decode(tokenizer, ids)


def _decode(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def end_of_turn(tokenizer: Tokenizer) -> int:
    """The id of the token that the template writes behind an assistant's message, else the end-of-text token.

    Raises:
        ModelError: there is neither.
    """
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": _PROBE}]
    tail = _render(tokenizer, turns, [], answer=False).rpartition(_PROBE)[2]
    controls = set(special_ids(tokenizer).values())
    written = next((i for i in _encode(tokenizer, tail) if i in controls), tokenizer.eos_token_id)
    if written is None:
        raise ModelError("the tokenizer has no end-of-turn token: neither its chat template nor eos_token names one")
    return int(written)


def user_turn_openings(tokenizer: Tokenizer) -> list[list[int]]:
    """The token ids with which the template opens a user's turn, as they may be encoded.

    They are what the template writes between an answer and the next request, without the end of the answer. Empty where
    it writes no control token there: text from outside could spell such an opening.
    """
    request = "a request to find again"
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": _PROBE}]
    try:
        text = _render(tokenizer, [*turns, {"role": "user", "content": request}], [], answer=False)
    except ModelError:  # a template without a second request
        return []
    between = text.rpartition(_PROBE)[2].partition(request)[0]
    opening = between.removeprefix(_decode(tokenizer, [end_of_turn(tokenizer)]))
    if not any(mark in opening for mark in special_strings(tokenizer)):
        return []
    return [ids for ids in (_encode(tokenizer, opening.strip()), _encode(tokenizer, opening)) if ids]


def end_token_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens at which an answer ends: the template's end of turn and the tokenizer's end of text.

    Raises:
        ModelError: there is neither.
    """
    return frozenset({end_of_turn(tokenizer)} | ({tokenizer.eos_token_id} - {None}))


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _neutralise_value(value: Any, specials: Sequence[str]) -> Any:
    if isinstance(value, str):
        return neutralise(value, specials)
    if isinstance(value, Mapping):
        return {neutralise(str(key), specials): _neutralise_value(inner, specials) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_neutralise_value(inner, specials) for inner in value]
    return value


def _neutralise_message(message: Message, specials: Sequence[str]) -> Message:
    calls = tuple(neutralise_call(call, specials) for call in message.tool_calls)
    return replace(message, content=neutralise(message.content, specials), tool_calls=calls)


def _template(tokenizer: Tokenizer, with_tools: bool) -> str:
    """The template's source. Some tokenizers have one template for tools and another without."""
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        template = (template.get("tool_use") if with_tools else None) or template.get("default")
    if not template:
        raise ModelError("the tokenizer has no chat template: choose an instruction-tuned model")
    return str(template)


def openai_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns in OpenAI's form, except that arguments are objects, as templates expect them.

    A result gets the id of the call that it answers (`ttsi.types.answered_calls`). Ids are numbered anew: Mistral's
    template requires nine letters or digits, and no id from outside may reach a prompt.
    """
    turns: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for message, answer in zip(messages, answered_calls(messages), strict=True):
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            turn["tool_calls"] = list(map(openai_call, message.tool_calls, count(len(made))))
            made += turn["tool_calls"]
        elif answer is not None:
            turn |= {"tool_call_id": made[answer]["id"], "name": made[answer]["function"]["name"]}
        turns.append(turn)
    return turns


def plain_text_turns(fmt: Format, messages: Sequence[Message], tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Turns of roles and words only, with tools, calls and results in words."""
    return fit_turns(openai_turns(messages), tools, fmt, NOTHING)[0]


def _render(
    tokenizer: Tokenizer, turns: list[dict[str, Any]], tools: list[Any], answer: bool = True, now: Any = DAY
) -> str:
    source, variables = fix_date(_template(tokenizer, bool(tools)), now), fixed_variables(now)
    try:
        text = tokenizer.apply_chat_template(
            turns, tools or None, chat_template=source, tokenize=False, add_generation_prompt=answer, **variables
        )
    except Exception as error:  # the template is code from the model's folder; it may raise anything
        raise template_error(error) from error
    return str(text)


def template_text(tokenizer: Tokenizer) -> str:
    """The chat template of a tokenizer; several as JSON."""
    template = tokenizer.chat_template
    return template if isinstance(template, str) else json.dumps(template, sort_keys=True)
