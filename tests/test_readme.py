"""Does everything that the README tells people to type work?

Each `ttsi ...` line of a ```console block runs, in order, in one empty folder, with the scripted demo as the model and
four inputs; each `make ...` line must name a target; the ```python blocks are executed. What a reader would bring along
(tools, questions, settings, downloaded data) is put in place or replaced, see `Shell`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from ttsi.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MODEL = "scripted:demo"

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": does, "parameters": PARAMETERS}}
    for name, does in (("get_weather", "get the weather forecast of a city"), ("find_hotel", "find a hotel in a city"))
]
QUESTION = {
    "messages": [{"role": "user", "content": "will I need an umbrella in Oslo?"}],
    "tools": TOOLS,
    "gold": [{"name": "get_weather", "arguments": {"city": "Oslo"}}],
}
BROUGHT = {"--tools": json.dumps(TOOLS), "--benchmark": json.dumps(QUESTION) + "\n", "--config": "tau: 0.9\n"}
"""What a file given to an option holds, when the repository has no file of that name."""


def blocks(readme: str, language: str) -> list[str]:
    """The contents of the fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


def typed(readme: str) -> list[list[str]]:
    """The `ttsi` and `make` lines of the console blocks as words, without prompt, comment, pipe and redirection."""
    lines = "".join(blocks(readme, "console")).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if _is_command(line)]
    stops = {"|", ">", ">>", "&&", "&", ";", "2>", "<"}
    return [words[: next((i for i, word in enumerate(words) if word in stops), None)] for words in commands]


def _is_command(line: str) -> bool:
    return re.match(r"(\$ )?(ttsi|make)\b", line) is not None


class Shell:
    """Runs README lines in a folder, as a reader would who has only the scripted demo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def failure(self, words: list[str]) -> str | None:
        """Why this line does not work, or None."""
        if words[0] == "make":
            targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            missing = [word for word in words[1:] if "=" not in word and word not in targets]
            return f"{shlex.join(words)}: no target {missing[0]}" if missing else None
        errors = io.StringIO()
        quiet = (contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors))
        with contextlib.chdir(self.folder), patch.dict(os.environ, NO_COLOR="1"), quiet[0], quiet[1]:
            code = main(self.adjusted(words)[1:])
        return None if code == 0 else f"{shlex.join(words)}: exit {code}: {errors.getvalue()[-500:]}"

    def adjusted(self, words: list[str]) -> list[str]:
        """The line with the demo as its model, four inputs, and no data from elsewhere; files brought along."""
        options = dict(zip(words, [*words[1:], ""], strict=True))
        for option, content in BROUGHT.items():
            if "." in options.get(option, ""):
                self._bring(options[option], content)
        if len(words) < 2 or words[1] not in ("run", "ask") or "--help" in words:
            return words
        if "--data" in options:
            words = [*_without(words, "--data", "--benchmark"), "--benchmark", "toolworld"]
        words = [*_without(words, "--model", "--device", "--dtype"), "--model", MODEL]
        return [*_without(words, "--limit"), "--limit", "4"] if words[1] == "run" else words

    def _bring(self, name: str, content: str) -> None:
        target = self.folder / name
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copyfile(ROOT / name, target)
        else:
            target.write_text(content, encoding="utf-8")


def _without(words: list[str], *options: str) -> list[str]:
    """The words without these options and their values."""
    gone = {i + step for i, word in enumerate(words) if word in options for step in (0, 1)}
    return [word for i, word in enumerate(words) if i not in gone]


def failures(readme: str, folder: Path) -> list[str]:
    """What does not work of everything that is typed in a README, one entry each."""
    shell = Shell(folder)
    return [failure for words in typed(readme) if (failure := shell.failure(words))]


def execute(readme: str) -> str:
    """Run the python blocks, one after another in one namespace, and return what they print."""
    said = io.StringIO()
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(readme, "python"):
        with contextlib.redirect_stdout(said):
            exec(block.replace('"embedded"', f'"{MODEL}"'), namespace)
    return said.getvalue()


@pytest.fixture
def readme() -> str:
    if not README.exists():
        pytest.skip("there is no README.md yet")
    return README.read_text(encoding="utf-8")


def test_every_command_of_the_readme_works(readme: str, tmp_path: Path) -> None:
    assert typed(readme), "README.md shows no command in a ```console block"
    assert failures(readme, tmp_path) == []


def test_the_python_of_the_readme_runs(readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert blocks(readme, "python"), "README.md shows no ```python block"
    execute(readme)


GOOD = """
```console
$ make demo       # a comment
ttsi ls methods | head -2
ttsi ask "Will I need an umbrella in Oslo?" --tools tools.json
ttsi run --benchmark sealtool --data somewhere \\
    --model hf:some/model --tau 0.9
ttsi run --benchmark mine.jsonl --config mine.yaml --limit 100 --quiet
```
"""


def test_control_a_good_readme_passes(tmp_path: Path) -> None:
    assert len(typed(GOOD)) == 5
    assert failures(GOOD, tmp_path) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("make demonstration", "no target demonstration"),
        ("ttsi rum", "exit 2"),
        ("ttsi run --no-such-flag 3", "exit 2"),
        ("ttsi ls modles", "did you mean"),
    ],
)
def test_control_a_wrong_command_is_seen(line: str, says: str, tmp_path: Path) -> None:
    [failure] = failures(f"```console\n{line}\n```\n", tmp_path)
    assert says in failure


def test_control_python_is_executed_with_the_demo() -> None:
    assert execute('```python\nprint("embedded")\n```\n') == f"{MODEL}\n"
    with pytest.raises(NameError):
        execute("```python\nno_such_name\n```\n")
