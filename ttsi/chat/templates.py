"""How does a conversation become the tokens that a model reads, and where does its answer begin and end?

Inputs: a tokenizer with its own chat template, a `Format`, and a `Prompt` or `Lesson`. Outputs: text, or token ids.

Text from users, tools and models is data: before it is rendered, every control token spelled out in it is broken by a
zero-width space (`neutralise`), so that none is ever encoded as one. Whatever a template leaves to the clock or to a
default is fixed here (`_FIXED`), so that the same prompt is the same tokens tomorrow.

The paper (arXiv:2510.07841) does not say how it renders prompts. The tokenizer is any object that behaves like one of
transformers' fast tokenizers; transformers itself is not imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from ttsi.chat.calls import Format
from ttsi.errors import ModelError
from ttsi.types import Message, Tool, ToolCall, answered_calls, to_openai

Tokenizer: TypeAlias = Any
"""`apply_chat_template`, `__call__`, `chat_template`, `eos_token_id`, `eos_token`, `added_tokens_decoder`."""


class Prompt(Protocol):
    """What is read of a `ttsi.models.Prompt`, whose module imports this package."""

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation."""
        ...

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools on offer."""
        ...

    @property
    def prefix(self) -> str:
        """Text of the assistant's turn that is already written."""
        ...


class Lesson(Protocol):
    """What is read of a `ttsi.models.Lesson`."""

    @property
    def prompt(self) -> Prompt:
        """What the model reads."""
        ...

    @property
    def target(self) -> str:
        """What the assistant should have said."""
        ...


BREAK = "\u200b"
"""The zero-width space that breaks a control token's spelling."""

_FIXED: Mapping[str, Any] = {"date_string": "26 Jul 2024", "enable_thinking": False}
"""Variables of known templates: today's date (Llama 3) and whether the model thinks aloud first (Qwen 3)."""
_MARKLIKE = re.compile(r"<[^\s<>]+>|\[[^\s\[\]]+\]")
_PROBE = "an answer to find again"


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The control tokens, text -> id: those that a decoder would skip (`ttsi.chat.grammar.localise` takes them)."""
    return {str(token): int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special}


def special_strings(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Every spelling that must not come from outside: control tokens, and added tokens that look like marks.

    Qwen's <tool_call> is such an added token: not a control token by name, but one by use.
    """
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if _MARKLIKE.fullmatch(str(token))}
    return tuple(sorted({*special_ids(tokenizer), *added} - {""}))


def neutralise(text: str, specials: Iterable[str]) -> str:
    """The text with U+200B after the first character of each control token spelled out in it.

    A control token of one character cannot be broken and is replaced. Twice is once: neutral text stays as it is.
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
    arguments = _neutral(dict(call.arguments), spellings)
    return replace(call, name=neutralise(call.name, spellings), arguments=arguments)


def prompt_text(tokenizer: Tokenizer, fmt: Format, prompt: Prompt, specials: Iterable[str]) -> str:
    """The prompt as the model's own template writes it, up to and including `prompt.prefix`.

    A template that takes no tools gets them as JSON in the system message, with the format's instruction, and earlier
    calls and results as words. A template that takes no system message gets it at the head of the first user message.
    The prefix is the caller's own text and is appended as it is.

    Raises:
        ModelError: there is no chat template, or it refuses this conversation.
    """
    spellings = tuple(specials)
    tools = [_neutral(to_openai(tool), spellings) for tool in prompt.tools]
    template = _template(tokenizer, bool(tools))
    messages = [_neutral_message(message, spellings) for message in prompt.messages]
    if re.search(r"\btools\b", template):
        turns = openai_turns(messages)
    else:
        turns, tools = worded_turns(fmt, messages, tools), []
    return _render_with_system(tokenizer, turns, tools) + prompt.prefix


def encode_prompt(tokenizer: Tokenizer, fmt: Format, prompt: Prompt, specials: Iterable[str]) -> list[int]:
    """`prompt_text` as token ids; the template has already written any begin-of-text token."""
    return _encode(tokenizer, prompt_text(tokenizer, fmt, prompt, specials))


def encode_lesson(tokenizer: Tokenizer, fmt: Format, lesson: Lesson, specials: Iterable[str]) -> tuple[list[int], int]:
    """Token ids of prompt, target and end of turn, and how many of them are the prompt.

    Prompt and target are tokenised apart. Together, a tokenizer may merge the prompt's last and the target's first
    characters into one token, which the model never sees when it answers: there the prompt's ids are given, and the
    answer starts on a token of its own. Control tokens spelled in the target are neutralised too, except the
    format's own marks outside the calls' strings.

    Raises:
        ModelError: no chat template, or no end-of-turn token.
    """
    spellings = tuple(specials)
    prompt = encode_prompt(tokenizer, fmt, lesson.prompt, spellings)
    target = _neutral_target(fmt, lesson, spellings)
    return [*prompt, *_encode(tokenizer, target), end_of_turn(tokenizer)], len(prompt)


def _neutral_target(fmt: Format, lesson: Lesson, specials: Sequence[str]) -> str:
    """The target with its marks whole and everything else neutralised."""
    parsed = fmt.parse(lesson.target, lesson.prompt.tools)
    if parsed.calls and fmt.render(parsed.calls, parsed.reasoning) == lesson.target:
        calls = [neutralise_call(call, specials) for call in parsed.calls]
        return fmt.render(calls, neutralise(parsed.reasoning, specials))
    return neutralise(lesson.target, set(specials) - set(fmt.marks))


def decode_answer(tokenizer: Tokenizer, prompt: Sequence[int], ids: Sequence[int]) -> str:
    """The text of the tokens behind a prompt; the prompt's text may matter only by its last token."""
    # Some decoders strip the space of the very first token, so the last prompt token goes along.
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


