"""Training data: samples trained on, and examples per input, against the score.

Counterpart: Figure 2 of the paper (arXiv:2510.07841). Points are the groups that answered the same questions as the
first in the same way; a line joins groups that differ in nothing but the place on the axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ttsi.methods import ADAPTATION_METHODS, AdaptationMethod
from ttsi.reports import columns, pairing
from ttsi.reports.drawing import ACCENT, MUTED, RIGHT, number_ticks, percent_ticks
from ttsi.reports.finding import Finding, Plot, tabulate
from ttsi.reports.groups import Group, identity
from ttsi.reports.naming import label, letter_and_label, variations
from ttsi.reports.phrases import count
from ttsi.reports.reference import REFERENCE, references, with_same_questions
from ttsi.stats import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINE_TUNED, TEST_TIME, NONE = "fine-tuned on labelled rows", "learned at test time", "nothing learned"
COLOURS = {TEST_TIME: ACCENT, FINE_TUNED: RIGHT, NONE: MUTED}


def training_data(groups: Sequence[Group]) -> Finding:
    """How many labelled rows fine-tuning needs to match the reference."""
    title = "Training data"
    tuned = [one for one in groups if one.config.method == "sft" and not variations(one)]
    tuned.sort(key=lambda one: int(one.first.train["n"]) if one.first.train else 0)
    if not tuned:
        return Finding(title, missing="Missing: `ttsi run --method sft --train-data NAME --train-limit N`.")
    usual = with_same_questions(tuned, references(groups))
    against = columns.against_reference(groups)
    heads = (columns.GRADED, columns.SEEDS, columns.TRAINED, columns.FINAL, columns.GAIN, against)
    return Finding(
        title,
        "How many labelled rows does fine-tuning (`sft`) need? The reference sees none: its samples are spread over "
        "the inputs, and each is forgotten after one answer.",
        tabulate("method", label, heads, [*tuned, *usual]),
        groups=(*tuned, *usual),
        missing="" if usual else f"Not run: {REFERENCE}.",
    )


def samples_and_score(groups: Sequence[Group]) -> Finding:
    """The score against the samples trained on."""
    title, used = "Samples against accuracy", _comparable_groups(groups)
    places = {group.letter: columns.samples_trained(group) for group in used}
    if len(set(places.values())) < 2:
        return Finding(title)
    most = max(places.values())

    def draw(axes: Axes) -> None:
        _draw(axes, _lines(used, "train_limit", FINE_TUNED), places)
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xticks([0, *(10**power for power in range(1, 9) if 10**power <= 2 * most)])
        axes.set_xlim(-2, max(1.6 * most, 10))
        axes.set_xlabel("samples learned per run")
        number_ticks(axes.xaxis, ",.0f")

    return Finding(
        title,
        "Final score against the samples learned on the way (an example that is learned twice counts "
        "twice); same inputs, same decoding as A. A line joins what differs in the number of labelled rows only.",
        tabulate("", letter_and_label, (columns.TRAINED, columns.FINAL, columns.GRADED), used),
        Plot("samples", draw),
    )


def examples_and_score(groups: Sequence[Group]) -> Finding:
    """The score against K, for groups that differ in nothing else."""
    title = "Examples per input against accuracy"
    lines = [line for line in _lines(_comparable_groups(groups), "loop.synthesis.k") if len(line) > 1]
    places = {group.letter: float(group.config.loop.synthesis.k) for line in lines for group in line}
    if not lines:
        return Finding(title)

    def draw(axes: Axes) -> None:
        _draw(axes, lines, places)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(set(places.values())))
        axes.set_xlabel("K, examples wanted per input")
        number_ticks(axes.xaxis, "g")

    heads = (("K", lambda group: count(places[group.letter])), columns.FINAL, columns.GRADED)
    return Finding(
        title,
        "Final score against K, the number of examples that may be learned for an unsure input; every "
        "other setting is equal.",
        tabulate("", letter_and_label, heads, [group for group in groups if group.letter in places]),
        Plot("k", draw),
    )


def _comparable_groups(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if pairing.final(group) and pairing.same_questions(groups[0], group)]


def _family(group: Group) -> str:
    method = group.config.loop.adaptation.method
    adaptation = ADAPTATION_METHODS.get(method, AdaptationMethod(method))
    if adaptation.shared:
        return FINE_TUNED
    return TEST_TIME if group.adapts and adaptation.trains else NONE


def _lines(groups: Sequence[Group], setting: str, family: str = "") -> list[list[Group]]:
    """Groups that differ in nothing but one setting together; of one family only, where one is named."""
    lines: dict[str, list[Group]] = {}
    for group in groups:
        joins = family in ("", _family(group))
        lines.setdefault(identity(group.first, setting) if joins else group.letter, []).append(group)
    return list(lines.values())


def _draw(axes: Axes, lines: Sequence[Sequence[Group]], places: Mapping[str, float]) -> None:
    families: set[str] = set()
    for line in lines:
        points = []
        for group in line:
            place, values, family = places[group.letter], list(pairing.final(group).values()), _family(group)
            score, interval, colour = sum(values) / len(values), share(values), COLOURS[family]
            if interval is not None:
                axes.plot([place, place], [interval.low, interval.high], color=colour, linewidth=1.2)
            name = None if family in families else family
            axes.plot([place], [score], "o", color=colour, markersize=5.5, label=name)
            axes.annotate(group.letter, (place, score), xytext=(6, 4), textcoords="offset points")
            families.add(family)
            points.append((place, score))
        if len(line) > 1:
            axes.plot(*zip(*sorted(points), strict=True), color=COLOURS[_family(line[0])], linewidth=1)
    percent_ticks(axes.yaxis)
    axes.set_ylabel("% right")
    if len(families) > 1:
        axes.legend(loc="best")
