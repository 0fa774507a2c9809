"""Runs that are killed on purpose, many a second: a process that has imported everything forks one child per run.

`with Crashes() as crashes: crashes.run(arguments, ...)` runs `ttsi ARGUMENTS` in a child of that process, kills it with
SIGKILL at the nth passage of a crash point (`ttsi.crash_points`) or after so many seconds, and returns its status.
In the child the clock of the loop stands still, because wall times are the one thing that no two runs share; everything
else can be compared byte by byte. `tests/trials/reliability.py` uses it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]


class Crashes:
    """The process that forks, as seen from outside."""

    def __enter__(self) -> Crashes:
        command = [sys.executable, "-m", "tests.runs.crashes"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def run(
        self,
        arguments: list[str],
        *,
        point: str | None = None,
        nth: int = 1,
        after: float | None = None,
        memo: Path | None = None,
        frozen: bool = True,
    ) -> int:
        """The exit code of `ttsi ARGUMENTS`, or minus the signal that ended it; `memo` gets a line per point passed."""
        job = {"arguments": arguments, "point": point, "nth": nth, "after": after, "frozen": frozen}
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps({**job, "memo": str(memo) if memo else None}) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def serve() -> None:
    """Read one job a line, answer one status a line."""
    from ttsi.cli import main  # so that children need not import it

    _warm(main)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _be_killed(main, job)
        if job["after"] is not None:
            _kill_after(child, job["after"])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _kill_after(child: int, seconds: float) -> None:
    """Returns as soon as the child has ended by itself, so that no time is slept away."""
    ended = os.pidfd_open(child)
    select.select([ended], [], [], seconds)
    os.close(ended)
    os.kill(child, signal.SIGKILL)  # not yet waited for, so the number is still the child's


def _warm(main: Any) -> None:
    import tempfile

    from tests.worlds import rows, write

    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder) / "mine.jsonl", rows(2))
        fixed = ["--model", "scripted:demo", "--json", "--quiet", "--output-dir", f"{folder}/run"]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            main(["run", "--benchmark", str(file), *fixed])


def _be_killed(main: Any, job: dict[str, Any]) -> None:
    import ttsi.batch as batch
    from ttsi import crash_points

    left = job["nth"]

    def dying(point: str) -> None:
        nonlocal left
        if job["memo"]:
            with open(job["memo"], "a", encoding="utf-8") as file:
                file.write(f"{point}\n")
        if point == job["point"]:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    crash_points.hook = dying
    if job["frozen"]:
        batch.time = SimpleNamespace(perf_counter=lambda: 0.0)  # type: ignore[assignment]
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        code = main(job["arguments"])
    os._exit(code)


if __name__ == "__main__":
    serve()
