"""Are two prompts that differ only in which call a result answers ever taken for one?"""

from __future__ import annotations

from collections.abc import Sequence

from tests.conftest import build_tokenizer
from ttsi.chat.templates import handshake_with
from ttsi.models import Generation, ModelWrapper, Request
from ttsi.models.cached import CachedModel
from ttsi.models.prompt_encoding import PromptEncoder
from ttsi.models.scripted import DemoModel
from ttsi.types import Message, Prompt, ToolCall, answered_calls


def answered(*ids: str) -> Prompt:
    """Two calls, and two results of the calls with these ids."""
    calls = Message("assistant", "", (ToolCall("get_rain", {}, "r"), ToolCall("get_snow", {}, "s")))
    results = [Message("tool", text, tool_call_id=name) for text, name in zip(("yes", "no"), ids, strict=True)]
    return Prompt((Message("user", "rain? snow?"), calls, *results), ())


def test_no_prompt_is_given_the_tokens_of_another() -> None:
    tokenizer = build_tokenizer()
    shown = "{{ m['role'] }} {{ m['name'] if m['role'] == 'tool' else '' }}: {{ m['content'] }}"
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>" + shown + "<|im_end|>{% endfor %}<|im_start|>"
    encoder = PromptEncoder(tokenizer, 300, handshake_with(tokenizer, None))
    prompts = [answered("r", "s"), answered("s", "r"), answered("r", "s")]
    fresh = [encoder.encode_prompt(prompt) for prompt in prompts]
    assert fresh[0] != fresh[1], "the template names the call of a result"
    with encoder.prompt_cache():
        assert [encoder.encode_prompt(prompt) for prompt in prompts] == fresh


class Reader(ModelWrapper):
    """Answers with the calls that the results of a prompt answer, and scores by them; counts the prompts."""

    read = 0

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.read += len(requests)
        return [Generation(str(answered_calls(one.prompt.messages)), 1, -1.0, -1.0, True) for one in requests]

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        self.read += len(prompts)
        return [[-1.0 - (answered_calls(prompt.messages)[2] or 0)] for prompt in prompts]


def test_a_sweep_recalls_no_answer_or_score_of_another_prompt() -> None:
    reader = Reader(DemoModel())
    cached, prompts = CachedModel(reader), [answered("r", "s"), answered("s", "r")]
    for _ in range(2):
        for prompt, last in zip(prompts, ("0, 1]", "1, 0]"), strict=True):
            assert cached.generate([Request(prompt, 4)])[0].text.endswith(last)
    assert reader.read == 2, "control: what was asked before is recalled"
    assert [cached.score([prompt], [["x"]])[0] for prompt in prompts] == [[-1.0], [-2.0]]
    assert cached.score(prompts[:1], [["x"]]) == [[-1.0]] and reader.read == 4
