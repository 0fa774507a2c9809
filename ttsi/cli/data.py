"""`ttsi data`: the public benchmark data, fetched, brought from a copy, and checked.

`ls` says what there is and what is here, `get NAME` downloads at a pinned commit, `import NAME DIR` takes a local copy,
`check` counts and compares with the pinned checksums. The data go to TTSI_HOME/data (~/.cache/ttsi/data), or to
`--data DIR`, and `ttsi run` finds them there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ttsi.benchmarks import fetch, load, places
from ttsi.benchmarks.names import is_file, odd_names
from ttsi.benchmarks.sources import Source, counts, faults, present, source, sources
from ttsi.errors import DataError

Name = Annotated[str, Parameter(help="A source, as `ttsi data ls` names it.")]
Folder = Annotated[Path | None, Parameter(name="--data", help="Where the data lie; TTSI_HOME/data by default.")]

app = App(name="data", help="List, fetch, import and check the public benchmark data.")


@app.command(name="ls")
def ls(*, data: Folder = None) -> None:
    """List the sources: how much of each is here, its licence and what to know about it."""
    folder = data or places.cache()
    width = max(map(len, sources()))
    for name, one in sources().items():
        here = f"{present(folder, one)}/{len(one.files)}"
        print(f"{name:<{width}}  {here:>5} files here  {_terms(one)}")


@app.command(name="get")
def get(name: Name, /, *, data: Folder = None) -> None:
    """Download a source at its pinned commit; go on where an interrupted download stopped."""
    wanted = source(name)
    _say(f"{name}: {_terms(wanted)}")
    print(fetch.get(wanted, data or places.cache(), _say))


@app.command(name="import")
def bring(name: Name, copy: Path, /, *, data: Folder = None) -> None:
    """Take a source from a folder with a copy of its files, plain or .gz.

    Args:
        copy: the folder.
    """
    wanted = source(name)
    _say(f"{name}: {_terms(wanted)}")
    print(fetch.bring(wanted, copy, data or places.cache(), _say))


@app.command(name="check")
def check(
    name: Annotated[str | None, Parameter(help="Only this source, or a FILE.jsonl of your own.")] = None,
    /,
    *,
    data: Folder = None,
) -> int:
    """Compare what is here with the pinned checksums and the known counts; exit code 1 where they differ.

    A file of your own is read as `ttsi run` reads it; exit code 1 where something in it is most likely a slip.
    """
    if name is not None and is_file(name):
        return _checked_file(name)
    folder = data or places.cache()
    wanted = sources().values() if name is None else [source(name)]
    here = [one for one in wanted if present(folder, one)]
    if not here:
        raise DataError(f"{folder} holds none of the data: run `ttsi data get {name or 'NAME'}`, or pass --data DIR")
    problems = 0
    for one in here:
        lines, bad = _checked(folder, one)
        problems += bad
        print("\n".join(lines))
    return 1 if problems else 0


def _checked(folder: Path, wanted: Source) -> tuple[list[str], int]:
    """What is to be said about one source, and how much of it is a problem."""
    wrong = faults(folder, wanted)
    lines = [f"{wanted.name}: {len(wanted.files) - len(wrong)} of {len(wanted.files)} files are the pinned ones"]
    lines += [f"  {line}" for line in wrong]
    if wrong:
        return lines, len(wrong)
    differences = 0
    for name, (found, expected) in counts(folder, wanted).items():
        lines.append(f"  {name}: {found.rows} rows, {found.unsolvable} that no answer can solve")
        if found != expected:
            differences += 1
            lines.append(f"  {name}: {expected.rows} and {expected.unsolvable} were expected")
    return lines, differences


def _checked_file(name: str) -> int:
    """Count a file's inputs and name its slips."""
    found = load(name)
    graded = sum(sample.gold is not None for sample in found.samples)
    print(f"{name}: {len(found.samples)} inputs, {graded} with gold")
    warnings = [line for line in (found.notice, odd_names(found)) if line]
    for line in warnings:
        _say(line)
    return 1 if warnings else 0


def _terms(wanted: Source) -> str:
    return wanted.licence + (f"; {wanted.note}" if wanted.note else "")


def _say(line: str) -> None:
    print(f"ttsi: {line}", file=sys.stderr)
