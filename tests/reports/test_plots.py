"""Drawings: the same each time, words as words, files that can be opened."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.reports.records import config, four, run
from ttsi.reports import pictures, plots
from ttsi.reports.page import page
from ttsi.reports.record import groups


def test_every_picture_can_be_saved_twice_as_a_file(tmp_path: Path) -> None:
    runs = [four(), run(list(four().rows), "paper", config("ttsi-paper"))]
    _, drawn = page(runs, "0.0")
    names = [picture.name for picture in drawn]
    assert {"gains", "cost", "A-sureness", "A-risk", "A-reliability", "A-tau", "B-tau"} <= set(names)
    assert len(names) == len(set(names))
    for picture in drawn:
        svg, png = plots.save(picture.figure, tmp_path / "new", picture.name)
        assert (svg.name, png.name) == (f"{picture.name}.svg", f"{picture.name}.png")
        head = png.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", head[16:20])[0] > 800
        assert "var(--" not in svg.read_text(encoding="utf-8"), "a file on its own has colours of its own"


def test_a_drawing_for_the_page_has_words_a_label_and_no_size() -> None:
    [group] = groups([four()])
    picture = pictures.within(group)[0]
    text = plots.svg(picture.figure, "x", 'say "<hi>"')
    opening = text[: text.index(">", text.index("aria-label"))]
    assert 'role="img"' in opening
    assert "&lt;hi&gt;" in opening
    assert " width=" not in opening
    assert ">inputs</text>" in text
    assert "<metadata" not in text
    assert "<style" not in text
    assert text == plots.svg(picture.figure, "x", 'say "<hi>"')


def test_a_run_that_adapts_nothing_has_fewer_pictures() -> None:
    [base] = groups([run(list(four().rows), "base", config("base"))])
    assert [picture.name for picture in pictures.within(base)] == ["A-sureness", "A-risk", "A-reliability", "A-cost"]
    assert pictures.across([base]) == []
