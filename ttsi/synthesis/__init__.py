"""Write similar examples. (The paper's G, "self-data augmentation".)

Inputs: the unsure inputs with their awareness, and a writer: the model itself (TT-SI), a teacher (TT-D), or training
data from which examples are taken as they are (`retrieval.py`). Outputs: per input, every example, kept or refused with
the reason, in order.

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
from ttsi.errors import ConfigError
from ttsi.models import Generation, Model, Request, Writer
from ttsi.synthesis.model_filters import apply_model_filters
from ttsi.synthesis.parsing import first_line, read_call_first, read_query_first
from ttsi.synthesis.prompts import LEAD, writing_prompt
from ttsi.synthesis.retrieval import demonstrations
from ttsi.synthesis.selection import refusal
from ttsi.types import NO_TOOL, Awareness, Example, Input, Prompt, Tool, TrainingData, last_request, standalone_prompt

ONE_LINE = r"start: /[^\n\r]{3,400}/"
SILENT = "teacher: "
"""How the reason begins when the writer gave no text at all."""


def prompt_version(format_name: str, config: SynthesisConfig) -> str:
    """Hash of the prompt that asks for an example, as a run's record keeps it (12 hex digits)."""
    return writing_prompt(format_name, config.order).version()


@dataclass(frozen=True)
class _Job:
    """One example to be written."""

    number: int
    """Which input it is for."""
    item: Input
    tool: Tool | None
    seed: int


def synthesise(
    writer: Writer,
    inputs: Sequence[Input],
    awareness: Sequence[Awareness],
    config: SynthesisConfig,
    seeds: Sequence[int],
    learner: Model | None = None,
) -> list[tuple[Example, ...]]:
    """Write up to `config.k` good examples for each input.

    Args:
        seeds: one per input; example j of round r samples with a generator of its own derived from it.
        learner: who will learn the examples and is asked about them (`trial.py`); the writer where nobody is given.

    Raises:
        ConfigError: examples are to be taken from training data, and there are none, or the other way round.
    """
    if isinstance(writer, TrainingData):
        return demonstrations(writer, inputs, config, seeds)
    if config.source != "writer" and inputs:
        raise ConfigError(f"synthesis.source is {config.source!r} and there are no training data: give --train-data")
    written: list[list[Example]] = [[] for _ in inputs]
    for round_ in range(config.max_rounds):
        jobs = _missing(inputs, awareness, config, seeds, written, round_)
        if not jobs:
            break
        write = _call_first if config.order == "call-first" else _query_first
        for job, example in zip(jobs, write(writer, jobs, config), strict=True):
            kept = [other for other in written[job.number] if other.refused is None]
            reason = example.refused or refusal(example, job.item, kept, config)
            written[job.number].append(replace(example, refused=reason))
    return apply_model_filters(learner or writer, inputs, written, config)


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
        # A teacher that did not answer was asked several times already; its silence is not replaced.
        lacking = config.k - sum(example.refused is None or _silent(example) for example in written[number])
        for index in range(done, done + lacking):
            tool = order[index % len(order)] if order else None
            jobs.append(_Job(number, item, tool, seeds[number] + 7919 * index + round_))
    return jobs


def _silent(example: Example) -> bool:
    return (example.refused or "").startswith(SILENT)


def _tools_in_turn(item: Input, known: Awareness, config: SynthesisConfig) -> list[Tool]:
    """Which tools the examples call, likeliest first; empty when the writer may choose."""
    tools = {tool.name: tool for tool in item.tools}
    ranked = [tools[c.action] for c in known.candidates if c.action != NO_TOOL and c.action in tools]
    if config.tools == "free":
        return []
    ranked = list({tool.name: tool for tool in ranked}.values())  # several sampled calls may be of one tool
    return (ranked or list(item.tools))[: 1 if config.tools == "likely" else None]


def _prompt(writer: Model, job: _Job, config: SynthesisConfig, prefix: str) -> Prompt:
    text = writing_prompt(writer.format.name, config.order).text.replace("{seed}", last_request(job.item))
    return standalone_prompt(job.item, text, prefix=prefix)


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
        _billed(read_call_first(prefix + text.text, text.finished, writer.format, job.item.tools), text)
        for prefix, text, job in zip(prefixes, said, jobs, strict=True)
    ]


def _query_first(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    prefix = LEAD.lstrip()
    asked = writer.generate([_sample(_prompt(writer, job, config, prefix), job, config, ONE_LINE) for job in jobs])
    queries = [first_line(generation.text) for generation in asked]
    # Where no request was written there is nothing to answer, and a teacher would be paid for it.
    todo = [i for i, query in enumerate(queries) if query]
    answered = dict(
        zip(todo, writer.generate([_answer(writer, jobs[i], queries[i], config) for i in todo]), strict=True)
    )
    return [
        _query_first_example(writer, job, query, text, answered.get(i))
        for i, (job, query, text) in enumerate(zip(jobs, queries, asked, strict=True))
    ]


def _query_first_example(writer: Model, job: _Job, query: str, asked: Generation, said: Generation | None) -> Example:
    if said is None:
        return _billed(read_query_first(query, "", asked.finished, writer.format, job.item.tools), asked)
    finished = asked.finished and said.finished
    return _billed(read_query_first(query, said.text, finished, writer.format, job.item.tools), asked, said)


def _answer(writer: Model, job: _Job, query: str, config: SynthesisConfig) -> Request:
    """The writer's own greedy answer to the request it wrote: the label."""
    grammar = answer_grammar(writer.format, job.item.tools) if config.schema_grammar else None
    return Request(standalone_prompt(job.item, query), config.max_tokens, grammar=grammar)


def _billed(example: Example, *said: Generation) -> Example:
    """The example with what it took to write it; without any text, refused with the writer's error."""
    error = next((text.error for text in said if text.error), None)
    return replace(
        example,
        refused=f"{SILENT}{error}" if error else example.refused,
        tokens=sum(text.tokens for text in said),
        dollars=sum(text.dollars for text in said),
        attempt_errors=tuple(fault for text in said for fault in text.attempt_errors),
    )
