"""The handshake with a model: what its chat template carries, and how it writes tool calls.

Inputs: a way to render turns through the template; later one answer of the model. Outputs: one frozen `Handshake`.
Short conversations with a tool, a call, its result, two calls, a second system message and a follow-up are rendered;
what comes out decides, not what the template's source looks like. The format is the one that reads the template's own
call back (and renders it the same); a template that shows no call is read by the marks it names. Not in the paper
(arXiv:2510.07841), whose models are two.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from ttsi.chat.families import FORMATS
from ttsi.chat.format import Format, FramedFormat
from ttsi.chat.thinking import opens_thinking
from ttsi.chat.turns import CLOSING_TURN, Carries, Turn, fitted
from ttsi.errors import ConfigError, ModelError, unknown_name
from ttsi.types import Tool, ToolCall, to_openai

DAY = datetime.datetime(2024, 7, 26, 12)
"""The day that every template is told, so that the same prompt is the same tokens tomorrow."""
_OTHER_DAY = datetime.datetime(2001, 2, 3, 4)

TOOL = Tool(
    "get_weather",
    "Show the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
"""The tool of the probes, and of the question to the model."""
QUESTION = "What is the weather in Oslo?"
_OSLO, _ROME = ToolCall("get_weather", {"city": "Oslo"}), ToolCall("get_weather", {"city": "Rome"})
_USER, _FOLLOW_UP, _RESULT, _OTHER_RESULT = "Is it cold there?", "And tomorrow?", "4 degrees", "19 degrees"
_SYSTEM, _LATER, _WORDS = "Be brief.", "Be polite, too.", "Let me look."
_PROBE = "quite an answer"


class Render(Protocol):
    """A chat template: turns and tools -> text.

    Raises:
        ModelError: the template refuses them.
    """

    def __call__(
        self, turns: Sequence[Turn], tools: Sequence[Any], *, answer: bool = True, now: datetime.datetime = DAY
    ) -> str:
        """The conversation as text; with `answer`, up to where the assistant begins."""
        ...


@dataclass(frozen=True)
class Handshake:
    """What was settled with one model before it is used."""

    format: str
    """The tool-call format that is read, scored, taught and constrained."""
    chosen_by: Literal["template", "marks", "tokens", "model", "user", "default"]
    """What decided: the template's own call, marks that it names, tokens of the tokenizer, what the model wrote,
    --format, or nothing at all."""
    template_format: str | None
    """The format in which the template writes calls; None where it writes none, or one that nobody registered."""
    carries: Carries
    dated: bool = False
    """Whether the template asks for the date, which is fixed."""
    thinks: bool = False
    """Whether the prompt ends inside the model's thinking."""
    unread: str = ""
    """How the template writes a call, where no registered format reads it."""
    model_format: str | None = None
    """The format that the model wrote when asked a plain question; None where it was not asked or did not call."""
    model_text: str = ""
    """What it wrote."""

    def spoken(self) -> Format:
        """The format to read, score, teach and constrain with."""
        form = FORMATS[self.format]
        return replace(form, thinks=True) if self.thinks and isinstance(form, FramedFormat) else form

    def record(self) -> dict[str, Any]:
        """Everything as JSON values, for a run's record."""
        return asdict(self)

    def table(self) -> str:
        """Everything for a person, a line each."""
        return "\n".join(f"{name:<22} {value}" for name, value in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        carries = self.carries
        why = {
            "template": "the template writes calls so",
            "marks": "the template names its marks",
            "tokens": "the tokenizer has its marks as tokens",
            "model": "the model writes calls so",
            "user": "--format says so",
            "default": "the template says nothing about calls",
        }[self.chosen_by]
        yield "tool-call format", f"{self.format} ({why})"
        if self.template_format not in (None, self.format):
            yield "template's own format", str(self.template_format)
        if self.unread:
            yield "template's own format", f"not readable: {self.unread[:80]!r}"
        if self.model_text:
            yield "when asked, it wrote", repr(self.model_text[:100])
        yield "tools", _where(carries.tools, "listed in the system message, in words")
        yield "how to call", _where(carries.instruction, "in the system message, in words")
        yield "earlier calls", _where(carries.calls, "in the assistant's words, in this format")
        yield "results of calls", _where(carries.results, "in the user's words")
        yield (
            "system message",
            "carried by the template" if carries.system == "template" else "at the head of the user's first turn",
        )
        yield "further system ones", "where they stand" if carries.later_system == "template" else "joined to the first"
        yield "words beside a call", "carried by the template" if carries.words_beside_call else "such turns are worded"
        yield "several calls a turn", "yes" if carries.several_calls else "no: one a turn, each with its result"
        yield (
            "order of roles",
            "any" if carries.roles == "any" else "user and assistant take turns: neighbours are joined",
        )
        if carries.unanswered == "closed":
            yield "a call without result", f"the assistant says {CLOSING_TURN!r} before the user goes on"
        yield "date", f"asked for; always {DAY:%d %B %Y}" if self.dated else "not asked for"
        yield "thinking", "the answer begins inside it" if self.thinks else "none before the answer"


def _where(how: str, words: str) -> str:
    return "carried by the template" if how == "template" else words


def meet(render: Render, form: str | None = None, tokens: Collection[str] = ()) -> Handshake:
    """What a chat template carries and which format it writes.

    Args:
        render: the template.
        form: the format to speak whatever the template writes (`--format`).
        tokens: the tokenizer's added tokens; where the template shows no call, its family's marks are among them.

    Raises:
        ModelError: the template refuses every conversation, or does not carry what the user says.
        ConfigError: there is no such format.
    """
    if form is not None and form not in FORMATS:
        raise ConfigError(unknown_name("format", form, FORMATS))
    carries = _words(render)
    tools = [to_openai(TOOL)]
    if not _holds(render, [_user(_USER)], tools, [TOOL.name, "city", _USER], carries):
        carries = replace(carries, tools="words")
    written = _own_call(render, carries)
    own, unread, carries = _read_back(written, carries)
    nearly = None if own else _nearly(written)
    by_marks = None if own or nearly else _by_marks(render, carries)
    by_tokens = None if own or nearly or by_marks or unread else _by_tokens(tokens)
    name = form or own or nearly or by_marks or by_tokens or "plain"
    spoken = FORMATS[name]
    if not (own or nearly or by_marks or by_tokens) or carries.tools == "words" or (form is not None and form != own):
        carries = replace(carries, instruction="words")
    carries = _history(render, spoken, carries, template_calls=own == name)
    chosen: Any = (
        "user"
        if form
        else "template"
        if own or nearly
        else "marks"
        if by_marks
        else "tokens"
        if by_tokens
        else "default"
    )
    return Handshake(
        format=name,
        chosen_by=chosen,
        template_format=own,
        carries=carries,
        dated=any(_differs(render, offer) for offer in ((), tools)),
        thinks=opens_thinking(_text(render, [_user(_USER)]).rpartition(_USER)[2]),
        unread="" if nearly else unread,
    )


def with_answer(handshake: Handshake, render: Render, text: str, likelier: Callable[[str, str], bool]) -> Handshake:
    """The handshake after the model has answered QUESTION, freely.

    Args:
        handshake: with the template.
        render: the template.
        text: what the model wrote.
        likelier: whether the model finds the first of two texts likelier than the second.

    Raises:
        ModelError: the template writes calls in a way that nobody reads, and so does the model.
    """
    calls_by = {
        name: parsed.calls for name, form in _spoken_first(handshake) if (parsed := form.parse(text, [TOOL])).calls
    }
    handshake = replace(handshake, model_text=text)
    readable = {name: calls for name, calls in calls_by.items() if calls[0].name == TOOL.name}
    if not readable:
        return handshake
    wrote = handshake.format if handshake.format in readable else _likest(readable, text)
    handshake = replace(handshake, model_format=wrote)
    if wrote == handshake.format or handshake.chosen_by == "user":
        return handshake
    calls = readable[wrote][:1]
    if not handshake.unread and not likelier(FORMATS[wrote].render(calls), FORMATS[handshake.format].render(calls)):
        return handshake
    carries = _history(render, FORMATS[wrote], handshake.carries, template_calls=False)
    return replace(handshake, format=wrote, chosen_by="model", carries=carries, unread="")


def refuse_unread(handshake: Handshake) -> None:
    """Refuse a model whose calls nobody can read.

    Raises:
        ModelError: the template's own calls are in no registered format, and nobody chose another.
    """
    if handshake.unread and handshake.chosen_by == "default":
        raise ModelError(
            f"its chat template writes tool calls in a way that no registered format reads: {handshake.unread[:60]!r}; "
            "choose one with --format (`ttsi ls formats`), or add it (docs/extending.md)"
        )


def _spoken_first(handshake: Handshake) -> list[tuple[str, Format]]:
    return sorted(FORMATS.items(), key=lambda pair: pair[0] != handshake.format)


def _likest(readable: Mapping[str, Sequence[ToolCall]], text: str) -> str:
    """The format that would have written nearly this text."""
    plain = "".join(text.split())
    return next(
        (name for name, calls in readable.items() if "".join(FORMATS[name].render(calls).split()) == plain),
        next(iter(readable)),
    )


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def _assistant(text: str, calls: Sequence[ToolCall] = ()) -> Turn:
    turn: Turn = {"role": "assistant", "content": text}
    if calls:
        turn["tool_calls"] = [
            {"id": f"call{i:05d}", "type": "function", "function": {"name": c.name, "arguments": dict(c.arguments)}}
            for i, c in enumerate(calls)
        ]
    return turn


def _result(text: str, number: int = 0) -> Turn:
    return {"role": "tool", "content": text, "tool_call_id": f"call{number:05d}", "name": TOOL.name}


def _text(render: Render, turns: Sequence[Turn], tools: Sequence[Any] = (), **more: Any) -> str:
    """The text; empty where the template refuses."""
    try:
        return render(turns, tools, **more)
    except ModelError:
        return ""


def _in_order(text: str, wanted: Sequence[str]) -> bool:
    at = 0
    for part in wanted:
        place = text.find(part, at)
        if place < 0:
            return False
        at = place + len(part)
    return True


def _differs(render: Render, tools: Sequence[Any]) -> bool:
    """Whether the text depends on the day."""
    return _text(render, [_user(_USER)], tools) != _text(render, [_user(_USER)], tools, now=_OTHER_DAY)


def _holds(
    render: Render,
    turns: Sequence[Turn],
    tools: Sequence[Any],
    wanted: Sequence[str],
    carries: Carries,
    fmt: Format | None = None,
) -> bool:
    """Whether every wanted text is in the prompt of these turns, the turns' own in their order."""
    shaped, offered = fitted(turns, tools, fmt or FORMATS["plain"], carries)
    text = _text(render, shaped, offered)
    return bool(text) and all(part in text for part in wanted)


def _words(render: Render) -> Carries:
    """What is carried of plain conversations.

    Raises:
        ModelError: not even the user's words.
    """
    carries = Carries()
    if not _holds(render, [_user(_USER)], [], [_USER], carries):
        carries = Carries(content="parts")
        if not _holds(render, [_user(_USER)], [], [_USER], carries):
            render([_user(_USER)], [])  # raises where the template refuses, with its own words
            raise ModelError("its chat template does not carry what the user says")
    talk = [_user(_USER), _assistant(_WORDS), _user(_FOLLOW_UP)]
    if not _holds(render, talk, [], [_USER, _WORDS, _FOLLOW_UP], carries):
        raise ModelError("its chat template does not carry a conversation of three turns")
    if not _holds(render, [{"role": "system", "content": _SYSTEM}, *talk], [], [_SYSTEM, _USER], carries):
        carries = replace(carries, system="user")
    if not _holds(render, [_user(_USER), _user(_FOLLOW_UP)], [], [_USER, _FOLLOW_UP], carries):
        carries = replace(carries, roles="alternate")
    later = [{"role": "system", "content": _SYSTEM}, {"role": "system", "content": _LATER}, *talk]
    middle = [{"role": "system", "content": _SYSTEM}, *talk[:2], {"role": "system", "content": _LATER}, talk[2]]
    if carries.system == "user" or not all(
        _holds(render, turns, [], [_SYSTEM, _LATER, _FOLLOW_UP], carries) for turns in (later, middle)
    ):
        carries = replace(carries, later_system="first")
    return carries


Shape = tuple[Literal["object", "text"], Literal["plain", "functions"]]
"""How a template is given a call: its arguments and its id."""


def _own_call(render: Render, carries: Carries) -> dict[Shape, str]:
    """How the template writes a call, by how it is given one; empty where it writes none."""
    result: dict[Shape, str] = {}
    shapes: list[Shape] = [("object", "plain"), ("text", "plain"), ("object", "functions"), ("text", "functions")]
    for arguments, ids in shapes:
        shape = replace(carries, arguments=arguments, ids=ids)
        tools = [to_openai(TOOL)]
        words, called = (
            _text(render, *fitted([_user(_USER), turn], tools, FORMATS["plain"], shape), answer=False)
            for turn in (_assistant(_PROBE), _assistant("", [_OSLO]))
        )
        if _PROBE not in words or not called:
            continue
        written = _differing(words, called)
        if "Oslo" in written and "get_weather" in written:
            result[arguments, ids] = written
    return result


def _differing(words: str, called: str) -> str:
    """The part of `called` that is not in `words`, whole tokens of the form <...> or [...] at both ends."""
    start = _common(words, called)
    end = len(called) - min(_common(words[::-1], called[::-1]), len(called) - start)
    for opening, closing in ("<>", "[]"):
        before, behind = called.rfind(opening, 0, start), called.find(closing, end)
        if before >= 0 and not set(called[before:start]) & {closing, "\n", " "}:
            start = before
        inside = called.rfind(opening, 0, end) > called.rfind(closing, 0, end)
        if behind >= 0 and inside and not set(called[end:behind]) & {opening, "\n", " "}:
            end = behind + 1
    return called[start:end]


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _read_back(written: Mapping[Shape, str], carries: Carries) -> tuple[str | None, str, Carries]:
    """The format that reads the template's own call and, best, renders it the same; else the text nobody reads."""
    for (arguments, ids), text in written.items():
        for ending in _without_ends(text):
            reads = [name for name, form in FORMATS.items() if _says(form, ending)]
            same = [name for name in reads if FORMATS[name].render([_OSLO]).strip() == ending.strip()]
            if reads:
                return (same or reads)[0], "", replace(carries, arguments=arguments, ids=ids)
    return None, next(iter(written.values()), "").strip(), carries


def _says(form: Format, text: str) -> bool:
    parsed = form.parse(text, [TOOL])
    return parsed.calls == (_OSLO,) and not parsed.reasoning.strip()


def _without_ends(text: str) -> Iterator[str]:
    """The text, and what is left of it without one or two tokens of the end of turn."""
    yield text
    for _ in range(2):
        stripped = text.rstrip()
        if not stripped.endswith(">"):
            return
        text = stripped[: stripped.rindex("<")] if "<" in stripped else stripped
        yield text


def _nearly(written: Mapping[Any, str]) -> str | None:
    """The format that would write the template's own call, but for quotation marks: some templates leave them out."""

    def bare(text: str) -> str:
        return "".join(letter for letter in text if letter not in "'\"\\ \n")

    for text in written.values():
        for ending in _without_ends(text):
            for name, form in FORMATS.items():
                if bare(form.render([_OSLO])) == bare(ending):
                    return name
    return None


def _by_tokens(tokens: Collection[str]) -> str | None:
    """The format all of whose marks are tokens, where the template shows none of them; of several the last.

    Qwen's <tool_call> proves nothing: every model made from a Qwen has it as a token.
    """
    marked = [
        (len(form.marks), number, name)
        for number, (name, form) in enumerate(FORMATS.items())
        if form.marks and set(form.marks) <= set(tokens) and "<tool_call>" not in form.marks
    ]
    return max(marked)[2] if marked else None


def _by_marks(render: Render, carries: Carries) -> str | None:
    """The format whose marks the template names when it describes the tools."""
    if carries.tools == "words":
        return None
    text = _text(render, [_user(_USER)], [to_openai(TOOL)])
    plain = _text(render, [_user(_USER)])
    counts = {
        name: sum(mark in text and mark not in plain for mark in form.marks) / len(form.marks)
        for name, form in FORMATS.items()
        if form.marks and form.marks[0] in text and form.marks[0] not in plain
    }
    return max(counts, key=lambda name: (counts[name], -list(FORMATS).index(name))) if counts else None


def _history(render: Render, fmt: Format, carries: Carries, template_calls: bool) -> Carries:
    """How earlier calls and their results reach the text."""
    tools = [to_openai(TOOL)]
    ways: list[tuple[Any, Any]] = [("template", "template"), ("template", "words")] if template_calls else []
    ways += [("words", "template"), ("words", "words")]
    closings: tuple[Literal["template", "closed"], ...] = ("template", "closed")
    for (calls, results), closing in ((way, closing) for way in ways for closing in closings):
        trial = replace(carries, calls=calls, results=results, unanswered=closing)
        turns = [_user(_USER), _assistant("", [_OSLO]), _result(_RESULT), _user(_FOLLOW_UP)]
        bare = [_user(_USER), _assistant("", [_OSLO]), _user(_FOLLOW_UP)]
        if all(_carried(render, probe, tools, trial, fmt) for probe in (turns, bare)):
            carries = trial
            break
    else:
        carries = replace(carries, calls="words", results="words", roles="alternate")
        if not _carried(render, turns, tools, carries, fmt):
            raise ModelError("its chat template carries neither a call and its result nor words in their place")
    if carries.calls == "template":
        two = [
            _user(_USER),
            _assistant("", [_OSLO, _ROME]),
            _result(_RESULT),
            _result(_OTHER_RESULT, 1),
            _user(_FOLLOW_UP),
        ]
        if not _carried(render, two, tools, carries, fmt):
            carries = replace(carries, several_calls=False)
            if not _carried(render, two, tools, carries, fmt):
                carries = replace(carries, calls="words", results="words", roles="alternate")
    beside = [_user(_USER), _assistant(_WORDS, [_OSLO]), _result(_RESULT), _user(_FOLLOW_UP)]
    if carries.calls == "template" and not _carried(render, beside, tools, carries, fmt):
        carries = replace(carries, words_beside_call=False)
    return carries


def _carried(render: Render, turns: Sequence[Turn], tools: Sequence[Any], carries: Carries, fmt: Format) -> bool:
    """Whether all that these turns say is in their text, in order."""
    wanted: list[str] = []
    for turn in turns:
        wanted += [turn["content"]] if turn["content"] and turn["role"] != "tool" else []
        wanted += [call["function"]["arguments"]["city"] for call in turn.get("tool_calls", [])]
        wanted += [turn["content"]] if turn["role"] == "tool" else []
    shaped, offered = fitted(turns, tools, fmt, carries)
    text = _text(render, shaped, offered)
    start = text.find(_USER)
    return start >= 0 and (_in_order(text[start:], wanted) or all(text[start:].count(part) for part in wanted))


def detect(template: str | None) -> Format:
    """The format that a chat template's source writes; `plain` where it says nothing about calls.

    Raises:
        ModelError: the template refuses every conversation.
    """
    if not template:
        return FORMATS["plain"]
    return meet(_Source(template)).spoken()


class _Source:
    """A template as text, rendered by transformers' own renderer."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(
        self, turns: Sequence[Turn], tools: Sequence[Any], *, answer: bool = True, now: datetime.datetime = DAY
    ) -> str:
        from transformers.utils.chat_template_utils import (
            render_jinja_template,
        )  # heavy: only where a bare source is met

        try:
            texts: Any = render_jinja_template(
                conversations=[list(turns)],
                tools=list(tools) or None,
                chat_template=dated_as(self._source, now),
                add_generation_prompt=answer,
                **fixed(now),
            )
        except Exception as error:
            raise ModelError(
                f"the model's chat template refuses this conversation: {' '.join(str(error).split())[:160]}"
            ) from error
        return str(texts[0][0])


_DIRECTIVES = "dbBYyHMSaAjmIpfZ"


def dated_as(source: str, now: datetime.datetime = DAY) -> str:
    """A template's source in which `strftime_now` tells this moment instead of the clock's.

    A macro of that name, since transformers hands no functions to templates.

    >>> dated_as("no date in it")
    'no date in it'
    """
    if "strftime_now" not in source:
        return source
    parts = [(f"%-{letter}", now.strftime(f"%{letter}").lstrip("0") or "0") for letter in "dmHIMSj"]
    parts += [(f"%{letter}", now.strftime(f"%{letter}")) for letter in _DIRECTIVES]
    replaced = "".join(f".replace({json.dumps(directive)}, {json.dumps(text)})" for directive, text in parts)
    return f"{{%- macro strftime_now(form) -%}}{{{{ form{replaced} }}}}{{%- endmacro -%}}" + source


def fixed(now: datetime.datetime = DAY) -> dict[str, Any]:
    """Variables of known templates that would else depend on the day or on a default: date, thinking."""
    return {"date_string": f"{now:%d %b %Y}", "enable_thinking": False}
