"""`ttsi act`: tools that are executed, from Python functions and from an MCP server, and errors that say what to do."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command

TOOLS = '''
class Store:
    """Files."""

    def __init__(self):
        self.names = ["plan.txt", "notes.txt"]

    def list_files(self) -> list[str]:
        """List the files."""
        return self.names

    def delete_file(self, file_name: str) -> str:
        """Delete a file."""
        self.names.remove(file_name)
        return "deleted"


def shout(text: str) -> str:
    """Shout a text."""
    return text.upper()


functions = [shout]


class Odd:
    """A property that raises, a static method, and an iterator."""

    @property
    def trap(self):
        raise RuntimeError("boom")

    @staticmethod
    def shout(text: str) -> str:
        """Shout a text."""
        return text.upper()

    def __iter__(self):
        raise RuntimeError("boom")


def late():
    raise ValueError("too late")
    yield
nothing = 3


class Noisy(Store):
    """It prints, and the user stops it at the second deletion."""

    def list_files(self) -> list[str]:
        """List the files."""
        print("debug: listing")
        return self.names

    def delete_file(self, file_name: str) -> str:
        """Delete a file."""
        raise KeyboardInterrupt


def broken():
    raise OSError("no store")


class Asking:
    """A tool that asks the user."""

    def ask_name(self) -> str:
        """Ask for a name."""
        return input("name? ")


class Sleepy:
    """A tool that starts a program and one that sleeps itself, each for long the first time."""

    def __init__(self):
        self.seconds = 60

    def doze(self) -> str:
        """Doze."""
        import time

        print("asleep", flush=True)
        time.sleep(4 if self.seconds else 0)
        self.seconds = 0
        return "rested"

    def sleep(self) -> str:
        """Sleep."""
        import subprocess

        print("asleep", flush=True)
        done = subprocess.run(["sleep", str(self.seconds)])
        self.seconds = 0
        return "rested" if done.returncode == 0 else "woken"


class Loud:
    """It prints when it is made."""

    def __init__(self):
        print("noise")

    def go(self) -> str:
        """Go."""
        return "went"


class Programs:
    """It starts a program that prints."""

    def go(self) -> str:
        """Go."""
        import subprocess

        subprocess.run(["echo", "noise"], check=True)
        return "went"
'''
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "act_tools.py").write_text(TOOLS)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_the_methods_of_an_object_are_executed(ttsi: Command) -> None:
    said = ttsi(
        "act", "List the files", "Thanks, list them", "--functions", "act_tools:Store", "--model", "scripted:demo"
    )
    assert said.code == 0, said.err
    assert "Turn 1  List the files" in said.out and "Turn 2" in said.out
    assert '> ["plan.txt", "notes.txt"]' in said.out


def test_the_trajectory_as_json(ttsi: Command) -> None:
    said = ttsi("act", "shout it", "--functions", "act_tools:functions", "--model", "scripted:demo", "--json")
    trajectory = json.loads(said.out)
    [turn] = trajectory["turns"]
    assert turn["end"] == "repeated" and turn["steps"][0]["results"][0] == {"content": "SHOUT", "error": False}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name the tools: --functions module:object, or --mcp COMMAND"),
        (("--functions", "act_tools:Store", "--mcp", "x"), "name the tools"),
        (("--functions", "act_tools:nothing"), "is an int without functions"),
        (("--functions", "act_tools:broken"), "OSError: no store"),
        (("--functions", "act_tools:late"), "ValueError: too late"),
        (("--mcp", 'python "x'), "is no command"),
        (("--mcp", " "), "name the program that starts the server"),
        (("--functions", "act_tools:functions", "--safe-to-repeat", "read-only"), "for MCP servers"),
        (("--functions", "act_tools:functions", "--safe-to-repeat", "whisper"), "whisper"),
        (("--functions", "act_tools:Store", "--library", "lib"), "no library"),
        (("--functions", "act_tools:Store", "--method", "icl", "--train-data", "x"), "no training data"),
        (("--functions", "act_tools:Store", "--agent.max-steps", "0"), "agent.max_steps is 0"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(ttsi: Command, arguments: tuple[str, ...], says: str) -> None:
    said = ttsi("act", "List the files", "--model", "scripted:demo", *arguments)
    assert said.code == 2 and says in said.err.splitlines()[-1], said.err


def test_explore_says_why_it_has_nothing_to_show(ttsi: Command) -> None:
    explore = ("act", "shout it", "--functions", "act_tools:functions", "--model", "scripted:demo")
    reason = "not adapted: no call was tried: explore needs tools of an agent that a copy may call"
    assert reason in ttsi(*explore, "--method", "explore").out
    assert reason not in ttsi(*explore, "--method", "explore", "--safe-to-repeat", "all").out, "control"


def test_acting_with_weights_is_announced_before_the_first_turn(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr("ttsi.cli.progress.ANNOUNCE_AFTER", 1e6)
    for weights in (True, False):
        monkeypatch.setattr(sys.modules["ttsi.cli.act"], "computes_here", lambda spec, here=weights: here)
        said.append(ttsi("act", "shout it", "--functions", "act_tools:functions", "--model", "scripted:demo").err)
    assert ["acting ..." in words for words in said] == [True, False]


def test_properties_are_not_evaluated_and_static_methods_are_tools(ttsi: Command) -> None:
    said = ttsi("act", "shout it", "--functions", "act_tools:Odd", "--model", "scripted:demo")
    assert said.code == 0 and "> SHOUT" in said.out, said.err


def test_turns_come_from_stdin(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("List the files\n\nList them again\n"))
    said = ttsi("act", "-", "--functions", "act_tools:Store", "--model", "scripted:demo")
    assert said.code == 0 and "Turn 2  List them again" in said.out, said.err


def test_an_empty_turn_is_refused(ttsi: Command) -> None:
    said = ttsi("act", "List the files", " ", "--functions", "act_tools:Store", "--model", "scripted:demo")
    assert said.code == 2 and "a turn is empty" in said.err


@pytest.mark.skipif(find_spec("mcp") is None, reason="needs the package mcp (pip install 'ttsi[mcp]')")
def test_the_tools_of_an_mcp_server(ttsi: Command) -> None:
    server = ROOT / "tests" / "environments" / "mcp_store.py"
    said = ttsi("act", "list the keys", "--mcp", f"{sys.executable} {server}", "--model", "scripted:demo")
    assert said.code == 0, said.err
    assert "Turn 1  list the keys" in said.out


def test_a_server_that_does_not_start_is_one_line(ttsi: Command) -> None:
    said = ttsi("act", "list", "--mcp", f"{sys.executable} -c 1", "--model", "scripted:demo")
    assert said.code == 2 and len(said.err.strip().splitlines()) == 1


NOISY = ("--functions", "act_tools:Noisy", "--model", "scripted:demo", "--method", "base")


def test_what_a_tool_prints_does_not_mix_with_the_output(ttsi: Command) -> None:
    said = ttsi("act", "List the files", *NOISY, "--json")
    assert json.loads(said.out)["turns"][0]["end"] == "repeated"
    assert "debug: listing" in said.err


STOPPED = ("act", "List the files", "Delete the file", *NOISY, "--agent.call-seconds", "0")


def test_what_was_done_before_an_interruption_is_shown(ttsi: Command) -> None:
    said = ttsi(*STOPPED)
    assert (said.code, said.err.splitlines()[-1]) == (130, "ttsi: interrupted")
    assert '> ["plan.txt", "notes.txt"]' in said.out  # the first turn; the second has no line of an unfinished step
    record = json.loads(ttsi(*STOPPED, "--json").out)
    assert record["error"] == "stopped: KeyboardInterrupt"
    assert record["turns"][0]["steps"][0]["results"][0]["content"] == '["plan.txt", "notes.txt"]'


NARROW = json.dumps({
    "replies": {"shout it": '<tool_call>\n{"name": "shout", "arguments": {"text": "shout"}}\n</tool_call>'},
    "context": 350,
})  # fmt: skip
TYPED = ("act", "--functions", "act_tools:Store", "--model", "scripted:demo")


class Terminal(io.StringIO):
    """A terminal, as far as Python asks."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_without_turns_a_terminal_asks_for_them(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("List the files\n\n  \nThanks, list them\n"))
    said = ttsi(*TYPED)
    assert said.code == 0, said.err
    assert "Turn 1  List the files" in said.out and "Turn 2  Thanks, list them" in said.out, "stdout is a file here"
    assert "Ctrl-D ends" in said.err and "Turn 3" in said.err, "the prompts are on stderr"
    monkeypatch.setattr(sys, "stdin", Terminal("List the files\n"))
    record = json.loads(ttsi(*TYPED, "--system", "Be brief.", "--json").out)
    assert [message["role"] for message in record["turns"][0]["messages"]] == ["system", "user"]


