"""`ttsi report`: runs as one page that opens anywhere, or as Markdown tables.

Inputs: run folders. Outputs: a self-contained HTML file, and with `--plots` its pictures as .svg and .png files, which
needs the extra `report` (Jinja2, matplotlib); or tables, where the output ends in .md. Reads no model and no network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ttsi import __version__
from ttsi.atomic import write_atomically
from ttsi.cli.default_names import beside, check_replaceable, is_replaceable
from ttsi.errors import ConfigError, DataError, RunFolderError
from ttsi.runs.reading import load_run
from ttsi.runs.run_folders import run_folders
from ttsi.runs.store import holds_run

PAGE_HEAD = 2000
"""Characters of a page within which it names what made it."""


def report(
    runs: Annotated[list[Path], Parameter(help="Run folders (ttsi ls runs).", negative=())],
    /,
    *,
    output: Path | None = None,
    plots: Path | None = None,
) -> int:
    """Write what happened in one or more runs as one HTML page, or as Markdown tables.

    Runs that differ in nothing but the seed are pooled; the others stand side by side.

    Args:
        runs: Run folders, or folders of them. Of a sweep's folder the points are taken that its sweep.json names.
        output: The page to write; by default report.html, where that is free or an earlier report. A name that ends in
            .md gives Markdown tables.
        plots: Also write the pictures into this folder, as .svg and .png files.
    """
    chosen = run_folders(runs)
    if chosen.notice:
        print(f"ttsi: {chosen.notice}", file=sys.stderr)
    folders = chosen.runs
    for folder in folders:
        if not holds_run(folder):
            raise RunFolderError(f"{folder} holds no run: `ttsi ls runs` lists those in runs/")
    if output is None:
        output = Path("report.html")
        way_on = f"choose another page with --output (--output {output} replaces it)"
        check_replaceable(output, _is_report, "report", way_on)
    if output.suffix == ".md":
        from ttsi.reports import markdown

        if plots is not None:
            raise ConfigError(f"{output} has no pictures: leave --plots out, or write a page, like report.html")
        with writing(output):
            write_atomically(output, markdown.page([load_run(folder) for folder in folders], __version__))
        print(output)
        return 0
    try:
        from ttsi.reports import drawing
        from ttsi.reports.html import page
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a page needs {error.name}: pip install 'ttsi[report]', or make tables with --output report.md"
        ) from None

    html, figures = page([load_run(folder) for folder in folders], __version__)
    for name in figures if plots is not None else ():
        for picture in drawing.picture_paths(plots or Path(), name):
            check_replaceable(picture, drawing.is_picture, "picture of a report", "choose another folder with --plots")
    with writing(output):
        write_atomically(output, html)
        for name, figure in figures.items() if plots is not None else ():
            drawing.save(figure, plots or Path(), name)
    print(output)
    return 0


def page_beside(folder: Path) -> Path:
    """The page to suggest for a folder: FOLDER.html, or FOLDER-report.html where a file of the user's is called so."""
    page = beside(folder, ".html")
    return page if is_replaceable(page, _is_report) else beside(folder, "-report.html")


def _is_report(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return '<meta name="generator" content="ttsi ' in file.read(PAGE_HEAD)


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Make the folder of a file, and name the file in one line where it cannot be written.

    Raises:
        DataError: the system refused to write it.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or output} cannot be written ({error.strerror}): choose another place"
        ) from None
