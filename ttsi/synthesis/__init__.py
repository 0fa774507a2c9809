"""Synthesis of similar examples. (The paper's G, "self-data augmentation".)

Inputs: the unsure inputs with their awareness, and a writer: the model itself (TT-SI), a teacher (TT-D), or training
data from which examples are taken as they are (`retrieval.py`). Outputs: per input, every example, kept or refused with
the reason, in order.

The seed is the user's last request; the gold answer is not among the inputs. The paper writes K = 1 pair with an
unpublished prompt and describes no check. Ours can write the call first, for each tool in turn, so that the label is
right by construction and the writer does not only repeat its own mistake; an example that does not parse, fit the
schema or state its values is refused.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ttsi.chat.grammar import answer_grammar, call_then_text_grammar
from ttsi.config import SynthesisConfig
from ttsi.environments.experience import Experience
from ttsi.errors import ConfigError
from ttsi.models import Generation, Model, Request, Writer
from ttsi.synthesis.example_filters import active_filters, refusal
from ttsi.synthesis.model_filters import apply_model_filters
from ttsi.synthesis.parsing import read_call_first, read_query_first, stripped_line
from ttsi.synthesis.prompts import LEAD, ONE_LINE, WritingPrompt, chosen_prompt
from ttsi.synthesis.retrieval import demonstrations
from ttsi.synthesis.rewording import prompt_text, rewording_request
from ttsi.synthesis.schema_examples import joined_example, schema_example
from ttsi.synthesis.state_values import StateValues
from ttsi.types import END_TURN, Awareness, Example, Input, Prompt, Tool, TrainingData, last_request, standalone_prompt

WRITER_FAILED = "teacher: "
"""How the reason begins where the writer returned no text at all."""


JOINED_SHARE = 0.35
"""Probability that an agent's example is a turn of two calls."""
_NO_TOOLS = Example("", (), "", "schema: the input offers no tools")


@dataclass(frozen=True)
class _Job:
    """One example to be written."""

    number: int
    """Which input it is for."""
    item: Input
    tool: Tool | None
    seed: int
    state: StateValues | None = None
    """Values of the environment's state, where the input is an agent's decision."""
    before: Tool | None = None
    """A tool that is called first, where the example is a turn of two calls."""


def check_synthesis(config: SynthesisConfig) -> None:
    """Refuse example filters and prompts that do not exist.

    Raises:
        ConfigError: one line that names it.
    """
    active_filters(config)
    prompt_hash(config, "")


def prompt_hash(config: SynthesisConfig, format_name: str) -> str:
    """The version of the prompt with which a model of this family writes examples, for the run's record."""
    if config.order != "schema-first":
        return chosen_prompt(config, format_name).version()
    if config.prompt is not None:
        raise ConfigError("synthesis.order schema-first has its own prompt: leave synthesis.prompt out, or the order")
    return WritingPrompt(prompt_text()).version()


