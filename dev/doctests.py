"""Doctests as code blocks in the site's reference.

An extension of griffe, which reads the docstrings (see `mkdocs.yml`). Inputs: docstrings as they are written. Outputs:
the same with each doctest fenced, because Markdown reads `>>>` as a quotation.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*|\n\1 +\S.*)*", re.MULTILINE)


class Doctests(Extension):
    """Fence the doctests of every docstring."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """One class, function, module or attribute was read."""
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(fenced, obj.docstring.value)


def fenced(match: re.Match[str]) -> str:
    """A doctest as a block of Python, as deep as it stands."""
    return f"{match[1]}```pycon\n{match[0]}\n{match[1]}```"
