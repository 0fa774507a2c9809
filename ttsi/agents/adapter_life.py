"""The life of a temporary adapter in a conversation: one decision, the rest of the turn, or of the conversation.

Inputs: the next decisions of a batch of rollouts. Outputs: one episode each. With a life of one decision this is
`ttsi.improve` and nothing else. With a longer one, the first unsure decision trains an adapter, which answers the
later unsure ones untrained. Its file lies in memory, with the rollout, and is gone with it.

aTTT (arXiv:2607.03441) keeps one adapter for an episode and trains it every few steps on its own last step. Ours learns
written examples.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttsi.agents.example_trials import ExampleTrials
from ttsi.agents.rollout import Rollout
from ttsi.answer import generate_answers
from ttsi.awareness import select_episodes
from ttsi.batch import guard_refusal, log_stage, logprob_shift, more_failures
from ttsi.config import AgentConfig, LoopConfig
from ttsi.environments.experience import Experience
from ttsi.errors import ConfigError
from ttsi.loop import improve
from ttsi.methods import adaptation_method
from ttsi.models import Model, Writer, adapter_keeper
from ttsi.models.adapter_files import AdapterRecorder
from ttsi.types import Adaptation, Answer, Episode, Example, Input, stage_seed


@dataclass(frozen=True)
class Decider:
    """What decides: a model, a writer, the settings."""

    model: Model
    writer: Writer | None
    config: LoopConfig
    agent: AgentConfig
    repeat: int = 0

    def check(self) -> None:
        """Refuse a life that the method has no adapters for.

        Raises:
            ConfigError: one line.
            ModelError: the model's adapters cannot be kept beyond a decision.
        """
        if self.agent.life == "decision" or not self.config.adapt:
            return
        if not adaptation_method(self.config.adaptation.method).trains:
            raise ConfigError(
                f"agent.life is {self.agent.life}, which keeps an adapter: use a method that trains one, like ttsi"
            )
        adapter_keeper(self.model)

    def decide(self, rollouts: Sequence[Rollout], items: Sequence[Input]) -> list[Episode]:
        """One episode per decision, in order."""
        trials = ExampleTrials(
            {item.id: rollout for item, rollout in zip(items, rollouts, strict=True)},
            self.agent,
        )
        if not all(item.tools for item in items):
            return self._decide_without_tools(rollouts, items)
        if self.agent.life == "decision" or not self.config.adapt:
            return improve(items, self.model, self.writer, self.config, self.repeat, experience=trials)
        for rollout in rollouts:
            if rollout.begins_turn():
                rollout.adapter = None
                if self.agent.life == "turn":
                    rollout.learned = []
        fresh = [i for i, rollout in enumerate(rollouts) if rollout.adapter is None]
        living = [i for i, rollout in enumerate(rollouts) if rollout.adapter is not None]
        decided = dict(
            zip(fresh, self._train([rollouts[i] for i in fresh], [items[i] for i in fresh], trials), strict=True)
        )
        decided |= zip(
            living, self._reuse([rollouts[i] for i in living], [items[i] for i in living], trials), strict=True
        )
        return [decided[i] for i in range(len(items))]

    def _decide_without_tools(self, rollouts: Sequence[Rollout], items: Sequence[Input]) -> list[Episode]:
        """Decisions of which some have no tool to call, where there is nothing to be unsure about."""
        plain = [i for i, item in enumerate(items) if not item.tools]
        others = [i for i, item in enumerate(items) if item.tools]
        answered = improve([items[i] for i in plain], self.model, None, replace(self.config, adapt=False), self.repeat)
        decided = self.decide([rollouts[i] for i in others], [items[i] for i in others]) if others else []
        by_place = dict(zip([*plain, *others], [*answered, *decided], strict=True))
        return [by_place[i] for i in range(len(items))]

    def _train(self, rollouts: Sequence[Rollout], items: Sequence[Input], trials: ExampleTrials) -> list[Episode]:
        """Decisions of rollouts without an adapter; those that train one keep it."""
        writer = None if self.writer is self.model else self.writer
        episodes, files = train_adapters(self.model, writer, self.config, items, self.repeat, experience=trials)
        for rollout, episode, file in zip(rollouts, episodes, files, strict=True):
            if file is not None:
                rollout.adapter = file
                rollout.learned = [example for example in episode.examples if example.refused is None]
        return episodes

    def _reuse(self, rollouts: Sequence[Rollout], items: Sequence[Input], trials: ExampleTrials) -> list[Episode]:
        """Decisions of rollouts with an adapter, which answers where the base is unsure."""
        files = [rollout.adapter or b"" for rollout in rollouts]
        learned = [rollout.learned for rollout in rollouts]
        return answer_with_adapters(self.model, self.config, items, files, learned, self.repeat, experience=trials)


def train_adapters(
    model: Model,
    writer: Writer | None,
    config: LoopConfig,
    items: Sequence[Input],
    repeat: int = 0,
    answers: Sequence[Answer] = (),
    experience: Experience | None = None,
) -> tuple[list[Episode], list[bytes | None]]:
    """`ttsi.improve`, and beside each episode the file of the adapter that it trained; None where it trained none."""
    recorder = AdapterRecorder(model)
    episodes = improve(items, recorder, writer, config, repeat, answers, experience)
    return episodes, [recorder.files.get(episode.adaptation.adapter_sha256) for episode in episodes]


def answer_with_adapters(
    model: Model,
    config: LoopConfig,
    items: Sequence[Input],
    files: Sequence[bytes],
    learned: Sequence[Sequence[Example]],
    repeat: int = 0,
    answers: Sequence[Answer] = (),
    experience: Experience | None = None,
) -> list[Episode]:
    """Answer each input with an adapter that was trained before, where the base is unsure; nothing is trained.

    Args:
        model: the base.
        config: the settings of the loop; the adapters were trained with them.
        items: the inputs.
        files: one adapter per input.
        learned: the examples that each adapter learned.
        repeat: as for `ttsi.improve`.
        answers: the base's answers, where you have them already.
        experience: the environments that the inputs are decisions in.
    """
    episodes = improve(items, model, None, replace(config, adapt=False), repeat, answers, experience)
    unsure = select_episodes(items, episodes, config, repeat)
    if not unsure:
        return episodes
    unsure_items, first = [items[i] for i in unsure], [base for i in unsure if (base := episodes[i].base) is not None]
    seeds = [stage_seed(config.seed, item.content_hash, repeat, "answer") for item in unsure_items]
    log_stage("adaptation", len(unsure))
    began = time.perf_counter()
    with adapter_keeper(model).with_adapters([files[i] for i in unsure], config.adaptation):
        log_stage("answer", len(unsure))
        after = generate_answers(
            model, unsure_items, config.answer, range(len(unsure_items)), seeds, None, (unsure_items, first)
        )
    spent = (time.perf_counter() - began) / len(unsure)
    for i, base, answer in zip(unsure, first, after, strict=True):
        seconds = {**episodes[i].seconds, "answer": episodes[i].seconds.get("answer", 0.0) + spent}
        episode = replace(episodes[i], seconds=seconds)
        episodes[i] = _settle(items[i], episode, base, answer, learned[i], config, experience)
    return episodes


def _settle(
    item: Input,
    episode: Episode,
    base: Answer,
    answer: Answer,
    learned: Sequence[Example],
    config: LoopConfig,
    experience: Experience | None,
) -> Episode:
    shift = logprob_shift(answer)
    more = more_failures(item, base, answer, experience)
    reason = guard_refusal(item, base, answer, config.adaptation, more, learned)
    if reason is not None:
        return replace(episode, adaptation=Adaptation("reused", refused=reason, logprob_shift=shift))
    return replace(episode, adapted=answer, adaptation=Adaptation("reused", logprob_shift=shift))
