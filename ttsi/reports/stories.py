"""All episodes of a run, packed into one page: gzip and base64, in chunks.

Inputs: the rows of a run. Outputs: an index (one short entry per input, for the table and its filters) and the stories
in chunks, each as base64 of gzipped JSON. The page unpacks the index at once, and a chunk when one of its stories is
opened. A tool is kept once, however many inputs offer it.

Base64 holds no "<", so nothing in it can end the element that carries it, and JSON is never code. The page's script
puts every text into the document as text.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ttsi.record import STAGES, Run, RunRow, Side
from ttsi.reports.questions.leaks import Requests, requests_of, rules_met
from ttsi.reports.story import call_text
from ttsi.reports.trajectory_story import trajectory_story
from ttsi.types import Answer, Tool, last_request, to_openai

PER_CHUNK = 100
LONGEST = 300
"""Characters of a request or an answer in the table; the story has all of it."""


@dataclass(frozen=True)
class PackedEpisodes:
    """A run's episodes, ready for the page."""

    index: str
    chunks: tuple[str, ...]


def pack_episodes(run: Run) -> PackedEpisodes:
    """Everything that the page needs to show a run's inputs."""
    tools, requests = _Tools(), requests_of(run.rows)
    adapts, matcher = run.adapts, run.data.matcher
    stories = [_story(row, tools, requests, adapts) for row in run.rows]
    index = {
        "chunk": PER_CHUNK,
        "adapts": adapts,
        "matcher": matcher,
        "tags": _tags(run.rows),
        "rows": [_entry(row, matcher, adapts) for row in run.rows],
        "tools": tools.kept,
    }
    parts = [stories[start : start + PER_CHUNK] for start in range(0, len(stories), PER_CHUNK)]
    return PackedEpisodes(_pack(index), tuple(_pack(part) for part in parts))


def unpack(text: str) -> Any:
    """Undo `_pack`, as the page's script does."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def verdict(row: RunRow, matcher: str, adapts: bool) -> str:
    """In one word: fixed, broken, right, wrong, failed or ungraded."""
    if row.episode.error is not None:
        return "failed"
    before, after = row.right("base", matcher), row.right("adapted" if adapts else "base", matcher)
    if before is None or after is None:
        return "ungraded"
    return {(False, True): "fixed", (True, False): "broken", (True, True): "right"}.get((before, after), "wrong")


class _Tools:
    """Each tool once."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, tool: Tool) -> int:
        """Where this tool stands in `kept`."""
        function = to_openai(tool)["function"]
        text = json.dumps(function, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.kept)
            self.kept.append(function)
        return self._places[text]


def _pack(value: Any) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Time 0: the same run makes the same page. Lone surrogates are legal in JSON texts and not in UTF-8.
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)).decode("ascii")


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries; JSON has no NaN and no infinity: they become the words for them."""
    if is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in fields(value) if f.compare}  # ids are not shown
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _entry(row: RunRow, matcher: str, adapts: bool) -> dict[str, Any]:
    awareness, episode = row.episode.awareness, row.episode
    entry = {
        "id": episode.input_id,
        "verdict": verdict(row, matcher, adapts),
        "request": last_request(row.question.input)[:LONGEST] if row.question else None,
        "sure": awareness.value if awareness else None,
        "unsure": row.unsure,
        "before": _answer_text(episode.base),
        "tags": [f"{key}={value}" for key, value in row.tags.items()],
    }
    return entry | {"after": _answer_text(episode.adapted), "status": episode.adaptation.status} if adapts else entry


def _story(row: RunRow, tools: _Tools, requests: Requests, adapts: bool) -> dict[str, Any]:
    episode = row.episode
    story: dict[str, Any] = {
        "messages": row.question.input.messages if row.question else None,
        "tools": [tools.place(tool) for tool in row.question.input.tools] if row.question else [],
        "gold": row.question.gold if row.question else None,
        "grades": row.grades,
        "awareness": episode.awareness,
        "base": episode.base,
        "seconds": {stage: episode.seconds[stage] for stage in STAGES if stage in episode.seconds},
        "error": episode.error,
        "hash": episode.input_hash,
    }
    if episode.trajectories:
        sides: tuple[Side, ...] = ("base", "adapted") if adapts else ("base",)
        story["trajectories"] = {side: trajectory_story(episode.trajectories[side]) for side in sides}
    if adapts:
        examples = [{**vars(example), "leaks": rules_met(example, row, requests)} for example in episode.examples]
        story |= {"examples": examples, "adaptation": episode.adaptation, "adapted": episode.adapted}
    return story


def _tags(rows: Sequence[RunRow]) -> list[str]:
    """Every stratum, for the filter."""
    return sorted({f"{key}={value}" for row in rows for key, value in row.tags.items()})


def _answer_text(answer: Answer | None) -> str:
    if answer is None:
        return ""
    if answer.error is not None:
        return answer.text[:LONGEST]
    return "; ".join(map(call_text, answer.calls))[:LONGEST] or f"no tool: {answer.text}"[:LONGEST]
