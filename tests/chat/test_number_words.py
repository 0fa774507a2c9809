"""Numbers in English words: each phrase once, as a whole."""

from __future__ import annotations

import pytest

from ttsi.chat.number_words import numbers_in_words


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("two", [2]),
        ("Twenty five", [25]),
        ("seventy-second", [72]),
        ("one million two hundred thousand and three", [1_200_003]),
        ("a hundred, a thousand", [100, 1000]),
        ("three and four", [3, 4]),
        ("five six", [5, 6]),
        ("two hundred three hundred", [200, 300]),
        ("twenty twenty-five", [2025, 20, 25]),
        ("five dozen", [60]),
        ("the one hundredth, the second one", [100, 2, 1]),
        ("two and a half", [2]),
        ("twice a day", [2]),
        ("hundreds of someone's tens, one's, v.two, a third-party", []),
        ("a", []),
        ("", []),
    ],
)
def test_numbers_in_words(text: str, stated: list[int]) -> None:
    assert list(numbers_in_words(text)) == stated
