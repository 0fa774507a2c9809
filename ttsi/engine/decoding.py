"""Batched decoding: many answers written at once, each with its own adapter and as if it were alone.

Prompts are read first (`ttsi.engine.prefix`), rows with the same prompt and the same adapter once for all of them;
then one token per row and step, from a shared key-value cache. Padding stands behind the prompt and stays masked. A
row that is done leaves the batch at the next compaction.

Greedy rows take the likeliest allowed token. Sampling rows draw u from their own generator and take the first
token whose cumulative probability under softmax(logits / temperature) over the allowed tokens exceeds u. The
log-probability that is recorded is the model's own, at temperature 1 and without a grammar mask.

Inputs: prompt ids with length, temperature, seed, grammar, adapter slot, end tokens. Outputs: ids and
log-probabilities. The paper (arXiv:2510.07841) answers one input at a time; results here are the same up to rounding.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from llguidance import LLMatcher
from torch import Tensor
from transformers import Cache, PreTrainedModel

from ttsi.engine.anatomy import decoder_of, head_logits
from ttsi.engine.batching import in_groups
from ttsi.engine.caching import cache_argument
from ttsi.engine.constraint import Grammars
from ttsi.engine.lora import BoundRows, LoraStack
from ttsi.engine.prefix import CachedPrompt, PrefixCache, preallocated_cache, prefill, using
from ttsi.engine.windows import Masks, any_window_binds, masks, spans_of
from ttsi.errors import ModelError


@dataclass(frozen=True)
class DecodingRow:
    """One continuation to write."""

    ids: tuple[int, ...]
    """The prompt, at least one token."""
    max_tokens: int
    """Most tokens to write, the end token included."""
    temperature: float = 0.0
    seed: int = 0
    grammar: str | None = None
    slot: int = -1
    """The adapter's slot; -1 is the base."""
    unadapted: int = 0
    """Tokens at the beginning of the prompt on which the adapter does not act; fewer than all."""
    stop_ids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Decoded:
    """One continuation."""

    ids: tuple[int, ...]
    """Without the end token."""
    logprob: float
    """Sum over the written tokens, end token included, in nats."""
    min_logprob: float
    """Of the least likely token; 0.0 when nothing was written."""
    finished: bool
    """Whether an end token was written."""
    end_id: int | None = None
    """This end token."""


def decode(
    model: PreTrainedModel,
    rows: Sequence[DecodingRow],
    *,
    stack: LoraStack | None = None,
    grammars: Grammars | None = None,
    prefixes: PrefixCache | None = None,
    token_budget: int = 32768,
) -> list[Decoded]:
    """Write one continuation per row, in order.

    Args:
        model: a causal language model.
        rows: the continuations to write; no row's result depends on another row beyond rounding.
        stack: attached to `model`; needed by rows with a slot.
        grammars: needed by rows with a grammar.
        prefixes: keys and values of prompts that the base has read; these rows' prompts are added.
        token_budget: cached tokens per batch: rows times the longest prompt plus `max_tokens`.

    Raises:
        ModelError: a grammar does not compile, there is no such slot, a row is longer than the engine is exact, or one
            row alone does not fit the memory.
    """
    limit = stack.max_tokens if stack is not None else None
    if limit is not None and any(_length(row) > limit for row in rows):
        raise ModelError(f"with this model the engine is exact up to {limit} tokens: shorten the prompt or the answer")
    # Rows with the same prompt stand next to each other, so that they land in the same batch.
    order = sorted(range(len(rows)), key=lambda at: (-_length(rows[at]), rows[at].slot, rows[at].ids))
    ordered = [rows[at] for at in order]
    cache = prefixes if prefixes is not None else PrefixCache()

    def work(part: Sequence[DecodingRow]) -> list[Decoded]:
        return _decode_batch(model, part, stack, grammars, cache)

    decoded = in_groups(work, ordered, [_length(row) for row in ordered], token_budget)
    by_row = dict(zip(order, decoded, strict=True))
    return [by_row[at] for at in range(len(rows))]


def _length(row: DecodingRow) -> int:
    return len(row.ids) + row.max_tokens


