"""Chat templates as functions from turns to text, with a clock that stands still.

Inputs: turns, tools, a template's source or a tokenizer that has one. Outputs: the conversation as text, or a refusal.
Whatever a template leaves to the day or to a default is fixed, so that the same prompt is the same tokens tomorrow. Not
in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any, Protocol

from ttsi.chat.template_turns import Turn
from ttsi.errors import ModelError

DAY = datetime.datetime(2024, 7, 26, 12)
"""The day that every template is told, so that the same prompt is the same tokens tomorrow."""
OTHER_DAY = datetime.datetime(2001, 2, 3, 4)


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


class TemplateSource:
    """A template as text, rendered by transformers' own renderer."""

    def __init__(self, source: str) -> None:
        """Keep the source."""
        self._source = source

    def __call__(
        self, turns: Sequence[Turn], tools: Sequence[Any], *, answer: bool = True, now: datetime.datetime = DAY
    ) -> str:
        """As `Render`."""
        from transformers.utils.chat_template_utils import (
            render_jinja_template,
        )  # heavy: only where a bare source is met

        try:
            texts: Any = render_jinja_template(
                conversations=[list(turns)],
                tools=list(tools) or None,
                chat_template=with_fixed_date(self._source, now),
                add_generation_prompt=answer,
                **fixed(now),
            )
        except Exception as error:
            raise ModelError(
                f"the model's chat template refuses this conversation: {' '.join(str(error).split())[:160]}"
            ) from error
        return str(texts[0][0])


_DIRECTIVES = "dbBYyHMSaAjmIpfZcxXDFTRreuwUWVGCklsz"


def with_fixed_date(source: str, now: datetime.datetime = DAY) -> str:
    """A template's source in which `strftime_now` tells this moment instead of the clock's.

    A macro of that name, since transformers hands no functions to templates.

    >>> with_fixed_date("no date in it")
    'no date in it'
    """
    if "strftime_now" not in source:
        return source
    parts = [(f"%-{letter}", now.strftime(f"%{letter}").lstrip("0") or "0") for letter in "dmHIMSj"]
    parts += [(f"%{letter}", now.strftime(f"%{letter}")) for letter in _DIRECTIVES]
    parts.append(("%%", "%"))
    replaced = "".join(f".replace({json.dumps(directive)}, {json.dumps(text)})" for directive, text in parts)
    return f"{{%- macro strftime_now(form) -%}}{{{{ form{replaced} }}}}{{%- endmacro -%}}" + source


def fixed(now: datetime.datetime = DAY) -> dict[str, Any]:
    """Variables of known templates that would else depend on the day or on a default: date, thinking."""
    return {"date_string": f"{now:%d %b %Y}", "enable_thinking": False}
