"""A folder of one's own, and a way to run the command in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.worlds import rows, write
from ttsi.cli import main
from ttsi.models import gguf


@dataclass(frozen=True)
class CommandResult:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., CommandResult]


@pytest.fixture(autouse=True)
def smollm2_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command does without --model must not depend on what `make demo` installed here."""
    monkeypatch.setattr(gguf, "smollm2_file", lambda: None)


@pytest.fixture
def ttsi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `ttsi ARGUMENTS` in a fresh folder that holds mine.jsonl with eight inputs."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TTSI_")]:
        monkeypatch.delenv(name)
    write(tmp_path / "mine.jsonl", rows(8))

    def command(*arguments: str) -> CommandResult:
        code = main(list(arguments))
        printed = capsys.readouterr()
        return CommandResult(code, printed.out, printed.err)

    return command
