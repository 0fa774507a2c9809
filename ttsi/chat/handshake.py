"""The handshake with a model: what its chat template carries, and how it writes tool calls.

Inputs: a chat template as a function; later one answer of the model. Outputs: one frozen `Handshake`. Short
conversations with a tool, a call, its result, two calls, a second system message and a follow-up are rendered. Their
text decides, not the template's source. The format is the one that reads the template's own call (best: that renders
it the same). For a template that shows no call, the marks that it names decide.
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
    depends_on_date,
    probe_calls,
    probe_words,
    prompt_contains,
    text_of,
    user,
)
from ttsi.chat.template_source import DAY, Render, TemplateSource
from ttsi.chat.template_turns import CLOSING_TURN, Carries, fit_turns
from ttsi.chat.thinking import thinking_end
from ttsi.errors import ConfigError, ModelError, unknown_name
from ttsi.types import ToolCall, to_openai

_PROBE = "quite an answer"


@dataclass(frozen=True)
class Handshake:
    """What is certain about one model before it is used."""

    format: str
    """The tool-call format in which answers are read, scored, trained and constrained."""
    chosen_by: Literal["template", "marks", "tokens", "model", "user", "default"]
    """The evidence for the format: the template's own call, marks that the template names, tokens of the tokenizer,
    the model's answer, --format, or none."""
    template_format: str | None
    """The format in which the template writes calls; None where it writes none, or an unregistered one."""
    carries: Carries
    dated: bool = False
    """Whether the template writes the date, which is fixed."""
    thinking: str = ""
    """The end of thinking, appended to a prompt that would end inside it; else ""."""
    unread: str = ""
    """The template's own call, where no registered format reads it."""
    model_format: str | None = None
    """The format of the model's answer to a plain question; None without a question or a call."""
    model_text: str = ""
    """That answer."""

    def chosen_format(self) -> Format:
        """The format itself, limited to one call a turn for a model without tool training."""
        fmt = FORMATS[self.format]
        return replace(fmt, one_call=True) if not self.trained and isinstance(fmt, FramedFormat) else fmt

    @property
    def trained(self) -> bool:
        """Whether there is any evidence of tool training: template, tokens, answer or user."""
        return self.chosen_by != "default" or self.model_format is not None

    def record(self) -> dict[str, Any]:
        """All fields as JSON values, for a run's record."""
        return asdict(self)

    def table(self) -> str:
        """A table for a person, one line a fact."""
        return "\n".join(f"{name:<22} {value}" for name, value in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        carries = self.carries
        evidence = {
            "template": "the template writes calls in this format",
            "marks": "the template names its marks",
            "tokens": "the tokenizer has its marks as tokens",
            "model": "the model writes calls in this format",
            "user": "chosen by --format",
            "default": "the template does not mention calls",
        }[self.chosen_by]
        yield "tool-call format", f"{self.format} ({evidence})"
        if self.template_format not in (None, self.format):
            yield "template's own format", str(self.template_format)
        if self.unread:
            yield "template's own format", f"not readable: {self.unread[:80]!r}"
        if self.model_text:
            yield "when asked, it wrote", repr(self.model_text[:100])
        yield "tools", _carrier(carries.tools, "listed in the system message, in words")
        yield "how to call", _carrier(carries.instruction, "in the system message, in words")
        yield "earlier calls", _carrier(carries.calls, "in the assistant's words, in this format")
        yield "results of calls", _carrier(carries.results, "in the user's words")
        yield "system message", _carrier(carries.system, "at the head of the user's first turn")
        yield "further system ones", "where they stand" if carries.later_system == "template" else "joined to the first"
        yield (
            "words beside a call",
            "carried by the template" if carries.words_beside_call else "such turns are written in words",
        )
        if not self.trained:
            yield "several calls a turn", "no: nothing shows that this model was trained to call tools"
        else:
            yield "several calls a turn", "yes" if carries.several_calls else "no: one a turn, each with its result"
        alternate = "user and assistant take turns: neighbours are joined"
        yield "order of roles", "any" if carries.roles == "any" else alternate
        if carries.unanswered == "closed":
            yield "a call without result", f"the assistant says {CLOSING_TURN!r} before the user goes on"
        yield "date", f"always {DAY:%d %B %Y}" if self.dated else "not in the template"
        yield "thinking", "opened by the template, closed at once" if self.thinking else "none before the answer"


def _carrier(how: str, words: str) -> str:
    return "carried by the template" if how == "template" else words


def probe_template(render: Render, format_name: str | None = None, tokens: Collection[str] = ()) -> Handshake:
    """The handshake with a chat template: what it carries and which format it writes.

    Args:
        render: the template.
        format_name: the format to use instead of the template's (`--format`).
        tokens: the tokenizer's added tokens, which may be marks of a family.

    Raises:
        ModelError: the template refuses every conversation, or does not carry the user's text.
        ConfigError: there is no format of this name.
    """
    if format_name is not None and format_name not in FORMATS:
        raise ConfigError(unknown_name("format", format_name, FORMATS))
    carries = probe_words(render)
    tools = [to_openai(TOOL)]
    if not prompt_contains(render, [user(USER)], tools, [TOOL.name, TOOL.description, "city", USER], carries):
        carries = replace(carries, tools="words")
    written = _template_calls(render, carries)
    own, unread, carries = _read_back(written, carries)
    nearly = None if own else _unquoted_match(written)
    by_marks = None if own or nearly else _format_by_marks(render, carries)
    by_tokens = None if own or nearly or by_marks or unread else _format_by_tokens(tokens)
    evidence: dict[Any, str | None] = {"template": own or nearly, "marks": by_marks, "tokens": by_tokens}
    if not any(evidence.values()) or carries.tools == "words" or (format_name is not None and format_name != own):
        carries = replace(carries, instruction="words")
    candidates = {"user": format_name, **evidence, "default": "plain"}
    chosen_by, name = next((by, name) for by, name in candidates.items() if name)
    carries = probe_calls(render, FORMATS[name], carries, template_calls=own == name)
    return Handshake(
        format=name,
        chosen_by=chosen_by,
        template_format=own,
        carries=carries,
        dated=any(depends_on_date(render, offer) for offer in ((), tools)),
        thinking=thinking_end(text_of(render, [user(USER)]).rpartition(USER)[2]),
        unread="" if nearly else unread,
    )


def with_answer(handshake: Handshake, render: Render, text: str, likelier: Callable[[str, str], bool]) -> Handshake:
    """The handshake, updated by the model's free answer to `QUESTION`.

    Args:
        handshake: the handshake with the template.
        render: the template.
        text: the answer.
        likelier: whether the model gives the first of two texts a higher probability than the second.

    Raises:
        ModelError: the template carries the model's calls and their results neither itself nor in words.
    """
    calls_by = {
        name: parsed.calls for name, fmt in _formats_in_order(handshake) if (parsed := fmt.parse(text, [TOOL])).calls
    }
    handshake = replace(handshake, model_text=text)
    readable = {name: calls for name, calls in calls_by.items() if calls[0].name == TOOL.name}
    if not readable:
        return handshake
    wrote = handshake.format if handshake.format in readable else _closest_format(readable, text)
    handshake = replace(handshake, model_format=wrote)
    if wrote == handshake.format or handshake.chosen_by == "user":
        return handshake
    calls = readable[wrote][:1]
    if not handshake.unread and not likelier(FORMATS[wrote].render(calls), FORMATS[handshake.format].render(calls)):
        return handshake
    carries = probe_calls(render, FORMATS[wrote], handshake.carries, template_calls=False)
    return replace(handshake, format=wrote, chosen_by="model", carries=carries, unread="")


def refuse_unread(handshake: Handshake) -> None:
    """Refuse a model whose calls no registered format reads, unless the user or the model's answer named a format.

    Raises:
        ModelError: the model is refused.
    """
    if handshake.unread and handshake.chosen_by == "default":
        raise ModelError(
            f"its chat template writes tool calls in a way that no registered format reads: {handshake.unread[:60]!r}; "
            "choose one with --format (`ttsi ls formats`), or add it (docs/extending.md)"
        )


def _formats_in_order(handshake: Handshake) -> list[tuple[str, Format]]:
    return sorted(FORMATS.items(), key=lambda pair: pair[0] != handshake.format)


def _closest_format(readable: Mapping[str, Sequence[ToolCall]], text: str) -> str:
    """The format that renders this text but for white space; else the first."""
    plain = "".join(text.split())
    same = (name for name, calls in readable.items() if "".join(FORMATS[name].render(calls).split()) == plain)
    return next(same, next(iter(readable)))


Shape = tuple[Literal["object", "text"], Literal["plain", "functions"]]
"""How a template is given a call: its arguments and its id."""


def _template_calls(render: Render, carries: Carries) -> dict[Shape, str]:
    """The template's own call for each shape; empty where the template writes no calls."""
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
        written = _difference(words, called)
        if "Oslo" in written and "get_weather" in written:
            result[arguments, ids] = written
    return result


def _difference(words: str, called: str) -> str:
    """The part of `called` that is not in `words`, with whole tokens <...> or [...] at both ends."""
    start = _common_prefix(words, called)
    end = max(start, len(called) - _common_prefix(words[::-1], called[::-1]))
    for opening, closing in ("<>", "[]"):
        before, behind = called.rfind(opening, 0, start), called.find(closing, end)
        if before >= 0 and not set(called[before:start]) & {closing, "\n", " "}:
            start = before
        inside = called.rfind(opening, 0, end) > called.rfind(closing, 0, end)
        if behind >= 0 and inside and not set(called[end:behind]) & {opening, "\n", " "}:
            end = behind + 1
    return called[start:end]


def _common_prefix(left: str, right: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _read_back(written: Mapping[Shape, str], carries: Carries) -> tuple[str | None, str, Carries]:
    """The format that reads the template's own call (best: that renders it the same), else the unread text."""
    for (arguments, ids), text in written.items():
        for ending in _strip_ends(text):
            reads = [name for name, fmt in FORMATS.items() if _reads_probe(fmt, ending)]
            same = [name for name in reads if FORMATS[name].render([OSLO]).strip() == ending.strip()]
            if reads:
                return (same or reads)[0], "", replace(carries, arguments=arguments, ids=ids)
    return None, next(iter(written.values()), "").strip(), carries


def _reads_probe(fmt: Format, text: str) -> bool:
    parsed = fmt.parse(text, [TOOL])
    return parsed.calls == (OSLO,) and not parsed.reasoning.strip()


def _strip_ends(text: str) -> Iterator[str]:
    """The text itself, without its last token, and without its last two."""
    yield text
    for _ in range(2):
        stripped = text.rstrip()
        if not stripped.endswith(">"):
            return
        text = stripped[: stripped.rindex("<")] if "<" in stripped else stripped
        yield text


def _unquoted_match(written: Mapping[Any, str]) -> str | None:
    """The format that renders the template's own call but for quotation marks, which some templates omit."""

    def bare(text: str) -> str:
        return "".join(letter for letter in text if letter not in "'\"\\ \n")

    for text in written.values():
        for ending in _strip_ends(text):
            for name, fmt in FORMATS.items():
                if bare(fmt.render([OSLO])) == bare(ending):
                    return name
    return None


def _format_by_tokens(tokens: Collection[str]) -> str | None:
    """The format whose marks are all tokens; of several the one with most marks.

    Qwen's <tool_call> is no evidence, because every model made from a Qwen has it as a token.
    """
    marked = [
        (len(fmt.marks), number, name)
        for number, (name, fmt) in enumerate(FORMATS.items())
        if fmt.marks and set(fmt.marks) <= set(tokens) and "<tool_call>" not in fmt.marks
    ]
    return max(marked)[2] if marked else None


def _format_by_marks(render: Render, carries: Carries) -> str | None:
    """The format whose marks the template names when it describes the tools."""
    if carries.tools == "words":
        return None
    text = text_of(render, [user(USER)], [to_openai(TOOL)])
    plain = text_of(render, [user(USER)])
    counts = {
        name: sum(mark in text and mark not in plain for mark in fmt.marks) / len(fmt.marks)
        for name, fmt in FORMATS.items()
        if fmt.marks and fmt.marks[0] in text and fmt.marks[0] not in plain
    }
    return max(counts, key=lambda name: (counts[name], -list(FORMATS).index(name))) if counts else None


def detect(template: str | None) -> Format:
    """The format that a chat template's source writes; `plain` where it does not mention calls.

    Raises:
        ModelError: the template refuses every conversation.
    """
    if not template:
        return FORMATS["plain"]
    return probe_template(TemplateSource(template)).chosen_format()