@dataclass
class _Sequence:
    """One row under way."""

    row: DecodingRow
    matcher: LLMatcher | None
    generator: random.Random
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    min_logprob: float = 0.0
    done: bool = False
    finished: bool = False
    end_id: int | None = None

    def take(self, token: int, logprob: float) -> None:
        """Write one token, or end."""
        stop = token in self.row.stop_ids
        if not stop and self.matcher is not None and not self.matcher.consume_token(token):
            self.done = True  # the matcher gave up: what stands is all there is
            return
        self.logprob += logprob
        self.min_logprob = min(self.min_logprob, logprob)
        if stop:
            self.done, self.finished, self.end_id = True, True, token
            return
        self.ids.append(token)
        self.done = len(self.ids) >= self.row.max_tokens

    def result(self) -> Decoded:
        return Decoded(tuple(self.ids), self.logprob, self.min_logprob, self.finished, self.end_id)


@dataclass
class _Batch:
    """Rows that share a cache."""

    sequences: list[_Sequence]
    cache: Cache
    next_position_B: Tensor
    """Position of the token to write."""
    holes_BT: Tensor
    """True where the cache holds padding; [B, 0] when it holds none."""
    logits_BV: Tensor
    """fp32 logits of the token to write."""
    adapters: BoundRows | None


@torch.no_grad()
def _decode_batch(
    model: PreTrainedModel,
    rows_B: Sequence[DecodingRow],
    stack: LoraStack | None,
    grammars: Grammars | None,
    prefixes: PrefixCache,
) -> list[Decoded]:
    sequences = [_begin(row, grammars) for row in rows_B]
    alive = [sequence for sequence in sequences if not sequence.done]
    if alive:
        batch = _prefill(model, alive, stack, prefixes)
        while True:
            tokens = _choose(batch, grammars)
            dead = sum(sequence.done for sequence in batch.sequences)
            if dead == len(batch.sequences):
                break
            if 4 * dead >= len(batch.sequences):
                tokens = _compact(batch, tokens, stack)
            _advance(model, batch, tokens, stack)
    return [sequence.result() for sequence in sequences]


def _begin(row: DecodingRow, grammars: Grammars | None) -> _Sequence:
    if row.grammar is not None and grammars is None:
        raise ModelError("a grammar needs a fast tokenizer")
    matcher = grammars.matcher(row.grammar) if grammars is not None and row.grammar is not None else None
    return _Sequence(row, matcher, random.Random(row.seed), done=row.max_tokens < 1)


def _gather(stack: LoraStack | None, slots_B: Sequence[int]) -> BoundRows | None:
    if stack is None and max(slots_B) >= 0:
        raise ModelError("a row names an adapter, but no adapters were given: pass stack=")
    return stack.gather(slots_B) if stack is not None else None


def _prefill(
    model: PreTrainedModel, sequences: list[_Sequence], stack: LoraStack | None, prefixes: PrefixCache
) -> _Batch:
    """Read every different (prompt, slot) once and give every row a copy."""
    adapters = _gather(stack, [sequence.row.slot for sequence in sequences])
    unique: dict[tuple[int, tuple[int, ...], int], int] = {}
    index = [unique.setdefault((w.row.slot, w.row.ids, w.row.unadapted), len(unique)) for w in sequences]
    prefixes.add(model, [ids for slot, ids, _ in unique if slot < 0])
    adapted_U = [CachedPrompt(ids, slot, cached=unadapted) for slot, ids, unadapted in unique if slot >= 0]
    started_U = iter(prefixes.start(model, adapted_U))
    prompts_U = [prefixes.lookup(ids) if slot < 0 else next(started_U) for slot, ids, _ in unique]
    entries_U = prefill(model, prompts_U, stack)
    logits_UV = head_logits(model, torch.stack([entry.last_D for entry in entries_U]))
    entries_B = [entries_U[at] for at in index]
    lengths_B = torch.tensor([len(entry.ids) for entry in entries_B], device=model.device)
    holes_BT = torch.arange(int(lengths_B.max()), device=model.device)[None, :] >= lengths_B[:, None]
    if not holes_BT.any():
        holes_BT = holes_BT[:, :0]
    cache = preallocated_cache(entries_B, max(sequence.row.max_tokens for sequence in sequences))
    index_B = torch.tensor(index, device=model.device)
    return _Batch(sequences, cache, lengths_B, holes_BT, logits_UV[index_B], adapters)


