"""Batched decoding: many answers written at once, each with its own adapter and as if it were alone.

Prompts are read first (`ttsi.engine.prefix`), rows with the same prompt and the same adapter once for all of them;
then the next tokens of each row, from a shared key-value cache: the one it chose, and those that its grammar forces
behind it, in one pass (`ttsi.engine.forced_tokens`). Padding stays masked. A row that is done leaves the batch at the
next compaction.

Greedy rows take the likeliest allowed token, and end where they repeat themselves (`ttsi.engine.repetition`). Sampling
rows draw u from their own generator and take the first token whose cumulative probability under softmax(logits /
temperature) over the allowed tokens exceeds u. The log-probability that is recorded is the model's own, at temperature
1 and without a grammar mask.

Inputs: prompt ids with length, temperature, seed, grammar, adapter slot, end tokens. Outputs: ids and
log-probabilities. The paper (arXiv:2510.07841) answers one input at a time; results here are the same up to rounding.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from llguidance import LLMatcher
from torch import Tensor
from transformers import Cache, PreTrainedModel

from ttsi.engine.anatomy import check_prompts, decoder_of, head_logits
from ttsi.engine.batching import in_groups
from ttsi.engine.caching import cache_argument
from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding_attention import decoding_attention
from ttsi.engine.forced_tokens import Block, aligned_block, forced_tokens
from ttsi.engine.lora import BoundRows, LoraStack
from ttsi.engine.prefix import CachedPrompt, PrefixCache, preallocated_cache, prefill, using
from ttsi.engine.repetition import repeats_itself
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
    repetition_limit: int = 0
    """A greedy row ends where its last so many tokens repeat themselves (`ttsi.engine.repetition`); 0 is never."""
    adapted_prefixes: PrefixCache | None = field(default=None, compare=False)
    """Prompts that the adapter has read, each from its token `unadapted` on; this one is added. None keeps none."""


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
    repeats: bool = False
    """Whether it ended because it repeats itself."""


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
        GrammarError: a grammar does not compile.
        ModelError: there is no such slot or token, a prompt is empty, a row is longer than the engine is exact, or one
            row alone does not fit the memory.
    """
    check_prompts(model, [row.ids for row in rows])
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
    unread: list[int] = field(default_factory=list)
    """The last of `ids`, which the model has not read yet: it has not said how likely they are, but for the first."""
    logprob: float = 0.0
    min_logprob: float = 0.0
    done: bool = False
    finished: bool = False
    end_id: int | None = None
    repeats: bool = False

    @property
    def is_full(self) -> bool:
        """Whether it may write no more."""
        return len(self.ids) >= self.row.max_tokens

    def take(self, token: int, logprob: float) -> None:
        """Write one token, or end."""
        stop = token in self.row.stop_ids
        if not stop and self.matcher is not None and not self.matcher.consume_token(token):
            self.done = True  # the matcher gave up: what stands is all there is
            return
        if stop:
            self.done, self.finished, self.end_id = True, True, token
        else:
            self._write(token)
            limit = self.row.repetition_limit if self.row.temperature == 0 else 0
            self.repeats = self.done = repeats_itself(self.ids, limit)
            if not self.done:
                self.take_forced()
        self.add_logprob(logprob)

    def take_forced(self) -> None:
        """Write the tokens that the grammar leaves no choice about."""
        for token in forced_tokens(self.matcher, self.row.max_tokens - len(self.ids)):
            self._write(token)
            if self.row.temperature > 0:
                self.generator.random()  # as if it had been drawn

    def _write(self, token: int) -> None:
        self.ids.append(token)
        self.unread.append(token)

    def add_logprob(self, logprob: float) -> None:
        """Count the log-probability of the first unread token, or of the end."""
        self.logprob += logprob
        self.min_logprob = min(self.min_logprob, logprob)
        # The model need not read the last token to say how likely it is.
        self.done = self.done or (self.is_full and len(self.unread) <= 1)

    def result(self) -> Decoded:
        return Decoded(tuple(self.ids), self.logprob, self.min_logprob, self.finished, self.end_id, self.repeats)


@dataclass
class _Batch:
    """Rows that share a cache."""

    sequences: list[_Sequence]
    cache: Cache
    next_position_B: Tensor
    """Position of the next token to read."""
    holes_BT: Tensor
    """True where the cache holds padding; [B, 0] when it holds none."""
    logits_BV: Tensor
    """fp32 logits of the next token to read."""
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
            _choose(batch, grammars)
            dead = sum(sequence.done for sequence in batch.sequences)
            if dead == len(batch.sequences):
                break
            if 4 * dead >= len(batch.sequences):
                _compact(batch, stack)
            _advance(model, batch, stack)
    return [sequence.result() for sequence in sequences]


