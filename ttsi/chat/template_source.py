"""Chat templates as functions from turns to text, with a fixed date.

Inputs: turns, tools and a template's source. Outputs: the conversation as text, or a refusal. The date and the
defaults of a template are fixed, so that a prompt has the same tokens on every day.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any, Protocol

from ttsi.chat.template_turns import Turn
from ttsi.errors import UnrenderablePrompt, on_one_line

DAY = datetime.datetime(2024, 7, 26, 12)
"""The date in every prompt."""
OTHER_DAY = datetime.datetime(2001, 2, 3, 4)


class Render(Protocol):
    """A chat template: turns and tools -> text.

    Raises:
        UnrenderablePrompt: the template refuses them.
    """

    def __call__(
        self, turns: Sequence[Turn], tools: Sequence[Any], *, answer: bool = True, now: datetime.datetime = DAY
    ) -> str:
        """The conversation as text; with `answer`, up to where the assistant begins."""
        ...


class TemplateSource:
    """A template as text, rendered by transformers' own renderer."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(
        self, turns: Sequence[Turn], tools: Sequence[Any], *, answer: bool = True, now: datetime.datetime = DAY
    ) -> str:
        """The conversation as text."""
        # heavy, and not needed where there is a tokenizer
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts: Any = render_jinja_template(
                conversations=[list(turns)],
                tools=list(tools) or None,
                chat_template=fix_date(self._source, now),
                add_generation_prompt=answer,
                **fixed_variables(now),
            )
        except Exception as error:
            raise template_error(error) from error
        return str(texts[0][0])


def template_error(error: Exception) -> UnrenderablePrompt:
    """The error of a chat template as one line."""
    problem = "is broken" if type(error).__name__ == "TemplateSyntaxError" else "refuses this conversation"
    return UnrenderablePrompt(f"the model's chat template {problem}: {on_one_line(error, 160)}")


_DIRECTIVES = "dbBYyHMSaAjmIpfZcxXDFTRreuwUWVGCklsz"


def fix_date(source: str, now: datetime.datetime = DAY) -> str:
    """A template's source in which `strftime_now` returns this moment instead of the present.

    The source gets a macro of that name, because transformers passes no functions to templates.

    >>> fix_date("no date in it")
    'no date in it'
    """
    if "strftime_now" not in source:
        return source
    parts = [(f"%-{letter}", now.strftime(f"%{letter}").lstrip("0") or "0") for letter in "dmHIMSj"]
    parts += [(f"%{letter}", now.strftime(f"%{letter}")) for letter in _DIRECTIVES]
    parts.append(("%%", "%"))
    replaced = "".join(f".replace({json.dumps(directive)}, {json.dumps(text)})" for directive, text in parts)
    return f"{{%- macro strftime_now(form) -%}}{{{{ form{replaced} }}}}{{%- endmacro -%}}" + source


def fixed_variables(now: datetime.datetime = DAY) -> dict[str, Any]:
    """Template variables that would otherwise depend on the day or on a default: date and thinking."""
    return {"date_string": f"{now:%d %b %Y}", "enable_thinking": False}
