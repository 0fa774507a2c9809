"""Measures of confidence: pure functions from `Evidence` to a float; larger is more confident.

N candidates have log-likelihoods l_1..l_N (nats, summed over tokens); the greedy answer y has tokens y_1..y_T.

    name             formula                                   when to use it
    margin           p_(1) - p_(2), p = softmax(l)             the paper's H (RSS); comparable across inputs
    top1             p_(1)                                     like margin, blind to the runner-up
    entropy          1 + sum p log p / log N                   many candidates that share the mass
    answer_logprob   sum_t log P(y_t)                          the answer as a whole
    answer_mean      (1/T) sum_t log P(y_t)                    answers of very different length (log of 1/perplexity)
    answer_min       min_t log P(y_t)                          one uncertain value inside a long, easy call
    perplexity       -exp(-(1/T) sum_t log P(y_t))             to compare with others' tables; ranks like answer_mean
    grounded_margin  margin - unstated - omitted values        real models: it sees invented and forgotten arguments
    vote_share       max_g n_g / S over groups g of equal samples   no log-probabilities needed; costs S samples

References: the margin is the paper's; top-1 is the maximum softmax probability (arXiv:1610.02136); perplexity and mean
log-likelihood as measures of uncertainty: arXiv:2302.09664; the share of votes: self-consistency (arXiv:2203.11171).
The grounded margin is ours: on Seal-Tools' dev rows its AUROC is 0.84 where the margin's is 0.57 (SmolLM2-135M, n 136)
and 0.93 where it is 0.79 (Qwen2.5-Coder-0.5B, n 68). Most wrong calls there have an invented value, and the margin sees
names only.
The paper (arXiv:2510.07841) uses the margin with tau 0.95 and finds that raw perplexity separates poorly.

A measure of your own is any such function, named by an object reference: `--awareness.measure my.module:gap`.
`@measure` declares its upper bound, and that it counts samples, where it differs from the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, TypeVar

from ttsi.errors import WrongResult
from ttsi.object_reference import load_function, resolve

ROUNDING = 1e-6
"""How far a value may lie above its declared bound: log-probabilities are rounded."""


@dataclass(frozen=True)
class Evidence:
    """The input of a measure."""

    logprobs: tuple[float, ...]
    """l_n of each candidate, nats."""
    answer_logprob: float
    """Summed log-probability of the greedy answer, nats."""
    answer_min_logprob: float
    answer_tokens: int
    votes: tuple[int, ...] = ()
    """Sizes of the groups of equal samples; an unreadable sample is a group of its own. Empty: nothing was sampled."""
    unstated: int = 0
    """Arguments of the greedy answer with a value that the conversation does not state (`ttsi.chat.grounding`), and its
    calls that fail on a copy of an agent's environment; 1 where the answer cannot be read."""
    omitted: int = 0
    """Literals of the request that the greedy answer leaves out, at most as many as its tools have arguments left for
    (`ttsi.chat.omission`)."""
    unreadable: int = 0
    """Samples that cannot be read. Where all are, nothing speaks for any action: the candidates that are samples are
    none, and every measure of them, and of votes, is 0."""

    @property
    def without_competition(self) -> float:
        """A share where there is no candidate: 1, as nothing competes; or 0, as no sample could be read."""
        return 0.0 if self.votes and self.unreadable >= sum(self.votes) else 1.0


Measure = Callable[[Evidence], float]
M = TypeVar("M", bound=Measure)


def measure(upper: float = math.inf, needs_samples: bool = False) -> Callable[[M], M]:
    """Declare what the settings need to know about a measure.

    Args:
        upper: its largest possible value.
        needs_samples: it counts votes, so the base's answer is sampled as well.
    """

    def declare(function: M) -> M:
        vars(function).update(upper=upper, needs_samples=needs_samples)
        return function

    return declare


def upper_bound(function: Measure) -> float:
    """The largest possible value of a measure; infinity where it declares none."""
    return float(getattr(function, "upper", math.inf))


def counts_samples(function: Measure) -> bool:
    """Whether a measure needs samples of the base's answer."""
    return bool(getattr(function, "needs_samples", False))


def softmax(logprobs: Sequence[float]) -> list[float]:
    """p_n = exp(l_n - max l) / sum_k exp(l_k - max l): the paper's relative softmax scoring.

    >>> [round(p, 3) for p in softmax([-1.0, -1.0, -1000.0])]
    [0.5, 0.5, 0.0]
    """
    if not logprobs:
        return []
    top = max(logprobs)
    if top == -math.inf:
        return [1 / len(logprobs)] * len(logprobs)
    shifted = [math.exp(value - top) if value > -math.inf else 0.0 for value in logprobs]
    total = sum(shifted)
    return [value / total for value in shifted]


