"""The model families whose tool calls can be read, taught and constrained, one small file for each way of writing.

A module of this folder with a tuple `FORMATS` is registered by being here.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ttsi.chat.format import Format


def _registered() -> dict[str, Format]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    formats = [form for module in modules for form in getattr(module, "FORMATS", ())]
    return {form.name: form for form in sorted(formats, key=lambda form: (form.order, form.name))}


FORMATS: dict[str, Format] = _registered()
"""Every format by name; of two that read the same text the earlier one is meant."""

_EARLIER_NAMES = {"ours": "marked"}


def format_name(name: str) -> str:
    """Today's name of a format; names that earlier versions used are still accepted, and stand in their records.

    >>> format_name("ours")
    'marked'
    """
    return _EARLIER_NAMES.get(name, name)
