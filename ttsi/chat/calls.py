"""Public names of the tool-call formats: `FORMATS` by name, and the `Format` protocol.

Inputs -> outputs: text -> `Parsed` (`Format.parse`). A format also rejects text that begins like a call of another
family, so that an attempted call never counts as the right answer "no tool fits".
"""

from __future__ import annotations

from ttsi.chat.families import FORMATS, format_name
from ttsi.chat.format import Format, FramedFormat, JsonFormat, Parsed
from ttsi.chat.handshake import detect

__all__ = ["FORMATS", "Format", "FramedFormat", "JsonFormat", "Parsed", "detect", "format_name"]
