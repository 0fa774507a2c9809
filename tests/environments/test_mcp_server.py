"""An MCP server as an environment: a real one made with the mcp package, and one that does what servers should not."""

from __future__ import annotations

import gc
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ttsi.environments.environment import Environment
from ttsi.environments.mcp_connection import MCPConnection
from ttsi.environments.mcp_server import MCPEnvironment
from ttsi.environments.mcp_stdout import StrayText, short_command
from ttsi.errors import ConfigError, EnvironmentFailure, NotRepeatable
from ttsi.types import Message, Tool, ToolCall, ToolResult

HERE = Path(__file__).parent
STORE = [sys.executable, str(HERE / "mcp_store.py")]
ODDITIES = [sys.executable, str(HERE / "mcp_oddities.py")]


@pytest.fixture(autouse=True)
def mcp_package(request: pytest.FixtureRequest) -> None:
    if "without_the_package" not in request.node.name:
        pytest.importorskip("mcp", reason="needs the mcp package: pip install 'ttsi[mcp]'")


@pytest.fixture(autouse=True)
def ended_servers() -> Iterator[None]:
    """The client of the mcp package does not always wait for a server that it had to kill on a busy machine.

    Python warns of such a process when its object goes, which would fail whatever test runs then.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def shared() -> Iterator[MCPEnvironment]:
    """One server for the tests that change nothing in it: a start takes a second."""
    pytest.importorskip("mcp", reason="needs the mcp package: pip install 'ttsi[mcp]'")
    with MCPEnvironment(STORE, safe_to_repeat="read-only") as environment:
        yield environment


def call(environment: Environment, tool: str, **arguments: Any) -> ToolResult:
    return environment.execute(ToolCall(tool, arguments))


def odd(what: str, **options: Any) -> MCPEnvironment:
    return MCPEnvironment([*ODDITIES, what], **options)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_server_is_an_environment() -> None:
    with MCPEnvironment(STORE, turns=["Put b in", "And?"], system="Be brief.", env={"COLOUR": "red"}) as environment:
        assert isinstance(environment, Environment)
        assert environment.next_turn() == (Message("system", "Be brief."), Message("user", "Put b in"))
        assert call(environment, "put", thing="b", times=2) == ToolResult("put b")
        assert environment.next_turn() == (Message("user", "And?"),)
        assert call(environment, "look") == ToolResult("a b b")
        assert environment.next_turn() is None
        assert call(environment, "variable", name="COLOUR") == ToolResult("red")
        assert call(environment, "variable", name="OMP_NUM_THREADS") == ToolResult("(unset)")  # nothing else is passed
        pid = int(call(environment, "variable", name="pid").content)
        assert alive(pid)
    assert not alive(pid)
    with pytest.raises(EnvironmentFailure, match=r'^the MCP server ".*mcp_store\.py" is closed$'):
        call(environment, "look")
    environment.close()  # again, to no effect


def test_tools_are_those_of_the_server(shared: MCPEnvironment) -> None:
    tools = {tool.name: tool for tool in shared.tools()}
    assert list(tools) == ["put", "look", "break_down", "die", "variable", "picture", "times"]
    assert isinstance(tools["put"], Tool)
    assert tools["put"].description == "Put a thing in."
    assert tools["put"].parameters["properties"]["thing"]["type"] == "string"
    assert tools["put"].parameters["required"] == ["thing"]


def test_contents_that_are_no_text_are_named(shared: MCPEnvironment) -> None:
    assert call(shared, "picture") == ToolResult("two dots\n(image: image/png)")


def test_a_list_is_shown_item_by_item_and_an_empty_one_as_such(shared: MCPEnvironment) -> None:
    assert call(shared, "times", thing="b", number=2) == ToolResult("b\nb")
    assert call(shared, "times", thing="b", number=0) == ToolResult("[]")
    assert call(shared, "times", thing="", number=1) == ToolResult("")  # control: an empty text is one


def test_an_error_of_a_tool_is_an_error_result(shared: MCPEnvironment) -> None:
    result = call(shared, "break_down")
    assert result.error
    assert "it is broken" in result.content or "break_down" in result.content  # a newer package hides the reason
    result = call(shared, "put", thing=3)
    assert result.error
    assert "thing" in result.content
    assert call(shared, "lok") == ToolResult("unknown tool 'lok'; did you mean 'look'?", error=True)
    assert call(shared, "look") == ToolResult("a")  # and the server goes on


def test_a_copy_calls_only_what_is_safe_to_repeat(shared: MCPEnvironment) -> None:
    twin = shared.copy()
    assert call(twin, "look") == ToolResult("a")
    for environment in (twin, twin.copy()):
        with pytest.raises(NotRepeatable, match="it was not called, because this is a copy"):
            call(environment, "put", thing="b")
    twin.close()
    assert call(shared, "look") == ToolResult("a")  # the server is the original's


def test_what_a_copy_may_call_is_declared() -> None:
    names = (
        r"name those that change nothing, --safe-to-repeat NAME,NAME \(in Python safe_to_repeat\), out of first, second"
    )
    with odd("pages") as environment, pytest.raises(EnvironmentFailure, match=f"^the state .* be copied: {names}$"):
        environment.copy()
    none_marked = pytest.raises(EnvironmentFailure, match=f"^the server marks no tool as read-only: {names}$")
    with odd("pages", safe_to_repeat="read-only") as environment, none_marked:
        environment.copy()
    with odd("pages", turns=["one", "two"], safe_to_repeat=["first"]) as environment:
        environment.next_turn()
        twin = environment.copy()
        assert twin.next_turn() == environment.next_turn() == (Message("user", "two"),)
        with pytest.raises(NotRepeatable):
            call(twin, "second")
        assert call(twin, "first") == ToolResult("went")
    with odd("pages", safe_to_repeat=True) as environment:
        assert call(environment.copy(), "second") == ToolResult("went")


def test_marks_of_the_server_are_named_where_nobody_asked_for_them() -> None:
    marked = r"--safe-to-repeat read-only \(in Python .*\) allows those that it marks so: look$"
    with MCPEnvironment(STORE) as environment, pytest.raises(EnvironmentFailure, match=marked):
        environment.copy()
    with odd("no tools") as environment, pytest.raises(EnvironmentFailure, match=r"it has no tools$"):  # control
        environment.copy()


def test_a_long_list_of_tools_is_cut() -> None:
    with odd("many") as environment, pytest.raises(EnvironmentFailure, match=r"out of t0, t1, .*, t11, \.\.\.$"):
        environment.copy()


def test_a_declaration_must_name_a_tool() -> None:
    with pytest.raises(
        ConfigError, match=r"^safe_to_repeat \(--safe-to-repeat\): unknown tool 'frist'; did you mean 'first'"
    ):
        odd("pages", safe_to_repeat=["frist"])
    with pytest.raises(ConfigError, match="a list of names"):
        odd("pages", safe_to_repeat="first")
    for wrong in (None, 3, [3]):
        with pytest.raises(ConfigError, match=r'^safe_to_repeat must be True, False, "read-only" or a list of names$'):
            odd("pages", safe_to_repeat=wrong)


@pytest.mark.parametrize("command", ["python server.py", None, 3, [], ["python", 3], {"python": 1}, MCPEnvironment])
def test_a_command_is_a_list_of_texts(command: Any) -> None:
    with pytest.raises(ConfigError, match="is a list of texts"):
        MCPEnvironment(command)


def test_other_arguments_of_a_wrong_type_are_one_line() -> None:
    for turns in (3, None, "hello"):
        with pytest.raises(ConfigError, match="pass a list with one entry per turn"):
            odd("pages", turns=turns)
    for env in (3, ["A=1"], {"A": 1}):
        with pytest.raises(ConfigError, match=r"^env must be a dictionary of texts"):
            odd("pages", env=env)
    with pytest.raises(ConfigError, match="seconds"):
        odd("pages", seconds=0)


def test_a_server_that_dies_is_a_failure_with_its_last_words() -> None:
    with MCPEnvironment(STORE) as environment:
        for _ in range(2):
            with pytest.raises(EnvironmentFailure, match=r"is gone .*; its last words: out of memory"):
                call(environment, "die")
        with pytest.raises(EnvironmentFailure, match="is gone"):
            environment.tools()


def test_a_server_that_cannot_start_is_a_failure() -> None:
    with pytest.raises(EnvironmentFailure, match=r'^the MCP server "no-such-program" cannot be started: FileNotF'):
        MCPEnvironment(["no-such-program"])
    with pytest.raises(EnvironmentFailure, match=r"is gone|cannot be started") as failure:
        MCPEnvironment([sys.executable, "-c", "raise SystemExit('no licence')"])
    assert "its last words: no licence" in str(failure.value)


def test_all_pages_of_tools_are_read() -> None:
    with odd("pages") as environment:
        assert [tool.name for tool in environment.tools()] == ["first", "second"]
        assert call(environment, "second") == ToolResult("went")


@pytest.mark.parametrize(
    ("what", "words"),
    [("endless", 'endless" has no end: 100 pages'), ("schema", 'schema" has a tool that cannot be used: tool go')],
)
def test_control_tools_that_cannot_be_used_are_a_failure(what: str, words: str) -> None:
    with pytest.raises(EnvironmentFailure, match=words):
        odd(what)


def test_a_server_that_never_answers_is_no_hang() -> None:
    with pytest.raises(EnvironmentFailure, match=r"did not answer within 1 s \(its first answer\)"):
        odd("mute", seconds=1)


def test_a_call_that_is_never_answered_ends_the_connection() -> None:
    connection = MCPConnection([*ODDITIES, "late"], None, seconds=30)
    connection.seconds = 0.1  # from here on, so that a slow start is no failure
    for _ in range(2):
        with pytest.raises(EnvironmentFailure, match=r"did not answer within 0\.1 s \(the call of go\)$"):
            connection.ask("the call of go", "call_tool", "go", {})
    connection.close()


def test_a_server_that_ends_without_a_word_is_gone() -> None:
    with odd("silent") as environment, pytest.raises(EnvironmentFailure, match=r"is gone \(the call of go\)$"):
        call(environment, "go")


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("refusal", "McpError: not today"),
        ("resources", "of the file\n(resource: file:///b.bin)\n(resource link: file:///c.txt)\n(audio: audio/wav)"),
        ("structured", '{"n": 1}'),
        ("text", "a"),
        ("nothing", "(no content)"),
        ("noise", "went"),
    ],
)
def test_replies_of_every_kind_are_text(what: str, result: str) -> None:
    with odd(what) as environment:
        for _ in range(2):  # a refusal is no failure, though its code is that of a lost connection
            reply = call(environment, "go")
            assert reply.content.lower() == result.lower()  # McpError, or MCPError in newer packages
            assert reply.error == (what == "refusal")


@pytest.mark.parametrize(("what", "text"), [("greeting", "hello"), ("latin", "caf\ufffd"), ("noise", "hello")])
def test_text_on_stdout_is_one_warning(caplog: pytest.LogCaptureFixture, what: str, text: str) -> None:
    caplog.set_level(logging.INFO, "ttsi")  # the level may be that of a command
    with odd(what) as environment:
        assert call(environment, "go") == ToolResult("went")
    [warning, *others] = [record for record in caplog.records if record.name.startswith(("ttsi", "mcp.client.stdio"))]
    words = rf"^the MCP server .*mcp_oddities\.py {what}\" wrote '{text}' to stdout, where only the protocol belongs"
    assert warning.levelno == logging.WARNING and re.match(words, warning.getMessage())
    # Further lines are events, which --verbose shows; none of the client's tracebacks is among them.
    assert [(one.name, one.levelno) for one in others] == [(warning.name, logging.INFO)] * len(others)
    assert bool(others) == (what == "noise")


def test_lines_that_arrive_while_the_warning_is_written_are_events(caplog: pytest.LogCaptureFixture) -> None:
    """The client's thread reads on while the user's thread says what the server wrote until it had started."""
    caplog.set_level(logging.INFO, "ttsi")
    stray, begun, done = StrayText("the MCP server"), threading.Event(), threading.Event()

    def client() -> None:
        with stray.listening(threading.get_ident()):
            unreadable("first")
            begun.set()
            assert writing.wait(10)
            unreadable("second")
        done.set()

    writing = threading.Event()

    def during_warning(record: logging.LogRecord) -> bool:
        writing.set()
        return not done.wait(0.2)  # without the lock the second line is through by now

    thread = threading.Thread(target=client)
    thread.start()
    log = logging.getLogger("ttsi.environments.mcp_stdout")
    log.addFilter(during_warning)
    try:
        assert begun.wait(10)
        stray.warn_from_now_on()
    finally:
        log.removeFilter(during_warning)
        thread.join(10)
    assert [(one.levelno, one.args[1][:13]) for one in caplog.records if one.args] == [
        (logging.WARNING, "wrote 'first'"),
        (logging.INFO, "wrote 'second"),
    ]


def unreadable(line: str) -> None:
    """What the mcp package logs for a line that it cannot read."""
    try:
        TypeAdapter(dict[str, int]).validate_python(line)
    except ValidationError:
        logging.getLogger("mcp.client.stdio").exception("Failed to parse JSONRPC message from server")


def test_control_a_server_that_writes_the_protocol_only_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with odd("well") as environment:
        assert call(environment, "go") == ToolResult("went")
    assert not [record for record in caplog.records if record.name.startswith(("ttsi", "mcp.client.stdio"))]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([*ODDITIES, "garbled"], r"(cannot be started: .*|is gone .*); it wrote 'loading \{.*\.\.\.' to stdout"),
        ([sys.executable, "-c", "print(7)"], r"(cannot be started: .*|is gone .*); it wrote '7' to stdout"),
        ([sys.executable, "-c", "print()"], r"(cannot be started: .*|is gone .*); it wrote an empty line to stdout"),
    ],
)
def test_text_on_stdout_is_named_where_the_server_does_not_start(
    caplog: pytest.LogCaptureFixture, command: list[str], words: str
) -> None:
    with pytest.raises(EnvironmentFailure, match=words) as failure:
        MCPEnvironment(command)
    assert "\n" not in str(failure.value)
    assert not [record for record in caplog.records if record.name.startswith(("ttsi", "mcp.client.stdio"))]


def test_control_what_another_client_logs_stays_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    client = logging.getLogger("mcp.client.stdio")
    with odd("well"):
        try:
            TypeAdapter(int).validate_json("hello")
        except ValidationError:
            client.exception("Failed to parse")  # in this thread, which is not that of the connection
    client.error("later")
    kept = [record.getMessage() for record in caplog.records if record.name == client.name]
    assert kept == ["Failed to parse", "later"]


def test_two_servers_of_one_program_have_different_names() -> None:
    first, second = (short_command(["python", "x" * 50, f"/a/long/folder/of/servers/{name}.py"]) for name in "ab")
    assert first != second and max(len(first), len(second)) < 100
    assert short_command(["python", "-c", "one\ntwo"]) == "python -c 'one two'"


def test_what_is_not_closed_ends_with_the_program(tmp_path: Path) -> None:
    program = tmp_path / "forgetful.py"
    program.write_text(
        textwrap.dedent(f"""
        from ttsi.environments.mcp_server import MCPEnvironment
        from ttsi.types import ToolCall
        environment = MCPEnvironment({STORE!r})
        print(environment.execute(ToolCall("variable", {{"name": "pid"}})).content)
        """),
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    ended = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not alive(int(ended.stdout))


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigError, match=r"pip install 'ttsi\[mcp\]'"):
        MCPEnvironment(STORE)
