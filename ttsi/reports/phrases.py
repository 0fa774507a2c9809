"""Numbers as short texts, and the cells of tables.

Percent stand with one digit, differences with a sign. A cell of an estimate has two lines: the number, and its 95 %
interval, or "-" where there is none. Shares are between 0 and 1, points are percent.
"""

from __future__ import annotations

from collections.abc import Sequence

from ttsi import stats
from ttsi.plurals import plural
from ttsi.reports.pairing import Difference
from ttsi.stats import Interval

MINUS = "\N{MINUS SIGN}"


def percent(share: float | None) -> str:
    """A share as percent.

    >>> percent(0.4567), percent(None)
    ('45.7\xa0%', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def signed_points(points: float) -> str:
    """Points with their sign.

    >>> signed_points(6.04), signed_points(-0.5), signed_points(-0.01)
    ('+6.0', '\N{MINUS SIGN}0.5', '0.0')
    """
    rounded = round(points, 1)
    return "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", MINUS)


def interval_text(interval: Interval | None) -> str:
    """An interval of shares, in percent.

    >>> interval_text(Interval(0.1, 0.25)), interval_text(None)
    ('10.0 to 25.0', '-')
    """
    return "-" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def difference_interval(difference: Difference) -> str:
    """The interval of a difference."""
    interval = difference.interval
    return "-" if interval is None else f"{signed_points(interval.low)} to {signed_points(interval.high)}"


def points_cell(gap: Difference | None) -> str:
    """A difference and its interval."""
    return f"{signed_points(gap.points)}\n{difference_interval(gap)}" if gap else "-"


def mean_cell(values: Sequence[float], none: str = "-") -> str:
    """The mean of outcomes and its interval; another text where there are no outcomes.

    >>> mean_cell([0, 0, 0, 1]), mean_cell([])
    ('25.0\xa0%\\n4.6 to 69.9', '-')
    """
    return f"{percent(sum(values) / len(values))}\n{interval_text(stats.share(values))}" if values else none


def share_cell(count: int, n: int) -> str:
    """A count as a share, and its interval.

    >>> share_cell(1, 4), share_cell(0, 0)
    ('25.0\xa0%\\n4.6 to 69.9', '-')
    """
    return f"{percent(count / n)}\n{interval_text(stats.wilson(count, n))}" if n else "-"


def p_value(p: float) -> str:
    """A p value for reading.

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


def number_of(number: float, one: str, many: str = "") -> str:
    """A number of things with their noun.

    >>> number_of(1, "input"), number_of(1234, "input"), number_of(4 / 3, "example")
    ('1 input', '1,234 inputs', '1.3 examples')
    """
    return f"{count(number)} {plural(number, one, many)}"


def graded_cell(graded: int, n: int) -> str:
    """The inputs that a score is over, and how many there are beside them.

    >>> graded_cell(12, 12), graded_cell(11, 12)
    ('12', '11 (1 not graded)')
    """
    return count(graded) + (f" ({count(n - graded)} not graded)" if graded < n else "")


def duration(seconds: float) -> str:
    """A time that can be read at a glance.

    >>> duration(0.0123), duration(4.2), duration(754), duration(7300)
    ('12 ms', '4.2 s', '12 min 34 s', '2 h 2 min')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def listing(names: Sequence[str]) -> str:
    """A, B and C.

    >>> listing(["A"]), listing(["A", "B", "C"])
    ('A', 'A, B and C')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
