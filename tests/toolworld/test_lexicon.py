"""Is the thesaurus sound, does `is_related` know inflections and stand-ins, and do invented tools use them?"""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from toolworld import lexicon
from toolworld.invention import invent, rename
from toolworld.lexicon import Words, is_related, synonym
from toolworld.world import training_domains, training_words
from ttsi.chat.marked import content_words, quote
from ttsi.types import Tool


def test_every_line_of_the_thesaurus_is_a_group_of_words() -> None:
    lines = [line for path in lexicon.FOLDER.glob("*.txt") for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 1500
    assert [line for line in lines if not re.fullmatch(r"[a-z]+: [a-z]+(, [a-z]+)+", line)] == []
    assert len(lexicon.groups()) == len(lines)


@pytest.mark.parametrize(
    ("said", "written"),
    [("booked", "book"), ("bookings", "booking"), ("dropped", "drop"), ("stories", "stories"), ("purchase", "buy")],
)
def test_an_inflection_or_a_stand_in_speaks_of_the_word(said: str, written: str) -> None:
    assert is_related(said, written)
    assert is_related(written, said)


@pytest.mark.parametrize(("said", "written"), [("lamp", "contract"), ("see", "sea"), ("", "book")])
def test_control_other_words_do_not(said: str, written: str) -> None:
    assert not is_related(said, written)


def test_a_stand_in_speaks_of_its_word_and_an_unknown_word_stands_for_itself() -> None:
    rng = random.Random(0)
    for head in lexicon.heads()[:200]:
        assert is_related(synonym(head, rng), head)
    assert synonym("zzyzx", rng) == "zzyzx"


def test_paraphrased_tools_are_asked_for_in_other_words_that_speak_of_their_line() -> None:
    def shared(paraphrased: float) -> float:
        rng = random.Random(0)
        tools = [tool for tool, _ in invent(400, rng, Words(lexicon.heads(), paraphrased=paraphrased))]
        common = [bool(set(content_words(tool.short)) & set(content_words(tool.does))) for tool in tools]
        assert all(any(is_related(s, w) for s in content_words(t.short) for w in content_words(t.does)) for t in tools)
        return sum(common) / len(common)

    assert shared(1.0) < 0.8, "made-up words have no stand-in"
    assert shared(0.0) == 1.0, "the control: without paraphrase every request shares a word"


def test_renamed_tools_share_no_word_with_what_they_were_and_keep_their_slots() -> None:
    domain = training_domains()[0]
    pool = [(tool, domain.name) for tool in domain.tools]
    source = replace(training_words(), vocabulary=("qqq", "xxx", "zzz"), paraphrased=0.0, blended=0.0)
    for (old, _), (new, _) in zip(pool, rename(pool, random.Random(0), source), strict=True):
        assert not set(content_words(old.does)) & set(content_words(new.does))
        assert old.arguments == new.arguments
        assert all(set(content_words(ask)) & set(content_words(new.does)) for ask in new.asks)


def test_a_quote_begins_where_the_request_speaks_of_the_line() -> None:
    buy = Tool("a", "buy a red lamp", {})
    assert quote(buy, "purchase something", (buy,), is_related) == " buy a red lamp"
    assert quote(buy, "purchase a lamp", (buy,), is_related) == " lamp", "a word that occurs comes first"
    assert quote(buy, "purchase something", (buy,)) == " lamp", "the control: without the thesaurus, the last word"
    sell = Tool("b", "sell a red lamp", {})
    assert quote(buy, "purchase a lamp", (buy, sell), is_related) == " buy a red lamp", "a shared word tells nothing"