def test_without_turns_and_terminal_they_are_missing(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("List the files\n"))
    said = ttsi(*TYPED)
    assert said.code == 2 and "needs TURNS" in said.err.splitlines()[-1]


def test_a_conversation_that_ends_at_once_is_no_failure(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    said = ttsi(*TYPED)
    assert (said.code, said.out) == (0, "") and "Failed" not in said.err


def test_a_line_that_is_no_text_is_asked_for_again(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("\udcff\nList the files\n"))
    said = ttsi(*TYPED)
    assert "the line is not UTF-8 text" in said.err and "Turn 1  List the files" in said.out and said.code == 0


class Shell:
    """`ttsi act` on a pseudo-terminal."""

    def __init__(self, folder: Path, *arguments: str, stdout: Path | None = None) -> None:
        import pty

        self.ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "ttsi", "act", *arguments]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "TERM": "dumb"}
        out = theirs if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
        streams: dict[str, Any] = {"stdin": theirs, "stdout": out, "stderr": theirs}
        # A process in the background ignores Ctrl-C, and so would what it starts. A terminal sends it to the group.
        self.process = subprocess.Popen(
            command, **streams, env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def talk(self, lines: dict[str, bytes | None]) -> str:
        """Type each line when its prompt is shown (None: interrupt), and return what was shown in the end."""
        shown, to_type = b"", dict(lines)
        watchdog = threading.Timer(120, self.process.kill)
        watchdog.start()
        with suppress(OSError):  # so Linux ends a pseudo-terminal
            while piece := os.read(self.ours, 4096):
                shown += piece
                for prompt in [prompt for prompt in to_type if prompt.encode() in shown]:
                    line = to_type.pop(prompt)
                    if line is None:
                        time.sleep(0.3)  # until the tool reads
                        os.killpg(self.process.pid, signal.SIGINT)
                    else:
                        os.write(self.ours, line)
        self.process.wait()
        watchdog.cancel()
        os.close(self.ours)
        return shown.decode()


needs_pty = pytest.mark.skipif(find_spec("pty") is None, reason="needs a pseudo-terminal")
STORE = ("--functions", "act_tools:Store", "--model", "scripted:demo")


@needs_pty
def test_on_a_terminal_the_typed_line_is_the_heading(tmp_path: Path) -> None:
    shell = Shell(tmp_path, *STORE)
    shown = shell.talk({"Turn 1  ": b"List the files\n", "Turn 2  ": b"\x04"})
    assert shell.process.returncode == 0, shown
    assert shown.count("Turn 1  ") == 1 and "plan.txt" in shown, shown


@needs_pty
def test_lines_are_edited_where_stdout_is_a_file_and_none_is_cut(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    shell = Shell(tmp_path, *STORE, "--json", stdout=out)
    long = "list " * 1500 + "END"
    left = b"\x1b[D"
    shown = shell.talk({"Turn 1  ": b"Lst" + left * 2 + b"i\n", "Turn 2  ": long.encode() + b"\n", "Turn 3  ": b"\x04"})
    assert shell.process.returncode == 0, shown
    assert [turn["messages"][0]["content"] for turn in json.loads(out.read_text())["turns"]] == ["List", long]


@needs_pty
def test_a_tool_that_asks_the_user_can_be_interrupted(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "ask", "--functions", "act_tools:Asking", "--model", "scripted:demo", "--method", "base")
    shown = shell.talk({"name? ": None})
    assert shell.process.returncode == 130 and "Fatal Python error" not in shown, shown


@needs_pty
def test_ctrl_c_stops_the_turn_and_not_the_conversation(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--functions", "act_tools:Sleepy", "--model", "scripted:demo", "--method", "base")
    shown = shell.talk({"Turn 1  ": b"Sleep\n", "asleep": None, "Turn 2  ": b"Sleep again\n", "Turn 3  ": b"\x04"})
    assert shell.process.returncode == 0 and "you stopped the turn" in shown, shown
    assert shown.count("> rested") == 1, shown


@needs_pty
def test_a_tool_that_goes_on_after_ctrl_c_is_waited_for(tmp_path: Path) -> None:
    sleepy = ("--functions", "act_tools:Sleepy", "--model", "scripted:demo", "--method", "base")
    lines = {"Turn 1  ": b"Doze\n", "asleep": None, "Turn 2  ": b"Doze again\n", "Turn 3  ": b"\x04"}
    shell = Shell(tmp_path, *sleepy)
    shown = shell.talk(lines)
    assert shell.process.returncode == 0 and "doze goes on after Ctrl-C: waiting for its end" in shown, shown
    assert shown.count("> rested") == 1, shown
    assert shown.index("Turn 2  ") < shown.index("goes on after Ctrl-C"), "meanwhile the next turn can be typed"
    shell = Shell(tmp_path, *sleepy, "--agent.call-seconds", "1.5")  # the control: for as long as a call may take
    shown = shell.talk(lines)
    assert shell.process.returncode == 1 and "went on after Ctrl-C and did not return" in shown, shown


@needs_pty
def test_ctrl_c_drops_the_line_and_not_the_conversation(tmp_path: Path) -> None:
    shell = Shell(tmp_path, *STORE)
    shown = shell.talk({"Turn 1  ": None, "the line is dropped": b"List the files\n", "Turn 2  ": b"\x04"})
    assert shell.process.returncode == 0 and "plan.txt" in shown, shown


@needs_pty
def test_a_tool_that_asks_the_user_for_too_long_fails(tmp_path: Path) -> None:
    asking = ("--functions", "act_tools:Asking", "--model", "scripted:demo", "--method", "base")
    shell = Shell(tmp_path, "ask", *asking, "--agent.call-seconds", "0.5")
    shown = shell.talk({})
    assert shell.process.returncode == 1 and "did not return within 0.5 s" in shown, shown
    shell = Shell(tmp_path, "ask", *asking, "--agent.call-seconds", "0")
    assert "> Ada" in shell.talk({"name? ": b"Ada\n"}), "control: without a limit the user answers"


@pytest.mark.parametrize("name", ["Loud", "Programs"])
def test_what_own_code_and_its_programs_print_is_not_in_the_output(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "ttsi", "act", "go", "--functions", f"act_tools:{name}", "--json"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([*command, "--model", "scripted:demo"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["turns"][0]["steps"][0]["results"][0]["content"] == "went"
    assert "noise" in done.stderr, "control: it was printed"


def test_a_message_that_does_not_fit_ends_its_turn_and_not_the_conversation(
    ttsi: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "narrow.json").write_text(NARROW)
    narrow = ("act", "--functions", "act_tools:functions", "--model", f"scripted:{tmp_path / 'narrow.json'}")
    monkeypatch.setattr(sys, "stdin", Terminal("shout it\n" + "x" * 400 + "\nshout it\n"))
    said = ttsi(*narrow, "--agent.max-turns", "1")
    assert "the context" in said.out and "Turn 3  shout it" in said.out and said.code == 0, said
    assert said.out.count("> SHOUT") == 2
    given = ttsi(*narrow, "shout it", "x" * 400, "shout it")  # control: turns that are given are a task, which failed
    assert given.code == 1 and "Turn 3" not in given.out


def test_json_of_a_conversation_that_ends_at_once(ttsi: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert json.loads(ttsi(*TYPED, "--json").out) == {"turns": [], "error": None}
