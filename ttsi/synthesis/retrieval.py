"""Retrieval of demonstrations from a training file: few-shot prompting, the paper's ICL baseline.

Inputs: training data, the inputs, `SynthesisConfig.source` and `k`. Outputs: per input its examples in the order of
the prompt: the most similar last, next to the question.

    nearest   cosine of TF-IDF vectors of the words of the requests:
              w(t) = tf(t) * log((1 + N) / (1 + df(t))), N training rows, df(t) of which hold t
    random    drawn without replacement by the input's own seed

The paper (arXiv:2510.07841) draws its demonstrations from the official training sets and does not say how; TF-IDF needs
no second model, and equal similarity is broken by the input's seed. In weights instead of in context
(`--adaptation.method lora`) this is test-time training on nearest neighbours (arXiv:2305.18466).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from ttsi.config import SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.types import Example, GoldExample, Input, TrainingData, last_request
from ttsi.words import words

Weights = Mapping[str, float]


def demonstrations(
    data: TrainingData, inputs: Sequence[Input], config: SynthesisConfig, seeds: Sequence[int]
) -> list[tuple[Example, ...]]:
    """`config.k` examples of the training data for each input; rows that call nothing demonstrate nothing.

    Raises:
        ConfigError: the settings want written examples, not training data.
    """
    if config.source in ("writer", "schema"):
        raise ConfigError(
            "training data were given, but this method uses none: try --method icl, or --synthesis.source nearest"
        )
    pairs = [pair for pair in data.pairs if _demonstrates(pair)]
    index = _Nearest(pairs) if config.source == "nearest" else None
    chosen = []
    for item, seed in zip(inputs, seeds, strict=True):
        shuffled = random.Random(seed).sample(range(len(pairs)), len(pairs))
        ranked = index.rank(last_request(item), shuffled) if index else shuffled
        chosen.append(tuple(_example(pairs[number], item) for number in reversed(ranked[: config.k])))
    return chosen


def _demonstrates(pair: GoldExample) -> bool:
    """Whether a row shows how to call: gold may name a tool that is not on offer, which nothing can learn from."""
    offered = {tool.name for tool in pair.input.tools}
    return bool(pair.calls and last_request(pair.input)) and all(call.name in offered for call in pair.calls)


def _example(pair: GoldExample, item: Input) -> Example:
    offered = {tool.name: tool for tool in item.tools}
    same = all(offered.get(tool.name) == tool for tool in pair.input.tools if tool.name in {c.name for c in pair.calls})
    return Example(last_request(pair.input), pair.calls, "", tools=() if same else pair.input.tools)


class _Nearest:
    """An index over the requests of a training file."""

    def __init__(self, pairs: Sequence[GoldExample]) -> None:
        counts = [Counter(words(last_request(pair.input))) for pair in pairs]
        frequency = Counter(word for count in counts for word in count)
        self._idf = {word: math.log((1 + len(pairs)) / (1 + df)) for word, df in frequency.items()}
        self._rows = [self._unit(count) for count in counts]

    def rank(self, request: str, order: Sequence[int]) -> list[int]:
        """Row numbers, most similar first; equals stay in `order`."""
        query = self._unit(Counter(words(request)))
        return sorted(order, key=lambda number: -cosine(query, self._rows[number]))

    def _unit(self, count: Mapping[str, int]) -> Weights:
        weights = {word: n * self._idf[word] for word, n in count.items() if self._idf.get(word, 0.0) > 0}
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
        return {word: weight / length for word, weight in weights.items()}


def cosine(one: Weights, other: Weights) -> float:
    """Cosine of two vectors of length 1 (or empty).

    >>> cosine({"a": 1.0}, {"a": 0.6, "b": 0.8})
    0.6
    """
    return math.fsum(weight * other[word] for word, weight in one.items() if word in other)
