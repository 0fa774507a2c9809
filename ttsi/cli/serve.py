"""`ttsi serve`: an OpenAI-compatible endpoint that adapts to each request.

Inputs: a model, settings, limits, API keys. Outputs: the address on stdout, then answers until SIGTERM. Private by
default: it listens on this machine only, and on other addresses only with keys.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ttsi.cli.option_groups import ACCESS, BASIC, LIMITS
from ttsi.cli.progress import loading
from ttsi.cli.settings import Device, Dtype, FormatName, InBasic, ModelSpec, Shortcuts, TeacherCosts, complete
from ttsi.config import MethodConfig
from ttsi.errors import ConfigError, LibraryError
from ttsi.library import check_library, folder_notice
from ttsi.methods import check_single_requests, wants_training_data
from ttsi.models import check_format
from ttsi.serve.limits import Limits, TurnAdapterLimits, check_limits


def serve(
    *,
    model: ModelSpec = "embedded",
    port: Annotated[int, Parameter(group=BASIC)] = 8000,
    host: Annotated[str, Parameter(group=BASIC)] = "127.0.0.1",
    name: Annotated[str | None, Parameter(group=BASIC)] = None,
    config: Annotated[MethodConfig, InBasic] = MethodConfig(),  # noqa: B008  frozen, so sharing it is safe
    shortcuts: Shortcuts = Shortcuts(),  # noqa: B008
    costs: TeacherCosts = TeacherCosts(),  # noqa: B008
    limits: Annotated[Limits, Parameter(group=LIMITS)] = Limits(),  # noqa: B008
    format: FormatName = None,
    api_keys: Annotated[Path | None, Parameter(group=ACCESS)] = None,
    add_key: Annotated[str | None, Parameter(group=ACCESS)] = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative="", group=ACCESS)] = (),
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Serve the model as an OpenAI-compatible API.

    Where the model is unsure about a tool call, it adapts to the request before it answers.

    Args:
        model: the model that answers.
        port: Port to listen on; 0 takes a free port.
        host: Address to listen on; any address other than this machine's own needs --api-keys.
        config: the method and its settings.
        shortcuts: short names of settings.
        costs: of a teacher.
        limits: per request, per key and for the whole server.
        api_keys: File of hashed API keys. With it, every route but health needs a key.
        add_key: Create a key of this name, add its hash to the file --api-keys, print the key once, and stop.
        allow_host: A further host name that requests may give in their Host header.
        name: The model's name for clients; by default its spec, or the last part of a folder.
    """
    from ttsi.serve.api_keys import add_key as create_key
    from ttsi.serve.api_keys import read_keys

    if add_key is not None:
        if api_keys is None:
            raise ConfigError("--add-key needs --api-keys FILE, the file that keeps the hash")
        print(create_key(api_keys, add_key))
        return 0
    check_limits(limits)
    keys = read_keys(api_keys) if api_keys is not None else {}
    check_format(format)
    settings_of_method = complete(config, shortcuts, model)
    if settings_of_method.teacher is not None:
        raise ConfigError("ttsi serve asks no teacher: leave --teacher out, or use ttsi ask or ttsi run with it")
    if settings_of_method.train_data is not None or wants_training_data(settings_of_method.loop):
        raise ConfigError("ttsi serve reads no training data: use a method that needs none, or ttsi run")
    check_single_requests(settings_of_method.loop, "ttsi serve has none")
    loop, library = settings_of_method.loop, settings_of_method.library
    if library.folder is not None:
        check_library(loop)
    if library.folder is not None and limits.turn_adapter_seconds:
        raise ConfigError("--library and --limits.turn-adapter-seconds both keep adapters: leave one of them out")
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
        start=Start(
            model=model,
            device=device,
            dtype=dtype,
            format=format,
            prefix_bytes=limits.prefix_bytes // max(1, len(keys)),
            library=None if library.folder is None else library,
            turn_adapters=TurnAdapterLimits(limits.turn_adapter_seconds, limits.turn_adapters),
        ),
        name=name or (Path(model).name if Path(model).is_dir() else model),
        config=loop,
        limits=limits,
        keys=keys,
        hosts=allowed_hosts(host, allow_host, bool(keys)),
    )
    if library.folder is not None:
        _print_notice(library.folder)
    with listen(host, port) as listener, loading(model):
        return asyncio.run(run(settings, listener, partial(_announce, with_keys=bool(keys))))


def _print_notice(library: Path) -> None:
    try:
        notice = folder_notice(library)
    except LibraryError as error:
        notice = str(error)
    if notice:
        print(f"ttsi: library: {notice}", file=sys.stderr, flush=True)


def _announce(address: str, with_keys: bool) -> None:
    page = "the page to try it, whose password is a key" if with_keys else "the page to try it"
    print(f"ttsi: {address}/v1 answers ({page}: {address}/)", flush=True)
    if not with_keys:
        print("ttsi: no API keys: anyone who can reach this address can use it", flush=True)
