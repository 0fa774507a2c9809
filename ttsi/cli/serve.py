"""`ttsi serve`: an OpenAI-compatible endpoint that improves itself on the request in front of it.

Inputs: a model, the knobs, the limits, and the keys of those who may ask. Outputs: the address on stdout, then answers
until SIGTERM. Private by default: it listens on this machine only, and anywhere else only with keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ttsi.cli.help import ACCESS, BASIC, LIMITS
from ttsi.cli.progress import loading
from ttsi.cli.settings import Device, Dtype, FormatName, Knobs
from ttsi.errors import ConfigError
from ttsi.models import check_format
from ttsi.serve.limits import Limits


@Parameter(name="*")
@dataclass(frozen=True)
class _Bounds:
    limits: Annotated[Limits, Parameter(group=LIMITS)] = field(default_factory=Limits)
    """What one request, one key and everybody together may ask for."""


def serve(
    *,
    model: Annotated[str, Parameter(group=BASIC)] = "embedded",
    port: Annotated[int, Parameter(group=BASIC)] = 8000,
    host: Annotated[str, Parameter(group=BASIC)] = "127.0.0.1",
    name: Annotated[str | None, Parameter(group=BASIC)] = None,
    knobs: Knobs = Knobs(),  # noqa: B008  frozen, so sharing it is safe
    bounds: _Bounds = _Bounds(),
    format: FormatName = None,
    api_keys: Annotated[Path | None, Parameter(group=ACCESS)] = None,
    add_key: Annotated[str | None, Parameter(group=ACCESS)] = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative="", group=ACCESS)] = (),
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Answer chat completions over HTTP; unsure tool calls get better.

    Args:
        model: who answers (ttsi ls models): embedded, smollm2, a folder, FILE.gguf, hf:OWNER/NAME.
        port: where to listen; 0 takes a free port.
        host: the address to listen on; anything but this machine needs --api-keys.
        knobs: the method's settings.
        bounds: the limits.
        api_keys: a file of hashed keys; with it every route but health needs one.
        add_key: make a key of this name, add its hash to --api-keys, print it once, and stop.
        allow_host: a further name that a Host header may give.
        name: what clients call the model; by default its spec, of a folder the last part.
    """
    from ttsi.serve.keys import add_key as add
    from ttsi.serve.keys import read_keys

    if add_key is not None:
        if api_keys is None:
            raise ConfigError("--add-key needs --api-keys FILE, where its hash is kept")
        print(add(api_keys, add_key))
        return 0
    keys = read_keys(api_keys) if api_keys is not None else {}
    check_format(format)
    config = knobs.loop(model=model)
    try:
        import asyncio

        from ttsi.serve.http import check_bind, hosts_for, listen
        from ttsi.serve.http import serve as run
        from ttsi.serve.pipe import Start
        from ttsi.serve.service import Settings
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'ttsi[serve]'") from None
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: use a number from 0 (any free port) to 65535")
    check_bind(host, bool(keys))
    settings = Settings(
        start=Start(model=model, device=device, dtype=dtype, format=format),
        name=name or (Path(model).name if Path(model).is_dir() else model),
        config=config,
        limits=bounds.limits,
        keys=keys,
        hosts=hosts_for(host, allow_host, bool(keys)),
    )
    with listen(host, port) as listener, loading(model):
        return asyncio.run(run(settings, listener, partial(_announce, open_to_all=not keys)))


def _announce(address: str, open_to_all: bool) -> None:
    print(f"ttsi: {address}/v1 answers (the page to try it: {address}/)", flush=True)
    if open_to_all:
        print("ttsi: no API keys: open to everybody who reaches this address", flush=True)
