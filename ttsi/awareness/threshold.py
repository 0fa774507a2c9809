"""The threshold tau: applying it, and setting it on validation data.

Inputs: a measure's value and tau, or many values and the share of inputs to adapt. Outputs: a verdict, or a tau. The
paper fixes tau = 0.95 for the margin and finds the optimum sensitive; set it on validation data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def is_unsure(value: float, tau: float) -> bool:
    """The paper's gate: unsure if and only if the measure is below tau. A value that is no number is unsure.

    >>> is_unsure(0.94, 0.95), is_unsure(0.95, 0.95), is_unsure(float("nan"), 0.95)
    (True, False, True)
    """
    return math.isnan(value) or value < tau


def tau_for_share(values: Sequence[float], share: float) -> float:
    """The tau under which `share` of the (validation) values are unsure.

    >>> tau_for_share([0.1, 0.2, 0.9, 1.0], 0.5)
    0.9
    >>> tau_for_share([0.1, 0.2], 1.0)
    inf

    Raises:
        ValueError: no values, or a share outside [0, 1].
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("needs values and a share between 0 and 1")
    ranked = sorted(values)
    position = round(share * len(ranked))
    return ranked[position] if position < len(ranked) else math.inf


def conformal_share(values: Sequence[float], share: float) -> float:
    """The tau under which a new input is unsure with probability at most `share`, from unlabelled values.

    With v_(1) <= ... <= v_(n) and k = floor((n + 1) share), tau = v_(k): if the new value is exchangeable with the n
    old ones, P(new < v_(k)) <= k / (n + 1) <= share (split conformal prediction, Vovk et al. 2005). Unlike a plain
    quantile this holds for every n; where n is too small for any guarantee, nothing is unsure (-inf).

    >>> conformal_share([0.1, 0.2, 0.9, 1.0], 0.5)
    0.2
    >>> conformal_share([0.1], 0.4)
    -inf

    Raises:
        ValueError: no values, or a share outside [0, 1].
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("needs values and a share between 0 and 1")
    k = math.floor((len(values) + 1) * share + 1e-9)  # 0.7 * 10 is 6.999... in floating point
    if k == 0:
        return -math.inf
    return sorted(values)[k - 1] if k <= len(values) else math.inf


def conformal_risk(values: Sequence[float], right: Sequence[bool], risk: float) -> float:
    """The smallest tau at which a new input is sure and yet wrong with probability at most `risk`.

    With R(tau) = (number of values >= tau whose answer is wrong) / n, which falls as tau rises, the smallest tau with

        n / (n + 1) R(tau) + 1 / (n + 1) <= risk

    (conformal risk control, arXiv:2208.02814, for losses up to 1). Adapting on more inputs is the price; where n is too
    small for any guarantee, everything is unsure (inf).

    >>> conformal_risk([0.1, 0.4, 0.6, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99], [False, False] + [True] * 7, 0.2)
    0.4
    >>> conformal_risk([0.5, 0.9], [False, True], 0.1)
    inf

    Raises:
        ValueError: no values, not one verdict each, or a risk outside [0, 1].
    """
    if not values or len(values) != len(right) or not 0 <= risk <= 1:
        raise ValueError("needs one verdict per value and a risk between 0 and 1")
    n = len(values)
    allowed = math.floor(risk * (n + 1) - 1 + 1e-9)  # how many may be sure and wrong
    if allowed < 0:
        return math.inf
    wrong = sorted((value for value, ok in zip(values, right, strict=True) if not ok), reverse=True)
    # Every tau above the (allowed + 1)-th highest wrong value keeps the promise; the next value seen is the first such.
    if len(wrong) <= allowed:
        return -math.inf
    return min((value for value in values if value > wrong[allowed]), default=math.inf)
