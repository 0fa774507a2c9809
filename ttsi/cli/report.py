"""`ttsi report`: runs as one page that opens anywhere, or as Markdown tables.

Inputs: run folders. Outputs: a self-contained HTML file, and with `--plots` its pictures as .svg and .png files, which
needs the extra `report` (Jinja2, matplotlib); or tables, where the output ends in .md. Reads no model and no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ttsi import __version__
from ttsi.atomic import write_atomically
from ttsi.errors import ConfigError, DataError, RunFolderError
from ttsi.runs.reading import load_run, run_folders
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
        runs: Run folders, or folders of them (a sweep's).
        output: The page to write. A name that ends in .md gives Markdown tables.
        plots: Also write the pictures into this folder, as .svg and .png files.
    """
    folders = run_folders(runs)
    for folder in folders:
        if not holds_run(folder):
            raise RunFolderError(f"{folder} holds no run: `ttsi ls runs` lists those in runs/")
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
    with writing(output):
        write_atomically(output, html)
        for name, figure in figures.items() if plots is not None else ():
            drawing.save(figure, plots or Path(), name)
    print(output)
    return 0


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
