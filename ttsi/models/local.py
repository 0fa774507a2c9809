"""A model whose weights lie in this process: text in, text, log-probabilities and temporary adapters out.

Inputs: a model of transformers and its tokenizer (`ttsi.models.local_loading` reads them from files). Outputs: a
`LocalModel`, which satisfies `ttsi.models.Model`: `ttsi.models.prompt_encoding` turns prompts into tokens by the
model's own chat template, and the tensors are the engine's. The paper (arXiv:2510.07841) runs such models through
Trainer and PEFT, one input at a time; here a list of inputs shares its forward passes and the base is never written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from ttsi.engine.anatomy import generation_eos_ids, head_of, max_positions, parameter_count, vocabulary_size
from ttsi.engine.architecture import check_architecture
from ttsi.engine.checkpoint import CheckpointStore
from ttsi.engine.checksum import weights_checksum, weights_sha256
from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding import Decoded, DecodingRow, decode
from ttsi.engine.int8_linear import is_int8
from ttsi.engine.loglikelihood import ScoringItem, continuation_logprobs
from ttsi.engine.packing import EncodedExample
from ttsi.engine.peft_folder import to_safetensors, write_peft_folder
from ttsi.engine.prefix import PrefixCache, prefill, using
from ttsi.engine.targets import unadapted_share
from ttsi.errors import ModelError, PromptTooLong
from ttsi.models import Generation, Request
from ttsi.models.base_prefixes import BasePrefixes
from ttsi.models.job_encoding import encode_job, fitting_examples
from ttsi.models.prefix_store import PrefixStore
from ttsi.models.prompt_encoding import PromptEncoder
from ttsi.models.protocol import ADAPTER_CONFIG, Jobs, Starts
from ttsi.models.temporary_adapters import TemporaryAdapters, read_adapter
from ttsi.types import Adaptation, Prompt, TrainingExample


class LocalModel:
    """A causal language model in this process, for one thread at a time (`prefix_cache`)."""

    def __init__(
        self, spec: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, form: str | None = None
    ) -> None:
        """Tie a model to its tokenizer.

        Args:
            form: the tool-call format; None takes the template's own, until the model itself is asked.

        Raises:
            ModelError: there is no chat template or no end token, or the engine does not support the architecture.
        """
        if not tokenizer.chat_template:
            raise ModelError(f"{spec} has no chat template: choose an instruction-tuned model")
        self._max_exact_tokens = check_architecture(model)
        self.origin: dict[str, Any] = {}  # base and adapter, where the weights are their sum
        self.spec, self.model, self.tokenizer = spec, model, tokenizer
        self.encoder = PromptEncoder(tokenizer, vocabulary_size(model), templates.handshake_with(tokenizer, form))
        self.format = self.encoder.format
        self.stop_ids = templates.end_token_ids(tokenizer) | generation_eos_ids(model)
        self.adapters = TemporaryAdapters(model, self.encoder.user_turn)
        self.prefixes = BasePrefixes(model, self.encoder.user_turn)

    @property
    def handshake(self) -> Handshake:
        """What the chat template carries, and the tool-call format."""
        return self.encoder.handshake

    def use(self, handshake: Handshake) -> None:
        """Read, score, train and constrain from here on as the handshake says."""
        self.encoder.use(handshake)
        self.format = self.encoder.format

    @property
    def context(self) -> int:
        """Most tokens of prompt and answer together: the model's positions, as far as the engine is exact on them."""
        return min(max_positions(self.model), self._max_exact_tokens or 2**31)

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of all weights as they are now, adapters not included."""
        return weights_sha256(self.model)

    def weights_checksum(self) -> int:
        """A fast checksum of the same; it sees a merged adapter, but does not stand up to intent."""
        return weights_checksum(self.model)

    def describe(self) -> dict[str, Any]:
        """What identifies the model: hashes of weights and template, size, versions."""
        return {
            "spec": self.spec,
            "architecture": type(self.model).__name__,
            "revision": getattr(self.model.config, "_commit_hash", None),
            "parameters": parameter_count(self.model),
            "context": self.context,
            "format": self.format.name,
            "handshake": self.handshake.record(),
            "weights_sha256": self._initial_sha256,
            "chat_template_sha256": hashlib.sha256(templates.template_text(self.tokenizer).encode()).hexdigest(),
            "dtype": "int8" if is_int8(self.model) else str(self.model.dtype).removeprefix("torch."),
            "device": str(self.model.device),
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
        return unadapted_share(self.model)

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings for the user before a run, one line each."""
        lines = []
        most = max_positions(self.model)
        if self.context < most:
            lines.append(f"{self.spec}: {self.context} of {most} tokens of context are used, the rest is not exact")
        if self._unadapted_share >= 0.01:
            lines.append(f"{self.spec}: {self._unadapted_share:.0%} of its layers' weights get no adapter (experts)")
        return tuple(lines)

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self.tokenizer, head_of(self.model).out_features, self.stop_ids)

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """None when the prompt and `max_new_tokens` more fit the context, else one line saying why not."""
        try:
            length = len(self.encoder.encode_prompt(prompt))
        except ModelError as error:
            return str(error)
        if length + max_new_tokens <= self.context:
            return None
        return (
            f"the prompt has {length} tokens and needs room for {max_new_tokens}, but the context holds {self.context}"
        )

    @contextmanager
    def prefix_cache(self, store: PrefixStore | None = None) -> Iterator[None]:
        """Within the block no prompt is read twice by the base or by an adapter, and other such blocks wait.

        See `SupportsPrefixCache`.
        """
        with self.prefixes.batch(store), self.encoder.prompt_cache():
            yield

    def training_checkpoints(self, store: CheckpointStore) -> AbstractContextManager[None]:
        """Within the block the training of a single job keeps its state. See `SupportsCheckpoints`."""
        return self.adapters.checkpointed(store)

    def prompt_tokens(self, prompt: Prompt) -> int:
        """The number of tokens of a prompt."""
        return len(self.encoder.encode_prompt(prompt))

    def forget(self) -> None:
        """Drop the compiled grammars, the only trace of a request that stays between calls."""
        self._grammars.clear()

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """One continuation per request, in order.

        Raises:
            GrammarError: a grammar does not compile.
            ModelError: an adapter is named outside `adapted`, memory runs out, or the model is in training mode.
            PromptTooLong: a prompt leaves no room to answer.
        """
        if self.model.training:  # the user's own, who went on to train it
            raise ModelError(f"{self.spec} is in training mode: call model.eval(), and load it again if it has learned")
        rows = [self._row(request) for request in requests]
        grammars = self._grammars if any(row.grammar is not None for row in rows) else None
        self.prefixes.read_beginnings(row.ids for row in rows if row.slot < 0 or row.unadapted)
        self.prefixes.read_conversations(row.ids for row in rows if row.slot < 0)
        decoded = decode(self.model, rows, stack=self.adapters.stack, grammars=grammars, prefixes=self.prefixes.cache)
        wanted = [request.with_base and row.slot >= 0 for request, row in zip(requests, rows, strict=True)]
        base_logprobs = self._base_logprobs(rows, decoded, wanted)
        return [self._generation(row, one, base) for row, one, base in zip(rows, decoded, base_logprobs, strict=True)]

    def _base_logprobs(
        self, rows: Sequence[DecodingRow], decoded: Sequence[Decoded], wanted: Sequence[bool]
    ) -> list[float | None]:
        """Summed log-probability under the base of what was written, its end included; None where it is not wanted."""
        endings = [(*one.ids, *([] if one.end_id is None else [one.end_id])) for one in decoded]
        items = [(row.ids, [ids]) for row, ids, want in zip(rows, endings, wanted, strict=True) if want]
        sums = iter(continuation_logprobs(self.model, items, prefixes=self.prefixes.cache))
        return [next(sums)[0] if want else None for want in wanted]

    def _row(self, request: Request) -> DecodingRow:
        ids = tuple(self.encoder.encode_prompt(request.prompt))
        tokens_left = self._tokens_left(len(ids))
        grammar = request.grammar
        slot, unadapted = self.adapters.slot(request.adapter), self.adapters.unadapted_tokens(request.adapter, ids)
        return DecodingRow(
            ids,
            max_tokens=min(request.max_tokens, tokens_left),
            temperature=request.temperature,
            seed=request.seed,
            grammar=chat_grammar.localise(grammar, self._grammars.special_ids) if grammar is not None else None,
            slot=slot,
            unadapted=unadapted,
            stop_ids=self.stop_ids,
            repetition_limit=request.repetition_limit,
            adapted_prefixes=self._adapted_prefixes(slot, unadapted),
        )

    def _tokens_left(self, length: int) -> int:
        if length >= self.context:
            raise PromptTooLong(f"the prompt has {length} tokens, but the context holds {self.context}")
        return self.context - length

    def _generation(self, row: DecodingRow, decoded: Decoded, base_logprob: float | None = None) -> Generation:
        return Generation(
            text=self.encoder.decode_answer(row.ids, decoded.ids),
            tokens=len(decoded.ids) + decoded.finished,
            logprob=decoded.logprob,
            min_logprob=decoded.min_logprob,
            finished=decoded.finished,
            repeats=decoded.repeats,
            base_logprob=base_logprob,
        )

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """Summed log-probability (nats) of each continuation of each prompt.

        A continuation starts on a token of its own, as an answer does. No end of turn is added. The base's prompts
        share forward passes and the prefix cache; one with an adapter is read alone.

        Raises:
            PromptTooLong: a prompt with a continuation exceeds the context.
            ModelError: memory runs out on one prompt alone, or an adapter is named outside `adapted`.
        """
        items = []
        for prompt, texts in zip(prompts, continuations, strict=True):
            ids = self.encoder.encode_prompt(prompt)
            endings = [self.encoder.encode_text(text) for text in texts]
            self._tokens_left(len(ids) + max(map(len, endings), default=0) - 1)
            items.append((ids, endings))
        adapters = adapters or [None] * len(items)
        slots = [self.adapters.slot(adapter) for adapter in adapters]
        unadapted_tokens = [
            self.adapters.unadapted_tokens(adapter, ids) for adapter, (ids, _) in zip(adapters, items, strict=True)
        ]
        shared = [item for item, slot in zip(items, slots, strict=True) if slot < 0]
        self.prefixes.read_beginnings(ids for ids, _ in shared)
        self.prefixes.read_conversations(ids for ids, _ in shared)
        of_base = iter(continuation_logprobs(self.model, shared, prefixes=self.prefixes.cache))
        return [
            next(of_base) if slot < 0 else self._adapted_logprobs(item, slot, unadapted)
            for item, slot, unadapted in zip(items, slots, unadapted_tokens, strict=True)
        ]

    def _adapted_logprobs(self, item: ScoringItem, slot: int, unadapted: int) -> list[float]:
        """The item's log-probabilities with the adapter bound to its one row, from its first `unadapted` tokens on."""
        beginning = self._adapted_prefixes(slot, unadapted) or PrefixCache()
        opening = tuple(item[0][:unadapted])
        if unadapted and beginning.entry(opening) is None:
            (entry,) = prefill(self.model, [(self.prefixes.cache or beginning).lookup(opening)])
            if not beginning.insert(entry):
                beginning = PrefixCache(entry.bytes)
                beginning.insert(entry)
        stack = self.adapters.stack
        with using(stack, stack.gather([slot]) if stack is not None else None):
            return continuation_logprobs(self.model, [item], prefixes=beginning)[0]

    def _adapted_prefixes(self, slot: int, unadapted: int) -> PrefixCache | None:
        """What a slot's adapter has read in this batch; None outside of a batch."""
        if slot < 0 or self.prefixes.adapted is None:
            return None
        return self.prefixes.adapted.cache(self.adapters.key(slot, unadapted))

    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> AbstractContextManager[list[Adaptation]]:
        """Train one temporary adapter per job; inside the block, requests may name it by its index.

        A job without examples, or whose training went wrong, gets no adapter (see its Adaptation). Leaving the block,
        in whatever way, drops every adapter. Examples that exceed the context are left out.

        Raises:
            ModelError: within another `adapted` block, or the adapters do not fit the memory.
        """
        return self.adapted_from([None] * len(jobs), jobs, config, seeds)

    @contextmanager
    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """The same from adapters that were trained before: one file per job; None is a fresh adapter.

        Raises:
            ModelError: as `adapted`; or a file is no adapter of this model with these settings.
        """
        encoded = [encode_job(self.encoder, index, job, self.context) for index, job in enumerate(jobs)]
        starts = [None if file is None else read_adapter(file) for file in files]
        counts = list(map(len, jobs))
        with self.adapters.trained(encoded, counts, config, seeds, self.prefixes.cache, starts) as outcomes:
            yield outcomes

    def export_adapter(self, index: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, adapter_config) of a job's adapter in PEFT's format; within the `adapted` block.

        Raises:
            ModelError: the job has no adapter, or its base is in no folder.
        """
        if "base" in self.origin:
            raise ModelError(
                f"{self.spec} is {self.origin['base']} with an adapter merged in memory: save that sum to a folder "
                "(peft's merge_and_unload), load it, and export an adapter on it"
            )
        return self.adapters.export(index)

    def adapter_file(self, index: int) -> bytes:
        """A job's adapter as a safetensors file with PEFT's names; within the `adapted` block.

        Raises:
            ModelError: as `export_adapter`.
        """
        tensors, settings = self.export_adapter(index)
        return to_safetensors(tensors, {ADAPTER_CONFIG: json.dumps(settings)})

    @contextmanager
    def with_adapters(self, files: Sequence[bytes], config: AdaptationConfig) -> Iterator[None]:
        """Within the block requests may name each of these adapters by its place; leaving it drops them.

        Raises:
            ModelError: a file is no adapter of this model with these settings, or within another such block.
        """
        with self.adapters.loaded([read_adapter(file) for file in files], config):
            yield

    def save_adapter(self, index: int, folder: Path) -> Path:
        """Write a job's adapter into a folder that `peft.PeftModel.from_pretrained` loads; the folder.

        Raises:
            ModelError: as `export_adapter`.
        """
        return write_peft_folder(folder, *self.export_adapter(index))

    def encode_examples(self, training_examples: Sequence[TrainingExample]) -> list[EncodedExample]:
        """The training examples that fit the context and the vocabulary, as token ids."""
        return [encoded for _, encoded in fitting_examples(self.encoder, training_examples, self.context)]
