"""A server whose worker obeys commands in requests (`tests.serve.faulty_worker`), started as `ttsi serve` is.

`python -m tests.serve.commanded_server --model NAME --port 0 [LIMIT=VALUE ...]`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ttsi.methods import preset
from ttsi.serve.api_keys import read_keys
from ttsi.serve.http import allowed_hosts, listen, serve
from ttsi.serve.limits import Limits
from ttsi.serve.pipe import Start
from ttsi.serve.service import ServerSettings


def settings(options: dict[str, str]) -> ServerSettings:
    """From words like `per_key=4`; `model` and `keys` are no limits."""
    keys = options.pop("keys", None)
    return ServerSettings(
        start=Start(model=options.pop("model", "commanded"), device="auto", dtype="auto"),
        name="scripted:demo",
        config=preset("ttsi", "embedded"),
        limits=Limits(**{name: float(value) for name, value in options.items()}),  # type: ignore[arg-type]
        keys=read_keys(Path(keys)) if keys else {},
        hosts=allowed_hosts("127.0.0.1", (), with_keys=False),
        command=(sys.executable, "-m", "tests.serve.faulty_worker"),
    )


def announce(url: str) -> None:
    """As `ttsi serve` does."""
    print(f"ttsi: {url}/v1 answers", flush=True)


if __name__ == "__main__":
    server_settings = settings(dict(word.split("=", 1) for word in sys.argv[5:]))
    sys.exit(asyncio.run(serve(server_settings, listen("127.0.0.1", 0), announce)))
