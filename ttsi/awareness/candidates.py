"""Which actions compete?

Inputs: inputs with their tools. Outputs: for each input the competing actions as (action, text, summed
log-probability in nats).

    calls   for each tool, the likeliest call of it (greedy under a grammar that admits only that tool), scored
    under the
            unmasked model; a family that reasons first may use any reason it knows for that tool
    names   for each tool, the begun call up to the closed name

Where the family writes down that no tool fits, that text competes, too. The paper says only "each candidate action a_n
(e.g. the available APIs)". Scoring names behind a reasoning that already names the tool would measure nothing: that is
why a reason-first model is scored on whole strings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ttsi.chat.grammar import tool_grammar
from ttsi.chat.ours import suffixes
from ttsi.config import AwarenessConfig
from ttsi.models import Model, Prompt, Request
from ttsi.types import NO_TOOL, Input

Scored = list[tuple[str, str, float]]
LONGEST_CALL = 200


def competing(model: Model, inputs: Sequence[Input], config: AwarenessConfig) -> list[Scored]:
    """The competing actions of each input, in the order of its tools, "no tool" last."""
    if config.candidates == "names":
        return _names(model, inputs, config.no_tool)
    return _calls(model, inputs, config.no_tool)


def _names(model: Model, inputs: Sequence[Input], no_tool: bool) -> list[Scored]:
    prompts = [Prompt(item.messages, item.tools) for item in inputs]
    texts = [["".join(model.format.name_span(tool.name)) for tool in item.tools] for item in inputs]
    actions = [[tool.name for tool in item.tools] for item in inputs]
    if no_tool and model.format.no_tool is not None:
        for written, named in zip(texts, actions, strict=True):
            written.append(model.format.no_tool)
            named.append(NO_TOOL)
    scores = model.score(prompts, texts)
    return [list(zip(*row, strict=True)) for row in zip(actions, texts, scores, strict=True)]


def _calls(model: Model, inputs: Sequence[Input], no_tool: bool) -> list[Scored]:
    actions: list[tuple[int, str]] = []
    requests: list[Request] = []
    for number, item in enumerate(inputs):
        prompt = Prompt(item.messages, item.tools)
        for action, grammar in _grammars(model, item, no_tool):
            actions.append((number, action))
            requests.append(Request(prompt, LONGEST_CALL, grammar=grammar))
    scored: list[Scored] = [[] for _ in inputs]
    for (number, action), said in zip(actions, model.generate(requests), strict=True):
        scored[number].append((action, said.text, said.logprob))
    return scored


def _grammars(model: Model, item: Input, no_tool: bool) -> list[tuple[str, str]]:
    reasoned = model.format.name == "ours"
    grammars = [
        (tool.name, tool_grammar(model.format, tool, suffixes(tool.description) if reasoned else ("",)))
        for tool in item.tools
    ]
    if no_tool and model.format.no_tool is not None:
        grammars.append((NO_TOOL, f"start: {json.dumps(model.format.no_tool)}"))
    return grammars
