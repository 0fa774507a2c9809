"""The `ttsi` command: one module per verb; this one joins them and reports errors.

Data go to stdout, everything else to stderr. Exit codes: 0 done, 1 more than 5 % of the inputs failed, 2 wrong usage
or data, 130 interrupted. An error that the user can fix is one line that says how. `--verbose` adds the traceback, and
one line per event of a run.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from cyclopts import App, CycloptsError, MissingArgumentError, UnusedCliTokensError

from ttsi import __version__, cpu
from ttsi.cli import resume_hint
from ttsi.cli.act import act
from ttsi.cli.ask import ask
from ttsi.cli.compare import compare
from ttsi.cli.config_layers import config_layers, upgrade_flags
from ttsi.cli.data import app as data
from ttsi.cli.env import env
from ttsi.cli.export import export
from ttsi.cli.help_page import Formatter
from ttsi.cli.library import app as library
from ttsi.cli.ls import ls
from ttsi.cli.report import report
from ttsi.cli.run import run
from ttsi.cli.serve import serve
from ttsi.cli.sweep import sweep
from ttsi.errors import TTSIError

HELP = """\
Agents that improve themselves at test time (TT-SI, arXiv:2510.07841): where the
model is unsure about an input, a small temporary adapter learns a few similar
examples (made by a rule, the model or a teacher), and is dropped once the model
has answered again.

Start here, offline and without a GPU:

    ttsi run --limit 64        the model and the benchmark that ship with ttsi
    ttsi ask "book seats for a film in Oslo" --tools examples/tools.json
                               with smollm2 where it is installed, else the
                               embedded model (ttsi ls models)
    ttsi ls                    benchmarks, models, methods and more

Then with your own questions and your own model:

    ttsi run --benchmark mine.jsonl --model hf:Qwen/Qwen2.5-0.5B-Instruct
                               add --answer.calls required if all need a call
    ttsi run --benchmark sealtool-sample --model smollm2 --answer.calls required
    ttsi act "delete the file a.txt" --functions my_tools:functions
                               an agent: tools are executed (also --mcp COMMAND)
    ttsi data get hammer-eval  download a public benchmark (ttsi data ls)
    ttsi run --benchmark sealtool --method ttsi-paper --seed 1
    ttsi run --resume --output-dir RUN
                               continue a run with the settings that it has
    ttsi report RUN...         one page with tables and plots
    ttsi compare RUN RUN       is one run better than the other, and where?
    ttsi run --method ttd --teacher openai:NAME --teacher-budget 200000tokens
    ttsi run --library DIR     keep adapters that prove themselves
    ttsi sweep configs/own-model.yaml --model SPEC --benchmark mine.jsonl

A setting comes from a flag (--awareness.tau 0.9, short --tau 0.9), else from
the environment (TTSI_AWARENESS_TAU=0.9), else from a file (--config FILE.yaml),
else from the method. configs/ and examples/ ship with the package and are found
from any folder (ttsi ls examples). --verbose shows every event and tracebacks.
"""


def build(words: Sequence[str] = ()) -> App:
    """The command with all its verbs.

    Args:
        words: what follows `ttsi` on the command line; help shows the values of the method and model named there.
    """
    app = App(
        name="ttsi",
        help=HELP,
        help_format="plaintext",
        help_formatter=Formatter(words),
        version=__version__,
        config=config_layers(),
        suppress_keyboard_interrupt=False,
    )
    for verb in (run, ask, act, serve, report, compare, sweep, export, ls, env):
        app.command(verb)
    app.command(data)
    app.command(library)
    app.register_install_completion_command()
    return app


def start() -> NoReturn:
    """Run the command as a process of its own: `ttsi`, and `python -m ttsi`."""
    code = main()
    limits = sys.modules.get("ttsi.environments.call_limits")
    if limits is not None and limits.calls_run():
        # Python aborts where a thread still waits for stdin, as a tool does that asks the user.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: what follows `ttsi`; None takes them from the process.
    """
    words = upgrade_flags(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in words
    _show_events(verbose)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower().startswith("utf"):
        # Half a surrogate pair, which a model can write: \ud800, as JSON has it. All else has a place in UTF.
        sys.stdout.reconfigure(errors="backslashreplace")
    cpu.sleep_while_waiting()
    resume_hint.remember(words)
    try:
        code = build(words)(
            [word for word in words if word != "--verbose"],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        # Here and not at the exit of the interpreter, so that a closed pipe is met inside this block.
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130, verbose=False)
    except UnusedCliTokensError as error:
        extra = " ".join(error.unused_tokens or ())
        hint = "quote a request of several words; every setting has a name, like --benchmark FILE.jsonl (--help)"
        return _fail(f"unexpected: {extra} ({hint})", 2, verbose)
    except MissingArgumentError as error:
        return _fail(_missing(error, words), 2, verbose)
    except (TTSIError, CycloptsError) as error:
        return _fail(str(error), 2, verbose)
    except BrokenPipeError:
        # The reader of our output has gone (`ttsi ls runs | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        hint = "this is a bug in ttsi: please report it with the output of --verbose and of `ttsi env`"
        return _fail(f"{type(error).__name__}: {error} ({hint})", 2, verbose)


def _show_events(verbose: bool) -> None:
    """The library's log on stderr: warnings always, every event with --verbose."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("ttsi: %(asctime)s %(message)s" if verbose else "ttsi: %(message)s"))
    logger = logging.getLogger("ttsi")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


def _missing(error: MissingArgumentError, words: Sequence[str]) -> str:
    """The line for a parameter that was left out, or named without a value."""
    name = error.argument.name if error.argument is not None else "a value"
    if name in words:
        return f"{name} needs a value"
    command = " ".join(["ttsi", *(error.command_chain or ())])
    return f"{command} needs {name}: {command} --help"


def _fail(message: str, code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    print(f"ttsi: {' '.join(message.split())}", file=sys.stderr)
    return code
