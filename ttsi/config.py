"""Settings: one frozen dataclass per stage, `LoopConfig` over the stages, `RunConfig` over a whole run.

The same objects are the Python arguments, the flags of the command, the keys of a YAML file and the settings in a run's
record. The text under a field is its help text, its type says which values it takes (`ttsi.setting_types`), and `check`
refuses all others. The defaults are those of the dataclasses; methods change them (`ttsi.methods`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ttsi.errors import ConfigError
from ttsi.setting_types import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Threshold,
    UpperLimit,
    check_values,
)


@dataclass(frozen=True)
class AwarenessConfig:
    """Stage 1 (the paper's H): how confident is the model on this input?"""

    candidates: Literal["calls", "names", "samples"] = "names"
    """The candidate actions: the name of each tool, the likeliest call of each tool, or calls the model sampled."""
    no_tool: bool = True
    """Count "no tool" as a candidate, where the model's format has a way to write it."""
    measure: str = "margin"
    """The confidence measure that decides (ttsi ls measures), or your own package.module:function. Larger means more
    confident."""
    tau: Threshold = 0.95
    """Threshold: an input is unsure when the measure is below it. 0.95 is the paper's, for the margin; choose
    yours on validation data."""
    gate: Literal["unsure", "sure", "all", "random"] = "unsure"
    """Which inputs are adapted: the unsure ones (the method), or a control group."""
    share: Fraction = 0.5
    """With gate "random": the probability that an input is adapted. The seed and the input decide."""


@dataclass(frozen=True)
class SynthesisConfig:
    """Stage 2 (the paper's G): write similar examples for an unsure input."""

    source: Literal["writer", "schema", "nearest", "random"] = "writer"
    """Where examples come from: a model writes them, a rule makes them from the tools' schemas (schema), or they are
    rows of the training data, the most similar or random ones. Settings of how a model writes count for writer only."""
    k: NonNegativeInt = 8
    """Number of examples per unsure input."""
    order: Literal["call-first", "query-first", "schema-first"] = "call-first"
    """Write the call first and then a request for it, or the request first and then its call, or only reword the
    request of an example made from a tool's schema (schema-first), which a small model does best."""
    tools: Literal["round-robin", "likely", "free"] = "round-robin"
    """The tool of each example: every tool in turn from the likeliest on, only the likeliest, or the model's choice."""
    temperature: NonNegativeFloat = 0.4
    """Sampling temperature."""
    max_tokens: PositiveInt = 160
    """Maximum length of an example, in tokens."""
    max_rounds: PositiveInt = 2
    """Rounds of writing. A later round only replaces examples that were filtered out."""
    schema_grammar: bool = True
    """Constrain the calls to the tool's schema while they are written (where the model supports it)."""
    grounded: bool = True
    """Filter: drop an example if a value of its arguments does not occur in its request."""
    unambiguous: bool = True
    """Filter: drop an example if its request shares more words with the description of another tool than of its own."""
    seed_overlap: Fraction = 1.0
    """Filter: drop an example if the overlap of its words with the input's request is above this share; 1 is off."""
    overlap: Fraction = 1.0
    """Filter: drop an example if the overlap of its words with an earlier example is above this share; 1 is off."""
    round_trip: bool = False
    """Filter: drop an example if the model to be adapted answers its request with another call."""
    drop_worst: Fraction = 0.0
    """Filter: drop this share of an input's examples, the ones least likely per character under the model; 0 is off."""
    filter: tuple[str, ...] = ()
    """Example filters of your own, each a package.module:function (docs/extending.md)."""
    prompt: Path | None = None
    """A text file with the prompt for writing an example, instead of the built-in one. Slots: {seed} is the input's
    request (required), {tool} the tool to call, {tools} all tools as JSON."""


OBJECTIVE_NAMES = ("cross-entropy", "contrast", "distill")
"""Values of `adaptation.objective` that are no reference to a function."""


@dataclass(frozen=True)
class AdaptationConfig:
    """Stage 3 (the paper's T): learn the examples, briefly."""

    method: str = "lora"
    """Train a temporary LoRA adapter on the examples (lora), put them into the prompt (in-context), or do both; for an
    agent, put what its tools returned on a copy into the prompt (explore). Without examples: one adapter trained on the
    training data before the run (shared), vote, ask-again, rerank. Or your own package.module:function."""
    objective: str = "cross-entropy"
    """The training loss: cross-entropy; contrast (cross-entropy, and the right call is to be likelier than the same
    call of the runner-up tool); distill (on the model's own samples for the input, the adapter learns the distributions
    of the base that has the examples in context); or your own package.module:function that maps the label tokens'
    log-probabilities and their mask, both [batch, tokens], to one loss per row."""
    rank: PositiveInt = 8
    """LoRA rank."""
    alpha: NonNegativeFloat = 16.0
    """LoRA alpha. The update is scaled by alpha / rank."""
    scope: Literal["all", "suffix"] = "all"
    """The tokens on which the adapter acts: all of them, or those from the first user's turn on (suffix: Activated
    LoRA, arXiv:2504.12397). With suffix, what the base read of system text and tools is used again."""
    lr: NonNegativeFloat | None = 3e-3
    """Peak learning rate. None chooses it by the number of the model's parameters (2e-3 at 135 million, 1e-3 at half a
    billion, 3e-4 at 7 billion), as the methods do for every model but the embedded one; ttsi-paper has the paper's
    1e-4."""
    epochs: PositiveInt = 5
    """Passes over the examples."""
    batch_size: NonNegativeInt = 0
    """Examples per optimizer step; 0 puts all examples of an input into one step."""
    irrelevance: NonNegativeInt = 0
    """Number of examples that are learned a second time without the tool they call, with "no tool fits" as the right
    answer. Training on calls alone makes a model call too often. None are where answer.calls demands a call."""
    held_back: NonNegativeInt = 0
    """Number of an input's examples that are not trained on, the last ones. The adapter of the step with the lowest
    loss on them answers, or the base where no step lowers it by a hundredth. 0 is off."""
    warmup_ratio: Fraction = 0.03
    """Share of the steps spent on learning-rate warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay of the learning rate after the warm-up."""
    warmup_from_zero: bool = False
    """Start the warm-up at learning rate 0, as Hugging Face schedules do."""
    weight_decay: NonNegativeFloat = 0.0
    """AdamW weight decay."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradient clipping per adapter; 0 is off."""
    max_loss_rise: UpperLimit = 0.2
    """Guard: reject an adapter whose last loss is above its first by more than this share."""
    min_confidence_gain: float | None = None
    """Guard: keep the base model's answer unless the adapted model is more confident in its own, by more than this many
    nats per token. 0 prevents most of the harm (dev/log.md); None accepts every new answer, as the paper does."""
    refuse_unstated: bool = False
    """Guard: keep the base model's answer where the adapted one has more argument values that neither the conversation
    nor the tool's schema states, or a new one of these that stands in an example, or as many and leaves out one that
    the conversation states."""
    keep_decision: bool = False
    """Guard: keep the base model's decision whether to call. An input that it answers in words is not adapted, and an
    adapted answer in words does not take the place of a call. For examples that are all calls: they teach how to call,
    not when."""


Strategy = Literal["greedy", "vote", "pass@k", "rerank"]
"""How the answer is chosen."""


@dataclass(frozen=True)
class AnswerConfig:
    """Stage 4: answer, in the same way with and without an adapter."""

    decoding: Literal["free", "constrained"] = "constrained"
    """Constrained decoding can only write calls that match the tools' schemas (a grammar masks the rest)."""
    calls: Literal["auto", "required", "one"] = "auto"
    """Whether the answer must be a call: auto leaves this to the model, required means one or more calls and no text
    before them, one means exactly one call. The last two need constrained decoding."""
    tools: tuple[str, ...] = ()
    """The only tools that the answer may call; none named is all of them. The model reads all of them in any case, and
    its confidence and the examples are about all. Needs constrained decoding."""
    max_tokens: PositiveInt = 160
    """Maximum length of the answer, in tokens."""
    repetition_limit: NonNegativeInt = 64
    """Cut a greedy answer off where its last so many tokens are the same few tokens again and again: small models do
    not leave such a loop. 0 lets it run until max_tokens."""
    strategy: Strategy = "greedy"
    """One greedy answer, the most frequent of several samples (vote), right if any sample is right (pass@k), or the
    greedy answer unless its call has a value that the conversation does not state: then the likeliest tool whose
    likeliest call has none (rerank; needs constrained decoding)."""
    omit_unstated: bool = False
    """Leave optional arguments out of the answer's calls when the conversation does not state their values (the text
    keeps them). Wrong where a default, a date or a state may supply a value: see docs/method.md."""
    fill_omitted: bool = False
    """Where an answer's call leaves out a number, a code or a quoted passage of the request though its tool has
    arguments left, write it again with all of them, and take over those that the request states (the text stays).
    Without effect in free decoding."""
    convert_dates: bool = False
    """Write dates and times of the answer's calls ("October 6, 2008") in the format that the tool states by `format` or
    in words ("YYYY-MM-DD", "e.g. 2027-05-03"), where both leave no doubt (the text stays)."""
    samples: PositiveInt = 5
    """Number of samples for vote and pass@k."""
    temperature: NonNegativeFloat = 0.7
    """Sampling temperature of these samples."""
    grammar: str | None = None
    """An llguidance Lark grammar for the answer, instead of the one made from the tools."""


@dataclass(frozen=True)
class TeacherConfig:
    """Limits and costs of a teacher behind an OpenAI-compatible endpoint (`ttsi.models.remote`)."""

    budget: str | None = None
    """The most that a run may spend: "200000tokens", "2.50usd", or both with a comma. None is no limit."""
    price: str | None = None
    """Dollars per million tokens of input and of output, "0.25,2.00"; a budget in usd needs it."""
    cache: Path = Path("runs/teacher.db")
    """File that keeps the replies, so that no reply is paid for twice."""
    attempts: PositiveInt = 3
    """Attempts per reply."""
    timeout: NonNegativeFloat = 60.0
    """Seconds per attempt, from the connection to the last byte."""
    parallel: PositiveInt = 8
    """Requests in flight at the same time."""

    def __post_init__(self) -> None:
        check_values(self, "teacher.")


@dataclass(frozen=True)
class LoopConfig:
    """Everything that `ttsi.improve` needs."""

    awareness: AwarenessConfig = field(default_factory=AwarenessConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    answer: AnswerConfig = field(default_factory=AnswerConfig)
    seed: NonNegativeInt = 0
    """Random seed; every stage of every input derives its own from it."""
    adapt: bool = True
    """False: only measure and answer (method `base`)."""


@dataclass(frozen=True)
class LibraryConfig:
    """A library of adapters that outlive their input (`ttsi.library`). Without a folder every adapter is dropped."""

    folder: Path | None = None
    """Folder of a library: adapters that proved themselves are kept there and answer when the same tools come back."""
    admission: Literal["tested", "all"] = "tested"
    """Which adapters may answer: those that passed a test on later inputs and a limit on other requests, or all
    (a control)."""
    gate: Literal["sure", "surer"] = "surer"
    """When a tried adapter's answer is given: where the model is surer of it than of the base's; or where it is sure
    with it, by the measure and tau that found it unsure without. Both demand what the guards demand."""
    start: Literal["stored", "zero"] = "stored"
    """Where the training for an input starts whose stored answer is not given: from the library's adapter for its
    tools, in one pass over the examples; or from zero, as without a library."""
    max_divergence: UpperLimit = 0.5
    """Refuse an adapter that lowers the log-probability of the base's own answers to other requests by more than so
    many nats per token."""
    retention: str = "toolworld-validation"
    """These other requests: a benchmark, or your own FILE.jsonl. Gold is not read. The first 8 are used."""
    near: Fraction = 1.0
    """Least share of common tools at which another list's adapter is tried; 1 takes the same tools only."""
    max_bytes: PositiveInt = 2**30
    """Size of all adapters; the least useful go first."""
    max_days: PositiveInt = 90
    """Delete adapters that were not used for so many days."""


@dataclass(frozen=True)
class AgentConfig:
    """An agent's task: several turns of the user, in each of them calls whose results the model reads."""

    life: Literal["decision", "turn", "episode"] = "decision"
    """How long a temporary adapter lives: for the one decision that it was trained for, for all that are unsure until
    the user's next turn, or until the conversation ends; then each turn's first unsure decision trains a new one, on
    the earlier examples, too."""
    max_steps: PositiveInt = 20
    """Most decisions in a turn."""
    max_turns: PositiveInt = 100
    """Most turns of the user, where no person types them; a conversation that goes on behind them has failed."""
    execute_examples: bool = True
    """Execute the calls of written examples on a copy of the environment, and learn only those that succeed."""
    execute_answers: bool = True
    """Execute the calls of an answer on a copy first. One that fails counts against the model's confidence (measure
    grounded_margin), and an adapted answer is given if fewer of its calls fail than of the base's, refused if more."""
    examples: Literal["turn", "call"] = "turn"
    """What an executed example teaches: a whole turn (request, call, result, perhaps a second call or a failed attempt,
    and its end), or the calls alone, as for single requests."""
    end_at_repeat: bool = True
    """End a turn at a decision that repeats the calls of the one before it, and do not execute them again."""
    max_failures: PositiveInt = 3
    """End a turn after so many decisions in a row whose calls all failed."""
    call_seconds: NonNegativeFloat = 30.0
    """Longest that a call of a tool may take. 0 is no limit: calls then run in the thread that made the environment,
    which objects bound to a thread need (SQLite connections, say)."""

    def __post_init__(self) -> None:
        check_values(self, "agent.")


CUSTOM = "custom"
"""The method on record of a run from Python whose settings are no method's (`ttsi.evaluate`)."""


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """How answers improve: the method, its settings, and what it learns from."""

    method: str = "ttsi"
    """The method (ttsi ls methods). It chooses a value for every setting that you leave out."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    teacher: str | None = None
    """The model that writes the examples (methods ttd and ttd-icl): openai:NAME, or any model (ttsi ls models)."""
    teacher_budget: str | None = None
    """The most that a teacher behind an endpoint may spend: 200000tokens, 2.50usd, or both with a comma."""
    train_data: str | None = None
    """Training data of the methods icl and sft: a .jsonl file with gold, or a benchmark (NAME or NAME:SPLIT)."""
    train_limit: PositiveInt | None = None
    """Use only this many rows of the training data, chosen by the seed. A larger set contains the smaller ones."""
    library: LibraryConfig = field(default_factory=LibraryConfig)

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True)
class RunConfig(MethodConfig):
    """A run: which questions, which model, which method."""

    benchmark: str = "toolworld"
    """The questions: a benchmark (ttsi ls benchmarks), or your own FILE.jsonl."""
    model: str = "embedded"
    """The model that answers (ttsi ls models): embedded, smollm2, a folder, FILE.gguf, hf:OWNER/NAME."""
    data: Path | None = None
    """Folder with downloaded benchmarks."""
    split: str = "test"
    """Part of the benchmark."""
    limit: PositiveInt | None = None
    """Use only this many inputs, from the first on. With --resume, a larger limit runs more of them."""
    order_seed: NonNegativeInt | None = None
    """Put the inputs in a random order that this seed draws, before --limit takes the first: files are often sorted. A
    larger limit contains the smaller ones. None keeps the order of the file."""
    format: str | None = None
    """Tool-call format of the model (ttsi ls formats), instead of the one that its chat template uses."""
    batch_size: PositiveInt = 16
    """Inputs that pass through the model together. With 1, a result has the same bits whatever the other inputs are;
    with more, it is the same up to rounding."""
    agent: AgentConfig = field(default_factory=AgentConfig)

    def __post_init__(self) -> None:
        check(self)


def check(config: LoopConfig | RunConfig) -> None:
    """Refuse settings that cannot work, before a model is loaded.

    Raises:
        ConfigError: one line that names the setting.
    """
    check_values(config)
    loop = config.loop if isinstance(config, RunConfig) else config
    if loop.answer.calls != "auto" and loop.answer.decoding == "free":
        raise ConfigError(
            f"answer.calls is {loop.answer.calls!r}, which needs a grammar: use answer.decoding constrained, not free"
        )
    if loop.answer.tools and loop.answer.decoding == "free":
        raise ConfigError(
            "answer.tools limits the calls, which needs a grammar: use answer.decoding constrained, not free"
        )
    if "rerank" in (loop.answer.strategy, loop.adaptation.method) and loop.answer.decoding == "free":
        raise ConfigError("rerank compares calls under a grammar: use answer.decoding constrained, not free")
    if loop.synthesis.source == "schema" and loop.synthesis.prompt is not None:
        raise ConfigError(
            "synthesis.prompt is for examples that a model writes, and synthesis.source is schema: use method "
            "ttsi-written, or leave the prompt out"
        )
