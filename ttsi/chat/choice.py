"""What may the model write when it has to call a tool, or to answer in JSON?

Inputs: the grammar of an ordinary answer (`ttsi.chat.grammar.answer_grammar`), or a JSON Schema. Outputs: a grammar.
OpenAI's `tool_choice: "required"` and `response_format`; not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import json
import re

_WORDS_ALONE = re.compile(r'^start: (?:WORDS|"(?:[^"\\]|\\.)*") \| ')


def call_required(grammar: str) -> str:
    """An answer's grammar without the answers that call no tool.

    >>> call_required('start: WORDS | head (call_0)')
    'start: head (call_0)'

    Raises:
        ValueError: it has no other answers.
    """
    required, found = _WORDS_ALONE.subn("start: ", grammar)
    if not found:
        raise ValueError("there is no tool to call")
    return required


def json_answer(schema: str) -> str:
    """One JSON value that fits the schema (given as JSON text), without free white space, and nothing else.

    >>> json_answer('{"type": "null"}')
    'start: %json {"type": "null", "x-guidance": {"whitespace_flexible": false}}'
    """
    return "start: %json " + json.dumps({**json.loads(schema), "x-guidance": {"whitespace_flexible": False}})
