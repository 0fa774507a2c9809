"""Does a teacher that fails in every way cost little, and is nothing paid for twice? Against a real server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from tests.models.endpoint import EXAMPLE, Behaviour, Endpoint, breaks, completion, drips, hangs, says, sends, serving
from ttsi.chat.calls import FORMATS
from ttsi.config import SynthesisConfig, TeacherConfig
from ttsi.errors import ConfigError, ModelError
from ttsi.models import Generation, Request, load, load_teacher
from ttsi.models.remote import DOWN_AFTER_FAILURES, DOWN_SECONDS, MAX_REPLY_BYTES, RemoteModel, _retry_after
from ttsi.models.scripted import DemoModel
from ttsi.synthesis import synthesise
from ttsi.types import Awareness, Input, Message, Prompt, Tool

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("get_weather", "get the weather of a city", CITY), Tool("find_hotel", "find a hotel in a city", CITY))
ASKED = Prompt((Message("user", "write an example"),), TOOLS)


class Clock:
    """Time that passes when somebody sleeps, and a little whenever somebody looks."""

    def __init__(self, tick: float = 0.0) -> None:
        self.time, self.slept, self.tick = 0.0, list[float](), tick

    def now(self) -> float:
        self.time += self.tick
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class Desk:
    """A teacher on its endpoint, with a clock and a cache of its own."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self.endpoint, self.folder, self.clock = endpoint, folder, Clock()

    def teacher(self, run: str = "run", **changes: Any) -> RemoteModel:
        config = TeacherConfig(**{"cache": self.folder / "teacher.db", "parallel": 1, "timeout": 5.0, **changes})
        return RemoteModel("small", config, run, now=self.clock.now, sleep=self.clock.sleep)

    def ask(self, seed: int = 0, teacher: RemoteModel | None = None, prefix: str = "", **changes: Any) -> Generation:
        prompt = Prompt(ASKED.messages, ASKED.tools, prefix)
        [said] = (teacher or self.teacher(**changes)).generate([Request(prompt, 50, 1.0, seed)])
        return said

    def attempts(self) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(self.folder / "teacher.db")) as db:
            return list(db.execute("SELECT state, tokens FROM attempts ORDER BY id"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with serving() as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
        yield Desk(endpoint, tmp_path)


def test_a_teacher_is_told_tools_and_format_and_what_it_says_comes_back(desk: Desk) -> None:
    said = desk.ask()
    assert (said.text, said.tokens, said.finished, said.error, said.attempt_errors) == (EXAMPLE, 120, True, None, ())
    [asked] = desk.endpoint.asked
    system, user = asked["messages"]
    assert "get_weather" in system["content"] and '"name"' in system["content"]
    assert user == {"role": "user", "content": "write an example"}
    assert (asked["model"], asked["max_tokens"], asked["temperature"], asked["seed"]) == ("small", 50, 1.0, 0)
    assert desk.endpoint.keys == ["Bearer secret-key"]


def test_a_begun_answer_is_asked_for_and_taken_off_again(desk: Desk) -> None:
    desk.endpoint.behaviours = [says('{ "name":"get_weather", "arguments": {}}'), says('{"name": "find_hotel"}')]
    said = desk.ask(prefix='{"name": "get_weather"')
    assert said.text == ', "arguments": {}}'
    assert desk.endpoint.asked[0]["messages"][-1]["content"].endswith('{"name": "get_weather"')
    wrong = desk.ask(seed=1, prefix='{"name": "get_weather"')
    assert (wrong.error, wrong.attempt_errors, wrong.tokens) == ("wrong-start", ("wrong-start",), 120)


AGAIN: dict[str, tuple[Behaviour, str]] = {
    "429": (sends(b"{}", 429), "429"),
    "500": (sends(b"{}", 500), "500"),
    "502": (sends(b"<html>", 502), "502"),
    "503": (sends(b"", 503), "503"),
    "cut off": (breaks, "broken"),
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_may_pass_is_tried_again_and_counted(desk: Desk, name: str) -> None:
    fault, word = AGAIN[name]
    desk.endpoint.behaviours = [fault, fault, says(EXAMPLE)]
    said = desk.ask()
    assert (said.text, said.error, said.attempt_errors) == (EXAMPLE, None, (word, word))
    assert len(desk.clock.slept) == 2
    assert 0.5 <= desk.clock.slept[0] <= 1 <= desk.clock.slept[1] <= 2


@pytest.mark.parametrize("name", AGAIN)
def test_three_attempts_are_the_most(desk: Desk, name: str) -> None:
    fault, word = AGAIN[name]
    desk.endpoint.behaviours = [fault]
    said = desk.ask()
    assert (said.text, said.error, said.attempt_errors) == ("", word, (word,) * 3)
    assert (len(desk.endpoint.asked), len(desk.clock.slept)) == (3, 2)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
def test_what_cannot_pass_is_not_tried_again_and_redirects_are_not_followed(desk: Desk, status: int) -> None:
    desk.endpoint.behaviours = [sends(b"{}", status, Location=f"{desk.endpoint.url}/elsewhere")]
    said = desk.ask()
    assert (said.error, len(desk.endpoint.asked), desk.clock.slept) == (str(status), 1, [])


def test_nobody_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as gone:
        monkeypatch.setenv("OPENAI_BASE_URL", gone.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    desk = Desk(gone, tmp_path)
    assert desk.ask().attempt_errors == ("refused",) * 3
    assert desk.attempts() == [("failed: refused", 0)] * 3, "nothing was sent, so nothing was billed"


def test_who_hangs_is_left(desk: Desk) -> None:
    desk.endpoint.behaviours = [hangs]
    said = desk.ask(timeout=0.05, attempts=2)
    assert (said.error, said.attempt_errors) == ("timeout", ("timeout",) * 2)
    assert all(tokens > 0 for _, tokens in desk.attempts()), "it may have been billed, so it stays set aside"


@pytest.mark.parametrize(("tick", "word"), [(1.0, "timeout"), (0.0, "large")])
def test_an_endless_reply_ends_by_time_or_by_size(desk: Desk, tick: float, word: str) -> None:
    desk.endpoint.behaviours = [drips]
    desk.clock.tick = tick
    assert desk.ask(timeout=20.0, attempts=1).error == word


@pytest.mark.parametrize(
    ("value", "waits"), [("7", [7.0]), ("0", [0.0]), ("1000000000", []), ("Wed, 01 Jan 2020 00:00:00 GMT", [0.0])]
)
def test_retry_after_is_honoured_and_too_long_a_wait_is_no_wait(desk: Desk, value: str, waits: list[float]) -> None:
    desk.endpoint.behaviours = [sends(b"{}", 429, Retry_After=value), says(EXAMPLE)]
    said = desk.ask()
    assert desk.clock.slept == waits
    assert (said.error is None) is bool(waits)


@pytest.mark.parametrize("value", ["abc", "nan", "", None])
def test_a_retry_after_that_says_nothing_is_none(value: str | None) -> None:
    assert _retry_after(value) is None


GARBAGE = {
    "no json": (b"<html>busy</html>", "garbage"),
    "truncated json": (completion()[:40], "garbage"),
    "no choices": (completion(choices=[]), "garbage"),
    "nan": (b'{"choices": [{"message": {"content": NaN}}]}', "garbage"),
    "lone surrogate": (b'{"choices": [{"message": {"content": "\\ud800"}}]}', "garbage"),
    "deep": (b'{"choices": ' + b"[" * 100_000, "garbage"),
    "a number": (completion(5), "garbage"),
    "a list": (b"[1]", "garbage"),
    "not utf-8": (b"\xff\xfe", "garbage"),
    "nothing said": (completion(None), "empty"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_paid_for_once_and_not_asked_for_again(desk: Desk, name: str) -> None:
    body, word = GARBAGE[name]
    desk.endpoint.behaviours = [sends(body)]
    for _ in range(2):
        said = desk.ask()
        assert (said.text, said.error, said.attempt_errors) == ("", word, (word,))
    assert len(desk.endpoint.asked) == 1


def test_a_reply_that_is_cut_short_says_so(desk: Desk) -> None:
    desk.endpoint.behaviours = [says("{", "length")]
    said = desk.ask()
    assert (said.text, said.finished, said.attempt_errors) == ("{", False, ("truncated",))


def test_nothing_is_paid_for_twice_and_control_another_seed_is_another_request(desk: Desk) -> None:
    first = desk.ask(teacher=desk.teacher("one"))
    assert desk.ask(teacher=desk.teacher("another run")) == first
    assert len(desk.endpoint.asked) == 1
    desk.ask(seed=1)
    assert len(desk.endpoint.asked) == 2


def test_the_intent_is_on_disk_before_the_request_and_the_reply_before_its_use(desk: Desk) -> None:
    seen: list[list[tuple[str, int]]] = []
    desk.endpoint.behaviours = [lambda handler, asked: (seen.append(desk.attempts()), says(EXAMPLE)(handler, asked))[1]]
    desk.ask()
    [[(state, tokens)]] = seen
    assert (state, tokens > 50) == ("begun", True)
    assert desk.attempts() == [("replied", 120)]


def test_a_budget_of_tokens_is_kept_also_by_a_resumed_run(desk: Desk) -> None:
    replies = [desk.ask(seed=seed, budget="800tokens") for seed in range(8)]  # a new teacher each time
    paid = len(desk.endpoint.asked)
    assert 0 < paid < 8
    assert [said.error for said in replies] == [None] * paid + ["budget"] * (8 - paid)
    assert sum(tokens for _, tokens in desk.attempts()) <= 800
    assert desk.ask(seed=0, budget="800tokens").error is None, "what was paid for stays free"
    assert desk.ask(seed=9, budget="800tokens", run="another").error is None, "a budget is one run's"


def test_a_budget_of_money_needs_a_price(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="teacher-price"):
        desk.teacher(budget="1usd")
    said = desk.ask(budget="1usd", price="10,100")
    assert said.dollars == pytest.approx((100 * 10 + 20 * 100) / 1e6)
    assert desk.ask(seed=1, budget="0.003usd", price="10,100").error == "budget"


def test_an_attempt_that_a_crash_left_open_counts(desk: Desk) -> None:
    desk.ask()
    with closing(sqlite3.connect(desk.folder / "teacher.db")) as db, db:
        db.execute("INSERT INTO attempts (run, key, state, tokens, dollars) VALUES ('run', 'k', 'begun', 700, 0)")
    assert desk.ask(seed=1, budget="900tokens").error == "budget"


def test_after_five_failures_there_is_a_minute_of_silence(desk: Desk) -> None:
    desk.endpoint.behaviours = [sends(b"{}", 500)]
    teacher = desk.teacher(attempts=1)
    words = [desk.ask(seed, teacher).error for seed in range(DOWN_AFTER_FAILURES + 2)]
    assert words == ["500"] * DOWN_AFTER_FAILURES + ["down"] * 2
    assert len(desk.endpoint.asked) == DOWN_AFTER_FAILURES
    desk.clock.time += DOWN_SECONDS
    desk.endpoint.behaviours = [says(EXAMPLE)]
    assert desk.ask(99, teacher).error is None


def test_control_successes_in_between_keep_it_up(desk: Desk) -> None:
    desk.endpoint.behaviours = [sends(b"{}", 500), says(EXAMPLE)] * DOWN_AFTER_FAILURES + [says(EXAMPLE)]
    teacher = desk.teacher(attempts=1)
    assert "down" not in [desk.ask(seed, teacher).error for seed in range(2 * DOWN_AFTER_FAILURES)]


def test_many_requests_come_back_in_order(desk: Desk) -> None:
    desk.endpoint.behaviours = [lambda handler, asked: says(f"seed {asked['seed']}")(handler, asked)]
    said = desk.teacher(parallel=4).generate([Request(ASKED, 50, 1.0, seed) for seed in range(12)])
    assert [one.text for one in said] == [f"seed {seed}" for seed in range(12)]


def test_scores_and_adapters_are_refused_in_one_line(desk: Desk) -> None:
    teacher = desk.teacher()
    for attempt in (
        lambda: teacher.score([ASKED], [["x"]]),
        lambda: teacher.adapted([], None, []),  # type: ignore[arg-type]
        lambda: teacher.generate([Request(ASKED, 5, adapter=0)]),
    ):
        with pytest.raises(ConfigError, match="--teacher") as told:
            attempt()  # type: ignore[no-untyped-call]
        assert "\n" not in str(told.value)
    assert desk.endpoint.asked == []


def test_it_is_found_by_name_and_wants_a_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("openai:small").spec == "openai:small"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert load("openai:small").describe()["endpoint"] == desk.endpoint.url, "a server of one's own needs no key"
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        load("openai:small")
    with pytest.raises(ModelError, match="openai:NAME"):
        load("openai:")
    with pytest.raises(ConfigError, match="unknown format 'hermse'; did you mean 'hermes'"):
        load("openai:small", format="hermse")
    model = DemoModel()
    assert load_teacher(None, model, TeacherConfig(), "", "cpu", "auto") is model
    with pytest.raises(ConfigError, match="budget"):
        load_teacher("scripted:demo", model, TeacherConfig(budget="5tokens"), "", "cpu", "auto")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_another_format_than_its_own_is_refused_in_one_line(desk: Desk, name: str) -> None:
    if name == "plain":  # control
        assert load("openai:small", format=name).format is FORMATS[name]
        return
    with pytest.raises(ConfigError, match=f"^openai:small writes .* 'plain', not '{name}': leave format out$"):
        load("openai:small", format=name)


def test_a_teacher_writes_examples_and_a_silent_one_is_not_asked_again(desk: Desk) -> None:
    item = Input("1", (Message("user", "do I need an umbrella in Oslo"),), TOOLS)
    known = Awareness((), "margin", 0.1, 0.95, True)
    config = SynthesisConfig(k=2, tools="free")
    desk.endpoint.behaviours = [says(EXAMPLE), says(EXAMPLE.replace("Rome", "Lima")), says(EXAMPLE)]
    [good] = synthesise(desk.teacher(), [item], [known], config, [1])
    assert [(one.calls[0].name, one.refused, one.tokens) for one in good] == [("get_weather", None, 120)] * 2
    desk.endpoint.behaviours, before = [sends(b"{}", 404)], len(desk.endpoint.asked)
    [silent] = synthesise(desk.teacher(), [item], [known], config, [7])
    assert [(one.refused, one.attempt_errors) for one in silent] == [("teacher: 404", ("404",))] * 2
    assert len(desk.endpoint.asked) == before + 2


def test_the_largest_reply_is_a_bound_that_a_usual_one_is_far_from() -> None:
    assert len(completion()) * 1000 < MAX_REPLY_BYTES