def synthesise(
    writer: Writer,
    inputs: Sequence[Input],
    awareness: Sequence[Awareness],
    config: SynthesisConfig,
    seeds: Sequence[int],
    model: Model | None = None,
    experience: Experience | None = None,
) -> list[tuple[Example, ...]]:
    """Write up to `config.k` good examples for each input.

    Args:
        seeds: one per input; example j of round r samples with a generator of its own derived from it.
        model: the one that will learn the examples and filters them (`model_filters.py`); by default the writer.
        experience: the environments that the inputs are decisions in. Written calls are executed there, on copies, and
            examples of earlier decisions come back behind the new ones.

    Raises:
        ConfigError: examples are to be taken from training data, and there are none, or the other way round; or a
            teacher is given, and a rule makes the examples.
    """
    if isinstance(writer, TrainingData):
        return demonstrations(writer, inputs, config, seeds)
    if config.source == "schema" and model is not None and getattr(writer, "spec", None) != model.spec:
        raise ConfigError(
            "synthesis.source is schema, so that a rule makes the examples and no teacher writes any: use method ttd, "
            "or leave the teacher out"
        )
    if config.source not in ("writer", "schema") and inputs:
        raise ConfigError(f"synthesis.source is {config.source!r} and there are no training data: give --train-data")
    written: list[list[Example]] = [[] for _ in inputs]
    silent = [0 for _ in inputs]
    states = [None if experience is None else StateValues.of(experience.observations(item)) for item in inputs]
    for round_ in range(config.max_rounds):
        jobs = _missing(inputs, awareness, config, seeds, written, silent, round_)
        if experience is not None:
            jobs = [_in_environment(job, states[job.number], experience.whole_turns) for job in jobs]
        if not jobs:
            break
        for job, example in zip(jobs, _write(writer, jobs, config), strict=True):
            silent[job.number] += _writer_failed(example)  # before filters, whose reasons may begin in the same way
            kept = [other for other in written[job.number] if other.refused is None]
            example = replace(example, refused=example.refused or refusal(example, job.item, kept, config))
            if experience is not None and example.refused is None:
                executed = experience.execute(job.item, example)
                changed = executed.query != example.query and executed.refused is None
                reason = refusal(executed, job.item, kept, config) if changed else executed.refused
                example = replace(executed, refused=reason)
            written[job.number].append(example)
    filtered = apply_model_filters(model or writer, inputs, written, config)
    if experience is None:
        return filtered
    return [(*new, *experience.earlier(item)) for item, new in zip(inputs, filtered, strict=True)]


def _missing(
    inputs: Sequence[Input],
    awareness: Sequence[Awareness],
    config: SynthesisConfig,
    seeds: Sequence[int],
    written: Sequence[Sequence[Example]],
    silent: Sequence[int],
    round_: int,
) -> list[_Job]:
    jobs = []
    for number, (item, confidence) in enumerate(zip(inputs, awareness, strict=True)):
        order = _tools_in_turn(item, confidence, config)
        done = len(written[number])
        # A teacher that did not answer was tried several times already; its silence is not replaced.
        spent = silent[number] + sum(example.refused is None for example in written[number])
        for index in range(done, done + config.k - spent):
            tool = order[index % len(order)] if order else None
            jobs.append(_Job(number, item, tool, seeds[number] + 7919 * index + round_))
    return jobs


def _writer_failed(example: Example) -> bool:
    return (example.refused or "").startswith(WRITER_FAILED)


def _tools_in_turn(item: Input, awareness: Awareness, config: SynthesisConfig) -> list[Tool]:
    """Which tools the examples call, likeliest first; empty when the writer may choose."""
    if config.tools == "free" and config.source == "writer" and config.order != "schema-first":
        return []
    tools = {tool.name: tool for tool in item.tools}
    actions = dict.fromkeys(
        candidate.action for candidate in awareness.candidates
    )  # several sampled calls may be of one tool
    tools.pop(END_TURN, None)  # an example of it would teach to do nothing
    ranked = [tools[action] for action in actions if action in tools] or list(tools.values())
    if config.source == "schema":
        called = _called_in_this_turn(item)
        ranked = [tool for tool in ranked if tool.name not in called] or ranked
    return ranked[: 1 if config.tools == "likely" else None]


def _called_in_this_turn(item: Input) -> set[str]:
    """The tools that were called since the user last spoke: examples of them would teach to call them again."""
    turn = takewhile(lambda message: message.role != "user", reversed(item.messages))
    return {call.name for message in turn for call in message.tool_calls}


def _prompt(writer: Model, job: _Job, config: SynthesisConfig, prefix: str) -> Prompt:
    prompt = chosen_prompt(config, writer.format.name)
    return standalone_prompt(job.item, prompt.fill(last_request(job.item), job.tool, job.item.tools), prefix=prefix)


def _sampling_request(prompt: Prompt, job: _Job, config: SynthesisConfig, grammar: str | None) -> Request:
    return Request(prompt, config.max_tokens, config.temperature, job.seed, grammar)


