"""Do the pages of the documentation hold: do their links lead somewhere, their commands parse, their Python run?

README.md and docs/*.md are read as they stand. A ```python block runs, all blocks of a page in one namespace, with the
scripted demo for the embedded model; one that cannot stands behind `<!-- not run: REASON -->`. The commands of the
README are run as well (`tests/test_readme.py`).
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cyclopts import CycloptsError

import ttsi
from tests.test_readme import MODEL, typed
from ttsi.cli import build
from ttsi.errors import TTSIError

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + [*ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(#[^)\s]*)?\)")
BLOCK = re.compile(r"(<!-- not run: .+? -->\n+)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LONG_LINE = 60
"""Characters of a line that no two passages share by chance."""
FENCED = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page: those of its headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S), re.M)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def repeated_passages(text: str) -> list[str]:
    """Long lines that stand twice on a page, as after a slip in an edit; lines of code may."""
    lines = Counter(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S).splitlines())
    return [line for line, count in lines.items() if count > 1 and len(line) >= LONG_LINE]


def dead_links(page: Path, text: str) -> list[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    dead = []
    for path, anchor in LINK.findall(FENCED.sub("", text)):
        target = page.parent / path if path else page
        if not target.exists():
            dead.append(f"{path}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            dead.append(f"{path}{anchor}: no such heading")
    return dead


def wrong_commands(text: str) -> list[str]:
    """The `ttsi` lines of a page that the command does not understand, each with the reason."""
    shell = re.sub(r"^```(sh|bash)$", "```console", text, flags=re.MULTILINE)
    wrong = []
    for _, *words in (words for words in typed(shell) if words[0] == "ttsi"):
        if any(word.startswith("mine:") for word in words):
            continue  # tests/cli/test_extending.py runs them, beside the file mine.py
        try:
            build(words).parse_args(words, exit_on_error=False, print_error=False)
        except (CycloptsError, TTSIError) as error:
            wrong.append(f"ttsi {' '.join(words)}: {error}")
    return wrong


def run_blocks(text: str) -> int:
    """Run the Python of a page and return how many blocks ran."""
    namespace: dict[str, Any] = {"__name__": "page"}
    codes = [code for mark, code in BLOCK.findall(text) if not mark]
    for code in codes:
        exec(compile(code.replace('"embedded"', f'"{MODEL}"'), "page", "exec", dont_inherit=True), namespace)
    return len(codes)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    assert wrong_commands(page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    assert run_blocks(text) + text.count("<!-- not run: ") == text.count("```python\n")


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "results.md"], ids=lambda page: page.name)
def test_no_passage_of_a_page_stands_twice(page: Path) -> None:
    """Tables of results, which a script makes, have the same heads."""
    assert not repeated_passages(page.read_text("utf-8"))


def test_control_a_passage_that_stands_twice_is_seen() -> None:
    line = "A line that is long enough to be one of a kind, as lines of prose are.\n"
    assert repeated_passages(f"{line}\nmore\n{line}") == [line.strip()]
    assert not repeated_passages(f"{line}\n```\n{line}```\n")


def test_the_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    there = {line.split()[1] for line in page.splitlines() if line.startswith("::: ")}
    where = {name: f"{value.__module__}.{value.__name__}" for name in ttsi.__all__ if (value := getattr(ttsi, name))}
    missing = [name for name, path in where.items() if not {path, path.rpartition(".")[0]} & there]
    assert missing == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in PAGES)


def test_a_link_is_right_in_the_site_too() -> None:
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / "dev" / "site.py")
    assert spec is not None and spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    there = {"README.md", "method.md", "dev/log.md"}
    files = SimpleNamespace(get_file_from_path=lambda uri: uri if uri in there else None)

    def moved(uri: str, text: str) -> str:
        page = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
        return str(hook.on_page_markdown(text, page, None, files))

    assert moved("README.md", "[a](docs/method.md#gaps) [b](ttsi/loop.py)") == "[a](method.md#gaps) b"
    assert moved("method.md", "![a](../dev/log.md) [b](https://x.org)") == "![a](dev/log.md) [b](https://x.org)"
    assert moved("dev/log.md", "[a](../docs/method.md)") == "[a](../method.md)"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a](nowhere.md)", "nowhere.md: no such file"),
        ("![a](docs/nowhere.svg)", "docs/nowhere.svg: no such file"),
        ("[a](docs/method.md#nothing-of-it)", "docs/method.md#nothing-of-it: no such heading"),
        ("[a](#nothing-of-it)", "#nothing-of-it: no such heading"),
    ],
)
def test_control_a_dead_link_is_seen(text: str, says: str) -> None:
    assert dead_links(ROOT / "README.md", text) == [says]


def test_control_other_links_pass() -> None:
    assert dead_links(ROOT / "README.md", "[a](https://x.org) [b](docs/method.md) `[c](nowhere.md)`") == []


@pytest.mark.parametrize("language", ["sh", "console"])
@pytest.mark.parametrize(
    "line", ["ttsi rum", "ttsi run --no-such-flag 3", "ttsi run --tau high", "ttsi run --method ttzi"]
)
def test_control_a_wrong_command_is_seen(language: str, line: str) -> None:
    assert len(wrong_commands(f"```{language}\n{line}\n```\n")) == 1


def test_control_python_that_fails_is_seen_and_a_marked_block_does_not_run() -> None:
    assert run_blocks("```python\nx = 1\n```\n\n```python\nassert x == 1\n```\n") == 2
    with pytest.raises(NameError):
        run_blocks("```python\nno_such_name\n```\n")
    assert run_blocks("<!-- not run: needs a server -->\n```python\nno_such_name\n```\n") == 0
