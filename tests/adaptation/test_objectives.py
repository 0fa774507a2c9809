"""What do the objectives and `held_back` make of an input's examples, and what does no example ever see?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.adaptation.test_examples import ALSO, BAD, CITY, GOOD, ITEM, TOOLS, Fake, as_model
from ttsi.adaptation import adapters
from ttsi.adaptation.contrast import runner_up, with_contrasts
from ttsi.adaptation.examples import training_examples
from ttsi.adaptation.on_policy import SAMPLES
from ttsi.batch import check_references
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import answer_grammar
from ttsi.config import AdaptationConfig, AnswerConfig, LoopConfig, SynthesisConfig
from ttsi.errors import ConfigError
from ttsi.methods import check_shared
from ttsi.models import Generation, Request
from ttsi.types import NO_TOOL, Awareness, Candidate, Example, Prompt, Tool, ToolCall, ToolResult, TrainingExample

HERMES = FORMATS["hermes"]
THIRD = Example("a night in Bern", (ToolCall("find_hotel", {"city": "Bern"}),), "...")
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
MAP = Tool("show_map", "show a map of a place", PLACE)


@dataclass
class Writer(Fake):
    """Writes what it is given, in turn, and remembers the requests; its context holds no more than `room` messages."""

    texts: Sequence[str] = ()
    cut: frozenset[int] = frozenset()
    room: int = 99
    requests: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        self.requests += requests
        texts = list(self.texts) or ["no call"]
        return [Generation(texts[i % len(texts)], 3, -1.0, -1.0, i not in self.cut) for i in range(len(requests))]

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        return None if len(prompt.messages) <= self.room else "too long"


def settings(**changes: object) -> LoopConfig:
    return LoopConfig(adaptation=AdaptationConfig(**changes))  # type: ignore[arg-type]


def lessons(
    fake: Fake, config: LoopConfig, *written: Example, awareness: Awareness | None = None
) -> list[TrainingExample]:
    """The training examples of one input."""
    known = () if awareness is None else (awareness,)
    with adapters(as_model(fake), [ITEM], [written], (), config, [7], known):
        return list(fake.jobs[0])


def requests_of(job: Sequence[TrainingExample]) -> list[tuple[str, bool]]:
    return [(lesson.prompt.messages[-1].content, lesson.held_back) for lesson in job]


def test_the_last_kept_examples_are_held_back_and_nothing_else() -> None:
    job = lessons(Fake(), settings(held_back=1, irrelevance=9), GOOD, ALSO, BAD, THIRD)
    # Each learned example once more without its tool; the one held back is not learned that way either.
    assert requests_of(job) == [
        (GOOD.query, False), (ALSO.query, False), (GOOD.query, False), (ALSO.query, False), (THIRD.query, True)
    ]  # fmt: skip
    control = lessons(Fake(), settings(irrelevance=9), GOOD, ALSO, BAD, THIRD)
    assert requests_of(control) == [(example.query, False) for example in (GOOD, ALSO, THIRD)] * 2


@pytest.mark.parametrize("held_back", [2, 3])
def test_too_few_examples_are_all_learned(held_back: int) -> None:
    assert requests_of(lessons(Fake(), settings(held_back=held_back), GOOD, ALSO)) == [
        (GOOD.query, False),
        (ALSO.query, False),
    ]
    assert requests_of(lessons(Fake(), settings(held_back=1), GOOD, ALSO))[1] == (ALSO.query, True), "control"


@pytest.mark.parametrize("family", FORMATS)
def test_a_contrast_is_the_same_call_of_the_other_tool(family: str) -> None:
    form = FORMATS[family]
    [lesson] = with_contrasts(form, ITEM, [GOOD])
    assert lesson.contrast is not None
    preferred, rejected = lesson.contrast
    assert preferred == lesson.target
    assert form.parse(rejected, TOOLS).calls == (ToolCall("find_hotel", {"city": "Rome"}),)


@pytest.mark.parametrize("family", FORMATS)
def test_a_tool_with_other_arguments_is_contrasted_by_its_name_alone(family: str) -> None:
    form, item = FORMATS[family], replace(ITEM, tools=(TOOLS[0], MAP))
    [lesson] = with_contrasts(form, item, [GOOD])
    assert lesson.contrast is not None
    for text, name in zip(lesson.contrast, ("get_weather", "show_map"), strict=True):
        assert text.endswith("".join(form.name_span(name))) and "Rome" not in text.removeprefix(
            form.reason(TOOLS[0], GOOD.query, item.tools)
        )
    assert lesson.target.startswith(lesson.contrast[0])


def awareness_of(**logprobs: float) -> Awareness:
    candidates = tuple(Candidate(name, "", logprob, 0.0) for name, logprob in logprobs.items())
    return Awareness((*candidates, Candidate(NO_TOOL, "", 0.0, 1.0)), "margin", 0.0, 1.0, True)


def test_the_rejected_tool_is_the_likeliest_other_one_else_the_next_in_turn() -> None:
    tools = (*TOOLS, MAP)
    right = TOOLS[0]
    assert runner_up(right, tools, awareness_of(get_weather=-1, find_hotel=-9, show_map=-2)) == MAP
    assert runner_up(right, tools, awareness_of(get_weather=-1, find_hotel=-2, show_map=-9)) == TOOLS[1], "control"
    assert runner_up(right, tools, awareness_of(get_weather=-1)) == TOOLS[1]
    assert runner_up(MAP, tools, None) == right
    assert runner_up(right, (right,), None) is None


def test_the_loop_gives_what_awareness_saw() -> None:
    item = replace(ITEM, tools=(*TOOLS, Tool("book_train", "book a train to a city", CITY)))
    fake = Fake()
    seen = awareness_of(get_weather=-1, find_hotel=-9, book_train=-2)
    with adapters(as_model(fake), [item], [[GOOD]], (), settings(objective="contrast"), [7], [seen]):
        [[lesson]] = fake.jobs
    assert lesson.contrast is not None and '"book_train"' in lesson.contrast[1]
    [plain] = lessons(Fake(), settings(), GOOD)
    assert plain.contrast is None, "control"


def test_what_has_no_contrast_is_learned_plainly() -> None:
    both = Example("weather and a hotel in Rome", GOOD.calls + ALSO.calls, "...")
    assert [lesson.contrast for lesson in lessons(Fake(), settings(objective="contrast"), both)] == [None]
    alone = replace(ITEM, tools=TOOLS[:1])
    [lesson] = with_contrasts(HERMES, alone, [GOOD])
    assert lesson.contrast is None


def test_a_whole_turn_contrasts_its_one_call_and_not_its_end() -> None:
    turn = replace(GOOD, results=(ToolResult("sunny"),), closing="Done.")
    call, end = with_contrasts(HERMES, ITEM, [turn])
    assert call.contrast is not None and end.contrast is None
    assert [call.target, end.target] == [lesson.target for lesson in training_examples(HERMES, ITEM, [turn])]
    two = replace(GOOD, calls=GOOD.calls * 2, results=turn.results * 2, closing="Done.")
    assert [lesson.contrast for lesson in with_contrasts(HERMES, ITEM, [two])] == [None] * 3, "two calls have none"


def test_distillation_draws_answers_that_may_be_given() -> None:
    writer = Writer(texts=[HERMES.render([ToolCall("find_hotel", {"city": "Oslo"})])])
    distill = settings(objective="distill")
    limited = replace(distill, answer=replace(distill.answer, tools=("find_hotel",)))
    lessons(writer, limited, GOOD)
    grammars = {request.grammar for request in writer.requests}
    assert grammars == {answer_grammar(HERMES, TOOLS, only=["find_hotel"])} != {answer_grammar(HERMES, TOOLS)}


def test_distillation_learns_own_answers_from_a_teacher_that_sees_the_examples() -> None:
    own = HERMES.render([ToolCall("find_hotel", {"city": "Oslo"})])
    writer = Writer(texts=[own])
    job = lessons(writer, settings(objective="distill", held_back=1), GOOD, ALSO, THIRD)
    assert len(writer.requests) == SAMPLES == len({request.seed for request in writer.requests})
    for request in writer.requests:
        assert request.prompt == Prompt(ITEM.messages, ITEM.tools)
        assert (request.temperature, request.adapter) == (1.0, None)
        assert request.grammar == answer_grammar(HERMES, TOOLS)
    assert [lesson.target for lesson in job[:SAMPLES]] == [own] * SAMPLES
    for lesson in job[:SAMPLES]:
        assert lesson.prompt == Prompt(ITEM.messages, ITEM.tools) and lesson.teacher is not None
        contents = [message.content for message in lesson.teacher.messages]
        assert GOOD.query in contents and ALSO.query in contents and contents[-1] == ITEM.messages[-1].content
        assert THIRD.query not in contents, "what is held back is not in the context either"
    assert [(one.prompt.messages[-1].content, one.teacher) for one in job[SAMPLES:]] == [(THIRD.query, None)]


def test_distillation_is_decoded_as_the_answer_is() -> None:
    writer, free = Writer(), LoopConfig(
        adaptation=AdaptationConfig(objective="distill"), answer=AnswerConfig(decoding="free")
    )  # fmt: skip
    lessons(writer, free, GOOD)
    assert {request.grammar for request in writer.requests} == {None}


def test_answers_that_were_cut_off_teach_nothing() -> None:
    assert len(lessons(Writer(cut=frozenset({0, 2})), settings(objective="distill"), GOOD)) == SAMPLES - 2
    for writer in (Writer(cut=frozenset(range(SAMPLES))), Writer(room=0)):
        with adapters(as_model(writer), [ITEM] * 2, [[GOOD], []], (), settings(objective="distill"), [7, 8]) as tuned:
            assert [len(job) for job in writer.jobs] == [0, 0] and tuned.adapters == (None, None)
            assert [done.status for done in tuned.adaptations] == ["training-failed", "none"]
            assert tuned.adaptations[0].reason.startswith("no answer to distil")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"held_back": 1}, "adaptation.held_back is for the examples of one input"),
        ({"objective": "contrast"}, "adaptation.objective is contrast"),
        ({"objective": "distill"}, "adaptation.objective is distill"),
    ],
)
def test_fine_tuning_on_a_file_refuses_them(changes: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        check_shared(settings(**changes).adaptation)
    check_shared(AdaptationConfig())  # control


def test_settings_that_could_never_hold_anything_back_are_refused() -> None:
    config = replace(settings(held_back=4), synthesis=SynthesisConfig(k=4))
    with pytest.raises(ConfigError, match=r"held_back is 4 and synthesis.k 4, so nothing would ever be held back"):
        check_references(config)
    check_references(replace(config, synthesis=SynthesisConfig(k=5)))  # control


def test_an_objective_is_one_of_three_names_or_a_reference() -> None:
    for name in ("cross-entropy", "contrast", "distill"):
        check_references(settings(objective=name))
    with pytest.raises(ConfigError, match="did you mean 'distill'"):
        check_references(settings(objective="distil"))
