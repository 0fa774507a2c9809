"""The agent loops of common clients against `ttsi serve`: `python -m clients [--model SPEC] [CLIENT ...]`.

Inputs: names of clients, all by default. Outputs: one line per loop, and exit code 1 where a loop that should work did
not, or a control did. Each loop runs against a script (turns end as the client ends them), against the model (the
embedded one gets each turn in a conversation of its own, as it was not trained on results), and against three servers
that damage responses or requests. Those must fail.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from clients.cinema import Cinema
from clients.served import DAMAGE, damaging, scripted, serving

CLIENTS = {
    "openai_sdk": "openai",
    "agents_sdk": "openai-agents",
    "pydantic_agent": "pydantic-ai-slim",
    "langchain_agent": "langchain-openai",
}
"""The module of each client here, and its package."""


def fault(client: str, way: str, url: str, model: str, apart: bool) -> str | None:
    """The first error of one conversation in one line, or None."""
    cinema = Cinema()
    try:
        words = import_module(f"clients.{client}").converse(url, model, cinema, way, apart)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:140]}"
    return cinema.fault(words)


def with_script(client: str, way: str, damage: str | None = None) -> str | None:
    """`fault` of a whole conversation with a scripted model."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        script = scripted(Path(folder))
        url = stack.enter_context(serving(script, "--method", "base"))
        if damage is not None:
            url = stack.enter_context(damaging(url, damage))
        return fault(client, way, url, script, apart=False)


def lines(client: str, url: str, model: str) -> Iterator[tuple[bool, str]]:
    """(passed, line to print) for each loop of one client."""
    name = Path(model).name if Path(model).is_dir() else model
    for way in import_module(f"clients.{client}").WAYS:
        yield _line(client, way, "script", with_script(client, way))
        yield _line(client, way, model, fault(client, way, url, name, apart=model == "embedded"))
        for damage in DAMAGE:
            yield _control(client, way, damage, with_script(client, way, damage))


def _line(client: str, way: str, model: str, wrong: str | None) -> tuple[bool, str]:
    return wrong is None, f"{client:16} {way:18} {Path(model).name:20} {wrong or 'passed'}"


def _control(client: str, way: str, damage: str, wrong: str | None) -> tuple[bool, str]:
    return wrong is not None, f"{client:16} {way:18} {'control: ' + damage:20} {wrong or 'NOT DETECTED'}"


def main() -> int:
    """Run every loop of the chosen clients."""
    parser = argparse.ArgumentParser(description="The agent loops of common clients against ttsi serve.")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(CLIENTS)}; all by default")
    parser.add_argument("--model", default="embedded", help="the model to serve beside the script (ttsi ls models)")
    parser.add_argument("--method", default="base", help="the method (ttsi ls methods); base is deterministic")
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # the controls provoke errors that clients log
    passes = total = 0
    began = time.monotonic()
    with serving(options.model, "--method", options.method) as url:
        for client in options.clients or CLIENTS:
            print(f"{CLIENTS[client]} {version(CLIENTS[client])}", flush=True)
            for passed, line in lines(client, url, options.model):
                print(f"  {line}", flush=True)
                passes, total = passes + passed, total + 1
    print(f"{passes} of {total} passed, {time.monotonic() - began:.0f} s")
    return 0 if passes == total else 1


if __name__ == "__main__":
    sys.exit(main())
