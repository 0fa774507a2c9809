"""The report's page about a library: quarters in the order of the run, prequential means, nothing without a library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.reports.records import config, row, run
from ttsi.record import RunRow
from ttsi.reports.groups import Group
from ttsi.reports.questions.stored_adapters import stored_adapters
from ttsi.types import Adaptation


def rows() -> list[RunRow]:
    """Eight inputs; the library answers the last three of them, and the last two quarters are faster."""
    made = []
    for number in range(8):
        one = row(number, base=number % 2 == 0, adapted=number >= 4, sure=0.5)
        if number == 4:
            adaptation = Adaptation("trained", library_entry="abc", started_from="f" * 64)
            one = replace(one, episode=replace(one.episode, adaptation=adaptation))
        if number >= 5:
            adaptation, seconds = Adaptation("library", library_entry="abc"), {"answer": 1.0}
            one = replace(one, episode=replace(one.episode, adaptation=adaptation, seconds=seconds))
        made.append(one)
    return made


def group(made: list[RunRow], **settings: Any) -> Group:
    one = run(made, settings=config(n=8))
    library = replace(one.config.library, folder=Path("library"))
    return Group("A", (replace(one, config=replace(one.config, library=library, **settings)),))


def test_the_quarters_follow_the_order_of_the_benchmark() -> None:
    finding = stored_adapters(group(rows()[::-1]))  # whatever the order of the record
    assert finding.table is not None
    cells = [[cell.split("\n")[0].replace("\N{NO-BREAK SPACE}", " ") for cell in line] for line in finding.table.rows]
    assert [line[0] for line in cells] == ["first", "second", "third", "last"]
    assert [line[3] for line in cells] == ["0.0 %", "0.0 %", "100.0 %", "100.0 %"]
    assert [line[5] for line in cells] == ["0.0 %", "0.0 %", "50.0 %", "100.0 %"]
    assert [line[6] for line in cells] == ["0.0 %", "0.0 %", "50.0 %", "0.0 %"]
    assert cells[0][7] != cells[3][7]


def test_the_plot_can_be_drawn() -> None:
    from matplotlib.figure import Figure

    finding = stored_adapters(group(rows()))
    assert finding.plot is not None
    axes = Figure().subplots()
    finding.plot.draw(axes)
    base, final, share = axes.get_lines()
    assert list(final.get_ydata())[-1] == 50.0
    assert list(base.get_ydata())[-1] == 50.0
    assert list(share.get_ydata())[-1] == 37.5


def test_without_a_library_or_an_order_there_is_nothing_to_show() -> None:
    plain = Group("A", (run(rows(), settings=config(n=8)),))
    assert stored_adapters(plain).table is None
    mixed = stored_adapters(group(rows(), order_seed=0))
    assert mixed.table is None
    assert "--order-seed" in mixed.missing