def _choose(batch: _Batch, grammars: Grammars | None) -> list[int]:
    """The next token of each row, written down in its sequence; rows that are done get one that nobody reads."""
    logprobs_BV = batch.logits_BV.log_softmax(dim=-1)
    scores_BV = logprobs_BV
    matchers = [None if sequence.done else sequence.matcher for sequence in batch.sequences]
    allowed_BV = grammars.allowed_tokens(matchers) if grammars is not None else None
    if allowed_BV is not None:
        scores_BV = logprobs_BV.masked_fill(~allowed_BV.to(logprobs_BV.device), -torch.inf)
    tokens_B = _pick(scores_BV, batch.sequences)
    chosen_B = logprobs_BV.gather(1, tokens_B[:, None])[:, 0]
    blocked_B = scores_BV.gather(1, tokens_B[:, None])[:, 0] == -torch.inf
    tokens = tokens_B.tolist()
    for sequence, token, logprob, blocked in zip(
        batch.sequences, tokens, chosen_B.tolist(), blocked_B.tolist(), strict=True
    ):
        if sequence.done:
            continue
        if blocked:
            sequence.done = True  # the grammar allows nothing any more, not even the end
        else:
            sequence.take(token, logprob)
    return tokens


def _pick(scores_BV: Tensor, sequences: Sequence[_Sequence]) -> Tensor:
    """Token ids [B]: the best score where the row is greedy, else a draw from its own generator."""
    tokens_B = scores_BV.argmax(dim=-1)
    sampling = [at for at, sequence in enumerate(sequences) if sequence.row.temperature > 0 and not sequence.done]
    if not sampling:
        return tokens_B
    index_B = torch.tensor(sampling, device=scores_BV.device)
    temperature_B = torch.tensor([sequences[at].row.temperature for at in sampling], device=scores_BV.device)
    precise = torch.float32 if scores_BV.device.type == "mps" else torch.float64  # mps has no float64
    u_B = torch.tensor([sequences[at].generator.random() for at in sampling], dtype=precise)
    cumulative_BV = (scores_BV[index_B] / temperature_B[:, None]).softmax(dim=-1).to(precise).cumsum(dim=-1)
    # Times the total, so that rounding in the sum cannot push u past the last allowed token.
    wanted_B1 = u_B.to(scores_BV.device)[:, None] * cumulative_BV[:, -1:]
    sampled_B = torch.searchsorted(cumulative_BV, wanted_B1, right=True)[:, 0].clamp(max=scores_BV.shape[1] - 1)
    return tokens_B.index_copy(0, index_B, sampled_B)


def _compact(batch: _Batch, tokens: list[int], stack: LoraStack | None) -> list[int]:
    """Drop rows that are done; the tokens of those that stay."""
    keep = [at for at, sequence in enumerate(batch.sequences) if not sequence.done]
    keep_B = torch.tensor(keep, device=batch.next_position_B.device)
    batch.sequences = [batch.sequences[at] for at in keep]
    batch.cache.batch_select_indices(keep_B)
    batch.next_position_B = batch.next_position_B[keep_B]
    batch.holes_BT = batch.holes_BT[keep_B]
    batch.adapters = _gather(stack, [sequence.row.slot for sequence in batch.sequences])
    return [tokens[at] for at in keep]


def _advance(model: PreTrainedModel, batch: _Batch, tokens: list[int], stack: LoraStack | None) -> None:
    """Read one token per row and compute the logits of the next."""
    ids_B1 = torch.tensor(tokens, device=model.device)[:, None]
    with using(stack, batch.adapters):
        decoder = decoder_of(model)
        hidden_B1D = decoder(
            input_ids=ids_B1,
            attention_mask=_mask(model, batch),
            position_ids=batch.next_position_B[:, None],
            use_cache=True,
            **cache_argument(decoder, batch.cache),
        ).last_hidden_state
    batch.next_position_B = batch.next_position_B + 1
    batch.logits_BV = head_logits(model, hidden_B1D[:, 0])


def _mask(model: PreTrainedModel, batch: _Batch) -> Masks:
    """Additive mask [B, 1, 1, T] over the cache and the new token, or None where nothing is hidden."""
    rows, longest = batch.holes_BT.shape
    total, spans = batch.cache.get_seq_length() + 1, spans_of(model)
    furthest = int(batch.next_position_B.max()) + 1 if any_window_binds(spans, total) else 0
    if not longest and not any_window_binds(spans, furthest):
        return None
    visible_BT = torch.ones(rows, total, dtype=torch.bool, device=batch.holes_BT.device)
    visible_BT[:, :longest] = ~batch.holes_BT
    keys_BT = torch.arange(total, device=batch.holes_BT.device).repeat(rows, 1)
    keys_BT[:, longest:] -= batch.holes_BT.sum(dim=1, keepdim=True)
    return masks(visible_BT[:, None], batch.next_position_B[:, None], keys_BT, model.dtype, spans, furthest)
