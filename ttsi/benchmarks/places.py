"""Where do downloaded data lie?

Inputs: the folder that the user named (`--data DIR`) or nothing, a source's folder ("bfcl") and a file in it. Outputs:
the path of that file, plain or `.gz`. Without `--data` it is looked for in the cache, `TTSI_HOME/data` (by default
`~/.cache/ttsi/data`), which `ttsi data get` and `ttsi data import` fill.

Not in the paper (arXiv:2510.07841): its data came from the hub.
"""

from __future__ import annotations

from pathlib import Path

from ttsi.errors import DataError
from ttsi.home import home


def cache() -> Path:
    """The folder that holds one folder per downloaded source."""
    return home() / "data"


def find(data_dir: Path | None, folder: str, name: str) -> Path:
    """A source's file, under `data_dir/folder`, in `data_dir` itself, or in the cache.

    Args:
        data_dir: the folder that --data named, or None for the cache.
        folder: the source's folder, as `ttsi data ls` names it.
        name: the file's path inside it, without .gz.

    Raises:
        DataError: it is not there.
    """
    path = there(data_dir, folder, name)
    if path is not None:
        return path
    where = (
        f"{folder} is not on this machine" if data_dir in (None, cache()) else f"{data_dir} has no {folder}/{name}[.gz]"
    )
    raise DataError(f"{where}: run `ttsi data get {folder}`, or pass --data DIR, the folder that holds {folder}")


def there(data_dir: Path | None, folder: str, name: str) -> Path | None:
    """As `find`, but None where it is missing."""
    folders = [cache() / folder] if data_dir is None else [data_dir / folder, data_dir]
    places = [inner / (name + end) for inner in folders for end in ("", ".gz")]
    return next((place for place in places if place.is_file()), None)
