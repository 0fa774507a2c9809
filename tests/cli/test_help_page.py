"""--help: in groups, with the values that run, in lines that end where the terminal does."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ttsi.cli import HELP
from ttsi.cli.help_page import default_values
from ttsi.methods import METHODS

VERBS = {
    "run": ("Basic", "Awareness", "Synthesis", "Adaptation", "Answer", "Teacher", "Training data", "Run folder"),
    "ask": ("Basic", "Awareness", "Synthesis", "Adaptation", "Answer", "Teacher", "Machine"),
    "serve": ("Basic", "Awareness", "Synthesis", "Adaptation", "Answer", "Access", "Limits", "Machine"),
    "sweep": ("Basic", "Answer", "Run folder", "Machine", "Output"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def line(page: str, flag: str) -> str:
    """The line of a flag; nothing is broken on so wide a terminal."""
    return next(text for text in page.splitlines() if f" {flag} " in text)


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_grouped(ttsi: Any, verb: str) -> None:
    page = ttsi(verb, "--help").out
    places = [page.index(f"─ {title} ─") for title in VERBS[verb]]
    assert places == sorted(places)
    assert "─ Parameters ─" not in page


def test_the_values_are_those_that_run(ttsi: Any) -> None:
    plain = ttsi("run", "--help").out
    assert "[default: answer_mean]" in line(plain, "--awareness.measure")
    assert "[default: -0.04]" in line(plain, "--awareness.tau")
    assert "[default: 0.006]" in line(plain, "--adaptation.lr")
    other = ttsi("run", "--model", "hf:some/model", "--method", "ttsi-paper", "--help").out
    assert "[default: 0.95]" in line(other, "--awareness.tau")
    assert "[default: 0.0001]" in line(other, "--adaptation.lr")
    by_size = line(ttsi("run", "--model", "hf:some/model", "--help").out, "--adaptation.lr")
    assert "[default:" not in by_size and "number of the model's parameters" in by_size
    assert "Defaults of --method ttsi-paper with --model hf:some/model." in other


def test_the_environment_names_the_method_too(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTSI_METHOD", "ttsi-paper")
    assert "[default: 1]" in line(ttsi("run", "--help").out, "--synthesis.k")
    assert "[default: 8]" in line(ttsi("run", "--method=ttsi", "--help").out, "--synthesis.k")


def test_control_methods_have_different_values() -> None:
    assert len({str(default_values(method, "embedded")) for method in METHODS}) > 5
    assert default_values("no such method", "embedded") == {}


def test_no_line_of_the_source_ends_a_line_of_the_page(ttsi: Any) -> None:
    """A docstring's second line began after a gap in the middle of the page."""
    page = ttsi("run", "--help").out
    for flag in ("--tau", "--answer.calls", "--adaptation.method", "--batch-size"):
        text = line(page, flag).partition(flag)[2].strip("│ ")
        assert text.endswith((".", "]")), text


@pytest.mark.parametrize("width", [50, 100, 160])
@pytest.mark.parametrize("verb", ["act", "ask", "sweep", "report"])
def test_what_a_command_does_fills_the_lines_of_every_terminal(
    ttsi: Any, monkeypatch: pytest.MonkeyPatch, verb: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    paragraphs = ttsi(verb, "--help").out.partition("╭")[0].strip().split("\n\n")[1:]
    assert paragraphs
    for paragraph in paragraphs:
        lines = [text.rstrip() for text in paragraph.splitlines()]
        for text, following in pairwise(lines):
            assert len(f"{text} {following.split()[0]}") > width, f"{text!r} has room for the next word"


def test_calls_and_format_are_there(ttsi: Any) -> None:
    for verb in ("run", "ask", "serve"):
        page = ttsi(verb, "--help").out
        assert "[choices: auto, required, one]" in line(page, "--answer.calls")
        assert "Tool-call format of the model" in line(page, "--format")


def test_a_shell_can_complete(ttsi: Any) -> None:
    assert "--install-completion" in ttsi("--help").out


def test_the_first_page_fits_a_terminal(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is broken in the middle cannot be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    page = ttsi("--help").out
    for text in HELP.splitlines():
        assert text in page.splitlines() or text + " " in page.splitlines(), text
    # Control: a narrower terminal does break lines.
    monkeypatch.setenv("COLUMNS", "60")
    assert HELP.splitlines()[0] not in ttsi("--help").out.splitlines()


def test_every_kind_of_model_is_named(ttsi: Any) -> None:
    for verb in ("run", "ask", "serve"):
        text = line(ttsi(verb, "--help").out, "--model")
        assert all(kind in text for kind in ("embedded", "smollm2", "a folder", "FILE.gguf", "hf:OWNER/NAME")), verb
