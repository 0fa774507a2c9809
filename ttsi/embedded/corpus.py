"""What exactly does the embedded model read, token by token?

Scenes of the world become training rows: the tools once, then several exchanges that all see the tools and only
themselves (`Row.blocks`). Mix: answering (a quote of the tool's line as reason, then the call), writing an
example from a seed (call first, or request first), demonstrations in the prompt, several turns, no tool, two calls.
Validation and test requests are banned by hash from the first token.

Inputs: a tokenizer, a seed, the banned hashes. Outputs: token rows with loss weights. No torch here.
Not in the paper, whose models were pre-trained elsewhere.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Any

from ttsi.chat.marked import quote, render
from ttsi.embedded import conversations
from ttsi.embedded.lexicon import related
from ttsi.embedded.styles import Way, trained_way, writing_way
from ttsi.embedded.world import REVERSE_ASKS, Exchange, Scene, Source, exchange, scene
from ttsi.synthesis.prompts import LEAD, writing_prompt
from ttsi.types import Message, to_openai

FIRST_TOKEN_WEIGHT = 6.0
"""The first quoted token decides which tool is called; everything after it is copying."""
UNPREDICTABLE_WEIGHT = 0.1
"""A written call is drawn, not derived: little can be learned from its values."""
STRETCHED = 0.2
KIND_WEIGHTS = {
    "single": 53, "wordless": 5, "clarified": 5, "follow-up": 6, "no-tool": 8, "two-calls": 9, "demonstrated": 14,
}  # fmt: skip


@dataclass(frozen=True)
class Mix:
    """Shares of the corpus."""

    invented: float = 0.40
    reverse: float = 0.25
    """Held-out domains, in writing only, from row `reverse_from` on; 0 gives the strict model."""
    reverse_from: int = 0
    writing: float = 0.5
    """Share of writing in the other scenes."""
    renamed: float = 0.4
    """Share of training-domain scenes whose tools' words are replaced: without it, the model takes the novelty of a
    domain for a sign that no tool fits (dev/log.md)."""
    no_tool: float = 0.15
    """Share of the drawn requests that no tool fits which are kept. A request for an absent tool looks like a request
    in unknown words for one that is there; with many of them the model says "no tool fits" to both (dev/log.md)."""
    familiar_no_tool: float = 0.05
    """The same in training domains, where absence can be remembered."""


@dataclass(frozen=True)
class Piece:
    """One exchange as tokens: what is read, what is to be said, and how much each said token counts."""

    prompt: list[int]
    target: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Row:
    """A training row of fixed length: shared prefix, then pieces."""

    ids: list[int]
    positions: list[int]
    blocks: list[int]
    """0: prefix, seen by all; n: piece n, seen by itself; -1: padding."""
    labels: list[int]
    weights: list[float]


def request_hash(text: str) -> str:
    """SHA-256 (hex) of a request without case and spaces at its ends: what the ban list holds."""
    return hashlib.sha256(text.strip().lower().encode()).hexdigest()


class Corpus:
    """Endless training rows; row n of a seed is always the same."""

    def __init__(self, tokenizer: Any, length: int, banned: Set[str], mix: Mix | None = None) -> None:
        """Rows of `length` tokens, without the requests whose hashes are `banned`."""
        self.tokenizer = tokenizer
        self.length = length
        self.banned = banned
        self.mix = mix or Mix()

    def rows(self, seed: int, start: int, count: int) -> list[Row]:
        """Rows start, ..., start + count - 1 of the stream with this seed."""
        return [self._row(seed, number) for number in range(start, start + count)]

    def _row(self, seed: int, number: int) -> Row:
        rng = random.Random(f"{seed}/{number}")
        while True:
            pieces = list(self._pieces(rng, number))
            if pieces:
                return self._stretch(self._pack(pieces), rng)

    def _pieces(self, rng: random.Random, number: int) -> Iterator[Piece]:
        source, writing = self._source(rng, number)
        familiar = source == "training"
        shown = scene(source, rng, renamed=self.mix.renamed if familiar else 0.0)
        no_tool = self.mix.familiar_no_tool if familiar else self.mix.no_tool
        first: list[int] = []
        used = 0
        for _ in range(12):
            write = writing or rng.random() < self.mix.writing
            piece = self._write(shown, source, rng) if write else self._answer(shown, rng, no_tool)
            if piece is None:
                continue
            yield piece
            first = first or piece.prompt
            used += len(piece.prompt) - _common_prefix([first, piece.prompt]) + len(piece.target)
            if used > self.length:
                return

    def _source(self, rng: random.Random, number: int) -> tuple[Source, bool]:
        roll = rng.random()
        reverse = self.mix.reverse if number >= self.mix.reverse_from else 0.0
        if roll < reverse:
            return "reverse", True
        return ("invented", False) if rng.random() < self.mix.invented else ("training", False)

    def _answer(self, shown: Scene, rng: random.Random, no_tool: float) -> Piece | None:
        weights_by_kind = {**KIND_WEIGHTS, "no-tool": KIND_WEIGHTS["no-tool"] * no_tool}
        kind = rng.choices(list(weights_by_kind), list(weights_by_kind.values()))[0]
        asked = conversations.draw(kind, shown, trained_way(rng), rng)
        if asked is None or self._is_banned(asked):
            return None
        target = [*self._encode(answer_text(shown, asked)), self.tokenizer.eos_token_id]
        weights = [FIRST_TOKEN_WEIGHT] + [1.0] * (len(target) - 1)
        return Piece(self._prompt(asked.messages, shown), target, weights)

    def _write(self, shown: Scene, source: Source, rng: random.Random) -> Piece | None:
        asks = REVERSE_ASKS if source == "reverse" else None
        way = writing_way(rng)
        seed = exchange(rng.choice(shown.offers), _similar(way, rng), rng, asks)
        new = exchange(rng.choice(shown.offers), way, rng, asks)
        if self._is_banned(seed) or self._is_banned(new) or seed.request == new.request:
            return None
        call, request, end = self._encode(render(new.calls)), new.request, [self.tokenizer.eos_token_id]
        if rng.random() < 0.85:
            order, said = "call-first", self._encode(f"{LEAD}{request}") + end
            target, weights = call + said, [UNPREDICTABLE_WEIGHT] * len(call) + [1.0] * len(said)
        else:
            order, said = "query-first", self._encode(f"{LEAD.lstrip()}{request}\n")
            reply = self._encode(answer_text(shown, new)) + end
            target, weights = said + reply, [0.3] * len(said) + [1.0] * len(reply)
        text = writing_prompt("marked", order).text.replace("{seed}", seed.request)  # type: ignore[arg-type]
        return Piece(self._prompt((Message("user", text),), shown), target, weights)

    def _is_banned(self, asked: Exchange) -> bool:
        spoken = [m.content for m in asked.messages if m.role == "user"]
        return any(request_hash(text) in self.banned for text in spoken)

    def _prompt(self, messages: tuple[Message, ...], shown: Scene) -> list[int]:
        return self._encode(prompt_text(self.tokenizer, messages, shown))

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _pack(self, pieces: list[Piece]) -> Row:
        shared = _common_prefix([piece.prompt for piece in pieces])
        ids = list(pieces[0].prompt[:shared])
        positions, blocks = list(range(shared)), [0] * shared
        labels, weights = [-100] * shared, [0.0] * shared
        for number, piece in enumerate(pieces, 1):
            own = piece.prompt[shared:] + piece.target
            if len(ids) + len(own) > self.length:
                continue
            ids += own
            positions += range(shared, shared + len(own))
            blocks += [number] * len(own)
            # The label of a position is the token after it, so the last prompt token carries the first target.
            silent = len(own) - len(piece.target) - 1
            labels += [-100] * silent + piece.target + [-100]
            weights += [0.0] * silent + piece.weights + [0.0]
        return self._pad(Row(ids[: self.length], positions, blocks, labels, weights))

    def _stretch(self, row: Row, rng: random.Random) -> Row:
        """Now and then a gap in the positions, so that distances longer than a row are met in training."""
        if rng.random() >= STRETCHED:
            return row
        cut, gap = rng.randint(1, max(1, row.blocks.count(0))), rng.randint(1, 900)
        return replace(row, positions=[p + gap if p >= cut else p for p in row.positions])

    def _pad(self, row: Row) -> Row:
        size, gap = self.length, max(0, self.length - len(row.ids))
        return Row(
            row.ids + [self.tokenizer.pad_token_id] * gap,
            (row.positions + [0] * gap)[:size],
            (row.blocks + [-1] * gap)[:size],
            (row.labels + [-100] * gap)[:size],
            (row.weights + [0.0] * gap)[:size],
        )


def _similar(way: Way, rng: random.Random) -> Way:
    """The seed asks in the same way as what is to be written, most of the time."""
    return way if rng.random() < 0.8 else writing_way(rng)


def _common_prefix(prompts: list[list[int]]) -> int:
    """Length of the common prefix, short of the last token, which must stay each piece's own."""
    first, last = min(prompts), max(prompts)
    limit = min(len(prompt) for prompt in prompts) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def answer_text(shown: Scene, asked: Exchange) -> str:
    """What the assistant should say: for each call the quote that leads to it, and the call."""
    tools = {tool.name: tool for tool in shown.tools}
    said = (
        " ".join(m.content for m in asked.messages if m.role == "user") if asked.kind == "clarified" else asked.request
    )
    return render(asked.calls, [quote(tools[call.name], said, shown.tools, related) for call in asked.calls])


def prompt_text(tokenizer: Any, messages: tuple[Message, ...], shown: Scene) -> str:
    """The conversation and the tools as the chat template writes them."""
    turns = [
        {
            "role": m.role,
            "content": m.content,
            "tool_calls": [{"name": c.name, "arguments": c.arguments} for c in m.tool_calls],
        }
        for m in messages
    ]
    tools = [to_openai(tool) for tool in shown.tools]
    text: str = tokenizer.apply_chat_template(turns, tools=tools, add_generation_prompt=True, tokenize=False)
    return text