def _begin(row: DecodingRow, grammars: Grammars | None) -> _Sequence:
    if row.grammar is not None and grammars is None:
        raise ModelError("a grammar needs a fast tokenizer")
    matcher = grammars.matcher(row.grammar) if grammars is not None and row.grammar is not None else None
    sequence = _Sequence(row, matcher, random.Random(row.seed), done=row.max_tokens < 1)
    sequence.take_forced()
    return sequence


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
    rows_U = [sequences[index.index(at)].row for at in range(len(unique))]
    entries_U = prefill(model, _cached_prompts(model, rows_U, prefixes), stack)
    for row, entry in zip(rows_U, entries_U, strict=True):
        if row.slot >= 0 and row.adapted_prefixes is not None:
            row.adapted_prefixes.insert(entry)
    logits_UV = head_logits(model, torch.stack([entry.last_D for entry in entries_U]))
    entries_B = [entries_U[at] for at in index]
    lengths_B = torch.tensor([len(entry.ids) for entry in entries_B], device=model.device)
    holes_BT = torch.arange(int(lengths_B.max()), device=model.device)[None, :] >= lengths_B[:, None]
    if not holes_BT.any():
        holes_BT = holes_BT[:, :0]
    cache = preallocated_cache(entries_B, max(sequence.row.max_tokens for sequence in sequences))
    index_B = torch.tensor(index, device=model.device)
    return _Batch(sequences, cache, lengths_B, holes_BT, logits_UV[index_B], adapters)


def _cached_prompts(model: PreTrainedModel, rows_U: list[DecodingRow], prefixes: PrefixCache) -> list[CachedPrompt]:
    """Each row's prompt with what was read of it before, by the base or by the row's adapter."""
    prefixes.add(model, [row.ids for row in rows_U if row.slot < 0])
    prompts_U = [_read_by_adapter(row) if row.slot >= 0 else prefixes.lookup(row.ids) for row in rows_U]
    waiting = [at for at, prompt in enumerate(prompts_U) if prompt.slot >= 0 and prompt.before is None]
    for at, prompt in zip(waiting, prefixes.start(model, [prompts_U[at] for at in waiting]), strict=True):
        prompts_U[at] = prompt
    return prompts_U


def _read_by_adapter(row: DecodingRow) -> CachedPrompt:
    """The row's prompt with what its adapter has read of it, where that is more than the base reads of it."""
    if row.adapted_prefixes is not None:
        prompt = row.adapted_prefixes.lookup(row.ids)
        if prompt.cached > row.unadapted:
            return replace(prompt, slot=row.slot)
    return CachedPrompt(row.ids, row.slot, cached=row.unadapted)


def _choose(batch: _Batch, grammars: Grammars | None) -> None:
    """Let each row without unread tokens choose its next one, and count how likely the others' next one is."""
    logprobs_BV = batch.logits_BV.log_softmax(dim=-1)
    scores_BV = logprobs_BV
    choosing = [not sequence.done and not sequence.unread for sequence in batch.sequences]
    matchers = [sequence.matcher if free else None for sequence, free in zip(batch.sequences, choosing, strict=True)]
    allowed_BV = grammars.allowed_tokens(matchers) if grammars is not None else None
    if allowed_BV is not None:
        scores_BV = logprobs_BV.masked_fill(~allowed_BV.to(logprobs_BV.device), -torch.inf)
    tokens_B = _pick(scores_BV, batch.sequences, choosing)
    unread_B = torch.tensor([sequence.unread[0] if sequence.unread else 0 for sequence in batch.sequences])
    tokens_B = torch.where(torch.tensor(choosing, device=tokens_B.device), tokens_B, unread_B.to(tokens_B.device))
    chosen_B = logprobs_BV.gather(1, tokens_B[:, None])[:, 0]
    blocked_B = scores_BV.gather(1, tokens_B[:, None])[:, 0] == -torch.inf
    for sequence, free, token, logprob, blocked in zip(
        batch.sequences, choosing, tokens_B.tolist(), chosen_B.tolist(), blocked_B.tolist(), strict=True
    ):
        if sequence.done:
            continue
        if not free:
            sequence.add_logprob(logprob)
        elif blocked:
            sequence.done = True  # the grammar allows nothing any more, not even the end
        else:
            sequence.take(token, logprob)


