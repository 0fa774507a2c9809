"""The tool-call formats of model families, one small file for each way of writing.

Every module of this folder with a tuple `FORMATS` is registered.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ttsi.chat.attempts import MARKS
from ttsi.chat.format import Format


def _load_formats() -> dict[str, Format]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    formats = [fmt for module in modules for fmt in getattr(module, "FORMATS", ())]
    return {fmt.name: fmt for fmt in sorted(formats, key=lambda fmt: (fmt.order, fmt.name))}


FORMATS: dict[str, Format] = _load_formats()
"""Every format by name; where two read the same text, the earlier one counts."""
MARKS.update({fmt.name: fmt.marks for fmt in FORMATS.values()})

_EARLIER_NAMES = {"ours": "marked"}


def format_name(name: str) -> str:
    """The current name of a format, also for a name from an earlier version's records.

    >>> format_name("ours")
    'marked'
    """
    return _EARLIER_NAMES.get(name, name)
