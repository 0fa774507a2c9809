r"""Translation of JSON Schema's regular expressions (ECMA-262, Unicode mode) into Python's.

Inputs: a pattern. Outputs: Python's regular expression with the same meaning (`python_pattern`), or the pattern itself
where a token mask can enforce it (`mask_pattern`); None for a pattern that cannot be enforced.

In ECMA-262 `\d` and `\w` are ASCII, `$` does not match before a last line break, and `[^]` is any character. A pattern
that is not ECMA-262's but Python's is read as Python's.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_WORD = "A-Za-z0-9_"
_NO_WORD = r"\x00-/:-@\[-\^`{-\U0010ffff"
_NO_DIGIT = r"\x00-/:-\U0010ffff"
_SPACE = r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_NO_SPACE = (
    r"\x00-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff"
    r"\u3001-\ufefe\uff00-\U0010ffff"
)
_SETS = {"d": "0-9", "D": _NO_DIGIT, "w": _WORD, "W": _NO_WORD, "s": _SPACE, "S": _NO_SPACE}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_CHARACTER = re.compile(
    r"\\(?: u(?P<high>d[89ab][0-9a-f]{2})\\u(?P<low>d[c-f][0-9a-f]{2}) | u\{0*(?P<point>[0-9a-f]{1,6})\}"
    r"| u(?P<four>[0-9a-f]{4}) | x(?P<two>[0-9a-f]{2}) | c(?P<control>[a-z])"
    r"| (?P<named>[tnrfv]|0(?!\d)) | (?P<itself>[^a-z0-9_]) )",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_GROUP = re.compile(r"\(\?(?:(?P<kind>[:=!]|<=|<!)|<(?P<name>[^\W\d][\w$]*|\$[\w$]*)>)")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{\d+(?:,\d*)?\})\??(?![*+?])")
_PROPERTY = re.compile(r"\\[pP]\{[\w=]+\}")
_SAFE = re.compile(
    r"""(?: [A-Za-z0-9_ ,:;/@%#=!"'<>.^$()|] | - | \\[dws.^$()|/\\+*?{}\[\]-]
          | \[\^?(?: [A-Za-z0-9_ ,:;/@%#=!.+*?()] | -(?!-) | \\[dws.^$()|/\\+*?{}\[\]-] )+\]
          | (?<![*+?}(|^])[*+?](?![*+?{]) | (?<![*+?}(|^])\{\d{1,3}(?:,\d{0,3})?\}(?![*+?{]) )*""",
    re.VERBOSE,
)


class _NotJavaScript(ValueError):
    """The pattern is not written in JavaScript's dialect."""


class _Unenforceable(ValueError):
    """The pattern is JavaScript's, and Python has no expression for it."""


@lru_cache(maxsize=4096)
def python_pattern(pattern: str) -> str | None:
    r"""The pattern in Python's dialect, for `re.search`; None where Python cannot express it.

    >>> python_pattern(r"^(?<year>\d{4})$")
    '^([0-9]{4})\\Z'
    >>> python_pattern(r"^\p{L}+$") is None
    True

    Raises:
        ValueError: the pattern is a regular expression of neither dialect.
    """
    try:
        translated = _Translation(pattern).text
        if _compiles(translated) is None:
            return translated
    except _NotJavaScript:
        pass
    except _Unenforceable:
        return None
    problem = _compiles(pattern)
    if problem is None:
        return pattern
    if isinstance(problem, re.error) and "look-behind requires fixed-width" not in str(problem):
        raise ValueError(str(problem)) from problem
    return None


@lru_cache(maxsize=4096)
def mask_pattern(pattern: str) -> str | None:
    """The pattern where a token mask reads it as `python_pattern` does, else None. Raises the same errors."""
    return pattern if _SAFE.fullmatch(pattern) and python_pattern(pattern) is not None else None


def _compiles(pattern: str) -> Exception | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about nested sets, which a later Python may read differently
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return error
    return None


class _Translation:
    """One pass over a pattern; `text` is the result."""

    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0
        self._names = self._groups()
        parts = []
        while self._at < len(pattern):
            parts.append(self._next())
        self.text = "".join(parts)

    def _groups(self) -> dict[str, int]:
        """Name -> number of each named group."""
        bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", lambda match: "_" * len(match[0]), self._pattern, flags=re.DOTALL)
        names: dict[str, int] = {}
        for number, group in enumerate(re.finditer(r"\((?:(?!\?)|\?<(?![=!])([^>]*)>)", bare), 1):
            if group[1] in names:
                raise _Unenforceable("two groups of one name")
            if group[1] is not None:
                names[group[1]] = number
        return names

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        match = expression.match(self._pattern, self._at)
        if match:
            self._at = match.end()
        return match

    def _next(self) -> str:
        letter = self._pattern[self._at]
        if letter == "\\":
            return self._escape()
        if letter == "[":
            return self._set()
        if letter == "(" and self._pattern.startswith("(?", self._at):
            group = self._take(_GROUP)
            if group is None:
                raise _NotJavaScript
            return "(" if group["name"] else group[0]
        if letter in "*+?{":
            quantifier = self._take(_QUANTIFIER)
            if quantifier is None:
                raise _NotJavaScript
            return quantifier[0]
        self._at += 1
        return {".": r"[^\n\r\u2028\u2029]", "$": r"\Z"}.get(letter) or (
            letter if letter in "^|()" else re.escape(letter)
        )

    def _escape(self) -> str:
        character = self._character()
        if character is not None:
            return re.escape(character)
        if self._take(_PROPERTY):
            raise _Unenforceable("a property of characters")
        kind = self._pattern[self._at + 1 : self._at + 2]
        if kind in _SETS and kind:
            self._at += 2
            return f"[{_SETS[kind]}]"
        if kind in ("b", "B"):
            self._at += 2
            return rf"(?a:\{kind})"
        back = self._take(re.compile(r"\\(?:k<(?P<name>[^>]*)>|(?P<number>[1-9]\d?))"))
        if back is None or (back["name"] is not None and back["name"] not in self._names):
            raise _NotJavaScript
        number = back["number"] or self._names[str(back["name"])]
        return rf"(?:\{number})"

    def _character(self) -> str | None:
        """The character of an escape; None, with nothing taken, where the escape is of another kind."""
        match = self._take(_CHARACTER)
        if match is None:
            return None
        if match["high"]:
            return chr(0x10000 + (int(match["high"], 16) - 0xD800) * 0x400 + int(match["low"], 16) - 0xDC00)
        code = match["point"] or match["four"] or match["two"]
        if code:
            if int(code, 16) > 0x10FFFF:
                raise _NotJavaScript
            return chr(int(code, 16))
        if match["control"]:
            return chr(ord(match["control"]) % 32)
        return _CONTROLS[match["named"]] if match["named"] else match["itself"]

    def _set(self) -> str:
        start = self._take(re.compile(r"\[\^?"))
        assert start is not None
        parts = []
        while not self._pattern.startswith("]", self._at):
            low = self._member()
            if self._pattern.startswith("-", self._at) and not self._pattern.startswith("-]", self._at):
                self._at += 1
                high = self._member()
                if len(low) == len(high) == 1:
                    parts.append(f"{re.escape(low)}-{re.escape(high)}")
                    continue
                parts += [low if len(low) > 1 else re.escape(low), r"\-"]
                low = high
            parts.append(low if len(low) > 1 else re.escape(low))
        self._at += 1
        negated = start[0].endswith("^")
        if not parts:
            return r"[\s\S]" if negated else r"(?!)"
        return ("[^" if negated else "[") + "".join(parts) + "]"

    def _member(self) -> str:
        """One character of a set, or the ranges of a class such as `\\d`."""
        if self._at >= len(self._pattern):
            raise _NotJavaScript
        letter = self._pattern[self._at]
        if letter != "\\":
            self._at += 1
            return letter
        character = self._character()
        if character is not None:
            return character
        if self._take(_PROPERTY):
            raise _Unenforceable("a property of characters")
        kind = self._pattern[self._at + 1 : self._at + 2]
        self._at += 2
        if kind == "b":
            return "\b"
        if kind not in _SETS or not kind:
            raise _NotJavaScript
        return _SETS[kind]