def _pick(scores_BV: Tensor, sequences: Sequence[_Sequence], choosing: Sequence[bool]) -> Tensor:
    """Token ids [B]: the best score where the row is greedy, else a draw from its own generator."""
    tokens_B = scores_BV.argmax(dim=-1)
    sampling = [at for at, sequence in enumerate(sequences) if sequence.row.temperature > 0 and choosing[at]]
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


def _compact(batch: _Batch, stack: LoraStack | None) -> None:
    """Drop rows that are done."""
    keep = [at for at, sequence in enumerate(batch.sequences) if not sequence.done]
    keep_B = torch.tensor(keep, device=batch.next_position_B.device)
    batch.sequences = [batch.sequences[at] for at in keep]
    batch.cache.batch_select_indices(keep_B)
    batch.next_position_B = batch.next_position_B[keep_B]
    batch.holes_BT = batch.holes_BT[keep_B]
    batch.adapters = _gather(stack, [sequence.row.slot for sequence in batch.sequences])


def _advance(model: PreTrainedModel, batch: _Batch, stack: LoraStack | None) -> None:
    """Read unread tokens of each row, count their likelihoods, and compute the logits behind them."""
    unread = [[] if sequence.done else sequence.unread for sequence in batch.sequences]
    block = aligned_block(unread, model.device)
    _open_holes(batch, block)
    positions_BT = (batch.next_position_B[:, None] + block.offset_BT).clamp(min=0)
    with using(stack, batch.adapters), decoding_attention(model):
        decoder = decoder_of(model)
        hidden_BTD = decoder(
            input_ids=block.ids_BT,
            attention_mask=_mask(model, batch, positions_BT),
            position_ids=positions_BT,
            use_cache=True,
            **cache_argument(decoder, batch.cache),
        ).last_hidden_state
    batch.next_position_B = batch.next_position_B + block.count_B
    batch.logits_BV = head_logits(model, hidden_BTD[:, -1])
    _count_forced(model, batch, block, hidden_BTD)


def _count_forced(model: PreTrainedModel, batch: _Batch, block: Block, hidden_BTD: Tensor) -> None:
    """Count the likelihood of every token read but the first of each row, which its choice has counted."""
    counts = block.count_B.tolist()
    width = hidden_BTD.shape[1]
    places = [(row, width - count + at) for row, count in enumerate(counts) for at in range(1, count)]
    logprobs: list[float] = []
    if places:
        rows_N, ends_N = torch.tensor(places, device=hidden_BTD.device).unbind(dim=1)
        logits_NV = head_logits(model, hidden_BTD[rows_N, ends_N - 1])
        tokens_N1 = block.ids_BT[rows_N, ends_N][:, None]
        logprobs = logits_NV.log_softmax(dim=-1).gather(1, tokens_N1)[:, 0].tolist()
    by_place = iter(logprobs)
    for sequence, count in zip(batch.sequences, counts, strict=True):
        if sequence.done:
            continue
        for _ in range(1, count):
            del sequence.unread[0]
            sequence.add_logprob(next(by_place))
        del sequence.unread[:1]


def _open_holes(batch: _Batch, block: Block) -> None:
    """Note the block's padding, where the cache has some."""
    holes_BT = block.offset_BT < 0
    if not batch.holes_BT.shape[1] and not holes_BT.any():
        return
    unlisted = batch.cache.get_seq_length() - batch.holes_BT.shape[1]  # all of them tokens
    visible_BT = holes_BT.new_zeros(len(holes_BT), unlisted)
    batch.holes_BT = torch.cat([batch.holes_BT, visible_BT, holes_BT], dim=1)


def _mask(model: PreTrainedModel, batch: _Batch, positions_BT: Tensor) -> Masks:
    """Additive mask [B, 1, T, K] over the cache and the new tokens, or None where nothing is hidden."""
    rows, new = positions_BT.shape
    total, spans = batch.cache.get_seq_length() + new, spans_of(model)
    furthest = int(batch.next_position_B.max()) + new if any_window_binds(spans, total) else 0
    if new == 1 and not batch.holes_BT.shape[1] and not any_window_binds(spans, furthest):
        return None
    visible_BK = torch.ones(rows, total, dtype=torch.bool, device=positions_BT.device)
    visible_BK[:, : batch.holes_BT.shape[1]] = ~batch.holes_BT
    at_K = torch.arange(total, device=positions_BT.device)
    visible_BTK = visible_BK[:, None] & (at_K <= at_K[total - new :, None])
    keys_BK = (visible_BK.cumsum(dim=1) - 1).clamp(min=0)
    return masks(visible_BTK, positions_BT, keys_BK, model.dtype, spans, furthest)
