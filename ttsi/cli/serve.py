"""`ttsi serve`: an OpenAI-compatible server that adapts to each request.

Inputs: a model, the settings, the limits and the API keys. Outputs: the address on stdout, then answers until SIGTERM.
It is private by default: it listens on this machine only, and on any other address only with keys.
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
class _LimitOptions:
    limits: Annotated[Limits, Parameter(group=LIMITS)] = field(default_factory=Limits)
    """Upper bounds for one request, one key and all clients together."""


def serve(
    *,
    model: Annotated[str, Parameter(group=BASIC)] = "embedded",
    port: Annotated[int, Parameter(group=BASIC)] = 8000,
    host: Annotated[str, Parameter(group=BASIC)] = "127.0.0.1",
    name: Annotated[str | None, Parameter(group=BASIC)] = None,
    knobs: Knobs = Knobs(),  # noqa: B008  frozen, so sharing it is safe
    bounds: _LimitOptions = _LimitOptions(),
    format: FormatName = None,
    api_keys: Annotated[Path | None, Parameter(group=ACCESS)] = None,
    add_key: Annotated[str | None, Parameter(group=ACCESS)] = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative="", group=ACCESS)] = (),
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Answer chat completions over HTTP, and improve tool calls where the model is unsure.

    Args:
        model: the model to serve (ttsi ls models): embedded, smollm2, a folder, FILE.gguf, hf:OWNER/NAME.
        port: the port to listen on; 0 takes a free one.
        host: the address to listen on; addresses that other machines can reach need --api-keys.
        knobs: the method's settings.
        bounds: the limits.
        api_keys: a file of hashed keys; with it every route except health needs a key.
        add_key: create a key with this name, add its hash to the --api-keys file, print it once, and exit.
        allow_host: another name that requests may have in their Host header.
        name: the model's name in requests; by default its spec, or the last part of a folder's path.
    """
    from ttsi.serve.api_keys import add_key as create_key
    from ttsi.serve.api_keys import read_keys

    if add_key is not None:
        if api_keys is None:
            raise ConfigError("--add-key needs --api-keys FILE to store the hash in")
        print(create_key(api_keys, add_key))
        return 0
    keys = read_keys(api_keys) if api_keys is not None else {}
    check_format(format)
    config = knobs.loop(model=model)
    try:
        import asyncio

        from ttsi.serve.http import allowed_hosts, check_bind, listen
        from ttsi.serve.http import serve as run
        from ttsi.serve.pipe import Start
        from ttsi.serve.service import ServerSettings
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'ttsi[serve]'") from None
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: use a number from 0 (any free port) to 65535")
    check_bind(host, bool(keys))
    settings = ServerSettings(
        start=Start(model=model, device=device, dtype=dtype, format=format),
        name=name or (Path(model).name if Path(model).is_dir() else model),
        config=config,
        limits=bounds.limits,
        keys=keys,
        hosts=allowed_hosts(host, allow_host, bool(keys)),
    )
    with listen(host, port) as listener, loading(model):
        return asyncio.run(run(settings, listener, partial(_announce, with_keys=bool(keys))))


def _announce(address: str, with_keys: bool) -> None:
    print(f"ttsi: {address}/v1 answers (the page to try it: {address}/)", flush=True)
    if not with_keys:
        print("ttsi: no API keys: anyone who can reach this address can use it", flush=True)