def _write(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    if config.source == "schema":
        return _from_schemas(jobs)
    if config.order == "schema-first":
        return _schema_first(writer, jobs, config)
    return _call_first(writer, jobs, config) if config.order == "call-first" else _query_first(writer, jobs, config)


def _from_schemas(jobs: Sequence[_Job]) -> list[Example]:
    return [_from_schema(job, job.tool) if job.tool else _NO_TOOLS for job in jobs]


def _from_schema(job: _Job, tool: Tool) -> Example:
    example = schema_example(tool, job.seed, job.state)
    if job.before is None:
        return example
    return joined_example(schema_example(job.before, job.seed + 1, job.state), example)


def _in_environment(job: _Job, state: StateValues | None, whole_turns: bool) -> _Job:
    """The job of an agent's decision: values of the state, and for some a tool that is called before."""
    others = [tool for tool in job.item.tools if tool != job.tool and tool.name != END_TURN]
    # A stream of its own: with `schema_example`'s, the joined examples would be those that state optional arguments.
    draw = random.Random(f"turn {job.seed}")
    joined = whole_turns and bool(others) and draw.random() < JOINED_SHARE
    return replace(job, state=state, before=draw.choice(others) if joined else None)


def _schema_first(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    examples = _from_schemas(jobs)
    places = [place for place, example in enumerate(examples) if example.refused is None]
    requests = [rewording_request(examples[place], config, jobs[place].seed) for place in places]
    for place, generation in zip(places, writer.generate(requests), strict=True):
        query = stripped_line(generation.text)
        refused = None if query and generation.finished else "parse: no request, or one that does not end"
        reworded = replace(examples[place], query=query, text=generation.text, refused=refused)
        examples[place] = _with_cost(reworded, generation)
    return examples


def _call_first(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    requests, prefixes = [], []
    for job in jobs:
        prefix = "".join(writer.format.name_span(job.tool.name)) if job.tool else ""
        grammar = (
            call_then_text_grammar(writer.format, job.tool, job.item.tools, LEAD) if config.schema_grammar else None
        )
        requests.append(_sampling_request(_prompt(writer, job, config, prefix), job, config, grammar))
        prefixes.append(prefix)
    return [
        _with_cost(
            read_call_first(prefix + generation.text, generation.finished, writer.format, job.item.tools), generation
        )
        for prefix, generation, job in zip(prefixes, writer.generate(requests), jobs, strict=True)
    ]


def _query_first(writer: Model, jobs: Sequence[_Job], config: SynthesisConfig) -> list[Example]:
    prefix = LEAD.lstrip()
    prompts = [_prompt(writer, job, config, prefix) for job in jobs]
    first = writer.generate(
        [_sampling_request(prompt, job, config, ONE_LINE) for prompt, job in zip(prompts, jobs, strict=True)]
    )
    queries = [stripped_line(generation.text) for generation in first]
    # Where no request was written there is nothing to answer, and a teacher would be paid for it.
    answerable = [i for i, query in enumerate(queries) if query]
    second = writer.generate([_answer(writer, jobs[i], queries[i], config) for i in answerable])
    answers = dict(zip(answerable, second, strict=True))
    return [
        _query_first_example(writer, job, query, generation, answers.get(i))
        for i, (job, query, generation) in enumerate(zip(jobs, queries, first, strict=True))
    ]


def _query_first_example(
    writer: Model, job: _Job, query: str, request: Generation, answer: Generation | None
) -> Example:
    generations = [request] if answer is None else [request, answer]
    finished = all(generation.finished for generation in generations)
    text = "" if answer is None else answer.text
    return _with_cost(read_query_first(query, text, finished, writer.format, job.item.tools), *generations)


def _answer(writer: Model, job: _Job, query: str, config: SynthesisConfig) -> Request:
    """The writer's own greedy answer to the request it wrote: the label."""
    grammar = answer_grammar(writer.format, job.item.tools) if config.schema_grammar else None
    return Request(standalone_prompt(job.item, query), config.max_tokens, grammar=grammar)


def _with_cost(example: Example, *generations: Generation) -> Example:
    """The example with the cost of writing it; without any text, refused with the writer's error."""
    error = next((generation.error for generation in generations if generation.error), None)
    return replace(
        example,
        refused=f"{WRITER_FAILED}{error}" if error else example.refused,
        tokens=sum(generation.tokens for generation in generations),
        dollars=sum(generation.dollars for generation in generations),
        attempt_errors=tuple(error for generation in generations for error in generation.attempt_errors),
    )
