"""Can a stranger find their way: headers, short files, honest names, and a tree of the package that is the real one?

The tree is a fenced block whose first line is `ttsi/`, in CONTRIBUTING.md (or README.md): every folder and every module
at the top has a line; what else is listed exists.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ttsi"
ROOMS = (PACKAGE, ROOT / "toolworld", ROOT / "speed")
PAGES = (ROOT / "CONTRIBUTING.md", ROOT / "README.md")

LONGEST = 400
SHORTEST_HEADER = 40
VAGUE = {"utils", "util", "common", "core", "base", "helpers", "helper", "misc"}
_NAME = re.compile(r"[\w.-]+(\.[a-z]+|/)")
_BRANCHES = str.maketrans("│├└─", "    ")


def header_problem(source: str) -> str | None:
    """Why a module's header does not do, or None: two lines, or one that says something."""
    header = ast.get_docstring(ast.parse(source))
    if header is None:
        return "does not open with a docstring"
    if len(header.splitlines()) < 2 and len(header) < SHORTEST_HEADER:
        return f"has a header of {len(header)} characters: say what it is, from what to what"
    return None


def file_problems(path: Path, source: str) -> list[str]:
    """What is wrong with one file, one line each."""
    problems = [f"{path} {problem}"] if (problem := header_problem(source)) else []
    lines = source.count("\n")
    if lines > LONGEST:
        problems.append(f"{path} has {lines} lines, more than {LONGEST}: split it by subject")
    vague = VAGUE.intersection(part.removesuffix(".py") for part in path.parts)
    return problems + [f"{path}: a thing called {name!r} is about nothing; name what it is about" for name in vague]


def listed(readme: str) -> set[str] | None:
    """The paths in the tree block, the fenced block whose first line is `ttsi/`; folders end in "/".

    A line is a folder (`chat/   what it is about`), or files side by side (`calls.py  schema.py   what they do`);
    what is indented deeper belongs to the folder above.
    """
    block = re.search(r"^```\w*\n(ttsi/.*?)^```", readme, re.MULTILINE | re.DOTALL)
    if block is None:
        return None
    paths: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in block[1].translate(_BRANCHES).splitlines():
        depth = len(line) - len(line.lstrip())
        folders = [(d, folder) for d, folder in folders if d < depth]
        for word in line.split():
            if not _NAME.fullmatch(word):
                break  # the rest of the line is words
            path = (folders[-1][1] if folders else "") + word
            paths.add(path)
            if word.endswith("/"):
                folders.append((depth, path))
    return paths


def present() -> set[str]:
    """Every folder of the package, and the modules at its top."""
    files = [path.relative_to(ROOT) for path in PACKAGE.rglob("*.py")]
    folders = {f"{file.parent.as_posix()}/" for file in files}
    return folders | {file.as_posix() for file in files if len(file.parts) == 2}


def tree_problems(readme: str, files: set[str]) -> list[str]:
    """How the tree block and the files differ, one line each."""
    paths = listed(readme)
    if paths is None:
        return ["there is no tree block: a fenced block whose first line is `ttsi/`"]
    missing = [f"{path} exists, and the tree block does not list it" for path in sorted(files - paths)]
    gone = [path for path in sorted(paths) if path not in files and not (ROOT / path).exists()]
    return missing + [f"the tree block lists {path}, which does not exist" for path in gone]


def test_every_file_is_short_has_a_header_and_a_name() -> None:
    files = sorted(path for room in ROOMS for path in room.rglob("*.py"))
    assert len(files) > 20
    assert [p for f in files for p in file_problems(f.relative_to(ROOT), f.read_text(encoding="utf-8"))] == []


def test_a_page_lists_the_tree_as_it_is() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    text = next((text for text in texts if listed(text) is not None), "")
    problems = tree_problems(text, present())
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ttsi/x.py", ""),
        ("ttsi/x.py", "import json\n"),
        ("ttsi/x.py", '"""Too short."""\n'),
        ("ttsi/x.py", 'import json\n"""A docstring that comes too late is no docstring, however long it is."""\n'),
        ("ttsi/x.py", '"""Long.\n\nEnough.\n"""\n' + "x = 1\n" * LONGEST),
        ("ttsi/utils.py", '"""Enough.\n\nOf a header.\n"""\n'),
        ("ttsi/common/x.py", '"""Enough.\n\nOf a header.\n"""\n'),
    ],
)
def test_control_a_bad_file_is_seen(name: str, source: str) -> None:
    assert len(file_problems(Path(name), source)) == 1


README_OF_THREE = """# x
```
ttsi/                 the package
  loop.py             the method; see `awareness/` and more.py
  chat/               text and calls
    calls.py  marked.py
```
"""
THREE = {"ttsi/", "ttsi/loop.py", "ttsi/chat/", "ttsi/chat/calls.py", "ttsi/chat/marked.py"}


def test_the_tree_block_is_read() -> None:
    assert listed(README_OF_THREE) == THREE
    drawn = README_OF_THREE.replace("  loop", "├─ loop").replace("  chat", "└─ chat").replace("    calls", "   ├ calls")
    assert listed(drawn) == THREE


def test_control_a_wrong_tree_is_seen() -> None:
    assert tree_problems(README_OF_THREE, THREE) == []
    more = tree_problems(README_OF_THREE, THREE | {"ttsi/new.py"})
    assert more == ["ttsi/new.py exists, and the tree block does not list it"]
    fewer = tree_problems(README_OF_THREE.replace("loop.py ", "gone.py "), THREE - {"ttsi/loop.py"})
    assert fewer == ["the tree block lists ttsi/gone.py, which does not exist"]
    assert len(tree_problems("# x\n", THREE)) == 1
