"""What do the pictures of a report look like?

Inputs: points (`ttsi.reports.curves`) and differences. Outputs: matplotlib figures; as SVG text for the page, whose
colours are CSS variables so that one drawing serves light and dark, or as .svg and .png files in light colours.

matplotlib (extra `report`) because one drawing gives both forms; figures are made without pyplot, so nothing global
changes but the style inside `drawn`. Every word in a picture is written here: text from runs stays in the page, where
it is escaped. Figures 2 to 5 of the paper (arXiv:2510.07841) have counterparts; error bars are ours.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from ttsi.reports.curves import Bin, Histogram, Threshold
from ttsi.reports.pairing import Difference
from ttsi.reports.record import STAGES, Side

INK, MUTED, RULE = "#1d2433", "#5d6678", "#dfe3ea"
RIGHT, WRONG, ACCENT = "#1b6fa8", "#c4501b", "#6a4fb3"
STAGE_COLOURS = dict(zip(STAGES, ("#7b8794", "#2a8f83", "#6a4fb4", "#d39a1e"), strict=True))
COLOURS = {
    INK: "ink", MUTED: "muted", RULE: "rule", RIGHT: "right", WRONG: "wrong", ACCENT: "accent",
    **{colour: f"stage-{stage}" for stage, colour in STAGE_COLOURS.items()},
}  # fmt: skip
"""Light colour -> CSS variable of the page."""

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
SIZE = (4.7, 3.1)
"""Inches: as wide as a telephone, so that the letters keep their size there."""

Band = tuple[Sequence[float], Sequence[float]]


@contextmanager
def drawn(size: tuple[float, float] = SIZE) -> Iterator[tuple[Figure, Axes]]:
    """A figure in our style; what is drawn in the block is laid out at its end."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.add_subplot()


def _percent(axis: Any) -> None:
    """Shares as percent, with a digit behind the point where the ticks are closer than one percent."""
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))

    def shown(value: float, _: Any) -> str:
        ticks = axis.get_majorticklocs()
        step = min((b - a for a, b in pairwise(ticks)), default=1.0)
        return f"{100 * value:.{max(0, -math.floor(math.log10(100 * step) + 1e-9))}f}"

    axis.set_major_formatter(FuncFormatter(shown))


