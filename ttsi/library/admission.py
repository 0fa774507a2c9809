"""The admission of an adapter to the library, without gold: a test on later inputs, and a limit on other requests.

* **Later inputs.** A candidate has learned the examples of some inputs. Every later unsure input with the same tools
  gets examples of its own, as without a library. The candidate wins this input where it finds them likelier than the
  base does, else it loses. Under the null hypothesis "it wins at most every second input, whatever
  came before", the `e_value` of wins and losses ever exceeds 1 / alpha with probability alpha at most (Ville's
  inequality). So it may be looked at after each input. One input is one bet, because its examples resemble each other.
* **Other requests.** On requests with other tools, the candidate may lower the log-probability of the base's own
  answers by no more than a limit, in nats per token (`divergence`).

Inputs: wins and losses, log-probabilities. Outputs: a verdict. The paper (arXiv:2510.07841) keeps nothing. Tests of
this kind as gatekeepers: PACE (arXiv:2606.08106).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ALPHA = 0.05
"""Share of useless adapters that may be admitted."""
STAKE = 0.9
"""Share of the evidence that is bet on each win. Useful adapters win nearly always, so the stake is high: five wins in
a row are enough, and a loss costs nine tenths of the evidence."""


def e_value(wins: int, losses: int) -> float:
    """The evidence against "it wins at most every second input": (1 + stake)^wins (1 - stake)^losses.

    >>> round(e_value(0, 0), 2), round(e_value(5, 0), 2), round(e_value(5, 1), 2)
    (1.0, 24.76, 2.48)
    """
    exponent = wins * math.log1p(STAKE) + losses * math.log1p(-STAKE)
    return math.exp(min(exponent, 700.0))  # a larger one is no float, and says no more


def is_admitted(wins: int, losses: int, alpha: float = ALPHA) -> bool:
    """Whether the evidence for an adapter is enough.

    >>> is_admitted(4, 0), is_admitted(5, 0), is_admitted(8, 1), is_admitted(9, 1)
    (False, True, False, True)
    """
    return e_value(wins, losses) >= 1 / alpha


def is_hopeless(wins: int, losses: int, alpha: float = ALPHA) -> bool:
    """Whether there is as much evidence that it loses more often than it wins."""
    return e_value(losses, wins) >= 1 / alpha


def divergence(base: Sequence[float], adapted: Sequence[float], tokens: Sequence[int]) -> float:
    """How much an adapter lowers the log-probability of the base's own answers, in nats per token.

    An answer that it makes likelier counts as 0, so that none hides what happened to another.

    Args:
        base: summed log-probability of each answer under the base.
        adapted: the same under the adapter.
        tokens: the length of each answer.

    >>> divergence([-1.0, -2.0], [-2.5, -0.5], [10, 5])
    0.1
    """
    lowered = math.fsum(max(0.0, old - new) for old, new in zip(base, adapted, strict=True))
    return lowered / max(1, sum(tokens))
