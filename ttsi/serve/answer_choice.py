"""An answer as a choice of an OpenAI reply: calls, text for the user, and why it ended.

Inputs: a job, the model's answer. Outputs: a `ChatChoice`. No mark of a call and no inner text reaches the user.

The paper (arXiv:2510.07841) has no server.
"""

from __future__ import annotations

import json
from typing import Any

from ttsi.chat.answer_text import user_text
from ttsi.models import Model
from ttsi.serve.pipe import AnswerJob, ChatChoice
from ttsi.types import Answer


def chat_choice(model: Model, job: AnswerJob, answer: Answer) -> ChatChoice:
    """The choice of a job's reply that has this answer."""
    item, complete = job.options.item, answer.finish_reason == "stop"
    if job.options.answer_schema is not None:
        return ChatChoice(content=answer.text, calls=(), finish=answer.finish_reason, tokens=answer.tokens)
    calls = tuple((call.name, _json(call.arguments)) for call in answer.calls) if item.tools else ()
    text = user_text(model.format, answer.text, item.tools, _tool_names(job), complete)
    no_text = None if calls or (item.tools and not complete) else ""
    finish = "tool_calls" if calls else answer.finish_reason
    return ChatChoice(content=text or no_text, calls=calls, finish=finish, tokens=answer.tokens)


def _tool_names(job: AnswerJob) -> set[str]:
    """Every tool that the request or its conversation names."""
    calls = (call.name for message in job.options.item.messages for call in message.tool_calls)
    return {*job.options.disabled_tools, *calls}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
