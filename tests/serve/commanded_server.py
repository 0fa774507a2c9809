"""A server whose worker does what requests say (`tests.serve.faults`); started as `ttsi serve` is.

`python -m tests.serve.commanded_server --model NAME --port 0 [LIMIT=VALUE ...]`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ttsi.methods import preset
from ttsi.serve.http import hosts_for, listen, serve
from ttsi.serve.keys import read_keys
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import Start
from ttsi.serve.service import Settings


def settings(given: dict[str, str]) -> Settings:
    """From words like `per_key=4`; `model` and `keys` are no limits."""
    keys = given.pop("keys", None)
    return Settings(
        start=Start(model=given.pop("model", "commanded"), device="auto", dtype="auto"),
        name="scripted:demo",
        config=preset("ttsi", "embedded"),
        limits=Limits(**{name: float(value) for name, value in given.items()}),  # type: ignore[arg-type]
        keys=read_keys(Path(keys)) if keys else {},
        hosts=hosts_for("127.0.0.1", (), with_keys=False),
        command=(sys.executable, "-m", "tests.serve.faults"),
    )


def announce(url: str) -> None:
    """As `ttsi serve` does."""
    print(f"ttsi: {url}/v1 answers", flush=True)


if __name__ == "__main__":
    chosen = settings(dict(word.split("=", 1) for word in sys.argv[5:]))
    sys.exit(asyncio.run(serve(chosen, listen("127.0.0.1", 0), announce)))
