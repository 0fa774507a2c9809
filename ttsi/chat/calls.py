"""The tool-call formats as the rest of the package imports them: `FORMATS` by name, and what a format is.

Inputs -> outputs: text -> `Parsed` (`Format.parse`), which refuses what begins like a call of any other family, so that
an attempt at a call never counts as the right answer "no tool fits". The formats lie in `ttsi.chat.families`. Not in
the paper (arXiv:2510.07841), which uses its models' own formats.
"""

from __future__ import annotations

from ttsi.chat.families import FORMATS
from ttsi.chat.format import Format, FramedFormat, JsonFormat, Parsed
from ttsi.chat.handshake import detect

__all__ = ["FORMATS", "Format", "FramedFormat", "JsonFormat", "Parsed", "detect"]
