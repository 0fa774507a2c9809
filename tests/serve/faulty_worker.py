"""Models that fail on command, and a worker process that serves them.

`python -m tests.serve.faulty_worker FD` is a worker like `ttsi.serve.worker`. Its model does what the user's last
message commands: "die", "hang", "spin" (until interrupted), "change" (the base weights), otherwise as the demo does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ttsi.config import AdaptationConfig
from ttsi.errors import ConfigError, ModelError, PromptTooLong
from ttsi.models import Generation, Model, Request
from ttsi.models.scripted import DemoModel
from ttsi.serve import worker
from ttsi.serve.interruptible import DeadlineExceeded
from ttsi.types import Adaptation, Prompt, TrainingExample

FAULTS: tuple[type[BaseException], ...] = (
    ModelError, ConfigError, PromptTooLong, MemoryError, RuntimeError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, ZeroDivisionError, OverflowError, FloatingPointError, RecursionError, OSError, TimeoutError,
    AssertionError, StopIteration, UnicodeError, DeadlineExceeded,
)  # fmt: skip
STAGES = ("base", "awareness", "synthesis", "adaptation", "answer", "removal")


class Faulty(DemoModel):
    """The demo, which fails once at one stage."""

    def __init__(self, stage: str, fault: type[BaseException]) -> None:
        super().__init__()
        self._stage, self._fault, self.failed = stage, fault, 0

    def _at(self, stage: str) -> None:
        if stage == self._stage and not self.failed:
            self.failed += 1
            raise self._fault("secret internals")

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        written = any('"Request:"' in message.content for message in requests[0].prompt.messages)
        self._at("synthesis" if written else "answer" if requests[0].adapter is not None else "base")
        return super().generate(requests)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        self._at("awareness")
        return super().score(prompts, continuations)

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        self._at("adaptation")
        with super().adapted(jobs, config, seeds) as done:
            yield done
        self._at("removal")


class Commanded(DemoModel):
    """The demo, which obeys commands in the user's message."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = False

    def weights_sha256(self) -> str:
        return "changed" if self._changed else super().weights_sha256()

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        command = prompts[0].messages[-1].content.split()[0]
        if command == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if command == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGALRM})
            os.kill(os.getpid(), signal.SIGSTOP)
        if command == "change":
            self._changed = True
            raise RuntimeError
        while command == "spin":
            pass
        return super().score(prompts, continuations)


class Leaky(DemoModel):
    """A broken model: the last adapter answers the next request, too."""

    def _training_examples(self, request: Request) -> Sequence[TrainingExample]:
        return self._kept

    _kept: Sequence[TrainingExample] = ()

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        with super().adapted(jobs, config, seeds) as done:
            self._kept = [example for job in jobs for example in job] or self._kept
            yield done


class Other(DemoModel):
    """A broken model: every process has other base weights."""

    def weights_sha256(self) -> str:
        return f"{os.getpid():064x}"


def find(spec: str, **_: str) -> Model:
    """As `ttsi.models.load`; "endless:FILE" writes its process into the file and never ends."""
    if spec == "scripted:none":
        raise ModelError("there is no such model")
    if spec.startswith("endless:"):
        Path(spec.removeprefix("endless:")).write_text(str(os.getpid()))
        time.sleep(600)
    return {"leaky": Leaky, "other": Other}.get(spec, Commanded)()


if __name__ == "__main__":
    sys.exit(worker.main(find))
