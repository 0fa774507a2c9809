"""A model of the user's own, each of whose results is checked as it comes back.

Inputs: an object with the members of `Model`, or a teacher with those that a writer needs. Outputs: the same model; a
result of the wrong type or shape is a `ConfigError`, one line that names the member and what it must return. Models of
this package are not checked: its tests do that.

A model must keep to `Request.grammar`. A call that its tools do not admit is reported once (`GrammarWatch`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from ttsi.config import AdaptationConfig
from ttsi.errors import ConfigError, WrongResult, first_line
from ttsi.models.grammar_watch import GrammarWatch
from ttsi.models.protocol import Generation, Jobs, Model, ModelWrapper, Request, Starts, Writer
from ttsi.plurals import kind_of, with_article
from ttsi.types import Adaptation, Prompt, TrainingData, TrainingExample

MODEL_MEMBERS = ("spec", "format", "describe", "fits", "generate", "score", "adapted")
"""What every model has."""
WRITER_MEMBERS = ("spec", "format", "describe", "generate")
"""What is asked of a model that only writes examples."""
FORMAT_MEMBERS = ("name", "render", "parse", "marks", "no_tool")
"""What every tool-call format has."""
_GENERATION = {"text": str, "tokens": int, "logprob": float, "min_logprob": float, "finished": bool}
_STATUSES = get_args(get_type_hints(Adaptation)["status"])
_LONGEST = 60

T = TypeVar("T")


def as_model(model: object) -> Model:
    """The model; where it, or one that it stands in front of, is no model of this package, with its results checked.

    Raises:
        ConfigError: it lacks what every model has.
    """
    return _with_checks(model, MODEL_MEMBERS)


def as_teacher(teacher: object) -> Model:
    """The same for a model that only writes examples, which needs less.

    Raises:
        ConfigError: it lacks what every writer has.
    """
    return _with_checks(teacher, WRITER_MEMBERS)


def as_writer(writer: Writer) -> Writer:
    """The same for any writer of examples: training data are no model.

    Raises:
        ConfigError: it is neither a model nor training data, or it lacks what every writer has.
    """
    if isinstance(writer, TrainingData):
        return writer
    if not hasattr(writer, "generate"):  # settings in the writer's place, say
        kind = kind_of(writer)
        raise ConfigError(
            f"the writer is {kind} and no model: use ttsi.load_model(SPEC), or leave it out; settings go to config="
        )
    return as_teacher(writer)


def missing_members(value: object, members: Sequence[str] = MODEL_MEMBERS) -> list[str]:
    """Those of the members that an object, or the model behind a wrapper, lacks."""
    return [name for name in members if not all(hasattr(one, name) for one in _chain(value))]


def _chain(model: object) -> Iterator[object]:
    """The model, and those that it stands in front of."""
    yield model
    while isinstance(model, ModelWrapper):
        model = getattr(model, "_model", None)
        yield model


def _with_checks(model: Any, members: Sequence[str]) -> Model:
    if missing := missing_members(model, members):
        kind = kind_of(model)
        if _is_of_transformers(model):
            raise ConfigError(f"the model is {kind} of transformers: use ttsi.load_model(model, tokenizer=tokenizer)")
        raise ConfigError(
            f"the model is {kind} without {missing[0]!r}: add it (docs/extending.md), or use ttsi.load_model(SPEC)"
        )
    for one in _chain(model):
        if isinstance(one, CheckedModel):
            break
        if _is_own(one):
            return CheckedModel(model)
    checked: Model = model
    return checked


def _is_of_transformers(model: object) -> bool:
    """Whether this is a model of transformers, or PEFT's around one; neither is imported for it."""
    return any(kind.__module__.partition(".")[0] in ("transformers", "peft") for kind in type(model).__mro__)


def has_own_code(model: object) -> bool:
    """Whether a model, or one that it stands in front of, is the user's own and none of this package."""
    return any(map(_is_own, _chain(model)))


def _is_own(model: object) -> bool:
    return type(model).__module__.partition(".")[0] != __name__.partition(".")[0]


