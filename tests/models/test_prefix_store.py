"""What the base read of system text and tools stays from batch to batch: nothing but time changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch

from tests.conftest import build_model, build_tokenizer
from ttsi.config import AdaptationConfig
from ttsi.engine.prefix import PrefixEntry
from ttsi.models import Request, prefix_cache
from ttsi.models import base_prefixes as prefixes
from ttsi.models.local import LocalModel
from ttsi.models.prefix_store import PrefixStore
from ttsi.types import Message, Prompt, Tool, TrainingExample

TOOLS = tuple(
    Tool(name, f"{name} of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
    for name in ("weather", "population")
)
SUFFIX = AdaptationConfig(rank=4, epochs=2, lr=1e-2, scope="suffix")


def prompt(text: str, *tools: Tool) -> Prompt:
    """A user's turn behind these tools."""
    return Prompt((Message("user", text),), tools or TOOLS)


@pytest.fixture
def local() -> LocalModel:
    """A tiny Qwen2 in this process."""
    return LocalModel("tiny", build_model("qwen2"), build_tokenizer())


def tokens_read(local: LocalModel, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    """Tokens that the weights see."""
    counts: list[int] = []
    body = local.model.base_model.forward

    def counting(**arguments: torch.Tensor) -> object:
        counts.append(arguments["input_ids"].numel())
        return body(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(local.model.base_model, "forward", counting)
        work()
    return sum(counts)


def one_batch(local: LocalModel, text: str, store: PrefixStore | None = None, *tools: Tool) -> list[float]:
    """The log-probabilities of a base answer and of scores, and of an adapted answer, in a batch of their own."""
    asked = prompt(text, *tools)
    job = [TrainingExample(prompt(f"{text} {number}", *tools), "yes it is") for number in range(2)]
    with prefix_cache(local, store):
        base = local.generate([Request(asked, 6)])[0].logprob
        scores = local.score([asked], [["yes", "no"]])[0]
        with local.adapted([job], SUFFIX, [3]) as [trained]:
            return [base, *scores, *trained.losses, local.generate([Request(asked, 6, adapter=0)])[0].logprob]


def test_a_later_batch_reads_the_users_turn_only(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokens_read(local, monkeypatch, lambda: one_batch(local, "rain?"))
    later = tokens_read(local, monkeypatch, lambda: one_batch(local, "cold?"))
    beginning = first - later
    assert beginning > 100 and len(local.prefixes._own_store) == 1
    # Controls: other tools, and a store of somebody else, are read from the first token.
    assert tokens_read(local, monkeypatch, lambda: one_batch(local, "cold?", None, TOOLS[0])) > later + 50
    assert tokens_read(local, monkeypatch, lambda: one_batch(local, "cold?", PrefixStore())) == first
    assert tokens_read(local, monkeypatch, lambda: one_batch(local, "cold?", PrefixStore(0))) == first


def test_the_bits_are_the_same_whatever_was_asked_before(local: LocalModel) -> None:
    alone = one_batch(local, "is it cold?", PrefixStore())
    store = PrefixStore()
    for text, tools in (("rain?", TOOLS), ("rain?", TOOLS[:1]), ("is it cold?", TOOLS[:1]), ("hm", TOOLS[::-1])):
        one_batch(local, text, store, *tools)
    assert len(store) == 3
    assert one_batch(local, "is it cold?", store) == alone
    for ids, entry in store._entries.items():  # control: it is the stored numbers that answer
        wrong = tuple((torch.zeros_like(keys), values) for keys, values in entry.pairs_L)
        store._entries[ids] = PrefixEntry(ids, wrong, entry.last_D)
    assert one_batch(local, "is it cold?", store) != alone


def conversation(turns: int) -> Prompt:
    """A conversation of so many user's turns, of some 60 tokens each."""
    said = [
        Message("user" if at % 2 == 0 else "assistant", f"turn {at}: {'it rains in Oslo ' * 3}") for at in range(99)
    ]
    return Prompt(tuple(said[: 2 * turns - 1]), TOOLS)


def answered(local: LocalModel, store: PrefixStore, turns: int) -> list[float]:
    """Log-probabilities of an answer to the conversation, of scores, and of an adapted answer, in a batch."""
    asked = conversation(turns)
    with prefix_cache(local, store):
        base = local.generate([Request(asked, 6)])[0].logprob
        scores = local.score([asked], [["yes", "no"]])[0]
        with local.adapted([[TrainingExample(prompt("rain?"), "yes")]], SUFFIX, [3]):
            return [base, *scores, local.generate([Request(asked, 6, adapter=0)])[0].logprob]


def keeping(max_bytes: int = 2**30) -> PrefixStore:
    return PrefixStore(max_bytes, keeps_conversations=True)


def test_a_conversation_is_read_from_its_last_chunk(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "CHUNK_TOKENS", 64)

    def ask(store: PrefixStore, turns: int) -> None:
        with prefix_cache(local, store):
            local.generate([Request(conversation(turns), 1)])

    read: list[list[int]] = []
    for store in (keeping(), PrefixStore()):
        ask(store, 1)
        read.append([tokens_read(local, monkeypatch, partial(ask, store, turns)) for turns in (2, 4, 6, 8)])
        assert len(store) == (2 if store.keeps_conversations else 1)  # the beginning, and the last chunk
    kept, again = read
    new = [later - former for former, later in pairwise(again)]
    assert all(few <= tokens + 64 for few, tokens in zip(kept[1:], new, strict=True))
    assert kept[-1] < again[-1] / 2  # control: a store of beginnings reads the whole conversation


def test_a_conversations_bits_are_the_same_whatever_is_stored(
    local: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefixes, "CHUNK_TOKENS", 64)
    cold = {turns: answered(local, keeping(), turns) for turns in (1, 3, 4)}
    nothing_kept = {turns: answered(local, keeping(0), turns) for turns in (1, 3, 4)}
    store = keeping()
    warm = {turns: answered(local, store, turns) for turns in (1, 3, 4)}
    assert warm == cold == nothing_kept
    assert answered(local, store, 3) == cold[3]  # a conversation that goes back
    for ids, stored in list(store._entries.items()):  # control: it is the stored numbers that answer
        wrong = tuple((torch.zeros_like(keys), values) for keys, values in stored.pairs_L)
        store._entries[ids] = PrefixEntry(ids, wrong, stored.last_D)
    assert answered(local, store, 4) != cold[4]


def test_a_conversation_that_does_not_fit_leaves_what_does(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "CHUNK_TOKENS", 64)
    large = keeping()
    answered(local, large, 2)
    store = keeping(large.bytes)
    for turns in (2, 6):
        assert answered(local, store, turns) == answered(local, keeping(), turns)
        assert 0 < store.bytes == sum(stored.bytes for stored in store._entries.values()) <= large.bytes


def test_other_weights_use_nothing_of_it(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PrefixStore()
    one_batch(local, "rain?", store)
    weight = local.model.get_parameter("model.layers.0.self_attn.k_proj.weight")
    weight.data += 0.05  # as PEFT merges, which leaves no trace in `_version`
    merged = one_batch(local, "rain?", store)
    assert merged == one_batch(local, "rain?", PrefixStore())
    weight.data -= 0.05
    monkeypatch.setattr(prefixes, "weights_fingerprint", lambda model: 1)  # control: a blind one
    store.clear()
    one_batch(local, "rain?", store)
    weight.data += 0.05
    assert one_batch(local, "rain?", store) != merged


def test_a_failure_leaves_the_store_usable(local: LocalModel) -> None:
    store = PrefixStore()
    with pytest.raises(KeyboardInterrupt), prefix_cache(local, store):
        local.generate([Request(prompt("rain?"), 2)])
        raise KeyboardInterrupt
    assert local.prefixes.cache is None and len(store) == 1
    assert one_batch(local, "rain?", store) == one_batch(local, "rain?", PrefixStore())


def test_a_batch_within_a_batch_goes_on_with_its_cache(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, outer = PrefixStore(), PrefixStore()

    def nested() -> None:
        with prefix_cache(local, outer):
            local.generate([Request(prompt("rain?"), 1)])
            with prefix_cache(local, inner):
                local.generate([Request(prompt("rain?"), 1)])
            assert local.prefixes.cache is not None and local.encoder._cache

    together = tokens_read(local, monkeypatch, nested)
    one = tokens_read(local, monkeypatch, lambda: local.generate([Request(prompt("rain?"), 1)]))
    assert together <= one + 1 and len(outer) == 1 and len(inner) == 0
    assert local.prefixes.cache is None and not local.encoder._cache


def entry(*ids: int, tokens: int = 10) -> PrefixEntry:
    """An entry of 80 bytes a token."""
    half = torch.zeros(1, tokens, 10)
    return PrefixEntry(ids, ((half, half),), torch.zeros(2))


def test_the_least_recently_used_leave_first_and_a_large_one_never_stays() -> None:
    store, reads = PrefixStore(max_bytes=2000), []

    def read(ids: tuple[int, ...]) -> PrefixEntry:
        reads.append(ids)
        return entry(*ids, tokens=100 if ids == (9,) else 10)

    for ids in ((1,), (2,), (1,), (3,), (9,), (1,), (2,)):
        assert store.entry(ids, read).ids == ids and store.bytes <= 2000
    assert reads == [(1,), (2,), (3,), (9,), (2,)]
    assert (len(store), store.bytes) == (2, 1600)
