"""`ttsi library`: what a library of adapters holds, and its entries in and out of it.

`prepare` trains an adapter for a list of tools. `ls` lists the entries, `show` prints one with what it learned, `rm`
deletes it with all that it learned, `export` and `import` move entries between libraries and to PEFT, `stats` counts.
Reading needs no torch.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import App, Parameter

from ttsi.cli.progress import announced, loading, print_notes, stage_lines
from ttsi.cli.settings import Device, Dtype
from ttsi.config import LibraryConfig
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary, LibraryEntry
from ttsi.library.admission import e_value
from ttsi.library.entry import Status
from ttsi.library.exchange import export_entry, import_entry
from ttsi.methods import preset
from ttsi.models import check_speaker
from ttsi.plurals import with_noun
from ttsi.reports.story import call_text, one_line

Folder = Annotated[Path, Parameter(help="The library's folder, as `ttsi run --library` has it.")]
EntryName = Annotated[str, Parameter(help="An entry's id, or the first digits of it (ttsi library ls).")]

app = App(name="library", help="List, show, delete, export and import the adapters of a library.")


@app.command(name="ls")
def ls(folder: Folder, /) -> None:
    """List the entries: id, status, evidence, uses, size, tools."""
    with AdapterLibrary(folder, writable=False) as library:
        entries = library.entries
    print(f"{'id':<12}  {'status':<9}  {'evidence':<10}  {'given':>9}  {'MB':>6}  tools")
    for entry in entries:
        print(_line(entry))
    if not entries:
        print("ttsi: no adapter yet: an unsure input trains one, or the second with the same tools", file=sys.stderr)


def _line(entry: LibraryEntry) -> str:
    evidence, given = f"{entry.wins} of {entry.wins + entry.losses}", f"{entry.uses} of {entry.tries}"
    tools = one_line(", ".join(tool.name for tool in entry.tools), 60)
    return f"{entry.id:<12}  {entry.status:<9}  {evidence:<10}  {given:>9}  {entry.bytes / 1e6:>6.1f}  {tools}"


@app.command(name="show")
def show(folder: Folder, name: EntryName, /) -> None:
    """Print an entry: its evidence, what it was trained on, and whether its file is whole."""
    with AdapterLibrary(folder, writable=False) as library:
        entry = library.entry(name)
        learned = [one for one in library.pooled_inputs(entry.tools_hash, entry.key) if one.input_hash in entry.inputs]
        try:
            library.adapter(entry)
            whole = "whole"
        except LibraryError as error:
            whole = str(error)
    judged = entry.wins + entry.losses
    tests = "tests" if entry.prepared else "later inputs"
    evidence = f"{entry.wins} of {judged} {tests}, e-value {e_value(entry.wins, entry.losses):.3g}"
    lowered = "not measured yet" if entry.divergence is None else f"lowered by {entry.divergence:.3f} nats per token"
    print(f"entry     {entry.id}, {entry.status}" + (f" ({entry.reason})" if entry.reason else ""))
    print(f"evidence  found their examples likelier than the base did: {evidence}")
    print(f"others    log-probability of the base's answers to other requests: {lowered}")
    print(f"answers   {entry.uses} given of {entry.tries} tried; last {_day(entry.last_use)}")
    source = "its tools" if entry.prepared else with_noun(len(entry.inputs), "input")
    learned_from = f"{with_noun(entry.examples, 'example')} of {source}"
    on = f", and {with_noun(entry.version, 'time')} on, last {_day(entry.last_learned)}" if entry.version else ""
    print(f"trained   {_day(entry.created)}{on}: {learned_from}, by {entry.origin}")
    print(f"fits      weights {entry.key.weights_sha256[:12]}, format {entry.key.format}, rank {entry.key.rank}, "
          f"alpha {entry.key.alpha:g}, scope {entry.key.scope}")  # fmt: skip
    print(f"file      {entry.bytes} bytes, {whole}")
    print(f"tools     {', '.join(tool.name for tool in entry.tools)}")
    for one in learned:
        for example in one.examples:
            print(f"  {one_line(example.query)}  ->  {'; '.join(map(call_text, example.calls))}")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "never"


@app.command(name="prepare")
def prepare(
    folder: Folder,
    tools: str,
    /,
    *,
    model: str | None = None,
    scope: Literal["suffix", "all"] | None = None,
    seed: int = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Train an adapter for a list of tools ahead of its requests, and test it; made when missing.

    It learns examples made from the tools' schemas: up to four of each tool, 64 in all. Others test it. Once admitted,
    it answers in `ttsi run`, `ask` and `serve` with `--library FOLDER`, and `ttsi library export` writes it for PEFT.

    Args:
        tools: A JSON file with a list of OpenAI function schemas, or module:object with Python functions, as
            --functions of ttsi act.
        model: The model that answers; by default that of `ttsi ask`.
        scope: The tokens on which it acts: suffix, from the user's turn on, or all, as other engines expect of a LoRA.
            By default as the method ttsi has it for this model. The run that uses it must have the same.
        seed: Draws the examples.
    """
    from ttsi.benchmarks import load as load_benchmark
    from ttsi.cli.ask import choose_model
    from ttsi.cli.tool_sources import read_tools_of
    from ttsi.library import RETENTION_ROWS, LibraryUse
    from ttsi.library import prepare as prepare_adapter
    from ttsi.models import load

    model = model or choose_model()
    check_speaker(model)
    offered = read_tools_of(tools)
    config = replace(preset("ttsi", model), seed=seed)
    if scope is not None:
        config = replace(config, adaptation=replace(config.adaptation, scope=scope))
    settings = LibraryConfig(folder=folder)
    retention = [row.input for row in load_benchmark(settings.retention).samples[:RETENTION_ROWS]]
    with AdapterLibrary(folder) as library:  # before a model is loaded: the folder may be refused
        with loading(model):
            answering = load(model, device=device, dtype=dtype)
        print_notes(answering)
        began = time.perf_counter()
        with library.step(), announced("training"), stage_lines():
            use = LibraryUse(library, settings, retention, "prepare")
            entry = prepare_adapter(use, answering, offered, config)
    held_back = with_noun(entry.wins + entry.losses, "example")
    tested = f"found {entry.wins} of {held_back} held back likelier than the base does"
    print(f"entry     {entry.id}, {entry.standing}")
    learned = f"{with_noun(entry.examples, 'example')} of {with_noun(len(offered), 'tool')}"
    print(f"trained   on {learned} in {time.perf_counter() - began:.0f} s")
    print(f"tested    {tested}")
    if entry.status == "candidate":
        print("It does not answer yet. Later requests with these tools are tests, too; or try another --seed.")
    return 0 if entry.status != "refused" else 1


