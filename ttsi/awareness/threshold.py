"""When does a number mean "unsure"?

Inputs: a measure's value and tau, or many values and the share of inputs that one can afford to adapt. Outputs: a
verdict, or a tau. The paper fixes tau = 0.95 for the margin and finds the optimum sensitive; set it on validation data.
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
        raise ValueError("tau_for_share needs values and a share between 0 and 1")
    ranked = sorted(values)
    position = round(share * len(ranked))
    return ranked[position] if position < len(ranked) else math.inf
