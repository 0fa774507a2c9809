"""Plots as figures of one style: SVG text for a page, .svg and .png files.

In a page colours are CSS variables, so that one drawing serves light and dark; files have the light colours. matplotlib
(extra `report`) is imported when something is drawn. Figures are made without pyplot, so nothing global changes but the
style while a figure is drawn. Every word in a plot is written in `ttsi.reports.questions`: text from runs stays in the
page, where it is escaped. Figures 2 to 5 of the paper (arXiv:2510.07841) have counterparts; error bars are ours.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsi.record import STAGES
from ttsi.reports.finding import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1d2433", "#5d6678", "#dfe3ea"
RIGHT, WRONG, ACCENT = "#1b6fa8", "#c4501b", "#6a4fb3"
STAGE_COLOURS = dict(zip(STAGES, ("#7b8794", "#2a8f83", "#6a4fb4", "#d39a1e"), strict=True))
COLOURS = {
    INK: "ink", MUTED: "muted", RULE: "rule", RIGHT: "right", WRONG: "wrong", ACCENT: "accent",
    **{colour: f"stage-{stage}" for stage, colour in STAGE_COLOURS.items()},
}  # fmt: skip
"""Light colour -> CSS variable of the page."""
DASHED = (0, (4, 3))
"""Line style of thresholds and of what chance would give."""

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
MADE_BY = {"svg": ("Creator", b"<dc:title>ttsi</dc:title>"), "png": ("Software", b"Software\0ttsi")}
"""Kind of file -> the field of its metadata that names what made it, and how that stands in the file."""
WIDTH = 4.7
"""Inches: as wide as a telephone, so that the letters keep their size there."""


def figure_of(plot: Plot) -> Figure:
    """The plot as a matplotlib figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, plot.height), layout="constrained")
        plot.draw(figure.add_subplot())
    return figure


def percent_ticks(axis: Any) -> None:
    """Shares as percent, with a digit behind the point where the ticks are closer than one percent."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))

    def text(value: float, _: Any) -> str:
        ticks = axis.get_majorticklocs()
        step = min((b - a for a, b in pairwise(ticks)), default=1.0)
        return f"{100 * value:.{max(0, -math.floor(math.log10(100 * step) + 1e-9))}f}"

    axis.set_major_formatter(FuncFormatter(text))


def number_ticks(axis: Any, form: str) -> None:
    """Numbers in a format such as ",.0f", without minor ticks."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: format(value, form)))
    axis.set_minor_locator(NullLocator())


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element for the page: no size of its own, colours by variable, a label for readers."""
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
    paths = picture_paths(folder, name)
    for path in paths:
        path.write_bytes(_render(figure, path.suffix[1:], name, background="white"))
    return paths


def picture_paths(folder: Path, name: str) -> list[Path]:
    """The files of a picture."""
    return [folder / f"{name}.{kind}" for kind in ("svg", "png")]


def is_picture(path: Path) -> bool:
    """Whether a file is a picture that `save` wrote."""
    return MADE_BY[path.suffix[1:]][1] in path.read_bytes()


def _render(figure: Figure, kind: str, name: str, background: str = "none") -> bytes:
    from matplotlib import rc_context

    # The salt makes the ids inside a drawing its own, and the same in every run.
    with rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        out = io.BytesIO()
        metadata = {MADE_BY[kind][0]: "ttsi", **({"Date": None} if kind == "svg" else {})}
        # On a busy machine matplotlib warns that looking for the best place takes long; the place is the same.
        warnings.filterwarnings("ignore", message='Creating legend with loc="best"')
        figure.savefig(out, format=kind, dpi=200, facecolor=background, metadata=metadata)
        return out.getvalue()
