"""The prompts for writing one similar (request, call) example: text with slots, known by a hash.

    {seed}    the input's last request; a prompt must have it
    {tool}    the name of the tool to call (not with `--synthesis.tools free`, where the writer chooses)
    {tools}   every tool on offer, as a JSON list of OpenAI function schemas

The paper never published its prompt; the built-in ones are ours. A file of yours takes their place
(`--synthesis.prompt FILE`). Whatever fills a slot is data: it is put in once and never read for slots itself. The gold
answer is no slot, so it cannot leak.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ttsi.config import SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.types import Tool, to_openai

LEAD = "\nRequest: "
"""What separates a written call from the written request; a request written first begins with LEAD.lstrip()."""

ONE_LINE = r"start: /[^\n\r]{3,400}/"
"""The grammar of a request that is written by itself."""

SLOTS = ("seed", "tool", "tools")
_SLOT = re.compile(r"\{([a-z_]+)\}")

Order = Literal["call-first", "query-first"]


@dataclass(frozen=True)
class WritingPrompt:
    """One prompt; `text` has slots."""

    text: str

    def version(self) -> str:
        """First 12 hex digits of the text's SHA-256, kept in the run's record."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def slots(self) -> set[str]:
        """The names in braces: one lower-case word each; other braces are text."""
        return set(_SLOT.findall(self.text))

    def fill(self, request: str, tool: Tool | None = None, tools: tuple[Tool, ...] = ()) -> str:
        """The prompt for one example.

        >>> WritingPrompt("like {seed} for {tool}").fill("{tool}?", Tool("f", "", {}))
        'like {tool}? for f'
        """
        values = {
            "seed": request,
            "tool": tool.name if tool else "",
            "tools": json.dumps([to_openai(one) for one in tools], ensure_ascii=False),
        }
        return _SLOT.sub(lambda slot: values[slot[1]], self.text)


_EMBEDDED = {
    "call-first": WritingPrompt("write a call like: {seed}"),
    "query-first": WritingPrompt("write a request like: {seed}"),
}
"""The embedded model was trained on these words (`toolworld.corpus`); changing a letter means training again."""

_GENERAL = {
    "call-first": WritingPrompt(
        "Here is a request that another user made:\n{seed}\n\n"
        "Write one new training example for the tools you have. First write a tool call in your usual format, with "
        "realistic argument values that differ from those in the request above. Then, on a new line that starts with "
        '"Request:", write what a user would say, in a similar tone, to get exactly that call. Every argument value '
        "must be stated in the request."
    ),
    "query-first": WritingPrompt(
        "Here is a request that another user made:\n{seed}\n\n"
        'Write one new request for the tools you have, as one line that starts with "Request:". Let it be similar in '
        "tone, with different details, and state every value that the tool needs."
    ),
}


def writing_prompt(format_name: str, order: Order) -> WritingPrompt:
    """The built-in prompt for a model family and an order of writing."""
    return (_EMBEDDED if format_name == "marked" else _GENERAL)[order]


def chosen_prompt(config: SynthesisConfig, format_name: str) -> WritingPrompt:
    """The prompt of the settings: the file's, or the built-in one for a model family.

    Raises:
        ConfigError: the file cannot be read, or a slot is unknown or missing; one line.
    """
    if config.prompt is None:
        return writing_prompt(format_name, "query-first" if config.order == "query-first" else "call-first")
    prompt = _read_prompt(Path(config.prompt))
    slots = prompt.slots()
    if unknown := sorted(slots.difference(SLOTS)):
        names = ", ".join(f"{{{slot}}}" for slot in SLOTS)
        raise ConfigError(f"{config.prompt}: there is no slot {{{unknown[0]}}}: use {names}")
    if "seed" not in slots:
        raise ConfigError(f"{config.prompt}: the slot {{seed}} is missing: put it where the input's request belongs")
    if "tool" in slots and config.tools == "free":
        raise ConfigError(f"{config.prompt}: the slot {{tool}} is empty with synthesis.tools free: leave it out")
    return prompt


@cache  # a run keeps the prompt that it began with
def _read_prompt(path: Path) -> WritingPrompt:
    try:
        return WritingPrompt(path.read_text(encoding="utf-8-sig").strip())
    except OSError as error:
        raise ConfigError(f"synthesis.prompt: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"synthesis.prompt: {path} is not UTF-8 text: save it as UTF-8") from None
