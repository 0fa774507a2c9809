"""Every transformers is given its cache under the name that it takes."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import DynamicCache, LlamaModel

from ttsi.engine.caching import reading_on


class Before(nn.Module):
    def forward(self, input_ids: Any, past_key_values: Any = None, **kwargs: Any) -> None: ...


class Since524(nn.Module):
    def forward(self, input_ids: Any, cache: Any = None, **kwargs: Any) -> None: ...


def test_the_name_is_the_models() -> None:
    read = DynamicCache()
    assert reading_on(Before(), read) == {"past_key_values": read}
    assert reading_on(Since524(), read) == {"cache": read}
    assert reading_on(Since524(), None) == {"cache": None}


def test_the_name_is_an_argument_of_this_transformers() -> None:
    import inspect

    decoder = LlamaModel.__new__(LlamaModel)
    [name] = reading_on(decoder, None)
    assert name in inspect.signature(LlamaModel.forward).parameters
