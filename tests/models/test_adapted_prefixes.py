"""What an adapter has read stays for the batch: a longer prompt is read from where it goes on, and nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from tests.models.test_adapter_scope import ALL, JOBS, SUFFIX, SYSTEM, local
from tests.models.test_local import TOOL, close
from tests.models.test_prefix_store import tokens_read
from ttsi.config import AdaptationConfig
from ttsi.engine.prefix import PrefixEntry
from ttsi.models import Generation, Request
from ttsi.models.adapted_prefixes import AdaptedPrefixes
from ttsi.models.local import LocalModel
from ttsi.types import Message, Prompt

__all__ = ["local"]

TURNS = (
    Message("user", "is it going to rain in Oslo this afternoon, and should i take the umbrella?"),
    Message("assistant", "no, it stays dry until the evening"),
    Message("user", "sure?"),
)
FIRST, SECOND = (Prompt((SYSTEM, *TURNS[:count]), (TOOL,)) for count in (1, 3))


def files_of(local: LocalModel, config: AdaptationConfig) -> list[bytes]:
    with local.adapted(JOBS, config, [1, 2]):
        return [local.adapter_file(index) for index in (0, 1)]


def conversation(local: LocalModel, files: Sequence[bytes], config: AdaptationConfig) -> list[list[Generation]]:
    """Two turns, each answered by both adapters, which are put back for each turn."""
    answers = []
    for asked in (FIRST, SECOND):
        with local.with_adapters(files, config):
            answers.append(local.generate([Request(asked, 6, adapter=index) for index in (0, 1)]))
    return answers


@pytest.mark.parametrize("config", [ALL, SUFFIX], ids=["all", "suffix"])
def test_a_later_turn_is_read_from_where_it_goes_on(
    local: LocalModel, monkeypatch: pytest.MonkeyPatch, config: AdaptationConfig
) -> None:
    files = files_of(local, config)
    without: list[list[Generation]] = []
    apart = tokens_read(local, monkeypatch, lambda: without.extend(conversation(local, files, config)))
    within: list[list[Generation]] = []
    with local.prefix_cache():
        kept = tokens_read(local, monkeypatch, lambda: within.extend(conversation(local, files, config)))
        assert local.prefixes.adapted is not None and len(local.prefixes.adapted._caches) == 2
    assert local.prefixes.adapted is None
    for found, expected in zip(within, without, strict=True):
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    assert abs(within[1][0].logprob - within[1][1].logprob) > 1e-3  # control: the adapters differ
    assert kept < apart - 2 * 50  # the first turn is not read again by either


def test_an_adapter_in_training_goes_on_when_it_is_put_back(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with local.prefix_cache():
        with local.adapted(JOBS, SUFFIX, [1, 2]):
            [first] = local.generate([Request(FIRST, 6, adapter=0)])
            file = local.adapter_file(0)
        with local.with_adapters([file], SUFFIX):
            read = tokens_read(local, monkeypatch, lambda: local.generate([Request(FIRST, 1, adapter=0)]))
            [again] = local.generate([Request(FIRST, 6, adapter=0)])
    close(again, first)
    assert read == 1


def test_scores_go_on_from_answers(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [["yes", "no"]]
    files = files_of(local, SUFFIX)
    with local.with_adapters(files, SUFFIX):
        expected = local.score([FIRST], texts, [0])
    with local.prefix_cache(), local.with_adapters(files, SUFFIX):
        local.generate([Request(FIRST, 6, adapter=0), Request(FIRST, 6, adapter=1)])
        found: list[list[float]] = []
        read = tokens_read(local, monkeypatch, lambda: found.extend(local.score([FIRST], texts, [0])))
        assert found[0] == pytest.approx(expected[0], abs=1e-4)
        assert read < 16
        [other] = local.score([FIRST], texts, [1])  # control
        assert other != pytest.approx(expected[0], abs=1e-3)


def test_another_alpha_is_another_adapter(local: LocalModel) -> None:
    louder = replace(ALL, alpha=2 * ALL.alpha)
    keys = []
    for config in (ALL, louder, ALL):
        with local.prefix_cache(), local.adapted(JOBS, config, [1, 2]):
            assert local.adapters.stack is not None
            local.adapters.stack.values_SP.fill_(0.5)
            keys.append(local.adapters.key(0, 7)[1:])
    assert keys == [(8.0, 7), (16.0, 7), (8.0, 7)]


def test_without_room_for_the_beginning_scores_are_the_same(local: LocalModel) -> None:
    files = files_of(local, SUFFIX)
    with local.with_adapters(files, SUFFIX):
        expected = local.score([FIRST], [["yes", "no"]], [0])
    with local.prefix_cache(), local.with_adapters(files, SUFFIX):
        local.prefixes.adapted = AdaptedPrefixes(max_bytes=0)
        assert local.score([FIRST], [["yes", "no"]], [0])[0] == pytest.approx(expected[0], abs=1e-4)


def entry(*ids: int) -> PrefixEntry:
    """An entry of 800 bytes."""
    half = torch.zeros(1, 10, 10)
    return PrefixEntry(ids, ((half, half),), torch.zeros(2))


def test_the_adapters_used_least_recently_leave_first() -> None:
    adapters = AdaptedPrefixes(max_bytes=2000)
    a, b, c = (adapters.cache((name, 8.0, 0)) for name in "abc")
    assert a.insert(entry(1)) and b.insert(entry(2))
    assert adapters.cache(("a", 8.0, 0)) is a and adapters.bytes == 1600  # used again, so b leaves for c
    assert c.insert(entry(3))
    assert (a.bytes, b.bytes, c.bytes) == (800, 0, 800)
    assert a.lookup((1, 9)).cached == 1 and b.lookup((2, 9)).cached == 0
    assert adapters.cache(("b", 8.0, 1)) is not b  # control: another part of the prompt is the base's
    assert b.insert(entry(2)) and adapters.bytes == 1600  # an emptied one still counts


def test_many_adapters_in_one_call_keep_within_the_bytes(local: LocalModel) -> None:
    files = files_of(local, SUFFIX)
    with local.prefix_cache(), local.with_adapters(files, SUFFIX):
        local.generate([Request(FIRST, 1, adapter=0)])
        assert local.prefixes.adapted is not None
        one = local.prefixes.adapted.bytes
    with local.prefix_cache(), local.with_adapters(files, SUFFIX):
        local.prefixes.adapted = AdaptedPrefixes(max_bytes=one + one // 2)
        local.generate([Request(FIRST, 1, adapter=0), Request(FIRST, 1, adapter=1)])
        assert 0 < local.prefixes.adapted.bytes <= one + one // 2
