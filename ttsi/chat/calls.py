"""Tool calls in text: every registered format, and what any text says in one of them.

Inputs -> outputs: text -> `Parsed`. `FORMATS` holds the formats by name (`ttsi.chat.families`); `read` reads an answer
in a format and refuses what begins like a call of any other family, so that an attempt at a call never counts as the
right answer "no tool fits". Not in the paper (arXiv:2510.07841), which uses its models' own formats.
"""

from __future__ import annotations

from ttsi.chat.families import FORMATS
from ttsi.chat.format import Format, FramedFormat, JsonFormat, Parsed
from ttsi.chat.handshake import detect

__all__ = ["FORMATS", "Format", "FramedFormat", "JsonFormat", "Parsed", "detect"]
