"""kill -9 at any moment loses nothing and counts nothing twice, also when the resumed run is killed again.

Every crash point is the place of a kill once for each of its passages, then kills come at random moments. The bytes of
summary.json and of all rows are compared, with the loop's clock stopped. `tests/trials/reliability.py` does the same
hundreds of times at random instants.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.crashes import Crashes
from tests.worlds import rows, write
from ttsi import codec, crash_points
from ttsi.runs.folder import LOCK, was_started
from ttsi.runs.store import read_json, read_rows

KILLED = -signal.SIGKILL
INPUTS, BATCH = 3, 2


@pytest.fixture(scope="module")
def crashes() -> Iterator[Crashes]:
    with Crashes() as started:
        yield started


def command(file: Path, folder: Path, *more: str) -> list[str]:
    fixed = ["--model", "scripted:demo", "--batch-size", str(BATCH), "--quiet", "--output-dir", str(folder)]
    # Where a kill came before there was anything to go on with, one begins.
    words = [word for word in more if word != "--resume" or was_started(folder)]
    return ["run", "--benchmark", str(file), *fixed, *words]


def outcome(folder: Path) -> tuple[bytes, list[str]]:
    """What must be the same bytes: the summary, and every row."""
    return (folder / "summary.json").read_bytes(), [codec.dumps(row) for row in read_rows(folder)]


class Start:
    """A folder from which a scenario starts, the command under test, and the command that recovers."""

    def __init__(self, name: str, tmp: Path, crashes: Crashes) -> None:
        self.file = write(tmp / "mine.jsonl", grown())
        self.template, self.more, self.recovery = tmp / "template", ["--resume"], ["--resume"]
        assert crashes.run(command(self.file, tmp / "whole", *self.more)) == 0
        if name in ("clean", "repair"):
            shutil.copytree(tmp / "whole", self.template)
        if name == "clean":
            self.more = ["--clean"]
        if name == "repair":
            self.more = self.recovery = ["--repair"]
            break_a_row(self.template / "run.db")
        if name == "grown":
            # The same path for both, since the path of the data is a setting.
            write(self.file, rows(INPUTS - 1))
            assert crashes.run(command(self.file, self.template)) == 0
            write(self.file, grown())
        self.expected = outcome(tmp / "whole")

    def fresh_folder(self) -> Path:
        """The folder as it is before the command."""
        folder = self.template.with_name("run")
        shutil.rmtree(folder, ignore_errors=True)
        if self.template.exists():
            shutil.copytree(self.template, folder)
        return folder


def grown() -> list[dict[str, object]]:
    """The inputs in another order, one of them new."""
    made = rows(INPUTS)
    return [*made[1:], *made[:1]]


def break_a_row(database: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE episodes SET grades = replace(grades, 'false', 'true') WHERE position = 1")


def test_a_kill_at_every_passage_of_every_point_is_survived(tmp_path: Path, crashes: Crashes) -> None:
    met: Counter[str] = Counter()
    for name in ("fresh", "clean", "grown", "repair"):
        (tmp_path / name).mkdir()
        start, memo = Start(name, tmp_path / name, crashes), tmp_path / name / "memo"
        folder = start.fresh_folder()
        assert crashes.run(command(start.file, folder, *start.more), memo=memo) == 0
        assert outcome(folder) == start.expected
        passages = Counter(memo.read_text().splitlines())
        for point, times in passages.items():
            for nth in range(1, times + 1):
                survive(start, point, nth, crashes)
        met += passages
    # Control: no point of the list was passed by without a kill.
    assert set(met) == set(crash_points.POINTS)
    assert sum(met.values()) > 60


def survive(start: Start, point: str, nth: int, crashes: Crashes) -> None:
    folder = start.fresh_folder()
    assert crashes.run(command(start.file, folder, *start.more), point=point, nth=nth) == KILLED, (point, nth)
    assert crashes.run(command(start.file, folder, *start.recovery)) == 0, (point, nth)
    left = {entry.name for entry in folder.iterdir()} - {"run.db.damaged"}
    assert left == {"run.db", "config.json", "summary.json", LOCK}, (point, nth)
    assert outcome(folder) == start.expected, (point, nth)


def test_kills_at_drawn_moments_even_in_resumed_runs(tmp_path: Path, crashes: Crashes) -> None:
    rng = random.Random(7)
    file, memo = write(tmp_path / "mine.jsonl", rows(9)), tmp_path / "memo"
    assert crashes.run(command(file, tmp_path / "whole")) == 0
    points = sorted(crash_points.POINTS)
    for attempt in range(4):
        torn, kills = tmp_path / f"torn{attempt}", 0
        memo.unlink(missing_ok=True)
        for _ in range(4):
            point, nth = rng.choice(points), rng.randint(1, 4)
            kills += crashes.run(command(file, torn, "--resume"), point=point, nth=nth, memo=memo) == KILLED
        assert crashes.run(command(file, torn, "--resume"), memo=memo) == 0
        assert outcome(torn) == outcome(tmp_path / "whole")
        batches_begun = memo.read_text().splitlines().count("batch: begun")
        assert batches_begun <= 5 + kills, "at most one batch is done again per kill"


def test_control_the_comparison_sees_another_run_and_a_row_counted_twice(tmp_path: Path, crashes: Crashes) -> None:
    file = write(tmp_path / "mine.jsonl", rows(INPUTS))
    for name, more in (("one", []), ("same", []), ("seed", ["--seed", "1"])):
        assert crashes.run(command(file, tmp_path / name, *more)) == 0
    assert outcome(tmp_path / "one") == outcome(tmp_path / "same")
    assert outcome(tmp_path / "one") != outcome(tmp_path / "seed")
    assert crashes.run(command(file, tmp_path / "timed"), frozen=False) == 0
    assert outcome(tmp_path / "one") != outcome(tmp_path / "timed"), "with its clock running a run shows in the bytes"
    prints = {read_json(tmp_path / name / "summary.json")["results_sha256"] for name in ("one", "same", "timed")}
    assert len(prints) == 1, "the fingerprint leaves wall times out"
    assert read_json(tmp_path / "seed" / "summary.json")["results_sha256"] not in prints
