"""How are numbers and findings said in plain words?

Inputs: numbers, or a group of runs. Outputs: short texts. Percent stand with one digit, gains with a sign, every
estimate with its 95 % interval. `findings` tells somebody who has never heard of the method what happened.

Shares are between 0 and 1, points are percent. The words for the stages follow the paper (arXiv:2510.07841).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ttsi import stats
from ttsi.reports.pairing import Difference, changes, gain
from ttsi.reports.record import Group, Side, outcomes
from ttsi.stats import Interval

MINUS = "\N{MINUS SIGN}"
DOUBTFUL = 0.05
"""A p value from which on chance may have done it."""


def percent(share: float | None) -> str:
    """A share as percent.

    >>> percent(0.4567), percent(None)
    ('45.7\xa0%', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def signed(points: float) -> str:
    """Points with their sign.

    >>> signed(6.04), signed(-0.5), signed(-0.01)
    ('+6.0', '\N{MINUS SIGN}0.5', '0.0')
    """
    rounded = round(points, 1)
    return "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", MINUS)


def between(interval: Interval | None) -> str:
    """An interval of shares, in percent.

    >>> between(Interval(0.1, 0.25)), between(None)
    ('10.0 to 25.0', '-')
    """
    if interval is None:
        return "-"
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def between_points(difference: Difference) -> str:
    """The interval of a difference."""
    interval = difference.interval
    return "-" if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"


def share_of(count: int, n: int) -> str:
    """A count as a share with Wilson's interval, on two lines.

    >>> share_of(1, 4), share_of(0, 0)
    ('25.0\xa0%\\n4.6 to 69.9', '-')
    """
    return f"{percent(count / n)}\n{between(stats.wilson(count, n))}" if n else "-"


def p_value(p: float) -> str:
    """A p value to read, not to compute with.

    >>> p_value(0.0312), p_value(1.5e-6)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def count(number: float) -> str:
    """A number of things.

    >>> count(12345), count(2141 / 3)
    ('12,345', '713.7')
    """
    return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"


def seconds(value: float) -> str:
    """A time that can be read at a glance.

    >>> seconds(0.0123), seconds(4.2), seconds(754), seconds(7300)
    ('12 ms', '4.2 s', '12 min 34 s', '2 h 2 min')
    """
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min"


def score(group: Group, side: Side) -> tuple[float, Interval | None] | None:
    """The mean over inputs (and seeds) with its interval; None without gold."""
    values = list(outcomes(group, side).values())
    return (sum(values) / len(values), stats.share(values)) if values else None


def seeds(group: Group) -> str:
    """The seeds of a group."""
    found = [str(run.config["settings"]["loop"]["seed"]) for run in group.runs]
    return f"seed {found[0]}" if len(found) == 1 else f"seeds {', '.join(found)}"


def unfinished(group: Group) -> str | None:
    """A warning when inputs are missing."""
    short = [run for run in group.runs if len(run.rows) < run.config["data"]["n"]]
    parts = [f"{run.name} holds {count(len(run.rows))} of {count(run.config['data']['n'])} inputs" for run in short]
    return f"Not finished: {'; '.join(parts)}. Everything here counts only these." if parts else None


def findings(group: Group) -> str:
    """What happened, in sentences."""
    return " ".join(_sentences(group))


def _sentences(group: Group) -> Iterator[str]:
    n, rows = len({row.key for row in group.rows}), group.rows
    base, adapted = score(group, "base"), score(group, "adapted")
    averaged = f" Numbers are means over {len(group.runs)} seeds." if len(group.runs) > 1 else ""
    where = f"{count(n)} inputs of {group.config['data']['benchmark']}"
    if base is None:
        yield f"The model answered {where}; no right answers are known, so nothing was graded.{averaged}"
    else:
        yield f"On {where} the model alone was right {percent(base[0])} of the time.{averaged}"
    if not group.adapts:
        yield "It was only measured and asked: this method adapts nothing."
        return
    yield _learned(group)
    if base is not None and adapted is not None:
        fixed, broken, _, _ = changes(rows, group.matcher)
        answers = "answer was" if fixed == 1 else "answers were"
        over = " over all seeds" if len(group.runs) > 1 else ""
        changed = f"{count(fixed)} {answers} fixed and {count(broken)} broken{over}"
        yield f"In the end {percent(adapted[0])} were right: {changed}."
        yield judged(gain(group), fixed, broken, len(group.runs))


WHOM = {"unsure": "for these", "sure": "for the others", "all": "for all", "random": "for some drawn at random"}
USES = {
    "in-context": "put them into the prompt",
    "lora": "learned them in a temporary adapter per input",
    "both": "learned them in a temporary adapter per input and put them into the prompt as well",
}
"""What becomes of examples, by adaptation.method."""


def _learned(group: Group) -> str:
    runs, rows = len(group.runs), group.rows
    loop = group.config["settings"]["loop"]
    unsure = sum(row.episode.awareness is not None and row.episode.awareness.unsure for row in rows) / runs
    known, whom = f"It was unsure about {count(unsure)} of them", WHOM[loop["awareness"]["gate"]]
    again = count(sum(row.episode.adaptation.status != "none" for row in rows) / runs)
    method = loop["adaptation"]["method"]
    if method == "shared":
        return f"{known}; one adapter had learned the training data beforehand and answered {again}."
    if method == "vote":
        return f"{known}; {whom} the majority of {loop['answer']['samples']} samples was taken."
    if method == "ask-again":
        return f"{known}; {whom} it was shown its first answer and asked again."
    examples = [example for row in rows for example in row.episode.examples]
    kept = count(sum(example.refused is None for example in examples) / runs)
    made = f"{count(len(examples) / runs)} similar examples"
    got = f"took the {made} nearest" if loop["synthesis"]["source"] == "nearest" else f"wrote {made}"
    return f"{known}; {whom} it {got}, kept {kept}, and {USES[method]}."


def judged(difference: Difference | None, fixed: int, broken: int, runs: int) -> str:
    """What a gain and its interval mean."""
    if difference is None:
        return ""
    chance = stats.mcnemar_exact(fixed, broken) if runs == 1 else 0.0
    p = f", {p_value(chance)}" if runs == 1 else ""
    said = f"{signed(difference.points)} points (95 % interval {between_points(difference)}{p})"
    interval = difference.interval
    if interval is None and (runs > 1 or chance >= DOUBTFUL):
        return f"That is {said}: all inputs changed alike, so this does not show that adapting helps or harms."
    if interval is None:
        interval = Interval(difference.points, difference.points)  # the exact test speaks alone
    if chance >= DOUBTFUL and (interval.low > 0 or interval.high < 0):
        return f"That is {said}: the interval excludes zero and the exact test does not, so take it for a hint."
    if interval.low > 0:
        return f"That is a gain of {said}: more than chance among the inputs explains."
    if interval.high < 0:
        return f"That is a loss of {said}: adapting did harm here."
    return f"That is {said}: the interval includes zero, so this does not show that adapting helps or harms."


def listing(names: Sequence[str]) -> str:
    """A, B and C.

    >>> listing(["A"]), listing(["A", "B", "C"])
    ('A', 'A, B and C')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
