"""Conversations of an agent with environments, improved at each decision.

Inputs: environments, a model, a writer, the settings. Outputs: one `Trajectory` each, in order. All conversations take
their next step together, so that a batch of them is as fast as a batch of single inputs. A batch of one is an agent.

The paper (arXiv:2510.07841) improves single answers; here `ttsi.improve` is called at each decision, unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ttsi import crash_points
from ttsi.agents.adapter_life import Decider
from ttsi.agents.rollout import Rollout, open_rollouts
from ttsi.batch import log_stage
from ttsi.config import AgentConfig, LoopConfig
from ttsi.environments.call_limits import CallLimits, LimitedEnvironment
from ttsi.environments.environment import Environment
from ttsi.errors import ConfigError
from ttsi.methods import preset
from ttsi.models import Model, Writer, as_model, as_writer, prefix_cache
from ttsi.plurals import kind_of
from ttsi.types import Input, Prompt, Trajectory


def run_episode(
    environment: Environment,
    model: Model,
    writer: Writer | None = None,
    config: LoopConfig | None = None,
    agent: AgentConfig | None = None,
    on_step: Callable[[Trajectory], None] | None = None,
) -> Trajectory:
    """Let a model act in an environment until the user's last turn is done.

    Args:
        environment: tools with a state, and the user's turns (`ttsi.FunctionEnvironment` makes one from functions).
        model: decides; its weights are the same afterwards.
        writer: writes the examples: the model itself (None, TT-SI), or a teacher (TT-D).
        config: the settings of each decision; None is `preset("ttsi", model)`.
        agent: the settings of the conversation.
        on_step: called with what happened so far, after each decision and its calls.

    Returns:
        What happened. A failure of the environment or of the model ends it, with `error`.

    >>> import ttsi
    >>> def add(a: int, b: int) -> int:
    ...     '''add two numbers'''
    ...     return a + b
    >>> world = ttsi.FunctionEnvironment([add], turns=["add 2 and 3"], safe_to_repeat=True)
    >>> trajectory = ttsi.run_episode(world, ttsi.load_model("scripted:demo"))
    >>> trajectory.steps[0].answer.calls[0].name
    'add'

    Raises:
        ConfigError: a setting is wrong.
        ModelError: the model's adapters cannot be kept for longer than a decision.
    """

    def report(_: str, trajectory: Trajectory) -> None:
        if on_step is not None:
            on_step(trajectory)

    return run_episodes([("episode", environment)], model, writer, config, agent, on_step=report)[0]


def run_episodes(
    environments: Sequence[tuple[str, Environment]],
    model: Model,
    writer: Writer | None = None,
    config: LoopConfig | None = None,
    agent: AgentConfig | None = None,
    repeat: int = 0,
    on_step: Callable[[str, Trajectory], None] | None = None,
) -> list[Trajectory]:
    """`run_episode` for several environments at once, each with an id of its own; the rest as there.

    Args:
        environments: (id, environment) pairs.
        repeat: how many tasks with the same content came before.
        on_step: called with the id and what happened so far, after each decision and its calls.

    Raises:
        ConfigError: a setting is wrong, or the environments are no pairs with ids and objects of their own.
    """
    writer = None if writer is None or writer is model else as_writer(writer)
    model = as_model(model)
    config = preset("ttsi", model) if config is None else config
    agent = AgentConfig() if agent is None else agent
    _check_settings(config, agent)
    _check_environments(environments)
    decider = Decider(model, writer, config, agent, repeat)
    decider.check()
    limits = CallLimits(seconds=agent.call_seconds)
    limited = [(id_, LimitedEnvironment(environment, limits)) for id_, environment in environments]
    rollouts = open_rollouts(limited, agent, offer_end=config.answer.calls != "auto")
    on_step = on_step or (lambda id_, trajectory: None)
    while not _converse(rollouts, decider, on_step):
        pass
    return [rollout.trajectory for rollout in rollouts]


def _converse(rollouts: Sequence[Rollout], decider: Decider, on_step: Callable[[str, Trajectory], None]) -> bool:
    """Let all conversations go on to their ends; False where Ctrl-C ended the turn of a person who types the turns."""
    model, max_new_tokens = decider.model, decider.config.answer.max_tokens
    try:
        with prefix_cache(model):  # an interrupted one is not used again
            while active := [rollout for rollout in rollouts if rollout.proceed()]:
                waiting = [
                    (rollout, item)
                    for rollout in active
                    if (item := _next_decision(rollout, model, max_new_tokens)) is not None
                ]
                episodes = decider.decide([rollout for rollout, _ in waiting], [item for _, item in waiting])
                crash_points.reach("agent: decided")
                log_stage("execution", len(waiting))
                for (rollout, _), episode in zip(waiting, episodes, strict=True):
                    rollout.act(episode)
                    on_step(rollout.id, rollout.trajectory)
                crash_points.reach("agent: acted")
    except KeyboardInterrupt:
        stopped = [rollout.stop_turn() for rollout in rollouts]
        if not any(stopped):
            raise
        for rollout in rollouts:
            on_step(rollout.id, rollout.trajectory)
        return False
    return True


def _check_settings(config: object, agent: object) -> None:
    if not isinstance(config, LoopConfig):
        raise ConfigError(f"config is {kind_of(config)}: use a LoopConfig, as ttsi.preset makes it")
    if not isinstance(agent, AgentConfig):
        raise ConfigError(f"agent is {kind_of(agent)}: use a ttsi.AgentConfig")


def _check_environments(environments: object) -> None:
    """Refuse what is no list of (id, environment) pairs, and what two conversations would share."""
    if not isinstance(environments, Sequence) or not all(_is_pair(entry) for entry in environments):
        raise ConfigError("environments must be a list of (id, environment) pairs, the id a text")
    ids: dict[int, str] = {}
    for id_, environment in environments:
        if isinstance(environment, type):
            raise ConfigError(f"environment {id_!r} is the class {environment.__name__}: make an object of it")
        if not isinstance(environment, Environment):
            kind = kind_of(environment)
            raise ConfigError(f"environment {id_!r} is {kind}: it needs tools(), next_turn(), execute() and copy()")
        if id_ in ids.values():
            raise ConfigError("two environments have the same id: give each its own")
        if id(environment) in ids:
            raise ConfigError(f"{ids[id(environment)]!r} and {id_!r} are one environment: make one for each")
        ids[id(environment)] = id_


def _is_pair(entry: object) -> bool:
    return isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], str)


def _next_decision(rollout: Rollout, model: Model, max_new_tokens: int) -> Input | None:
    """The input of the next decision; long results are shortened until it fits the model's context."""
    item = rollout.decision()
    while item is not None and _is_too_long(model, item, max_new_tokens) and rollout.shorten_result():
        item = rollout.decision()
    return item


def _is_too_long(model: Model, item: Input, max_new_tokens: int) -> bool:
    try:
        return model.fits(Prompt(item.messages, item.tools), max_new_tokens) is not None
    except Exception:  # the decision meets the same error, and records it
        return False
