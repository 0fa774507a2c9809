"""Docstrings of functions: what they say about the function and about each argument.

Inputs: a docstring without its indentation (`inspect.getdoc`), in the style of Google, NumPy or Sphinx (reST). Outputs:
its first paragraph, and the texts of the arguments by name. What cannot be read is left out, and is never an error:
the package docstring_parser drops every argument where one entry is odd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_ARGUMENTS = r"(?:Args|Arguments|Params|Parameters|Keyword Args|Keyword Arguments|Other Parameters)"
_HEADING = re.compile(rf"{_ARGUMENTS}:\s*")
_NUMPY_HEADING = re.compile(r"(?:Other )?Parameters")
_UNDERLINE = re.compile(r"-{3,}|={3,}")
_END = re.compile(r"(?:Returns?|Yields?|Raises|Examples?|Notes?|Attributes):")
"""Other headings in Google style, alone on their line."""

_GOOGLE = re.compile(r"\*{0,2}(?P<names>\w+)(?:\s*\(.*?\))?:\s*(?P<text>.*)")
_NUMPY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?(?P<text>)")
_ANY_FIELD = r"[a-z]+(?:\s[^:`]*)?"
_FIELD = re.compile(rf":{_ANY_FIELD}:(?:\s.*)?")
_SPHINX = re.compile(
    rf":(?:(?:param|parameter|arg|argument|key|keyword)\s+(?:[^:`]*\s)?\\?\*{{0,2}}(?P<names>\w+)|{_ANY_FIELD}):"
    r"(?:\s+(?P<text>.*))?"
)
"""A field of any kind; it has names where it describes an argument."""


def first_paragraph(text: str) -> str:
    """The first paragraph on one line, up to the first section or field.

    >>> first_paragraph("Look up\\nthe weather.\\n:param city: the city")
    'Look up the weather.'
    """
    lines = text.partition("\n\n")[0].splitlines()
    ends = (at for at in range(len(lines)) if _ends_description(lines, at))
    return " ".join(" ".join(lines[: next(ends, len(lines))]).split())


def argument_texts(text: str) -> dict[str, str]:
    """The text of each argument that is described, on one line.

    >>> argument_texts("Look up.\\n\\nArgs:\\n    city: the city\\n        of it")
    {'city': 'the city of it'}
    >>> argument_texts("Look up.\\n\\nParameters\\n----------\\ncity : str\\n    the city")
    {'city': 'the city'}
    >>> argument_texts("Look up.\\n\\n:param str city: the city\\n:returns: its weather")
    {'city': 'the city'}
    """
    lines = text.splitlines()
    texts = _entries(lines, _SPHINX)
    for section in _numpy_sections(lines):
        texts |= _entries(section, _NUMPY)
    for section in _google_sections(lines):
        texts |= _entries(section, _GOOGLE)
    return texts


def _ends_description(lines: Sequence[str], at: int) -> bool:
    line = lines[at].strip()
    underlined = at + 1 < len(lines) and _UNDERLINE.fullmatch(lines[at + 1].strip())
    if underlined and (at or _NUMPY_HEADING.fullmatch(line)):
        return True
    return any(form.fullmatch(line) for form in (_UNDERLINE, _END, _FIELD)) or _HEADING.match(line) is not None


def _google_sections(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """The lines below each heading like "Args:" that are indented deeper."""
    for start, heading in enumerate(lines):
        if _HEADING.fullmatch(heading.strip()):
            rest = lines[start + 1 :]
            ends = (at for at, line in enumerate(rest) if line.strip() and _depth(line) <= _depth(heading))
            yield rest[: next(ends, len(rest))]


def _numpy_sections(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """The lines from each underlined heading "Parameters" to the next underlined heading."""
    underlines = [at for at, line in enumerate(lines) if at and _UNDERLINE.fullmatch(line.strip())]
    for at, end in zip(underlines, [*underlines, len(lines) + 1][1:], strict=True):
        if _NUMPY_HEADING.fullmatch(lines[at - 1].strip()):
            yield lines[at + 1 : end - 1]


def _entries(lines: Sequence[str], form: re.Pattern[str]) -> dict[str, str]:
    """The texts of the entries of a form, which stand as deep as the first line; each goes on in the lines below it."""
    texts: dict[str, str] = {}
    names: list[str] = []
    indent, after_blank = -1, False
    for line in lines:
        if not line.strip():
            after_blank = True
            continue
        indent = _depth(line) if indent < 0 else indent
        entry = form.fullmatch(line.strip()) if _depth(line) <= indent else None
        if entry:
            names = [name.strip("* ") for name in (entry["names"] or "").split(",") if name]
            texts |= dict.fromkeys(names, (entry["text"] or "").strip())
        elif after_blank and _depth(line) <= indent:
            names = []  # a new paragraph
        texts |= {name: f"{texts[name]} {line.strip()}".strip() for name in names if not entry}
        after_blank = False
    return texts


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
