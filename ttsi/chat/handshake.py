"""The handshake with a model: what its chat template carries, and how it writes tool calls.

Inputs: a way to render turns through the template; later one answer of the model. Outputs: one frozen `Handshake`.
Short conversations with a tool, a call, its result, two calls, a second system message and a follow-up are rendered;
what comes out decides, not what the template's source looks like. The format is the one that reads the template's own
call back (and renders it the same); a template that shows no call is read by the marks it names. Not in the paper
(arXiv:2510.07841), whose models are two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ttsi.chat.families import FORMATS
from ttsi.chat.format import Format, FramedFormat
from ttsi.chat.probes import (
    OSLO,
    TOOL,
    USER,
    assistant,
    carried_of_words,
    dated,
    holds,
    probe_calls,
    text_of,
    user,
)
from ttsi.chat.template_source import DAY, Render, TemplateSource
from ttsi.chat.template_turns import CLOSING_TURN, Carries, fit_turns
from ttsi.chat.thinking import closing_of
from ttsi.errors import ConfigError, ModelError, unknown_name
from ttsi.types import ToolCall, to_openai

_PROBE = "quite an answer"


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
    thinking: str = ""
    """What is written behind the prompt where it would end inside the model's thinking: the end of it."""
    unread: str = ""
    """How the template writes a call, where no registered format reads it."""
    model_format: str | None = None
    """The format that the model wrote when asked a plain question; None where it was not asked or did not call."""
    model_text: str = ""
    """What it wrote."""

    def chosen_format(self) -> Format:
        """The format to read, score, teach and constrain with."""
        form = FORMATS[self.format]
        return replace(form, one_call=True) if not self.trained and isinstance(form, FramedFormat) else form

    @property
    def trained(self) -> bool:
        """Whether anything shows that the model was trained to call: its template, its tokens, its own answer, its
        user."""
        return self.chosen_by != "default" or self.model_format is not None

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
        if not self.trained:
            yield "several calls a turn", "no: nothing shows that this model was trained to call"
        else:
            yield "several calls a turn", "yes" if carries.several_calls else "no: one a turn, each with its result"
        yield (
            "order of roles",
            "any" if carries.roles == "any" else "user and assistant take turns: neighbours are joined",
        )
        if carries.unanswered == "closed":
            yield "a call without result", f"the assistant says {CLOSING_TURN!r} before the user goes on"
        yield "date", f"asked for; always {DAY:%d %B %Y}" if self.dated else "not asked for"
        yield "thinking", "opened by the template, closed at once" if self.thinking else "none before the answer"


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
    carries = carried_of_words(render)
    tools = [to_openai(TOOL)]
    if not holds(render, [user(USER)], tools, [TOOL.name, TOOL.description, "city", USER], carries):
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
    carries = probe_calls(render, spoken, carries, template_calls=own == name)
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
        dated=any(dated(render, offer) for offer in ((), tools)),
        thinking=closing_of(text_of(render, [user(USER)]).rpartition(USER)[2]),
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
    carries = probe_calls(render, FORMATS[wrote], handshake.carries, template_calls=False)
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
            text_of(render, *fit_turns([user(USER), turn], tools, FORMATS["plain"], shape), answer=False)
            for turn in (assistant(_PROBE), assistant("", [OSLO]))
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
            same = [name for name in reads if FORMATS[name].render([OSLO]).strip() == ending.strip()]
            if reads:
                return (same or reads)[0], "", replace(carries, arguments=arguments, ids=ids)
    return None, next(iter(written.values()), "").strip(), carries


def _says(form: Format, text: str) -> bool:
    parsed = form.parse(text, [TOOL])
    return parsed.calls == (OSLO,) and not parsed.reasoning.strip()


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
                if bare(form.render([OSLO])) == bare(ending):
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
    text = text_of(render, [user(USER)], [to_openai(TOOL)])
    plain = text_of(render, [user(USER)])
    counts = {
        name: sum(mark in text and mark not in plain for mark in form.marks) / len(form.marks)
        for name, form in FORMATS.items()
        if form.marks and form.marks[0] in text and form.marks[0] not in plain
    }
    return max(counts, key=lambda name: (counts[name], -list(FORMATS).index(name))) if counts else None


def detect(template: str | None) -> Format:
    """The format that a chat template's source writes; `plain` where it says nothing about calls.

    Raises:
        ModelError: the template refuses every conversation.
    """
    if not template:
        return FORMATS["plain"]
    return meet(TemplateSource(template)).chosen_format()
