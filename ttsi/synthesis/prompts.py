"""What is the writer asked?

Prompts for writing one similar (request, call) example, as text with named slots, versioned by hash. The paper's own
prompt was never published; these are ours (method.md of the paper's gaps: `docs/method.md`). Inputs: the format of
the model family and the order of writing. Outputs: a `WritingPrompt`.

The seed is the user's last turn. The gold answer is not a slot, so it cannot leak.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

LEAD = "\nRequest: "
"""What separates a written call from the written request; a request written first begins with LEAD.lstrip()."""

Order = Literal["call-first", "query-first"]


@dataclass(frozen=True)
class WritingPrompt:
    """One prompt; `text` has the slot {seed}."""

    text: str

    def version(self) -> str:
        """First 12 hex digits of the text's SHA-256, kept in the run's record."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]


_EMBEDDED = {
    "call-first": WritingPrompt("write a call like: {seed}"),
    "query-first": WritingPrompt("write a request like: {seed}"),
}
"""What the embedded model was trained on (`toolworld.corpus`); changing a letter means training again."""

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
    """The prompt for a model family and an order of writing."""
    return (_EMBEDDED if format_name == "ours" else _GENERAL)[order]
