"""Every transformers is given its cache under the name that it takes."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import DynamicCache, LlamaModel

from ttsi.engine.caching import cache_argument


class Before(nn.Module):
    def forward(self, input_ids: Any, past_key_values: Any = None, **kwargs: Any) -> None: ...


class Since524(nn.Module):
    def forward(self, input_ids: Any, cache: Any = None, **kwargs: Any) -> None: ...


def test_the_name_is_the_models() -> None:
    read = DynamicCache()
    assert cache_argument(Before(), read) == {"past_key_values": read}
    assert cache_argument(Since524(), read) == {"cache": read}
    assert cache_argument(Since524(), None) == {"cache": None}


def test_the_name_is_an_argument_of_this_transformers() -> None:
    import inspect

    decoder = LlamaModel.__new__(LlamaModel)
    [name] = cache_argument(decoder, None)
    assert name in inspect.signature(LlamaModel.forward).parameters
