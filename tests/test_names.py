"""The names of the code: each class and module name once, no vague words, verbs or nouns for functions, plain headers.

Read from the source of `ttsi/`, `toolworld/` and `speed/`. CONTRIBUTING.md has the glossary.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("ttsi", "toolworld", "speed")

VAGUE = frozenset("told said known found asked shown drawn meant heard".split())
"""Words that stand for whatever was just looked up or printed: name the thing."""

ASKS = frozenset(
    "how which what who whose where when why does do did is are was were has have can may must should will".split()
)
IRREGULAR = frozenset(
    "begun bent bought bound broken brought built caught chosen done drawn driven fallen fed felt forgotten found "
    "frozen given gone grown heard held hidden kept known laid led left lent lost made meant met paid proven said "
    "seen sent shown sold sought spelt spent spoken stood stuck swept sworn taken taught thought thrown told torn "
    "understood won worn woven written".split()
)
REAL_WORDS = frozenset("bleed breed embed exceed feed heed need proceed seed shed shred speed succeed".split())
"""Verbs and nouns that end as participles do."""


@cache
def sources() -> dict[str, str]:
    """Every file of the three folders, by its path."""
    files = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def repeated_names(files: Mapping[str, str]) -> list[str]:
    """Class names and module names that stand twice, one line each."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path, source in files.items():
        if Path(path).stem not in ("__init__", "__main__"):
            places[f"module {Path(path).stem}"].append(path)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                places[f"class {node.name}"].append(f"{path}:{node.lineno}")
    return [f"{name} stands in {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def vague_names(path: str, source: str) -> list[str]:
    """The variables, parameters, attributes, fields and functions that have a vague name, one line each."""
    names = sorted(set(_bound(ast.parse(source))), key=lambda pair: pair[1])
    return [f"{path}:{line}: {name}" for name, line in names if name.strip("_") in VAGUE]


def _bound(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a file gives to something, and every attribute that it uses, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.alias):
            yield (node.name if isinstance(node, ast.ExceptHandler) else node.asname) or "", node.lineno
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg, node.value.lineno


def participles(path: str, source: str) -> list[str]:
    """The functions whose whole name is a participle, one line each; context managers and properties excepted."""
    return [
        f"{path}:{node.lineno}: {node.name}()"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if _is_participle(node.name.strip("_")) and not _reads_as_a_state(node)
    ]


def _is_participle(name: str) -> bool:
    regular = name.endswith("ed") and "_" not in name and len(name) > 3
    return name in IRREGULAR or (regular and name not in REAL_WORDS)


def _reads_as_a_state(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """`with adapted(...)` and `run.finished` are idiom."""
    words = [ast.unparse(decorator) for decorator in node.decorator_list]
    words += [ast.unparse(node.returns)] if node.returns else []
    return bool(re.search(r"context_?manager|property|fixture", " ".join(words), re.IGNORECASE))


def riddle(source: str) -> str | None:
    """The first line of a module's header where it is a question, else None."""
    header = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    words = re.sub(r"`[^`]*`", "", header)
    asks = words.partition(" ")[0].lower() in ASKS
    return header if "?" in words or asks else None


def test_no_class_and_no_module_has_the_name_of_another() -> None:
    assert len(sources()) > 150
    problems = repeated_names(sources())
    assert not problems, "\n".join(problems)


def test_nothing_has_a_vague_name() -> None:
    problems = [line for path, source in sources().items() for line in vague_names(path, source)]
    assert not problems, "\n".join(problems)


def test_functions_are_verbs_or_nouns() -> None:
    problems = [line for path, source in sources().items() for line in participles(path, source)]
    assert not problems, "\n".join(problems)


def test_no_header_is_a_question() -> None:
    problems = [f"{path}: {line}" for path, source in sources().items() if (line := riddle(source))]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.py": "class Row: ...", "b.py": "def f():\n    class Row: ..."}, "class Row stands in a.py:1, b.py:2"),
        ({"x/files.py": "", "y/files.py": ""}, "module files stands in x/files.py, y/files.py"),
    ],
)
def test_control_a_name_that_stands_twice_is_seen(files: dict[str, str], problem: str) -> None:
    assert repeated_names(files) == [problem]


def test_control_packages_and_other_names_may_stand_where_they_do() -> None:
    assert repeated_names({"x/__init__.py": "class A: ...", "y/__init__.py": "class B: ..."}) == []


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "_known: int = 1",
        "def f(*, said): ...",
        "def f(*told): ...",
        "def asked(): ...",
        "class Asked:\n    drawn: int",
        "self.heard = 1",
        "f(self._shown)",
        "for i, found in x: ...",
        "[said for said in x]",
        "with f() as meant: ...",
        "try: ...\nexcept E as told: ...",
        "import x as known",
        "if (found := f()): ...",
        "f(found=1)",
    ],
)
def test_control_a_vague_name_is_seen(source: str) -> None:
    assert len(vague_names("a.py", source)) == 1


def test_control_other_names_pass() -> None:
    assert vague_names("a.py", "unknown = foundation = is_known = 'found'\ndef find(asker): ...") == []


@pytest.mark.parametrize("name", ["settled", "_billed", "drawn", "kept", "written", "taught"])
def test_control_a_participle_is_seen(name: str) -> None:
    assert participles("a.py", f"def {name}(): ...") == [f"a.py:1: {name}()"]
    assert participles("a.py", f"class A:\n    async def {name}(self): ...") == [f"a.py:2: {name}()"]


@pytest.mark.parametrize(
    "source",
    [
        "def embed(): ...",
        "def read_rows(): ...",
        "def banned_hashes(): ...",
        "@contextmanager\ndef adapted(): ...",
        "def adapted(self) -> AbstractContextManager[int]: ...",
        "class A:\n    @property\n    def finished(self): ...",
    ],
)
def test_control_verbs_nouns_and_states_pass(source: str) -> None:
    assert participles("a.py", source) == []


@pytest.mark.parametrize("line", ["Which words?", "How it is done", "Where does it go? `ttsi run` decides."])
def test_control_a_question_is_seen(line: str) -> None:
    assert riddle(f'"""{line}\n\nMore.\n"""') == line


def test_control_a_noun_phrase_passes() -> None:
    assert riddle('"""Majority vote over sampled answers (`which?`).\n\nIs it good?\n"""') is None
