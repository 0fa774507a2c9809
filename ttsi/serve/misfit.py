"""Outcomes of requests that this model cannot be asked, by the type of its error.

Inputs: a job, and the error of the model, or the prompt that does not fit it. Outputs: an `Outcome` in words of the
server's own: what a model says may name paths and values, and a model of the user's own may say anything.
"""

from __future__ import annotations

from ttsi.errors import GrammarError, PromptTooLong, TTSIError, UnrenderablePrompt
from ttsi.serve.pipe import AnswerJob, Outcome
from ttsi.serve.servable_model import ServableModel
from ttsi.types import Prompt

CLIENT_ERRORS = (GrammarError, PromptTooLong, UnrenderablePrompt)
"""What the request is the cause of."""


def too_long(model: ServableModel, job: AnswerJob, prompt: Prompt) -> Outcome:
    """The outcome where `Model.fits` has a reason against the prompt.

    Raises:
        UnrenderablePrompt: the reason is the model's chat template.
    """
    length, room = model.prompt_tokens(prompt), job.config.answer.max_tokens
    reason = "the prompt is longer than the model's context"
    if length:
        context = model.describe().get("context")
        most = f" of {context} tokens" if isinstance(context, int) else ""
        reason = (
            f"the prompt has {length} tokens and needs room for {room}: that is more than the model's context{most}"
        )
    return Outcome(id=job.id, state="too-long", reason=reason)


def misfit(job: AnswerJob, error: TTSIError) -> Outcome:
    """The outcome where the model refuses the request, with the field that is the cause."""
    if isinstance(error, PromptTooLong):
        return Outcome(id=job.id, state="too-long", reason="the prompt is longer than the model's context")
    reason, param = "the model cannot answer this conversation", "messages"
    if isinstance(error, UnrenderablePrompt):
        reason = "the model's chat template cannot render this conversation"
    elif isinstance(error, GrammarError) and job.options.answer_schema is not None:
        unfit = "no answer fits this schema, or it has a keyword that the model cannot follow"
        reason, param = f"response_format: {unfit}", "response_format"
    elif isinstance(error, GrammarError) and job.options.item.tools:
        reason, param = "tools: the model cannot follow their schemas", "tools"
    return Outcome(id=job.id, state="unfit", reason=reason, param=param)
