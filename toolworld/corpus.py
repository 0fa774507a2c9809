"""The training corpus of the embedded model, as token rows.

Scenes of the world become training rows: the tools once, then several exchanges that attend to the tools and to
themselves only (`TrainingRow.blocks`). Mix: answering (a quote of the tool's description as reason, then the call),
writing an example from a seed (call first, or request first), demonstrations in the prompt, several turns, no tool, two
calls. Validation and test requests are banned by hash.

Inputs: a tokenizer, a seed, the banned hashes. Outputs: token rows with loss weights.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Any

from toolworld import conversations
from toolworld.lexicon import is_related
from toolworld.styles import Way, trained_way, writing_way
from toolworld.world import REVERSE_ASKS, Exchange, Scene, SceneSource, draw_exchange, draw_scene
from ttsi.chat.marked import quote, render
from ttsi.synthesis.prompts import LEAD, writing_prompt
from ttsi.types import Message, to_openai

FIRST_TOKEN_WEIGHT = 6.0
"""Weight of the first quoted token: it decides which tool is called, and the rest is copied."""
UNPREDICTABLE_WEIGHT = 0.1
"""Weight of a written call: its values are random, so they teach little."""
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
    """Share of training-domain scenes whose tools' words are replaced. Without it, the model learns that no tool
    of a new domain fits (dev/log.md)."""
    no_tool: float = 0.15
    """Share of the requests without a fitting tool that are kept. Such a request looks like one for a present tool in
    unknown words; with many of them the model answers "no tool fits" to both (dev/log.md)."""
    familiar_no_tool: float = 0.05
    """The same in training domains, whose tools the model can remember."""


@dataclass(frozen=True)
class Piece:
    """One exchange as tokens: prompt, target, and the loss weight of each target token."""

    prompt: list[int]
    target: list[int]
    weights: list[float]


@dataclass(frozen=True)
class TrainingRow:
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

    def rows(self, seed: int, start: int, count: int) -> list[TrainingRow]:
        """Rows start, ..., start + count - 1 of the stream with this seed."""
        return [self._row(seed, number) for number in range(start, start + count)]

    def _row(self, seed: int, number: int) -> TrainingRow:
        rng = random.Random(f"{seed}/{number}")
        while True:
            pieces = list(self._pieces(rng, number))
            if pieces:
                return self._stretch(self._pack(pieces), rng)

    def _pieces(self, rng: random.Random, number: int) -> Iterator[Piece]:
        source, writing = self._source(rng, number)
        familiar = source == "training"
        scene = draw_scene(source, rng, renamed=self.mix.renamed if familiar else 0.0)
        no_tool = self.mix.familiar_no_tool if familiar else self.mix.no_tool
        first: list[int] = []
        used = 0
        for _ in range(12):
            write = writing or rng.random() < self.mix.writing
            piece = self._write(scene, source, rng) if write else self._answer(scene, rng, no_tool)
            if piece is None:
                continue
            yield piece
            first = first or piece.prompt
            used += len(piece.prompt) - _common_prefix([first, piece.prompt]) + len(piece.target)
            if used > self.length:
                return

    def _source(self, rng: random.Random, number: int) -> tuple[SceneSource, bool]:
        roll = rng.random()
        reverse = self.mix.reverse if number >= self.mix.reverse_from else 0.0
        if roll < reverse:
            return "reverse", True
        return ("invented", False) if rng.random() < self.mix.invented else ("training", False)

    def _answer(self, scene: Scene, rng: random.Random, no_tool: float) -> Piece | None:
        weights_by_kind = {**KIND_WEIGHTS, "no-tool": KIND_WEIGHTS["no-tool"] * no_tool}
        kind = rng.choices(list(weights_by_kind), list(weights_by_kind.values()))[0]
        exchange = conversations.draw(kind, scene, trained_way(rng), rng)
        if exchange is None or self._is_banned(exchange):
            return None
        target = [*self._encode(answer_text(scene, exchange)), self.tokenizer.eos_token_id]
        weights = [FIRST_TOKEN_WEIGHT] + [1.0] * (len(target) - 1)
        return Piece(self._prompt(exchange.messages, scene), target, weights)

    def _write(self, scene: Scene, source: SceneSource, rng: random.Random) -> Piece | None:
        asks = REVERSE_ASKS if source == "reverse" else None
        way = writing_way(rng)
        seed = draw_exchange(rng.choice(scene.offers), _similar_way(way, rng), rng, asks)
        new = draw_exchange(rng.choice(scene.offers), way, rng, asks)
        if self._is_banned(seed) or self._is_banned(new) or seed.request == new.request:
            return None
        call, request, end = self._encode(render(new.calls)), new.request, [self.tokenizer.eos_token_id]
        if rng.random() < 0.85:
            order, request_ids = "call-first", self._encode(f"{LEAD}{request}") + end
            target, weights = call + request_ids, [UNPREDICTABLE_WEIGHT] * len(call) + [1.0] * len(request_ids)
        else:
            order, request_ids = "query-first", self._encode(f"{LEAD.lstrip()}{request}\n")
            reply = self._encode(answer_text(scene, new)) + end
            target, weights = request_ids + reply, [0.3] * len(request_ids) + [1.0] * len(reply)
        text = writing_prompt("marked", order).text.replace("{seed}", seed.request)  # type: ignore[arg-type]
        return Piece(self._prompt((Message("user", text),), scene), target, weights)

    def _is_banned(self, exchange: Exchange) -> bool:
        spoken = [m.content for m in exchange.messages if m.role == "user"]
        return any(request_hash(text) in self.banned for text in spoken)

    def _prompt(self, messages: tuple[Message, ...], scene: Scene) -> list[int]:
        return self._encode(prompt_text(self.tokenizer, messages, scene))

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _pack(self, pieces: list[Piece]) -> TrainingRow:
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
            n_masked = len(own) - len(piece.target) - 1
            labels += [-100] * n_masked + piece.target + [-100]
            weights += [0.0] * n_masked + piece.weights + [0.0]
        return self._pad(TrainingRow(ids[: self.length], positions, blocks, labels, weights))

    def _stretch(self, row: TrainingRow, rng: random.Random) -> TrainingRow:
        """Sometimes a gap in the positions, so that training covers distances longer than a row."""
        if rng.random() >= STRETCHED:
            return row
        cut, gap = rng.randint(1, max(1, row.blocks.count(0))), rng.randint(1, 900)
        return replace(row, positions=[p + gap if p >= cut else p for p in row.positions])

    def _pad(self, row: TrainingRow) -> TrainingRow:
        size, gap = self.length, max(0, self.length - len(row.ids))
        return TrainingRow(
            row.ids + [self.tokenizer.pad_token_id] * gap,
            (row.positions + [0] * gap)[:size],
            (row.blocks + [-1] * gap)[:size],
            (row.labels + [-100] * gap)[:size],
            (row.weights + [0.0] * gap)[:size],
        )


def _similar_way(way: Way, rng: random.Random) -> Way:
    """The style of the seed: in four of five cases that of the request to be written."""
    return way if rng.random() < 0.8 else writing_way(rng)


def _common_prefix(prompts: list[list[int]]) -> int:
    """Length of the common prefix, short of the last token, which must stay each piece's own."""
    first, last = min(prompts), max(prompts)
    limit = min(len(prompt) for prompt in prompts) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def answer_text(scene: Scene, exchange: Exchange) -> str:
    """The target answer: for each call the quote that leads to it, then the call."""
    tools = {tool.name: tool for tool in scene.tools}
    request = (
        " ".join(m.content for m in exchange.messages if m.role == "user")
        if exchange.kind == "clarified"
        else exchange.request
    )
    return render(
        exchange.calls, [quote(tools[call.name], request, scene.tools, is_related) for call in exchange.calls]
    )


def prompt_text(tokenizer: Any, messages: tuple[Message, ...], scene: Scene) -> str:
    """The conversation and the tools as the chat template writes them."""
    turns = [
        {
            "role": m.role,
            "content": m.content,
            "tool_calls": [{"name": c.name, "arguments": c.arguments} for c in m.tool_calls],
        }
        for m in messages
    ]
    tools = [to_openai(tool) for tool in scene.tools]
    text: str = tokenizer.apply_chat_template(turns, tools=tools, add_generation_prompt=True, tokenize=False)
    return text
