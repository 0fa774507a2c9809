"""Is docs/models.md what the handshake settles today, with no family spoken to wrongly in silence?"""

from __future__ import annotations

from pathlib import Path

from tests.chat.models_page import page

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_page_of_models_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.chat.models_page > docs/models.md"


def test_no_family_is_silently_wrong() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 24
    for row in rows:
        assert "| refused: " in row or "**no**" not in row, row
        assert "| refused: " in row or row.count("|") == 10, row
    assert 5 <= sum("| refused: " in row for row in rows) <= 10  # control: refusals are shown
