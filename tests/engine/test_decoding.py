"""Is every row written as if it were alone, and under its own rules?"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ttsi.engine import decoding
from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding import Decoded, DecodingRow, decode
from ttsi.engine.loglikelihood import continuation_logprobs
from ttsi.engine.lora import LoraStack
from ttsi.errors import GrammarError, ModelError

STOP = frozenset({258})
PROMPTS = [(1, 2, 3), tuple(range(20, 50)), (7,), (1, 2, 3)]
DATE = 'start: "on " /[0-9]{4}-[0-9]{2}/ ("!" | "?")'


@torch.no_grad()
def naive(model: PreTrainedModel, row: DecodingRow) -> Decoded:
    """Greedy, without cache: the whole sequence again for every token."""
    ids: list[int] = []
    logprobs: list[float] = []
    while len(ids) < row.max_tokens:
        logits_TV = model(input_ids=torch.tensor([[*row.ids, *ids]]), use_cache=False).logits[0]
        value, token = logits_TV[-1].log_softmax(-1).max(-1)
        logprobs.append(float(value))
        if int(token) in row.stop_ids:
            return Decoded(tuple(ids), sum(logprobs), min(logprobs), True)
        ids.append(int(token))
    return Decoded(tuple(ids), sum(logprobs), min(logprobs), False)


def same(found: Decoded, expected: Decoded) -> None:
    """Equal tokens, log-probabilities within rounding."""
    assert found.ids == expected.ids and found.finished == expected.finished
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
    assert found.min_logprob == pytest.approx(expected.min_logprob, abs=1e-5)


def stack_of(model: PreTrainedModel) -> LoraStack:
    """Two adapters that change a lot, attached."""
    stack = LoraStack(model, 2, 4, 8.0)
    stack.values_SP.normal_(std=0.2, generator=torch.Generator().manual_seed(2))
    stack.attach()
    return stack


@pytest.fixture
def grammars(tokenizer: PreTrainedTokenizerFast) -> Grammars:
    """Compiles for the byte tokenizer."""
    return Grammars(tokenizer, 272, STOP)


def test_greedy_equals_the_naive_way(any_model: PreTrainedModel) -> None:
    rows = [DecodingRow(ids, 12 + 3 * at) for at, ids in enumerate(PROMPTS)]
    for row, found in zip(rows, decode(any_model, rows), strict=True):
        same(found, naive(any_model, row))


def test_stops_at_stop_ids_and_counts_the_stop(model: PreTrainedModel) -> None:
    free = naive(model, DecodingRow(PROMPTS[1], 12))
    stop = free.ids[5]
    row = DecodingRow(PROMPTS[1], 12, stop_ids=frozenset({stop}))
    (found,) = decode(model, [row])
    same(found, naive(model, row))
    assert found.finished and stop not in found.ids
    assert found.logprob < continuation_logprobs(model, [(row.ids, [found.ids])])[0][0]


def test_logprob_is_the_models_own(model: PreTrainedModel) -> None:
    row = DecodingRow(PROMPTS[0], 10, temperature=1.5, seed=4)
    (found,) = decode(model, [row])
    assert found.logprob == pytest.approx(continuation_logprobs(model, [(row.ids, [found.ids])])[0][0], abs=1e-4)


def mixed_rows() -> list[DecodingRow]:
    """Long and short prompts, early and late ends, greedy and sampled, base and adapters."""
    rows = [DecodingRow(ids, 3 + 9 * at, slot=at % 3 - 1, stop_ids=STOP) for at, ids in enumerate(PROMPTS)]
    rows += [DecodingRow(PROMPTS[0], 14, temperature=1.0, seed=seed, slot=seed % 3 - 1) for seed in range(6)]
    return [*rows, DecodingRow(PROMPTS[1], 20, grammar=DATE, stop_ids=STOP), DecodingRow((9, 9), 0)]


@pytest.mark.parametrize("budget", [1, 90, 100_000])
def test_a_row_alone_equals_among_others(any_model: PreTrainedModel, grammars: Grammars, budget: int) -> None:
    stack, rows = stack_of(any_model), mixed_rows()
    together = decode(any_model, rows, stack=stack, grammars=grammars, token_budget=budget)
    for row, found in zip(rows, together, strict=True):
        same(found, decode(any_model, [row], stack=stack, grammars=grammars)[0])


def test_order_does_not_matter(model: PreTrainedModel, grammars: Grammars) -> None:
    stack, rows = stack_of(model), mixed_rows()
    forwards = decode(model, rows, stack=stack, grammars=grammars)
    backwards = decode(model, rows[::-1], stack=stack, grammars=grammars)
    for found, expected in zip(backwards[::-1], forwards, strict=True):
        same(found, expected)


def test_rows_name_their_adapter(model: PreTrainedModel) -> None:
    base = decode(model, [DecodingRow(PROMPTS[1], 12)])[0]
    stack = stack_of(model)
    found = decode(model, [DecodingRow(PROMPTS[1], 12, slot=slot) for slot in (1, -1, 0)], stack=stack)
    same(found[1], base)
    assert len({decoded.ids for decoded in found}) == 3
    with stack.bind([1]):
        same(found[0], naive(model, DecodingRow(PROMPTS[1], 12)))


def test_control_an_adapter_without_a_stack_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ModelError, match="adapter"):
        decode(model, [DecodingRow((1, 2), 3, slot=0)])


def test_equal_prompts_are_read_once(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    body = model.base_model.forward

    def counting(**arguments: torch.Tensor) -> object:
        read.append(arguments["input_ids"].numel())
        return body(**arguments)

    monkeypatch.setattr(model.base_model, "forward", counting)
    decode(model, [DecodingRow(PROMPTS[1], 2, temperature=1.0, seed=seed) for seed in range(5)])
    assert read == [30, 5]


def test_seed_decides_and_temperature_matters(model: PreTrainedModel) -> None:
    rows = [DecodingRow((1, 2, 3), 10, temperature=1.0, seed=seed) for seed in (1, 2, 1)]
    first, second, third = decode(model, rows)
    same(third, first)
    assert first.ids != second.ids
    cold = decode(model, [replace(rows[0], temperature=1e-4)])[0]
    same(cold, decode(model, [replace(rows[0], temperature=0.0)])[0])


def test_sampling_does_not_touch_the_global_generator(model: PreTrainedModel) -> None:
    state = torch.random.get_rng_state()
    decode(model, [DecodingRow((1, 2, 3), 5, temperature=1.0)])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_sampling_frequencies_follow_the_probabilities() -> None:
    logits_V = torch.tensor([0.0, 1.0, -torch.inf, 2.0])
    count = 4000
    writers = [decoding._begin(DecodingRow((1,), 1, temperature=0.7, seed=seed), None) for seed in range(count)]
    drawn = decoding._pick(logits_V.log_softmax(-1).expand(count, 4), writers, [True] * count)
    shares_V = torch.bincount(drawn, minlength=4) / count
    torch.testing.assert_close(shares_V, (logits_V / 0.7).softmax(-1), atol=0.03, rtol=0)
    assert shares_V[2] == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_grammar_is_respected(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, grammars: Grammars, temperature: float
) -> None:
    rows = [DecodingRow(PROMPTS[0], 20, temperature, seed, DATE, stop_ids=STOP) for seed in range(4)]
    free = [replace(row, grammar=None) for row in rows]
    for found in decode(model, rows, grammars=grammars):
        assert found.finished and re.fullmatch(r"on \d{4}-\d\d[!?]", str(tokenizer.decode(list(found.ids))))
        (expected,) = continuation_logprobs(model, [(PROMPTS[0], [[*found.ids, 258]])])[0]
        assert found.logprob == pytest.approx(expected, abs=1e-4)
    for found in decode(model, free, grammars=grammars):
        assert not re.fullmatch(r"on \d{4}-\d\d[!?]", str(tokenizer.decode(list(found.ids))))


def test_grammar_cut_by_max_tokens_is_unfinished(model: PreTrainedModel, grammars: Grammars) -> None:
    (found,) = decode(model, [DecodingRow((1,), 4, grammar=DATE, stop_ids=STOP)], grammars=grammars)
    assert len(found.ids) == 4 and not found.finished


def test_broken_grammar_is_named(model: PreTrainedModel, grammars: Grammars) -> None:
    with pytest.raises(GrammarError, match="does not compile") as error:
        decode(model, [DecodingRow((1,), 4, grammar="start: nothing_such")], grammars=grammars)
    assert "nothing_such" in str(error.value)


def test_matcher_that_gives_up_ends_only_its_row(model: PreTrainedModel, grammars: Grammars) -> None:
    class Refusing:
        """A matcher in error."""

        def __init__(self) -> None:
            """Start without error."""
            self.left = 2

        def is_error(self) -> bool:
            """As LLMatcher."""
            return self.left <= 0

        def compute_ff_tokens(self) -> list[int]:
            """As LLMatcher."""
            return []

        def unsafe_compute_mask_ptr(self, *_: int) -> None:
            """Leaves the mask as it is: everything allowed."""

        def consume_token(self, _: int) -> bool:
            """As LLMatcher."""
            self.left -= 1
            return self.left > 0

    class Mixed(Grammars):
        """Gives a refusing matcher for one grammar."""

        def matcher(self, grammar: str) -> object:  # type: ignore[override]
            """As Grammars."""
            return Refusing() if grammar == "refuse" else super().matcher(grammar)

    grammars.__class__ = Mixed
    rows = [
        DecodingRow((1, 2), 9, grammar="refuse"),
        DecodingRow((1, 2), 9),
        DecodingRow((1, 2), 20, grammar=DATE, stop_ids=STOP),
    ]
    refused, free, dated = decode(model, rows, grammars=grammars)
    assert len(refused.ids) == 1 and not refused.finished
    assert len(free.ids) == 9 and dated.finished


def test_nothing_to_write(model: PreTrainedModel) -> None:
    assert decode(model, []) == []
    assert decode(model, [DecodingRow((1,), 0)]) == [Decoded((), 0.0, 0.0, False)]


def test_compaction_happens(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    plain = decoding._advance

    def watching(*arguments: object) -> None:
        sizes.append(len(arguments[1].sequences))  # type: ignore[attr-defined]
        plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "_advance", watching)
    rows = [DecodingRow((1, 2, 3 + at), 2 + 5 * at) for at in range(4)]
    found = decode(model, rows)
    assert sizes[0] == 4 and sizes[-1] == 1
    for row, decoded in zip(rows, found, strict=True):
        same(decoded, naive(model, row))
