"""A watch over a user's own model, which must keep to the grammars of its requests.

Inputs: requests, and what the model wrote. Outputs: nothing, or one warning in the log where a call is illegal under a
grammar that was made from the tools. Only the first answers are looked at. What no grammar can enforce is no fault.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from ttsi.chat.format import Format
from ttsi.chat.grammar import Demand, answer_grammar
from ttsi.chat.schema_mask import definitions, enforceable_schema, mask_schema
from ttsi.chat.tool_schema import problem
from ttsi.models.protocol import Generation, Request
from ttsi.types import Tool

log = logging.getLogger(__name__)

MOST_ANSWERS = 64
"""Answers that are looked at: a model that ignores its grammars shows it soon."""


class GrammarWatch:
    """The answers of one model that are still to be looked at."""

    def __init__(self, spec: str, form: Format) -> None:
        self._spec, self._format = spec, form
        self._left = MOST_ANSWERS
        self._tools: tuple[Tool, ...] = ()
        self._grammars: set[str] = set()  # those that are made from these tools

    def look_at(self, requests: Sequence[Request], generations: Sequence[Generation]) -> None:
        """Warn, once, where an answer breaks its grammar."""
        for request, generation in zip(requests, generations, strict=True):
            if self._left > 0 and generation.finished and self._is_answer(request):
                self._left -= 1
                if fault := self._fault(request, generation):
                    self._left = 0
                    log.warning(
                        "the model %s does not follow the grammar of its requests (%s), so its decoding is not "
                        "constrained: mask its tokens by Request.grammar, or use --answer.decoding free",
                        self._spec,
                        fault,
                    )

    def _is_answer(self, request: Request) -> bool:
        """Whether a request has the grammar that is made from its tools."""
        tools = request.prompt.tools
        if request.grammar is None or not tools or request.prompt.prefix:
            return False
        if tools != self._tools:
            self._tools = tools
            self._grammars = {answer_grammar(self._format, tools, demand) for demand in get_args(Demand)}
        return request.grammar in self._grammars

    def _fault(self, request: Request, generation: Generation) -> str | None:
        parsed = self._format.parse(generation.text, request.prompt.tools)
        if parsed.error or not parsed.calls:
            return parsed.error
        tools = [enforceable_tool(tool) for tool in request.prompt.tools]
        return next((reason for call in parsed.calls if (reason := problem(call, tools))), None)


def enforceable_tool(tool: Tool) -> Tool:
    """The tool with that part of its schema which a grammar can enforce."""
    root = enforceable_schema(tool)
    return replace(tool, parameters={**mask_schema(root, root), **definitions(root)})
