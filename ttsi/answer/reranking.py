"""Reranking: the likeliest tool whose call has only values that the conversation states.

Inputs: greedy answers. Outputs: the same answers, except where one makes a single call with a value that its
conversation does not state (`ttsi.chat.grounding`), or cannot be read. There the other tools with a likely name are
tried in the order of their names: the first whose likeliest call under the tool's grammar is legal and grounded
answers. Where there is none, the greedy answer stands. So do several calls, and words where no call is demanded.

A wrong tool makes a model invent arguments that the right one would have found in the request; so this chooses tools.
It must not choose them by that alone: nearly every request holds words for some tool. On Seal-Tools' dev rows (136 of
SmolLM2-135M, 68 of Qwen2.5-Coder-0.5B) reranking every answer broke as much as it repaired, and trying tools with any
name took the right tool away from 24 answers and gave it to 9; with `NAME_MARGIN` from 2 and to 6, and no right answer
broke.
The paper (arXiv:2510.07841) reranks nothing. An adapted answer is reranked with its adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ttsi.answer.task import AnswerTask
from ttsi.chat.grammar import callable_tools
from ttsi.chat.grounding import unstated_arguments
from ttsi.chat.tool_schema import problem
from ttsi.models.name_scores import Scored, score_names
from ttsi.types import Answer, Tool

RERANKED_TOOLS = 4
"""Most tools whose calls are written per answer, those with the likeliest names: an input may offer hundreds, and on
the validation rows the likeliest of them already had every repair."""
NAME_MARGIN = 1.0
"""Most nats by which the name of a tool to try is less likely than the likeliest name of all."""


def rerank(task: AnswerTask, answers: Sequence[Answer]) -> list[Answer]:
    """The greedy answers, reranked where they are ungrounded: one pass for all names, one for all calls."""
    results = list(answers)
    doubtful = [i for i, answer in enumerate(answers) if _is_doubtful(task, i, answer)]
    if not doubtful:
        return results
    inputs, adapters = [task.inputs[i] for i in doubtful], [task.adapters[i] for i in doubtful]
    scored = score_names(task.model, inputs, adapters=adapters)
    others = [_others(task, i, names, answers[i]) for i, names in zip(doubtful, scored, strict=True)]
    attempts = [(i, tool) for i, tools in zip(doubtful, others, strict=True) for tool in tools]
    requests = task.requests
    generations = task.model.generate([replace(requests[i], grammar=task.tool_grammar(tool)) for i, tool in attempts])
    for (i, tool), generation in reversed(list(zip(attempts, generations, strict=True))):
        answer = task.read(i, generation)
        legal = [call.name for call in answer.calls] == [tool.name] and not problem(answer.calls[0], [tool])
        if legal and _is_grounded(task, i, answer):
            results[i] = answer  # the likeliest comes last
    return results


def _is_doubtful(task: AnswerTask, i: int, answer: Answer) -> bool:
    item, calls = task.inputs[i], answer.calls
    if task.is_free_or_custom(item) or len(task.config.tools) == 1:
        return False  # the caller says what may be answered, and no other tool's call need fit it
    if answer.error or not calls:
        return task.config.calls != "auto" or task.model.format.parse(answer.text, item.tools).error is not None
    return len(calls) == 1 and not _is_grounded(task, i, answer)


def _is_grounded(task: AnswerTask, i: int, answer: Answer) -> bool:
    tools = task.inputs[i].tools
    return not any(unstated_arguments(call, tools, task.stated[i]) for call in answer.calls)


def _others(task: AnswerTask, i: int, names: Scored, answer: Answer) -> list[Tool]:
    """The tools to try, likeliest name first, without the answer's own: its likeliest call is the answer."""
    tools = callable_tools(task.inputs[i].tools, task.config.tools)
    scores = {name: logprob for name, _, logprob in names}
    logprobs = {tool.name: scores[tool.name] for tool in tools}
    called, least = {call.name for call in answer.calls}, max(logprobs.values()) - NAME_MARGIN
    others = [tool for tool in tools if tool.name not in called and logprobs[tool.name] >= least]
    return sorted(others, key=lambda tool: -logprobs[tool.name])[:RERANKED_TOOLS]