def end_token_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens at which an answer ends: the template's end of turn and the tokenizer's end of text.

    Raises:
        ModelError: there is neither.
    """
    return frozenset({end_of_turn(tokenizer)} | ({tokenizer.eos_token_id} - {None}))


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _neutral(value: Any, specials: Sequence[str]) -> Any:
    if isinstance(value, str):
        return neutralise(value, specials)
    if isinstance(value, Mapping):
        return {neutralise(str(key), specials): _neutral(inner, specials) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_neutral(inner, specials) for inner in value]
    return value


def _neutral_message(message: Message, specials: Sequence[str]) -> Message:
    calls = tuple(neutralise_call(call, specials) for call in message.tool_calls)
    return replace(message, content=neutralise(message.content, specials), tool_calls=calls)


def _template(tokenizer: Tokenizer, with_tools: bool) -> str:
    """The template's source; some tokenizers have one for tools and one for everything else."""
    template = tokenizer.chat_template
    if isinstance(template, Mapping):
        template = (template.get("tool_use") if with_tools else None) or template.get("default")
    if not template:
        raise ModelError("the tokenizer has no chat template: choose an instruction-tuned model")
    return str(template)


def openai_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns in OpenAI's form, but for arguments, which are objects as templates want them.

    A result answers the call that `ttsi.types.answered_calls` says. Ids are numbered anew: Mistral's template wants
    nine letters or digits, and an id from outside is nobody's text.
    """
    turns: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for message, answer in zip(messages, answered_calls(messages), strict=True):
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            turn["tool_calls"] = [_openai_call(call, len(made) + i) for i, call in enumerate(message.tool_calls)]
            made += turn["tool_calls"]
        elif answer is not None:
            turn |= {"tool_call_id": made[answer]["id"], "name": made[answer]["function"]["name"]}
        turns.append(turn)
    return turns


def _openai_call(call: ToolCall, number: int) -> dict[str, Any]:
    function = {"name": call.name, "arguments": dict(call.arguments)}
    return {"id": f"call{number:05d}", "type": "function", "function": function}


def worded_turns(fmt: Format, messages: Sequence[Message], tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Turns for a template that knows only who speaks: tools, calls and results are written out."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role, content = message.role, message.content
        if message.tool_calls:
            content = fmt.render(message.tool_calls, content)
        if role == "tool":
            role, content = "user", f"Result: {content}"
        if turns and turns[-1]["role"] == role:  # templates that know no tools often insist on taking turns
            turns[-1]["content"] += "\n" + content
        else:
            turns.append({"role": role, "content": content})
    return _with_tools(turns, fmt, tools) if tools else turns


def _with_tools(turns: list[dict[str, Any]], fmt: Format, tools: Sequence[Any]) -> list[dict[str, Any]]:
    listed = "Tools:\n" + json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
    parts = [listed, *([fmt.instruction] if fmt.instruction else [])]
    if turns and turns[0]["role"] == "system":
        parts, turns = [turns[0]["content"], *parts], turns[1:]
    return [{"role": "system", "content": "\n\n".join(parts)}, *turns]


def _render_with_system(tokenizer: Tokenizer, turns: list[dict[str, Any]], tools: list[Any]) -> str:
    """The conversation as text; where the template refuses or drops the system message, it joins the first user's."""
    if not turns or turns[0]["role"] != "system":
        return _render(tokenizer, turns, tools)
    try:
        text = _render(tokenizer, turns, tools)
        if turns[0]["content"].strip() in text:
            return text
    except ModelError:
        pass
    return _render(tokenizer, _folded(turns), tools)


def _folded(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    system, rest = turns[0], turns[1:]
    if rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]
    return [{"role": "user", "content": system["content"]}, *rest]


def _render(tokenizer: Tokenizer, turns: list[dict[str, Any]], tools: list[Any], answer: bool = True) -> str:
    _template(tokenizer, bool(tools))
    try:
        text = tokenizer.apply_chat_template(
            turns, tools=tools or None, tokenize=False, add_generation_prompt=answer, **_FIXED
        )
    except Exception as error:  # the template is code from the model's folder; it may raise anything
        line = " ".join(str(error).split())[:160]
        if type(error).__name__ == "TemplateSyntaxError":
            raise ModelError(f"the model's chat template is broken: {line}") from error
        raise ModelError(f"the model's chat template refuses this conversation: {line}") from error
    return str(text)
