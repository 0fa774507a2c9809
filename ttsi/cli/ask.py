"""`ttsi ask`: one input, with every step shown.

Inputs: a request and a file of tools (OpenAI function schemas). Outputs: on stdout, the candidates and the model's
confidence, the examples, the training, the answer before and after; or the episode as JSON.
"""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from ttsi.cli.option_groups import AWARENESS, BASIC
from ttsi.cli.progress import announced, loading, print_notes, stage_lines
from ttsi.cli.settings import (
    Device,
    Dtype,
    FormatName,
    InBasic,
    OutputSwitch,
    Shortcuts,
    Switch,
    TeacherCosts,
    complete,
)
from ttsi.cli.tool_sources import read_tools_of
from ttsi.config import MethodConfig
from ttsi.errors import ConfigError, DataError
from ttsi.methods import check_single_requests, find_method, wants_training_data
from ttsi.models import check_format, check_speaker
from ttsi.models.default import default_model
from ttsi.types import Input, Message


def ask(
    query: Annotated[
        str, Parameter(help="The user's request; - reads it from stdin.", group=BASIC, allow_leading_hyphen=True)
    ],
    /,
    *,
    tools: Annotated[str, Parameter(group=BASIC)],
    model: Annotated[
        str | None,
        Parameter(
            group=BASIC,
            help="The model that answers (ttsi ls models): a folder, FILE.gguf, hf:OWNER/NAME, smollm2, embedded. "
            "By default smollm2 where it is installed, else embedded.",
        ),
    ] = None,
    config: Annotated[MethodConfig, InBasic] = MethodConfig(),  # noqa: B008  frozen, so sharing it is safe
    shortcuts: Shortcuts = Shortcuts(),  # noqa: B008
    costs: TeacherCosts = TeacherCosts(),  # noqa: B008
    system: Annotated[str | None, Parameter(group=BASIC)] = None,
    adapt_anyway: Annotated[Switch, Parameter(group=AWARENESS)] = False,
    format: FormatName = None,
    json: OutputSwitch = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Answer one request and show every step.

    The steps: candidates and confidence, examples, training, the answer before and after.

    Args:
        query: the user's request, or -.
        tools: A JSON file with a list of OpenAI function schemas (examples/tools.json ships with ttsi), or
            module:object with Python functions, as --functions of ttsi act.
        model: the model that answers.
        config: the method and its settings.
        shortcuts: short names of settings.
        costs: of a teacher.
        system: A system message before the request.
        adapt_anyway: Adapt to this request even if the model is confident.
        json: Print the episode as JSON instead.
    """
    if model is None:
        model = choose_model()
    check_speaker(model)
    check_format(format)
    request = read_stdin() if query == "-" else query
    check_utf8(request, "the request")
    check_utf8(system or "", "--system")
    if not request.strip():
        raise ConfigError('the request is empty: write one, like ttsi ask "book seats for a film"')
    config = complete(config, shortcuts, model, inputs=lambda: 1)
    loop = config.loop
    if wants_training_data(loop):
        raise ConfigError(f"--method {config.method} learns from training data: use ttsi run")
    check_single_requests(loop, "ttsi ask has none (ttsi act has)")
    if find_method(config.method).needs_teacher and config.teacher is None:
        raise ConfigError(f"--method {config.method} needs a --teacher")
    if adapt_anyway:
        loop = replace(loop, awareness=replace(loop.awareness, gate="all"))
    messages = [Message("system", system)] if system else []
    item = Input("ask", (*messages, Message("user", request)), read_tools_of(tools))

    # Only now: a wrong file should be named at once, not after a model was loaded.
    from ttsi import codec
    from ttsi.library import improve_with_library, tools_notice
    from ttsi.loop import improve
    from ttsi.models import load, load_teacher
    from ttsi.reports.story import one_line, story
    from ttsi.runs.run_library import run_library

    with loading(model):
        answering = load(model, device=device, dtype=dtype, format=format)
    print_notes(answering)
    teacher = costs.teacher_config(config.teacher_budget)
    writer = load_teacher(config.teacher, answering, teacher, "ask", device, dtype)
    with run_library(config, answering, "ask") as use, announced("answering"), stage_lines():
        if use is None:
            [episode] = improve([item], answering, writer, loop)
        else:
            with use.library.step():
                if use.library.entries and (notice := tools_notice(use.library, item.tools, answering, loop)):
                    print(f"ttsi: {notice}", file=sys.stderr, flush=True)  # before the work, which may take long
                [episode] = improve_with_library(use, [item], answering, writer, loop)
    if episode.error is not None and not json:
        print(f"ttsi: {one_line(episode.error, 400)}", file=sys.stderr)
        return 2 if episode.error.startswith("prompt:") else 1
    if json:
        print(json_module.dumps(json_module.loads(codec.dumps(episode)), indent=2, ensure_ascii=False))
    else:
        print(story(item, episode, ascii_only="utf" not in (sys.stdout.encoding or "").lower()))
    return 0 if episode.error is None else 2 if episode.error.startswith("prompt:") else 1


def choose_model() -> str:
    """The model where none is named; a line on stderr says which, and why."""
    model, reason = default_model()
    because = (
        f", since {reason}" if reason else "; --model chooses another, --answer.calls auto lets it answer in words"
    )
    print(f"ttsi: the model is {model}{because}", file=sys.stderr)
    return model


def read_stdin() -> str:
    """The text on stdin; empty where it is closed."""
    if sys.stdin is None:
        return ""
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise DataError("the request on stdin is not UTF-8 text") from None


def check_utf8(text: str, what: str) -> None:
    """Refuse bytes that are not UTF-8: a shell passes them on as lone surrogates."""
    from ttsi.chat.conversation import check_json

    try:
        check_json(text)
    except DataError:
        raise DataError(f"{what} is not UTF-8 text") from None
