"""A test question that shows how a model writes tool calls.

Inputs: a model, the handshake with its template, the template. Outputs: the handshake after the model has answered one
plain request with one tool, freely and greedily. Some models write another format than their template: Qwen2.5-Coder
fences its JSON.
"""

from __future__ import annotations

from ttsi.chat.handshake import Handshake, refuse_unread, with_answer
from ttsi.chat.probes import QUESTION, TOOL
from ttsi.chat.template_source import Render
from ttsi.models import Model, Request
from ttsi.types import Message, Prompt

MAX_ANSWER_TOKENS = 96


def ask(model: Model, handshake: Handshake, render: Render) -> Handshake:
    """Ask the model, and choose the format in which it answers.

    Raises:
        ModelError: neither its template nor the model itself writes calls in a known format.
    """
    if handshake.template_format == "marked":  # trained like the embedded model, on one format
        return handshake
    prompt = Prompt((Message("user", QUESTION),), (TOOL,))
    [answer] = model.generate([Request(prompt, MAX_ANSWER_TOKENS)])

    def likelier(one: str, other: str) -> bool:
        [[first, second]] = model.score([prompt], [[one, other]])
        return first > second

    handshake = with_answer(handshake, render, answer.text, likelier)
    refuse_unread(handshake)
    return handshake
