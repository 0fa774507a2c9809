"""The confidence guard: the adapted answer counts only where the model is more confident of it than of the base's.

Inputs: both answers. Outputs: None, or the reason why the base answers. The paper (arXiv:2510.07841) returns every
adapted answer; where the model is less confident of it, the examples were mostly bad (dev/log.md has the figures).
"""

from __future__ import annotations

from ttsi.types import Answer


def lack_of_confidence(base: Answer, adapted: Answer, margin: float | None) -> str | None:
    """None when the adapted answer counts, else one line with the reason.

    Each answer's mean log-probability per token (nats) is that under the weights that wrote it; the adapted one must
    be larger by more than `margin`. Without a margin every adapted answer counts.

    >>> old, new = Answer("", (), logprob=-2.0, tokens=10), Answer("", (), logprob=-1.0, tokens=10)
    >>> lack_of_confidence(old, new, 0.05), lack_of_confidence(new, old, 0.05)
    (None, 'the model is not surer of it: -0.200 nats per token, the base -0.100')
    >>> lack_of_confidence(new, old, None)
    """
    before, after = (answer.logprob / max(1, answer.tokens) for answer in (base, adapted))
    if margin is None or after > before + margin:
        return None
    return f"the model is not surer of it: {after:.3f} nats per token, the base {before:.3f}"
