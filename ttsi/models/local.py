"""How does a model whose weights lie in this process speak, score and learn?

Inputs: a folder or the name of a Hugging Face model. Outputs: a `LocalModel`, which satisfies
`ttsi.models.Model`: prompts become tokens by the model's own chat template (`ttsi.chat.templates`), the tensors
are the engine's, and `ttsi.models.loading` reads the files. The paper (arXiv:2510.07841) runs such models through
Trainer and PEFT, one input at a time; here a list of inputs shares its forward passes and the base is never written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ttsi.chat import grammar as chat_grammar
from ttsi.chat import templates
from ttsi.chat.handshake import Handshake
from ttsi.config import AdaptationConfig
from ttsi.engine import lora
from ttsi.engine.anatomy import decoder_of, head_of, words_of
from ttsi.engine.architecture import check_architecture
from ttsi.engine.batching import is_out_of_memory
from ttsi.engine.checksum import weights_checksum
from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding import Decoded, Row, decode
from ttsi.engine.guard import loss_guard
from ttsi.engine.lora import LoraStack
from ttsi.engine.packing import EncodedExample
from ttsi.engine.prefix import Prefixes
from ttsi.engine.scoring import continuation_logprobs
from ttsi.engine.training import Job, TrainReport, train
from ttsi.errors import ConfigError, ModelError, PromptTooLong
from ttsi.models import Generation, Request
from ttsi.models.introduction import question
from ttsi.models.loading import Loaded, read_model
from ttsi.types import Adaptation, Prompt, TrainingExample

EMBEDDED_WEIGHTS = Path(__file__).parent.parent / "embedded" / "weights"


class LocalModel:
    """A causal language model in this process; one caller at a time."""

    def __init__(
        self, spec: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, form: str | None = None
    ) -> None:
        """Tie a model to its tokenizer.

        Args:
            form: the tool-call format to speak; None takes the template's own, until the model is asked.

        Raises:
            ModelError: there is no chat template or no end token, or the engine does not know the architecture.
        """
        if not tokenizer.chat_template:
            raise ModelError(f"{spec} has no chat template: choose an instruction-tuned model")
        self._reach = check_architecture(model)
        self.origin: dict[str, Any] = {}  # base and adapter, where the weights are their sum
        self.spec = spec
        self.speak(templates.handshake_with(tokenizer, form))
        self._model, self._tokenizer = model, tokenizer
        self._marks = templates.special_strings(tokenizer)
        self._stop_ids = templates.end_token_ids(tokenizer) | _declared_ends(model)
        self._stack: LoraStack | None = None
        self._slots: dict[int, int] | None = None  # job -> slot; None outside `adapted`
        self._prefixes: Prefixes | None = None  # None outside `prefix_cache`
        self._encoded: dict[str, list[int]] = {}  # filled within `prefix_cache`

    def speak(self, handshake: Handshake) -> None:
        """Read, score, teach and constrain from here on as the handshake says."""
        self.handshake, self.format = handshake, handshake.chosen_format()

    @property
    def context(self) -> int:
        """Most tokens of prompt and answer together: the model's positions, as far as the engine is exact on them."""
        return min(_positions(self._model), self._reach or 2**31)

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of all weights as they are now, adapters not included."""
        return lora.weights_sha256(self._model)

    def weights_checksum(self) -> int:
        """A quick checksum of the same; sees a merged adapter, but not a forger."""
        return weights_checksum(self._model)

    def describe(self) -> dict[str, Any]:
        """What is needed to know the model again: hashes of weights and template, size, versions."""
        return {
            "spec": self.spec,
            "architecture": type(self._model).__name__,
            "revision": getattr(self._model.config, "_commit_hash", None),
            "parameters": self._model.num_parameters(),
            "context": self.context,
            "format": self.format.name,
            "handshake": self.handshake.record(),
            "weights_sha256": self._initial_sha256,
            "chat_template_sha256": hashlib.sha256(_template_text(self._tokenizer).encode()).hexdigest(),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": str(self._model.device),
            "unadapted_share": round(self._unadapted_share, 4),
            "notes": list(self.notes),
            **self.origin,
            "versions": {name: version(name) for name in ("torch", "transformers")},
        }

    @cached_property
    def _initial_sha256(self) -> str:
        return self.weights_sha256()

    @cached_property
    def _unadapted_share(self) -> float:
        return lora.unadapted_share(self._model)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of this model before a run, one line each."""
        lines = []
        positions = _positions(self._model)
        if self.context < positions:
            lines.append(
                f"{self.spec}: {self.context} of {positions} tokens of context are used, the rest is not exact"
            )
        if self._unadapted_share >= 0.01:
            lines.append(f"{self.spec}: {self._unadapted_share:.0%} of its layers' weights get no adapter (experts)")
        return tuple(lines)

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._tokenizer, head_of(self._model).out_features, self._stop_ids)

    def fits(self, prompt: Prompt, room: int) -> str | None:
        """None when the prompt and `room` more tokens fit the context, else one line saying why not."""
        try:
            length = len(self._encode_prompt(prompt))
        except ModelError as error:
            return str(error)
        if length + room <= self.context:
            return None
        return f"the prompt has {length} tokens and needs room for {room}, but the context holds {self.context}"

    @contextmanager
    def prefix_cache(self) -> Iterator[None]:
        """Within the block no prompt is encoded or read twice by the base; leaving it forgets all of them."""
        self._prefixes = Prefixes()
        try:
            yield
        finally:
            self._prefixes, self._encoded = None, {}

    def prompt_tokens(self, prompt: Prompt) -> int:
        """How many tokens a prompt has."""
        return len(self._encode_prompt(prompt))

    def forget(self) -> None:
        """Drop the compiled grammars, the only thing of a request that is kept between calls."""
        self._grammars.clear()

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """One continuation per request, in order.

        Raises:
            ModelError: a grammar does not compile, an adapter is named outside `adapted`, or memory runs out.
            PromptTooLong: a prompt leaves no room to answer.
        """
        rows = [self._row(request) for request in requests]
        constrained = any(row.grammar is not None for row in rows)
        grammars = self._grammars if constrained else None
        found = decode(self._model, rows, stack=self._stack, grammars=grammars, prefixes=self._prefixes)
        return [self._generation(row, decoded) for row, decoded in zip(rows, found, strict=True)]

    def _row(self, request: Request) -> Row:
        ids = tuple(self._encode_prompt(request.prompt))
        room = self._room(len(ids))
        grammar = request.grammar
        return Row(
            ids,
            max_tokens=min(request.max_tokens, room),
            temperature=request.temperature,
            seed=request.seed,
            grammar=chat_grammar.localise(grammar, self._grammars.special_ids) if grammar is not None else None,
            slot=self._slot(request.adapter),
            stop_ids=self._stop_ids,
        )

    def _slot(self, adapter: int | None) -> int:
        if adapter is None:
            return -1
        if self._slots is None:
            raise ModelError("a request names an adapter outside the `adapted` block")
        return self._slots.get(adapter, -1)

    def _room(self, length: int) -> int:
        if length >= self.context:
            raise PromptTooLong(f"the prompt has {length} tokens, but the context holds {self.context}")
        return self.context - length

    def _generation(self, row: Row, decoded: Decoded) -> Generation:
        return Generation(
            text=templates.decode_answer(self._tokenizer, row.ids, decoded.ids),
            tokens=len(decoded.ids) + decoded.finished,
            logprob=decoded.logprob,
            min_logprob=decoded.min_logprob,
            finished=decoded.finished,
        )

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Summed log-probability (nats) of each continuation of each prompt, under the base.

        A continuation starts on a token of its own, as an answer does. No end of turn is added.

        Raises:
            PromptTooLong: a prompt with a continuation exceeds the context.
            ModelError: memory runs out on one prompt alone.
        """
        items = []
        for prompt, texts in zip(prompts, continuations, strict=True):
            ids = self._encode_prompt(prompt)
            endings = [self._encode(text) for text in texts]
            self._room(len(ids) + max(map(len, endings), default=0) - 1)
            items.append((ids, endings))
        return continuation_logprobs(self._model, items, prefixes=self._prefixes)

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """Train one temporary adapter per job; inside the block, requests may name it by its index.

        A job without lessons, or whose training went wrong, gets no adapter (see its Adaptation). Leaving the block, in
        whatever way, drops every adapter. Lessons that exceed the context are left out.

        Raises:
            ModelError: within another `adapted` block, or the adapters do not fit the memory.
        """
        if self._slots is not None:
            raise ModelError("`adapted` blocks cannot be nested")
        if len(seeds) != len(jobs):
            raise ValueError(f"{len(jobs)} jobs, but {len(seeds)} seeds")
        examples = [self._examples(training_examples) for training_examples in jobs]
        wanted = [index for index, found in enumerate(examples) if found]
        self._slots = {}
        stack = None
        try:
            outcomes = [_without_training(training_examples) for training_examples in jobs]
            if wanted:
                stack = self._stack_for(len(wanted), config)
                stack.attach()
                stack.reset(range(len(wanted)), [seeds[index] for index in wanted])
                todo = [Job(slot, tuple(examples[index])) for slot, index in enumerate(wanted)]
                for index, job, report in zip(wanted, todo, train(self._model, stack, todo, config), strict=True):
                    outcomes[index] = _outcome(job, report, config, len(jobs[index]) - len(job.examples))
                    if outcomes[index].status == "trained":
                        self._slots[index] = job.slot
            yield outcomes
        finally:
            self._slots = None
            if stack is not None:
                stack.detach()
                stack.clear()

    def export_adapter(self, index: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, adapter_config) of a job's adapter in PEFT's format; within the `adapted` block.

        Raises:
            ModelError: the job has no adapter, or what it was learnt on is in no folder.
        """
        if "base" in self.origin:
            raise ModelError(
                f"{self.spec} is {self.origin['base']} with an adapter merged in memory: save that sum to a folder "
                "(peft's merge_and_unload), and export what was learnt on it"
            )
        slot = (self._slots or {}).get(index)
        if slot is None or self._stack is None:
            raise ModelError(f"job {index} has no adapter to export")
        return self._stack.export(slot)

    def _stack_for(self, slots: int, config: AdaptationConfig) -> LoraStack:
        """The stack of the last call where it is large enough, else a new one."""
        if self._stack is None or self._stack.rank != config.rank or self._stack.slots < slots:
            self._stack = None  # first free the old one
            try:
                self._stack = LoraStack(self._model, slots, config.rank, config.alpha)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise ModelError(f"{slots} adapters do not fit the memory: lower the batch size or the rank") from error
        self._stack.alpha = config.alpha
        return self._stack

    def _examples(self, training_examples: Sequence[TrainingExample]) -> list[EncodedExample]:
        encoded = [self._encode_lesson(lesson) for lesson in training_examples]
        words = words_of(self._model)
        return [(ids, n_prompt) for ids, n_prompt in encoded if len(ids) <= self.context and max(ids) < words]

    def _encode_lesson(self, lesson: TrainingExample) -> EncodedExample:
        return templates.encode_training_example(self._tokenizer, self.format, lesson, self._marks, self.handshake)

    def _encode_prompt(self, prompt: Prompt) -> list[int]:
        key = repr(prompt)  # a dataclass shows all it holds, and tools hold what cannot be hashed
        ids = self._encoded.get(key) or templates.encode_prompt(
            self._tokenizer, self.format, prompt, self._marks, self.handshake
        )
        self._check_ids(ids)
        if self._prefixes is not None:
            self._encoded[key] = ids
        return ids

    def _encode(self, text: str) -> list[int]:
        ids = list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        self._check_ids(ids)
        return ids

    def _check_ids(self, ids: Sequence[int]) -> None:
        """Some tokenizers have more tokens than the model has rows for."""
        largest, words = max(ids, default=0), words_of(self._model)
        if largest >= words:
            token = self._tokenizer.convert_ids_to_tokens(largest)
            raise ModelError(f"a text holds the token {token!r}, number {largest}, but {self.spec} knows only {words}")


