"""The links of the documentation site: pages of `docs/` and of the rest of the repository in one place.

A hook of mkdocs (see `mkdocs.yml`, `make docs`). Inputs: Markdown whose links are relative to its place in the
repository, as a reader of the repository needs them. Outputs: the same with links that are right in the site. README,
CONTRIBUTING and CHANGELOG become pages, and so does every Markdown file that a page links to; pictures and data are
copied. A link to a folder or to source code loses its address, since the site holds neither.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
FIRST = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
COPIED = {".md", ".svg", ".png", ".json", ".yaml", ".jinja"}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?\)")


def place(uri: str) -> PurePosixPath:
    """Where a page of the site lies in the repository."""
    inside = PurePosixPath("docs") / uri
    return inside if (ROOT / inside).exists() else PurePosixPath(uri)


def target(link: str, page: PurePosixPath) -> PurePosixPath:
    """The file or folder of the repository that a link of a page leads to."""
    return PurePosixPath((ROOT / page.parent / link).resolve().relative_to(ROOT).as_posix())


def uri_of(path: PurePosixPath) -> str:
    """The place of a file of the repository in the site."""
    return path.relative_to("docs").as_posix() if path.is_relative_to("docs") else path.as_posix()


def on_files(files: Files, config: Any) -> Files:
    """Add what lies outside `docs/`: the pages of the navigation, and whatever pages link to."""
    from mkdocs.structure.files import File

    waiting = [*(PurePosixPath(name) for name in FIRST), *(place(file.src_uri) for file in files.documentation_pages())]
    seen = set(waiting)
    for page in waiting:
        if files.get_file_from_path(uri_of(page)) is None:
            files.append(File.generated(config, uri_of(page), abs_src_path=str(ROOT / page)))
        if page.suffix == ".md":
            links = LINK.finditer((ROOT / page).read_text(encoding="utf-8"))
            more = {target(match[3], page) for match in links} - seen
            waiting += sorted(path for path in more if path.suffix in COPIED and (ROOT / path).is_file())
            seen |= more
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The page with every link relative to its place in the site."""
    here = place(page.file.src_uri)

    def move(match: re.Match[str]) -> str:
        path = target(match[3], here)
        if files.get_file_from_path(uri_of(path)) is None:
            return match[2]
        up = "../" * (len(PurePosixPath(page.file.src_uri).parts) - 1)
        return f"{match[1]}[{match[2]}]({up}{uri_of(path)}{match[4] or ''})"

    return LINK.sub(move, markdown)
