"""THE METHOD on one page: test-time self-improvement (TT-SI, TT-D; arXiv:2510.07841, Algorithm 1).

Every method is this page with other settings (`ttsi.methods`); a batch of one is the paper, a larger one is faster.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi.adaptation import adapters
from ttsi.answer import generate_answers
from ttsi.awareness import estimate, needs_samples, select
from ttsi.batch import Stages, fall_back_to, isolate_failures, with_adaptations
from ttsi.config import LoopConfig
from ttsi.environments.experience import Experience
from ttsi.methods import preset
from ttsi.models import Model, Writer
from ttsi.synthesis import synthesise
from ttsi.types import Answer, Episode, Input


@isolate_failures
def improve(
    inputs: Sequence[Input],
    model: Model,
    writer: Writer | None = None,
    config: LoopConfig | None = None,
    repeat: int = 0,
    answers: Sequence[Answer] = (),
    experience: Experience | None = None,
) -> list[Episode]:
    """Measure confidence, write examples, adapt, answer, forget: one episode per input, in order.

    Args:
        inputs: conversations that end with a request, and the tools on offer.
        model: answers (`ttsi.load_model`); its weights are the same afterwards.
        writer: writes the examples: the model itself (None, TT-SI), a teacher (TT-D), or training data (few-shot).
        config: the settings; None is `preset("ttsi", model)`.
        repeat: how many inputs with the same content came before; every repeat has its own random numbers.
        answers: the base's answers, where you have them already; with samples where the settings count samples.
        experience: the environments that the inputs are decisions in (`ttsi.agents`).

    >>> import ttsi
    >>> city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    >>> tools = (ttsi.Tool("get_weather", "get the weather of a city", city),)
    >>> question = ttsi.Input("1", (ttsi.Message("user", "Will it rain in Oslo"),), tools)
    >>> [episode] = ttsi.improve([question], ttsi.load_model("scripted:demo"))
    >>> episode.adapted.calls[0].name
    'get_weather'

    Raises:
        ConfigError: a setting is wrong. Any other failure is an episode with `error`, or with the base's answer.
    """
    writer, config = writer or model, config or preset("ttsi", model)
    stages, sample = Stages(inputs, config.seed, repeat), needs_samples(config.awareness)
    seeds = stages.begin("answer")
    before = answers or generate_answers(model, inputs, config.answer, seeds=seeds, sample=sample)
    stages.begin("awareness")
    awareness = estimate(model, inputs, before, config.awareness, experience=experience)  # H
    selected = select(inputs, awareness, config, repeat)
    unsure, confidence = [inputs[i] for i in selected], [awareness[i] for i in selected]
    first = [before[i] for i in selected]
    episodes = stages.episodes(before, awareness)
    with fall_back_to(stages, episodes, selected) as record:
        seeds = stages.begin("synthesis", selected)
        examples = record(synthesise(writer, unsure, confidence, config.synthesis, seeds, model, experience))  # G
        with adapters(model, unsure, examples, first, config, stages.begin("adaptation"), confidence) as tuned:  # T
            seeds, base = stages.begin("answer"), (unsure, first)
            after = generate_answers(model, tuned.inputs, config.answer, tuned.adapters, seeds, tuned.strategy, base)
    return with_adaptations(stages, episodes, selected, examples, tuned, after, config.adaptation, experience)
