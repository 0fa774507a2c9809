"""Rewording of examples made from the tools' schemas: the writer says a stiff request in a user's natural words.

Inputs: schema examples (`schema_examples.py`), whose calls are legal and whose requests state every value. Outputs: the
same calls behind the writer's own requests; one that no longer states its values is refused by the filters. A small
model writes a good sentence when it sees how, and rarely a good call, a request for it and both in one go: SmolLM2-135M
keeps 63 % of these after three tries, and 14 % of the pairs that it writes whole (dev/log.md). The paper
(arXiv:2510.07841) has the model write the pair.
"""

from __future__ import annotations

from ttsi.config import SynthesisConfig
from ttsi.models import Request
from ttsi.synthesis.prompts import ONE_LINE
from ttsi.types import Example, Message, Prompt

SYSTEM = "You rewrite requests in the natural words of a user. Keep every name, number and value exactly."
SHOTS = (
    (
        "Reserve a table at a restaurant for the city Oslo and guests 4.",
        "Could you get us a table for 4 somewhere in Oslo?",
    ),
    (
        'Please convert an amount of money with amount 250, from EUR and to "JPY".',
        "How much is 250 EUR in JPY?",
    ),
    (
        "I need to find books by an author. The author is Jane Austen and year is 1811.",
        "Which books did Jane Austen publish in 1811?",
    ),
    ("Can you cancel an order? order id: KX2210", "Please cancel my order KX2210."),
)
"""A schema request and how a user says it, as turns of a chat; about tools that no benchmark has."""
MAX_TOKENS = 96
"""Most tokens of a request: one that runs on has lost its way."""


def prompt_text() -> str:
    """All that a writer reads but the request, for the hash in a run's record."""
    return "\n".join([SYSTEM, *(turn for shot in SHOTS for turn in shot)])


def rewording_request(example: Example, config: SynthesisConfig, seed: int) -> Request:
    """The request to a writer to say an example's request in other words."""
    shots = [message for stiff, natural in SHOTS for message in (Message("user", stiff), Message("assistant", natural))]
    messages = (Message("system", SYSTEM), *shots, Message("user", example.query))
    return Request(Prompt(messages, ()), min(config.max_tokens, MAX_TOKENS), config.temperature, seed, grammar=ONE_LINE)
