"""A small file store as an environment, and models that act by a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ttsi.config import LoopConfig
from ttsi.environments.functions import FunctionEnvironment
from ttsi.methods import preset
from ttsi.models import Request
from ttsi.models.scripted import DemoModel
from ttsi.types import Message, ToolCall, TrainingExample

Policy = Callable[[Sequence[Message], Sequence[TrainingExample]], Sequence[ToolCall] | str]
"""(conversation, what the adapter learned) -> calls, or words that end the turn."""


class FileStore:
    """Files by name."""

    def __init__(self, *names: str) -> None:
        self.files = dict.fromkeys(names or ("plan.txt", "notes.txt"), "empty")

    def list_files(self) -> dict[str, list[str]]:
        """List the files."""
        return {"files": sorted(self.files)}

    def read_file(self, file_name: str) -> str:
        """Read a file."""
        return self.files[self._existing(file_name)]

    def delete_file(self, file_name: str) -> dict[str, str]:
        """Delete a file."""
        del self.files[self._existing(file_name)]
        return {"deleted": file_name}

    def _existing(self, name: str) -> str:
        if name not in self.files:
            raise ValueError(f"there is no file {name}; there are: {', '.join(sorted(self.files))}")
        return name


def world(store: FileStore, *turns: str) -> FunctionEnvironment:
    """The store behind its three tools."""
    return FunctionEnvironment([store.list_files, store.read_file, store.delete_file], turns=turns, safe_to_repeat=True)


class Actor(DemoModel):
    """Answers what a function says; scores, adapters and their examples are the demo's."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy
        self.trained = 0
        """How many adapters were trained."""

    def _text(self, request: Request) -> str:
        tool = self._only_tool(request) if request.grammar is not None else None
        if tool is not None:
            return self.format.render([ToolCall(tool.name, {})])
        said = self._policy(request.prompt.messages, self._training_examples(request))
        return said if isinstance(said, str) else self.format.render(said)

    def adapted(self, jobs, config, seeds):  # type: ignore[no-untyped-def]
        """See `Model.adapted`; jobs with examples are counted."""
        self.trained += sum(map(bool, jobs))
        return super().adapted(jobs, config, seeds)

    def with_adapters(self, files, config):  # type: ignore[no-untyped-def]
        """See `KeepsAdapters`; the demo puts them back as if it trained them, which does not count."""
        self.trained -= len(files)
        return super().with_adapters(files, config)


def always(*, adapt: bool = True, calls: str = "auto", method: str = "ttsi") -> LoopConfig:
    """A method that adapts at every decision and has no guard."""
    config = preset(method)
    return replace(
        config,
        adapt=adapt,
        awareness=replace(config.awareness, gate="all"),
        adaptation=replace(config.adaptation, keep_decision=False, refuse_unstated=False, min_confidence_gain=None),
        answer=replace(config.answer, calls=calls),
    )


def called(messages: Sequence[Message]) -> list[str]:
    """The tools called since the user last spoke."""
    names: list[str] = []
    for message in messages:
        names = [] if message.role == "user" else [*names, *(call.name for call in message.tool_calls)]
    return names
