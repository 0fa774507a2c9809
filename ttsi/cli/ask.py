"""`ttsi ask`: one input, with its whole story told.

Inputs: a request and a file of tools (OpenAI function schemas). Outputs: on stdout, the candidates and how sure the
model was, the examples it wrote, what it learned, its answer before and after; or the episode as JSON.
"""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ttsi.cli.help import AWARENESS, BASIC, OUTPUT
from ttsi.cli.progress import announced, loading, print_notes
from ttsi.cli.settings import Device, Dtype, FormatName, Knobs, Switch
from ttsi.cli.shipped import resolved
from ttsi.errors import ConfigError, DataError
from ttsi.methods import find_method, wants_training_data
from ttsi.models import check_format, check_speaker
from ttsi.types import Input, Message, Tool


def ask(
    query: Annotated[
        str, Parameter(help="What the user says; - reads it from stdin.", group=BASIC, allow_leading_hyphen=True)
    ],
    /,
    *,
    tools: Annotated[Path, Parameter(group=BASIC)],
    model: Annotated[str, Parameter(group=BASIC)] = "embedded",
    knobs: Knobs = Knobs(),  # noqa: B008  frozen, so sharing it is safe
    system: Annotated[str | None, Parameter(group=BASIC)] = None,
    adapt_anyway: Annotated[Switch, Parameter(group=AWARENESS)] = False,
    format: FormatName = None,
    json: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Answer one request and tell the whole story of it.

    Args:
        query: what the user says, or -.
        tools: a JSON file with a list of OpenAI function schemas (examples/tools.json ships).
        model: who answers (ttsi ls models): embedded, smollm2, a folder, FILE.gguf, hf:OWNER/NAME.
        knobs: the method's settings.
        system: a system message before the request.
        adapt_anyway: write examples and learn them even when the model is sure.
        json: print the episode as JSON instead of the story.
    """
    check_speaker(model)
    check_format(format)
    request = _read_request() if query == "-" else query
    _check_words(request, "the request")
    _check_words(system or "", "--system")
    if not request.strip():
        raise ConfigError('the request is empty: write what the user says, like ttsi ask "book seats for a film"')
    config = knobs.loop(1, model)
    needs_teacher = find_method(knobs.method).needs_teacher
    if wants_training_data(config) or (needs_teacher and knobs.teacher is None):
        lacks = "a --teacher" if needs_teacher else "training data, and one input is no run: ttsi run"
        raise ConfigError(f"--method {knobs.method} needs {lacks}")
    if adapt_anyway:
        config = replace(config, awareness=replace(config.awareness, gate="all"))
    messages = [Message("system", system)] if system else []
    item = Input("ask", (*messages, Message("user", request)), read_tools_file(resolved(tools)))

    # Only now: a wrong file should be named at once, not after a model was loaded.
    from ttsi import codec
    from ttsi.loop import improve
    from ttsi.models import load, load_teacher
    from ttsi.reports.story import one_line, story

    with loading(model):
        speaker = load(model, device=device, dtype=dtype, format=format)
    print_notes(speaker)
    writer = load_teacher(knobs.teacher, speaker, knobs.teaching(), "ask", device, dtype)
    with announced("answering"):
        [episode] = improve([item], speaker, writer, config)
    if episode.error is not None and not json:
        print(f"ttsi: {one_line(episode.error, 400)}", file=sys.stderr)
        return 2 if episode.error.startswith("prompt:") else 1
    if json:
        print(json_module.dumps(json_module.loads(codec.dumps(episode)), indent=2, ensure_ascii=False))
    else:
        print(story(item, episode, ascii_only="utf" not in (sys.stdout.encoding or "").lower()))
    return 0 if episode.error is None else 2 if episode.error.startswith("prompt:") else 1


def _read_request() -> str:
    """What stands on stdin; nothing where it is closed."""
    if sys.stdin is None:
        return ""
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise DataError("the request on stdin is not UTF-8 text") from None


def _check_words(text: str, what: str) -> None:
    """Refuse bytes that are no text: they come from a shell as halves of characters."""
    from ttsi.chat.conversation import check_text

    try:
        check_text(text)
    except DataError:
        raise DataError(f"{what} is not UTF-8 text") from None


def read_tools_file(path: Path) -> tuple[Tool, ...]:
    """The tools of a JSON file.

    Raises:
        DataError: the file is missing, not JSON, or no list of function schemas; one line.
    """
    from ttsi.chat.conversation import check_text, read_tools

    try:
        content = json_module.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give --tools FILE.json") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be read; flatten it") from None
    except json_module.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    try:
        check_text(content)
        return read_tools(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