def gains(named: Sequence[tuple[str, Difference]]) -> Figure:
    """Each group's gain with its interval."""
    with drawn((SIZE[0], 0.9 + 0.34 * max(len(named), 2))) as (figure, axes):
        for place, (_, gain) in enumerate(named):
            if gain.interval is not None:
                axes.plot([gain.interval.low, gain.interval.high], [place, place], color=ACCENT)
            axes.plot([gain.points], [place], "o", color=ACCENT, markersize=6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(named)), [name for name, _ in named])
        axes.set_ylim(len(named) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("gain in points, 95 % interval")
    return figure


def sureness(counts: Histogram, tau: float | None) -> Figure:
    """How sure the model was, where it was right and where it was wrong."""
    with drawn() as (figure, axes):
        width = counts.edges[1] - counts.edges[0]
        centres = [edge + width / 2 for edge in counts.edges[:-1]]
        axes.bar(centres, counts.wrong, 0.9 * width, color=WRONG, label="base wrong")
        axes.bar(centres, counts.right, 0.9 * width, bottom=counts.wrong, color=RIGHT, label="base right")
        if tau is not None and counts.edges[0] <= tau <= counts.edges[-1]:
            axes.axvline(tau, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="tau")
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes.set_xlabel("less sure  ←  measure  →  surer")
        axes.set_ylabel("inputs")
        axes.legend()
    return figure


def risk(curves: Mapping[Side, Sequence[tuple[float, float]]]) -> Figure:
    """Error rate when only the surest share of the inputs is answered."""
    colours = {"base": WRONG, "adapted": ACCENT}
    with drawn() as (figure, axes):
        for name, points in curves.items():
            # Each step reaches back to the one before, as its area is counted.
            shown = [(0.0, points[0][1]), *points]
            axes.plot(*zip(*shown, strict=True), color=colours[name], label=name, drawstyle="steps-pre")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(bottom=0)
        _percent(axes.xaxis)
        _percent(axes.yaxis)
        axes.set_xlabel("% of inputs answered, surest first")
        axes.set_ylabel("% of these wrong")
        axes.legend(loc="best")
    return figure


def reliability(series: Mapping[str, Sequence[Bin]]) -> Figure:
    """How often it was right, against how likely the model said it was."""
    with drawn() as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for (name, bins), colour, mark in zip(series.items(), (RIGHT, ACCENT), "os", strict=False):
            heights = [part.accuracy for part in bins]
            below = [part.accuracy - part.interval.low for part in bins]
            above = [part.interval.high - part.accuracy for part in bins]
            places = [part.confidence for part in bins]
            axes.errorbar(
                places,
                heights,
                yerr=(below, above),
                color=colour,
                marker=mark,
                markersize=4.5,
                elinewidth=1,
                label=name,
            )
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        _percent(axes.xaxis)
        _percent(axes.yaxis)
        axes.set_xlabel("% probability, as the model sees it")
        axes.set_ylabel("% right")
        axes.legend(loc="best")
    return figure


def threshold(points: Sequence[Threshold]) -> Figure:
    """The score against how many inputs are adapted, the least sure first."""
    with drawn() as (figure, axes):
        shares, scores = [point.adapted for point in points], [point.score for point in points]
        axes.plot(shares, scores, color=ACCENT, drawstyle="steps-post", label="least sure first")
        ends = [shares[0], shares[-1]], [scores[0], scores[-1]]
        axes.plot(*ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="as many at random")
        axes.plot(shares[-1:], scores[-1:], "o", color=ACCENT, markersize=6)
        axes.set_xlim(0, max(shares[-1], 0.01) * 1.04)
        _percent(axes.xaxis)
        _percent(axes.yaxis)
        axes.set_xlabel("% of inputs adapted (a larger tau adapts more)")
        axes.set_ylabel("% right")
        axes.legend(loc="best")
    return figure


def cost(named: Sequence[tuple[str, Mapping[str, float]]]) -> Figure:
    """Seconds per input and stage, one bar for each group."""
    with drawn((SIZE[0], 1.15 + 0.34 * max(len(named), 2))) as (figure, axes):
        for place, (stage, colour) in enumerate(STAGE_COLOURS.items()):
            starts = [sum(seconds[earlier] for earlier in STAGES[:place]) for _, seconds in named]
            widths = [seconds[stage] for _, seconds in named]
            axes.barh(range(len(named)), widths, 0.62, left=starts, color=colour, label=stage)
        axes.set_yticks(range(len(named)), [name for name, _ in named])
        axes.set_ylim(len(named) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("seconds per input")
        figure.legend(loc="outside upper center", ncols=4, handlelength=0.8, columnspacing=0.9, handletextpad=0.4)
    return figure


@dataclass(frozen=True)
class Series:
    """Scores along an axis, in one colour."""

    name: str
    """One of FAMILIES."""
    points: Sequence[tuple[str, float, Difference]]
    """A short name, the place on the axis, and the score (as difference from nothing)."""
    joined: bool = False
    """Differ the points in nothing but their place? Then a line joins them."""


FAMILIES = {"learned at test time": ACCENT, "fine-tuned on labelled rows": RIGHT, "nothing learned": MUTED}


def samples(series: Sequence[Series]) -> Figure:
    """The score against the samples learned per run, for groups over the same inputs."""
    with drawn() as (figure, axes):
        _scatter(axes, series)
        axes.set_xscale("symlog", linthresh=10)
        most = max(learned for one in series for _, learned, _ in one.points)
        axes.set_xticks([0, *(10**power for power in range(1, 9) if 10**power <= 2 * most)])
        axes.set_xlim(-2, max(1.6 * most, 10))
        axes.set_xlabel("samples learned per run")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


def examples_per_input(series: Sequence[Series]) -> Figure:
    """The score against K."""
    with drawn() as (figure, axes):
        _scatter(axes, series)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({k for one in series for _, k, _ in one.points}))
        axes.set_xlabel("K, examples wanted per input")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


def _scatter(axes: Axes, series: Sequence[Series]) -> None:
    named: set[str] = set()
    for one in series:
        colour = FAMILIES[one.name]
        if one.joined:
            ordered = sorted((place, score.second) for _, place, score in one.points)
            axes.plot(*zip(*ordered, strict=True), color=colour, linewidth=1)
        for name, place, score in one.points:
            if score.interval is not None:
                axes.plot([place, place], [score.interval.low, score.interval.high], color=colour, linewidth=1.2)
            fresh = one.name if one.name not in named else None
            axes.plot([place], [score.second], "o", color=colour, markersize=5.5, label=fresh)
            axes.annotate(name, (place, score.second), xytext=(6, 4), textcoords="offset points")
            named.add(one.name)
    axes.set_ylabel("% right")
    if len(named) > 1:
        axes.legend(loc="best")


def svg(figure: Figure, name: str, label: str) -> str:
    """The drawing as an `<svg>` element for the page: no size of its own, colours by variable, a label for readers."""
    text = _render(figure, "svg", name).decode("utf-8")
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    # Ids such as "patch_1" come in every drawing and nothing refers to them; those of clips and marks are hashes.
    body = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    opening, _, inner = body.partition(">")
    view = re.search(r'viewBox="[^"]*"', opening)
    for colour, variable in COLOURS.items():
        inner = inner.replace(colour, f"var(--{variable})")
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {view[0] if view else ""} {links} role="img" aria-label="{escape(label)}">{inner.strip()}'


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.svg and NAME.png; the folder is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in ("svg", "png"):
        path = folder / f"{name}.{kind}"
        path.write_bytes(_render(figure, kind, name, background="white"))
        written.append(path)
    return written


def _render(figure: Figure, kind: str, name: str, background: str = "none") -> bytes:
    # The salt makes the ids inside a drawing its own, and the same in every run.
    with rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        out = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        # On a busy machine matplotlib finds that looking for the best place takes long; the place is the same.
        warnings.filterwarnings("ignore", message='Creating legend with loc="best"')
        figure.savefig(out, format=kind, dpi=200, facecolor=background, metadata=metadata)
        return out.getvalue()
