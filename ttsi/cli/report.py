"""`ttsi report`: runs as one page that opens anywhere, or as Markdown tables.

Inputs: run folders. Outputs: a self-contained HTML file, and with `--plots` its pictures as .svg and .png files, which
needs the extra `report` (Jinja2, matplotlib); or tables, where the output ends in .md. Reads no model and no network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ttsi import __version__
from ttsi.errors import ConfigError, DataError, RunFolderError
from ttsi.reports.record import Run
from ttsi.runs.store import holds_run


def report(
    runs: Annotated[list[Path], Parameter(help="Run folders (ttsi ls runs).", negative=())],
    /,
    *,
    output: Path = Path("report.html"),
    plots: Path | None = None,
) -> int:
    """Write what happened in one or more runs as one HTML page, or as Markdown tables.

    Runs that differ in nothing but the seed are pooled; the others stand side by side.

    Args:
        runs: run folders, or folders of them (a sweep's).
        output: the page to write; a name that ends in .md makes tables for a README.
        plots: a folder for the pictures as .svg and .png files.
    """
    folders = distinct([folder for given in runs for folder in unfolded(given)])
    for folder in folders:
        if not holds_run(folder):
            raise RunFolderError(f"{folder} holds no run: `ttsi ls runs` lists those in runs/")
    if output.suffix == ".md":
        from ttsi.reports import markdown

        if plots is not None:
            raise ConfigError(f"{output} has no pictures: leave --plots out, or write a page, like report.html")
        with named(output):
            write_whole(output, markdown.page([read_run(folder) for folder in folders], __version__))
        print(output)
        return 0
    try:
        from ttsi.reports import plots as drawing
        from ttsi.reports.page import page
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a page needs {error.name}: pip install 'ttsi[report]', or make tables with --output report.md"
        ) from None

    found = [read_run(folder) for folder in folders]
    html, pictures = page(found, __version__)
    with named(output):
        write_whole(output, html)
        for picture in pictures if plots is not None else ():
            drawing.save(picture.figure, plots or Path(), picture.name)
    print(output)
    return 0


def unfolded(folder: Path) -> list[Path]:
    """The folder, or where it is no run itself the runs in it."""
    inside = sorted(path.parent for path in folder.glob("*/run.db"))
    return [folder] if (folder / "run.db").exists() or not inside else inside


@contextmanager
def named(output: Path) -> Iterator[None]:
    """Say in one line which file could not be written."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or output} cannot be written ({error.strerror}): choose another place"
        ) from None


def distinct(folders: list[Path]) -> list[Path]:
    """The folders, refusing one that is named twice: its answers would count twice.

    Raises:
        ConfigError: a folder is named twice.
    """
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise ConfigError(f"{folder} is named twice: name each run once")
        seen.add(folder.resolve())
    return folders


def read_run(folder: Path) -> Run:
    """A run folder as reports read it; its summary is counted anew from its rows.

    Raises:
        RunFolderError: there is no run, or none of its inputs is done; one line.
    """
    from ttsi.runs.corpus_f1 import CorpusF1
    from ttsi.runs.store import read_json, read_rows
    from ttsi.runs.summary import summarise

    rows = read_rows(folder)
    if not rows:
        raise RunFolderError(f"{folder} holds no finished input: go on with ttsi run --resume")
    config = read_json(folder / "config.json")
    try:
        f1 = CorpusF1(config["data"]["benchmark"], config["settings"]["loop"]["adapt"])
        for row in rows:
            f1.add(row, row.question.gold if row.question else None)
        summary = summarise(rows, config)
        summary["metrics"] |= f1.metrics()
        # Through JSON, so that a summary made here equals one that was read from a file.
        summary = json.loads(json.dumps(summary))
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{folder}/config.json lacks {error}: run it again with this version of ttsi") from None
    return Run(folder.resolve().name, config, summary, rows)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