def _without_training(training_examples: Sequence[TrainingExample]) -> Adaptation:
    lost = Adaptation("training-failed", reason="no example fits the context", left_out=len(training_examples))
    return lost if training_examples else Adaptation("none")


def _outcome(job: Job, report: TrainReport, config: AdaptationConfig, left_out: int) -> Adaptation:
    reason = report.reason or loss_guard(report.losses, config.max_loss_rise) or ""
    status: Any = "training-failed" if reason else "trained"
    return Adaptation(status, len(job.examples), len(report.losses), report.losses, reason, left_out)


def load(rest: str, *, device: str = "auto", dtype: str = "auto", format: str | None = None) -> LocalModel:
    """A model from a folder or from the Hugging Face hub, after the handshake with it.

    Args:
        rest: a folder, or "OWNER/NAME" with an optional "@REVISION".
        device: "auto" is cuda where there is one, else cpu.
        dtype: "auto" is float32 on the CPU, else bfloat16.
        format: the tool-call format to speak (`ttsi ls formats`), whatever the handshake finds.

    Raises:
        ModelError: not found, not readable, brings code of its own, has no chat template or is of an unknown kind.
        ConfigError: there is no such format.
    """
    spec = rest if Path(rest).is_dir() else f"hf:{rest}"
    model = _made(spec, read_model(spec, rest, device, dtype), format)
    model.speak(question(model, model.handshake, templates.renderer(model._tokenizer)))
    return model