@measure(upper=1.0)
def margin(evidence: Evidence) -> float:
    """The paper's u: the likeliest candidate's share minus the second's; 1 with a single candidate.

    >>> round(margin(Evidence((-0.1, -3.0), -1.0, -0.5, 4)), 3)
    0.896
    >>> margin(Evidence((-5.0,), -1.0, -0.5, 4))
    1.0
    """
    shares = sorted(softmax(evidence.logprobs), reverse=True)
    if not shares:
        return evidence.without_competition
    return shares[0] - (shares[1] if len(shares) > 1 else 0.0)


@measure(upper=1.0)
def grounded_margin(evidence: Evidence) -> float:
    """The margin, less one for every unstated value of the greedy answer, and for every literal that it leaves out.

    >>> round(grounded_margin(Evidence((-0.1, -3.0), -1.0, -0.5, 4, unstated=2)), 3)
    -1.104
    """
    return margin(evidence) - evidence.unstated - evidence.omitted


@measure(upper=1.0)
def top1(evidence: Evidence) -> float:
    """The likeliest candidate's share.

    >>> round(top1(Evidence((-0.1, -3.0), -1.0, -0.5, 4)), 3)
    0.948
    """
    return max(softmax(evidence.logprobs), default=evidence.without_competition)


@measure(upper=1.0)
def entropy(evidence: Evidence) -> float:
    """One minus the normalised entropy of the shares: 1 is certain, 0 is uniform.

    >>> round(abs(entropy(Evidence((-1.0, -1.0), -1.0, -0.5, 4))), 3)
    0.0
    >>> entropy(Evidence((-5.0,), -1.0, -0.5, 4))
    1.0
    """
    shares = softmax(evidence.logprobs)
    if len(shares) < 2:
        return 1.0 if shares else evidence.without_competition
    return 1.0 + sum(p * math.log(p) for p in shares if p > 0) / math.log(len(shares))


@measure(upper=0.0)
def answer_logprob(evidence: Evidence) -> float:
    """Summed log-probability of the greedy answer (nats), under the model without any mask.

    >>> answer_logprob(Evidence((), -1.5, -0.5, 4))
    -1.5
    """
    return evidence.answer_logprob


@measure(upper=0.0)
def answer_mean(evidence: Evidence) -> float:
    """Mean log-probability per token of the greedy answer (nats): minus the log of its perplexity.

    >>> answer_mean(Evidence((), -1.5, -0.5, 3))
    -0.5
    """
    return evidence.answer_logprob / max(evidence.answer_tokens, 1)


@measure(upper=0.0)
def answer_min(evidence: Evidence) -> float:
    """Log-probability of the greedy answer's least likely token (nats).

    >>> answer_min(Evidence((), -1.5, -0.9, 3))
    -0.9
    """
    return evidence.answer_min_logprob


@measure(upper=0.0)
def perplexity(evidence: Evidence) -> float:
    """Minus the perplexity of the greedy answer, so that larger is more confident; -1 is certain.

    >>> round(perplexity(Evidence((), math.log(0.25), -1.0, 2)), 3)
    -2.0
    """
    return -math.exp(min(-answer_mean(evidence), 700.0))


@measure(upper=1.0, needs_samples=True)
def vote_share(evidence: Evidence) -> float:
    """The largest group of equal samples as a share of all; 0 where none can be read, nan where nothing was sampled.

    >>> vote_share(Evidence((), -1.0, -1.0, 2, votes=(3, 1, 1)))
    0.6
    >>> vote_share(Evidence((), -1.0, -1.0, 2, votes=(1, 1), unreadable=2))
    0.0
    """
    if not evidence.votes:
        return math.nan
    return max(evidence.votes) / sum(evidence.votes) if evidence.unreadable < sum(evidence.votes) else 0.0


MEASURES: dict[str, Measure] = {
    function.__name__: function
    for function in (
        margin,
        grounded_margin,
        top1,
        entropy,
        answer_logprob,
        answer_mean,
        answer_min,
        perplexity,
        vote_share,
    )
}
"""Built-in measures by name."""


def find_measure(name: str) -> Measure:
    """The measure of a name, or of an object reference of your own.

    Raises:
        ConfigError: there is no such measure.
    """
    return resolve("measure", name, MEASURES, load_function)


def checked_value(name: str, value: Any) -> float:
    """What a measure returned, as a float; a number that is none (nan) is counted later.

    Raises:
        ConfigError: it is no number, or above the bound that a measure of your own declares.
    """
    number = _as_float(value)
    if number is None:
        raise WrongResult(f"the measure {name}", shorten(repr(value), 80), "return a float")
    bound = math.inf if name in MEASURES else upper_bound(find_measure(name))
    if number > bound + ROUNDING * max(1.0, abs(bound)):
        above = f"{number:g} and declares upper={bound:g}"
        raise WrongResult(f"the measure {name}", above, "return at most that, or declare more")
    return number


def _as_float(value: Any) -> float | None:
    # Texts and verdicts (numpy's are called bool, too) become floats as well, and mean something else.
    if isinstance(value, str | bytes) or type(value).__name__.startswith("bool"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