class CheckedModel(ModelWrapper):
    """A user's model whose results are checked; other attributes are those of the model itself."""

    def __init__(self, model: Model) -> None:
        spec, form = model.spec, model.format
        if not isinstance(spec, str) or not spec:
            raise ConfigError(f"the spec of the model {type(model).__name__} is {_short(spec)}: make it a name (a str)")
        if missing := [name for name in FORMAT_MEMBERS if not hasattr(form, name)]:
            reason = f"is {_short(form)}, which has no {missing[0]!r}"
            raise ConfigError(
                f"the format of the model {spec} {reason}: use one of ttsi.chat.calls.FORMATS, or your own"
            )
        super().__init__(model)
        self._watch = GrammarWatch(spec, form)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._model, name)

    def describe(self) -> dict[str, Any]:
        """See `Model.describe`; JSON values."""
        value = self._model.describe()
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self._refuse("describe", _short(value), "return a dict with names and JSON values")
        for name, inner in value.items():
            try:
                json.dumps(inner, allow_nan=False)
            except (TypeError, ValueError) as error:
                self._refuse("describe", _short({name: inner}), f"return JSON values ({first_line(error)})")
        for name in ("context", "parameters"):
            if not _is(value.get(name, 0), int):
                self._refuse("describe", _short({name: value[name]}), "make it a whole number, or leave it out")
        return value

    def fits(self, prompt: Prompt, max_new_tokens: int) -> str | None:
        """See `Model.fits`."""
        reason = self._model.fits(prompt, max_new_tokens)
        if reason is not None and (not isinstance(reason, str) or not reason):
            wanted = "return None where the prompt fits, else one line that says why not (a str)"
            self._refuse("fits", _short(reason), wanted)
        return reason

    def generate(self, requests: Sequence[Request]) -> list[Generation]:
        """See `Model.generate`."""
        generations = self._model.generate(requests)
        self._check_list("generate", generations, Generation, "request", len(requests))
        for generation in generations:
            for name, kind in _GENERATION.items():
                value = getattr(generation, name)
                if not _is(value, kind):
                    wanted = _noun(kind) + (" that is not NaN" if kind is float else "")
                    self._refuse("generate", f"a Generation whose {name} is {_short(value)}", f"make it {wanted}")
        self._watch.look_at(requests, generations)
        return generations

    def score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]], adapters: Sequence[int | None] = ()
    ) -> list[list[float]]:
        """See `Model.score`."""
        rows = super().score(prompts, continuations, adapters)
        self._check_list("score", rows, list, "prompt", len(prompts))
        for row, texts in zip(rows, continuations, strict=True):
            if len(row) != len(texts) or not all(_is(value, float) for value in row):
                self._refuse("score", _short(row), f"return {len(texts)} floats for this prompt, none of them NaN")
        return rows

    @contextmanager
    def adapted(
        self, jobs: Sequence[Sequence[TrainingExample]], config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """See `Model.adapted`."""
        with self._adaptations("adapted", self._model.adapted(jobs, config, seeds), len(jobs)) as adaptations:
            yield adaptations

    @contextmanager
    def adapted_from(
        self, files: Starts, jobs: Jobs, config: AdaptationConfig, seeds: Sequence[int]
    ) -> Iterator[list[Adaptation]]:
        """See `KeepsAdapters`."""
        block = super().adapted_from(files, jobs, config, seeds)
        with self._adaptations("adapted_from", block, len(jobs)) as adaptations:
            yield adaptations

    @contextmanager
    def _adaptations(
        self, member: str, block: AbstractContextManager[list[Adaptation]], jobs: int
    ) -> Iterator[list[Adaptation]]:
        if not (hasattr(block, "__enter__") and hasattr(block, "__exit__")):
            self._refuse(member, _short(block), "return a context manager: decorate it with @contextmanager")
        with block as adaptations:
            self._check_list(member, adaptations, Adaptation, "job", jobs)
            for adaptation in adaptations:
                if adaptation.status not in _STATUSES:
                    self._refuse(member, _short(adaptation), f"make its status one of: {', '.join(_STATUSES)}")
            yield adaptations

    def weights_checksum(self) -> int:
        """See `HasLocalWeights`; 0 where the model has none."""
        return self._optional("weights_checksum", int, 0)

    def weights_sha256(self) -> str:
        """See `HasLocalWeights`; empty where the model has none."""
        return self._optional("weights_sha256", str, "")

    def prompt_tokens(self, prompt: Prompt) -> int:
        """The length of a prompt in tokens; 0 where the model does not count them."""
        return self._optional("prompt_tokens", int, 0, prompt)

    def _optional(self, member: str, kind: type[T], otherwise: T, *arguments: Any) -> T:
        function = getattr(self._model, member, None)
        value: T = otherwise if function is None else function(*arguments)
        if not _is(value, kind):
            self._refuse(member, _short(value), f"return {_noun(kind)}")
        return value

    def _check_list(self, member: str, values: Any, kind: type, per: str, count: int) -> None:
        """Refuse what is no list with so many values of a kind."""
        wanted = f"return a list with one {kind.__name__} per {per}, in order"
        if not isinstance(values, list | tuple):
            self._refuse(member, _short(values), wanted)
        if len(values) != count:
            self._refuse(member, f"{len(values)} values for {count} {per}s", wanted)
        for value in values:
            if not isinstance(value, (list, tuple) if kind is list else kind):
                self._refuse(member, f"a list with {_short(value)} in it", wanted)

    def _refuse(self, member: str, result: str, wanted: str) -> NoReturn:
        raise WrongResult(f"the model {self.spec}: {member}", result, wanted)


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of a kind: True is no number, an int is a float, and NaN and infinity are none."""
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool) and value < math.inf  # NaN is not
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _noun(kind: type) -> str:
    return with_article(kind.__name__)


def _short(value: Any) -> str:
    """A value on one line, with its type where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{kind_of(value)} ({text[: _LONGEST - 20]}...)"
