"""Write similar examples. (The paper's G, "self-data augmentation".)

Inputs: the unsure inputs with their awareness, and a writer: the model itself (TT-SI) or a teacher (TT-D). Outputs: per
input, every example written, kept or refused with the reason, in order.

The seed is the user's last request; the gold answer is not among the inputs. The paper writes K = 1 pair with an
unpublished prompt and describes no check. Ours can write the call first, for each tool in turn, so that the label is
right by construction and the writer does not only repeat its own mistake; what does not parse, fit the schema or state
its values is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi.chat.grammar import answer_grammar, call_then_text_grammar
from ttsi.config import SynthesisConfig
from ttsi.models import Generation, Model, Prompt, Request
from ttsi.synthesis.parsing import first_line, read_call_first, read_query_first
from ttsi.synthesis.prompts import LEAD, writing_prompt
from ttsi.synthesis.selection import refusal
from ttsi.types import NO_TOOL, Awareness, Example, Input, Message, Tool, last_request

ONE_LINE = r"start: /[^\n\r]{3,400}/"


@dataclass(frozen=True)
class _Job:
    """One example to be written."""

    number: int
    """Which input it is for."""
    item: Input
    tool: Tool | None
    seed: int


def synthesise(
    writer: Model,
    inputs: Sequence[Input],
    awareness: Sequence[Awareness],
    config: SynthesisConfig,
    seeds: Sequence[int],
) -> list[tuple[Example, ...]]:
    """Write up to `config.k` good examples for each input.

    Args:
        seeds: one per input; example j of round r samples with a generator of its own derived from it.
    """
    written: list[list[Example]] = [[] for _ in inputs]
    for round_ in range(config.tries):
        jobs = _missing(inputs, awareness, config, seeds, written, round_)
        if not jobs:
            break
        write = _call_first if config.order == "call-first" else _query_first
        for job, example in zip(jobs, write(writer, jobs, config), strict=True):
            kept = [other for other in written[job.number] if other.refused is None]
            reason = example.refused or refusal(example, job.item, kept, config)
            written[job.number].append(replace(example, refused=reason))
    return [tuple(examples) for examples in written]


def _missing(
    inputs: Sequence[Input],
    awareness: Sequence[Awareness],
    config: SynthesisConfig,
    seeds: Sequence[int],
    written: list[list[Example]],
    round_: int,
) -> list[_Job]:
    jobs = []
    for number, (item, known) in enumerate(zip(inputs, awareness, strict=True)):
        order = _tools_in_turn(item, known, config)
        done = len(written[number])
        lacking = config.k - sum(example.refused is None for example in written[number])
        for index in range(done, done + lacking):
            tool = order[index % len(order)] if order else None
            jobs.append(_Job(number, item, tool, seeds[number] + 7919 * index + round_))
    return jobs


def _tools_in_turn(item: Input, known: Awareness, config: SynthesisConfig) -> list[Tool]:
    """Which tools the examples call, likeliest first; empty when the writer may choose."""
    tools = {tool.name: tool for tool in item.tools}
    ranked = [tools[c.action] for c in known.candidates if c.action != NO_TOOL and c.action in tools]
    if config.tools == "free":
        return []
    return (ranked or list(item.tools))[: 1 if config.tools == "likely" else None]


def _prompt(writer: Model, job: _Job, config: SynthesisConfig, prefix: str) -> Prompt:
    text = writing_prompt(writer.format.name, config.order).text.replace("{seed}", last_request(job.item))
    system = tuple(message for message in job.item.messages if message.role == "system")
    return Prompt((*system, Message("user", text)), job.item.tools, prefix)


def _sample(prompt: Prompt, job: _Job, config: SynthesisConfig, grammar: str | None) -> Request:
    return Request(prompt, config.max_tokens, config.temperature, job.seed, grammar)


def _call_first(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    requests, prefixes = [], []
    for job in jobs:
        prefix = "".join(writer.format.name_span(job.tool.name)) if job.tool else ""
        grammar = (
            call_then_text_grammar(writer.format, job.tool, job.item.tools, LEAD) if config.schema_grammar else None
        )
        requests.append(_sample(_prompt(writer, job, config, prefix), job, config, grammar))
        prefixes.append(prefix)
    said = writer.generate(requests)
    return [
        read_call_first(prefix + generation.text, generation.finished, writer.format, job.item.tools)
        for prefix, generation, job in zip(prefixes, said, jobs, strict=True)
    ]


def _query_first(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    prefix = LEAD.lstrip()
    asked = writer.generate([_sample(_prompt(writer, job, config, prefix), job, config, ONE_LINE) for job in jobs])
    queries = [first_line(generation.text) for generation in asked]
    answered = writer.generate([_answer(writer, job, query, config) for job, query in zip(jobs, queries, strict=True)])
    return [
        read_query_first(query, answer.text, _both_finished(generation, answer), writer.format, job.item.tools)
        for query, generation, answer, job in zip(queries, asked, answered, jobs, strict=True)
    ]


def _answer(writer: Model, job: _Job, query: str, config: SynthesisConfig) -> Request:
    """The writer's own greedy answer to the request it wrote: the label."""
    system = tuple(message for message in job.item.messages if message.role == "system")
    grammar = answer_grammar(writer.format, job.item.tools) if config.schema_grammar else None
    return Request(Prompt((*system, Message("user", query)), job.item.tools), config.max_tokens, grammar=grammar)


def _both_finished(first: Generation, second: Generation) -> bool:
    return first.finished and second.finished
