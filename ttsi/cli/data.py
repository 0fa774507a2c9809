"""`ttsi data`: list, download, import and check the public benchmark data.

`ls` lists the data sets and how much of each is here, `get NAME` downloads at a pinned commit, `import NAME DIR` takes
a local copy, `check` counts rows and compares with the pinned checksums. The data go to TTSI_HOME/data
(~/.cache/ttsi/data), or to `--data DIR`, and `ttsi run` finds them there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ttsi.benchmarks import data_files, is_file, load
from ttsi.benchmarks.datasets import PublicDataset, dataset, datasets
from ttsi.benchmarks.download import download, import_copy
from ttsi.benchmarks.illegal_gold import illegal_gold_notice
from ttsi.benchmarks.names import names_notice
from ttsi.errors import ConfigError, DataError, unknown_name
from ttsi.plurals import with_noun

Name = Annotated[str, Parameter(help="A data set, as `ttsi data ls` names it.")]
Folder = Annotated[Path | None, Parameter(name="--data", help="Where the data lie; TTSI_HOME/data by default.")]

app = App(name="data", help="List, download, import and check the public benchmark data.")


@app.command(name="ls")
def ls(*, data: Folder = None) -> None:
    """List the data sets: how many files of each are here, its licence and what to know about it."""
    folder = data or data_files.cache()
    width = max(map(len, datasets()))
    for name, data_set in datasets().items():
        files = f"{data_set.present(folder)}/{len(data_set.files)}"
        print(f"{name:<{width}}  {files:>5} files here  {_terms(data_set)}")


@app.command(name="get")
def get(name: Name, /, *, data: Folder = None) -> None:
    """Download a data set at its pinned commit; go on where an interrupted download stopped."""
    data_set = dataset(name)
    _log(f"{name}: {_terms(data_set)}")
    print(download(data_set, data or data_files.cache(), _log))


@app.command(name="import")
def import_(name: Name, copy: Path, /, *, data: Folder = None) -> None:
    """Take a data set from a folder with a copy of its files, plain or .gz.

    Args:
        copy: The folder that holds the copy.
    """
    data_set = dataset(name)
    _log(f"{name}: {_terms(data_set)}")
    print(import_copy(data_set, copy, data or data_files.cache(), _log))


@app.command(name="check")
def check(
    name: Annotated[str | None, Parameter(help="Only this data set, or a FILE.jsonl of your own.")] = None,
    /,
    *,
    data: Folder = None,
) -> int:
    """Compare what is here with the pinned checksums and the expected counts; exit code 1 where they differ.

    A file of your own is read as `ttsi run` reads it; exit code 1 where something in it is most likely a slip.
    """
    if name is not None and is_file(name):
        return _check_file(name)
    if name is not None and name not in datasets():
        raise ConfigError(_unknown(name))
    folder = data or data_files.cache()
    data_sets = datasets().values() if name is None else [dataset(name)]
    present = [data_set for data_set in data_sets if data_set.present(folder)]
    if not present:
        raise DataError(f"{folder} holds none of the data: run `ttsi data get {name or 'NAME'}`, or pass --data DIR")
    problems = 0
    for data_set in present:
        lines, differences = _check_dataset(folder, data_set)
        problems += differences
        print("\n".join(lines))
    return 1 if problems else 0


def _check_dataset(folder: Path, data_set: PublicDataset) -> tuple[list[str], int]:
    """Report lines, and the number of problems."""
    wrong = data_set.mismatches(folder)
    right, files = len(data_set.files) - len(wrong), with_noun(len(data_set.files), "file")
    lines = [f"{data_set.name}: {right} of {files} as pinned"]
    lines += [f"  {line}" for line in wrong]
    if wrong:
        return lines, len(wrong)
    differences = 0
    for name, (counted, expected) in data_set.count_rows(folder).items():
        lines.append(f"  {name}: {with_noun(counted.rows, 'row')}, {counted.unsolvable} that no answer can solve")
        if counted != expected:
            differences += 1
            lines.append(f"  {name}: {expected.rows} and {expected.unsolvable} were expected")
    return lines, differences


def _unknown(name: str) -> str:
    """The line for what is no data set and no .jsonl file; a file of another kind shows by its ending, or is there."""
    if Path(name).suffix or Path(name).exists():
        return (
            f"{name} is no .jsonl file: write one JSON object a line, with messages and tools, into a file FILE.jsonl"
        )
    return f"{unknown_name('data source', name, datasets())} (or give the path of a .jsonl file)"


def _check_file(name: str) -> int:
    """Count a file's inputs and name its slips."""
    benchmark = load(name)
    graded = sum(sample.gold is not None for sample in benchmark.samples)
    print(f"{name}: {with_noun(len(benchmark.samples), 'input')}, {graded} with gold")
    warnings = [line for line in (benchmark.notice, illegal_gold_notice(benchmark), names_notice(benchmark)) if line]
    for line in warnings:
        _log(line)
    return 1 if warnings else 0


def _terms(data_set: PublicDataset) -> str:
    return data_set.licence + (f"; {data_set.note}" if data_set.note else "")


def _log(line: str) -> None:
    print(f"ttsi: {line}", file=sys.stderr)