def load_embedded(
    rest: str = "", *, device: str = "auto", dtype: str = "auto", format: str | None = None
) -> LocalModel:
    """The small model that ships with the package; it was trained on one format and is not asked.

    Raises:
        ModelError: its weights are not installed.
        ConfigError: another format than its own is wanted.
    """
    if format not in (None, "marked"):
        raise ConfigError(f"the embedded model only writes the format 'marked', not {format!r}: omit --format")
    if rest:
        raise ModelError(f"unknown model 'embedded:{rest}'; there is one embedded model: 'embedded'")
    if not (EMBEDDED_WEIGHTS / "config.json").is_file():
        raise ModelError("the embedded weights are not installed: reinstall ttsi, or choose --model hf:OWNER/NAME")
    return _made("embedded", read_model("embedded", str(EMBEDDED_WEIGHTS), device, dtype))


def _made(spec: str, loaded: Loaded, form: str | None = None) -> LocalModel:
    model = LocalModel(spec, loaded.model, loaded.tokenizer, form)
    model.origin = loaded.origin
    end, words = templates.end_of_turn(loaded.tokenizer), words_of(loaded.model)
    if end >= words:
        raise ModelError(
            f"cannot load {spec}: its end of turn is token {end}, but its weights hold only {words} tokens"
        )
    return model


def _positions(model: PreTrainedModel) -> int:
    return int(getattr(decoder_of(model).config, "max_position_embeddings", None) or 2**31)


def _declared_ends(model: PreTrainedModel) -> frozenset[int]:
    """End tokens that the model's generation settings name besides the tokenizer's."""
    declared = model.generation_config.eos_token_id if model.generation_config is not None else None
    return frozenset([declared] if isinstance(declared, int) else declared or ())


def _template_text(tokenizer: PreTrainedTokenizerFast) -> str:
    template = tokenizer.chat_template
    return template if isinstance(template, str) else json.dumps(template, sort_keys=True)