@app.command(name="rm")
def rm(folder: Folder, /, *names: EntryName) -> None:
    """Delete entries, with the examples and the evidence that they learned from."""
    if not names:
        raise LibraryError(f"which entries? ttsi library ls {folder} lists them")
    with AdapterLibrary(_existing(folder)) as library:
        entries = {(entry := library.entry(name)).id: entry for name in names}.values()
        with library.step():
            for entry in entries:
                library.remove(entry)
    with AdapterLibrary(folder):
        pass  # a writer deletes the files that nobody names
    print(f"ttsi: {len(entries)} deleted", file=sys.stderr)


@app.command(name="export")
def export(folder: Folder, name: EntryName, output: Path, /) -> None:
    """Write an entry into a folder that PEFT loads and another library imports.

    Args:
        output: The new folder.
    """
    with AdapterLibrary(folder, writable=False) as library:
        entry = library.entry(name)
        print(export_entry(library, entry, output))
    if entry.status != "admitted":
        print(f"ttsi: {entry.id} is {entry.standing}", file=sys.stderr)
    if entry.key.scope == "suffix":
        print(
            "ttsi: an activated LoRA (aLoRA), for PEFT. For engines without them: prepare --scope all", file=sys.stderr
        )


@app.command(name="import")
def import_(folder: Folder, entry: Path, /) -> None:
    """Take an exported entry into a library, as a candidate that has to prove itself there.

    Args:
        entry: The folder that `ttsi library export` wrote.
    """
    with AdapterLibrary(folder) as library, library.step():
        print(import_entry(library, entry).id)


@app.command(name="stats")
def stats(folder: Folder, /) -> None:
    """Count entries, evidence, answers and bytes."""
    with AdapterLibrary(folder, writable=False) as library:
        entries = library.entries
    counts = Counter(entry.status for entry in entries)
    shares = ", ".join(f"{counts[status]} {status}" for status in get_args(Status))
    print(f"entries   {len(entries)}: {shares}")
    print(f"models    {len({entry.key.weights_sha256 for entry in entries})}")
    print(f"evidence  {sum(e.wins for e in entries)} wins, {sum(e.losses for e in entries)} losses")
    print(f"answers   {sum(e.uses for e in entries)} given of {sum(e.tries for e in entries)} tried")
    print(f"size      {sum(e.bytes for e in entries) / 1e6:.1f} MB")


def _existing(folder: Path) -> Path:
    AdapterLibrary(folder, writable=False).close()  # refuses a folder that is no library, before one is made of it
    return folder
