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


def test_ticks_have_the_digits_that_tell_them_apart() -> None:
    def ticks(low: float, high: float) -> list[str]:
        with plots.drawn() as (figure, axes):
            axes.plot([0, 1], [low, high])
            plots._percent(axes.yaxis)
        figure.canvas.draw()
        return [label.get_text() for label in axes.get_yticklabels()]

    for low, high in ((0.546, 0.549), (0.5, 0.6), (0.0, 1.0)):
        shown = ticks(low, high)
        assert len(shown) == len(set(shown)) > 2
    assert "20" in ticks(0.0, 1.0)
    assert "54.75" in ticks(0.546, 0.549) or "54.8" in ticks(0.546, 0.549)


def test_the_line_of_k_joins_its_points() -> None:
    runs = [four()]
    for k in (1, 4):
        settings = config()
        settings["settings"]["loop"]["synthesis"]["k"] = k
        runs.append(run(list(four().rows), f"k{k}", settings))
    drawn = {picture.name: picture for picture in pictures.across(groups(runs))}
    assert [cells[:2] for cells in drawn["k"].table.rows] == [
        ("A: ttsi, measure margin, tau 0.95", "8"),
        ("B: ttsi, measure margin, tau 0.95, k 1", "1"),
        ("C: ttsi, measure margin, tau 0.95, k 4", "4"),
    ]
    [line] = [line for line in drawn["k"].figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert list(line.get_xdata()) == [1, 4, 8]
