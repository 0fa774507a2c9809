"""Drawings: the same each time, words as words, files that can be opened."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.reports.records import config, four, run
from ttsi.reports import drawing, questions
from ttsi.reports.finding import Finding, Plot
from ttsi.reports.groups import group_runs
from ttsi.reports.html import page
from ttsi.reports.questions.samples_and_score import examples_and_score


def plotted(findings: Sequence[Finding]) -> dict[str, Figure]:
    return {one.plot.name: drawing.figure_of(one.plot) for one in findings if one.plot is not None}


def test_every_picture_can_be_saved_twice_as_a_file(tmp_path: Path) -> None:
    runs = [four(), run(list(four().rows), "paper", config("ttsi-paper"))]
    _, figures = page(runs, "0.0")
    assert {"gains", "cost", "A-confidence", "A-risk", "A-reliability", "A-tau", "B-tau"} <= set(figures)
    for name, figure in figures.items():
        svg, png = drawing.save(figure, tmp_path / "new", name)
        assert (svg.name, png.name) == (f"{name}.svg", f"{name}.png")
        head = png.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", head[16:20])[0] > 800
        assert "var(--" not in svg.read_text(encoding="utf-8"), "a file on its own has colours of its own"


def test_a_drawing_for_the_page_has_words_a_label_and_no_size() -> None:
    [group] = group_runs([four()])
    figure = plotted(questions.within(group))["A-confidence"]
    text = drawing.svg(figure, "x", 'say "<hi>"')
    opening = text[: text.index(">", text.index("aria-label"))]
    assert 'role="img"' in opening
    assert "&lt;hi&gt;" in opening
    assert " width=" not in opening
    assert ">inputs</text>" in text
    assert "<metadata" not in text
    assert "<style" not in text
    assert text == drawing.svg(figure, "x", 'say "<hi>"')


def test_a_run_that_adapts_nothing_has_fewer_pictures() -> None:
    [base] = group_runs([run(list(four().rows), "base", config("base"))])
    assert list(plotted(questions.within(base))) == ["A-confidence", "A-risk", "A-reliability", "A-cost"]
    assert plotted(questions.side_by_side([base])) == {}


def test_ticks_have_the_digits_that_tell_them_apart() -> None:
    def ticks(low: float, high: float) -> list[str]:
        def draw(axes: Axes) -> None:
            axes.plot([0, 1], [low, high])
            drawing.percent_ticks(axes.yaxis)

        figure = drawing.figure_of(Plot("x", draw))
        figure.canvas.draw()
        return [label.get_text() for label in figure.axes[0].get_yticklabels()]

    for low, high in ((0.546, 0.549), (0.5, 0.6), (0.0, 1.0)):
        texts = ticks(low, high)
        assert len(texts) == len(set(texts)) > 2
    assert "20" in ticks(0.0, 1.0)
    assert "54.75" in ticks(0.546, 0.549) or "54.8" in ticks(0.546, 0.549)


def test_the_line_of_k_joins_its_points() -> None:
    runs = [four()]
    for k in (1, 4):
        settings = config()
        settings["settings"]["loop"]["synthesis"]["k"] = k
        runs.append(run(list(four().rows), f"k{k}", settings))
    finding = examples_and_score(group_runs(runs))
    assert finding.table is not None
    assert [cells[:2] for cells in finding.table.rows] == [
        ("A: ttsi, measure margin, tau 0.95", "8"),
        ("B: ttsi, measure margin, tau 0.95, k 1", "1"),
        ("C: ttsi, measure margin, tau 0.95, k 4", "4"),
    ]
    [line] = [line for line in plotted([finding])["k"].axes[0].lines if len(line.get_xdata()) == 3]
    assert list(line.get_xdata()) == [1, 4, 8]
