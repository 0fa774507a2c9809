"""Data come whole and checked, or not at all; a cut download goes on; what is here is counted and compared."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.places import DATA, needs
from ttsi.benchmarks import BENCHMARKS, data_files, summaries, training_pools
from ttsi.benchmarks import datasets as registry
from ttsi.benchmarks import download as downloading
from ttsi.benchmarks.datasets import PublicDataset, RowCount, dataset, datasets
from ttsi.benchmarks.download import download, import_copy
from ttsi.errors import ConfigError, DataError
from ttsi.home import home

ROOT = Path(__file__).parents[2]
CONTENT = {"a.json": b"[1, 2, 3]", "inner/b.jsonl": b'{"x": 1}\n' * 50}


def made_up(name: str = "made-up", path: str | None = "data/") -> PublicDataset:
    sums = {file: (hashlib.sha256(content).hexdigest(),) for file, content in CONTENT.items()}
    return PublicDataset(name, "owner/repository", "0" * 40, path, "MIT", "", sums, {})


class Server:
    """A host that serves CONTENT, with or without ranges, and remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.served = {f"/owner/repository/{'0' * 40}/data/{file}": content for file, content in CONTENT.items()}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                outer.requests.append((self.path.rpartition("/data/")[2], wanted))
                content = outer.served.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and outer.ranges else 0
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if wanted and outer.ranges else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:])

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server()
    monkeypatch.setattr(registry, "RAW", f"http://127.0.0.1:{running.http.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield running
    running.close()


def test_a_download_is_checked_and_its_manifest_comes_last(server: Server, tmp_path: Path) -> None:
    folder = download(made_up(), tmp_path)
    assert {file: (folder / file).read_bytes() for file in CONTENT} == CONTENT
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["commit"], manifest["licence"]) == ("0" * 40, "MIT")
    assert manifest["files"]["a.json"] == hashlib.sha256(CONTENT["a.json"]).hexdigest()
    assert not list(folder.rglob("*.part"))
    assert made_up().mismatches(tmp_path) == []
    server.requests.clear()
    download(made_up(), tmp_path)
    assert server.requests == []  # what is here and right is not fetched again


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    part = tmp_path / "made-up" / "a.json.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT["a.json"][:4])
    download(made_up(), tmp_path)
    assert ("a.json", "bytes=4-") in server.requests
    assert (tmp_path / "made-up" / "a.json").read_bytes() == CONTENT["a.json"]


def test_a_download_that_was_complete_but_not_renamed_is_kept(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "made-up" / "a.json.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT["a.json"])
    download(made_up(), tmp_path)
    assert (tmp_path / "made-up" / "a.json").read_bytes() == CONTENT["a.json"]


def test_another_content_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.served = {path: content + b" " for path, content in server.served.items()}
    with pytest.raises(DataError, match="is not the pinned file") as caught:
        download(made_up(), tmp_path)
    assert "\n" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    # Control: the same server with the right content is believed.
    server.served = {path: content[:-1] for path, content in server.served.items()}
    download(made_up(), tmp_path)


def test_too_much_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "MAX_BYTES", 5)
    with pytest.raises(DataError, match="MiB came"):
        download(made_up(), tmp_path)


def test_what_cannot_be_reached_is_said_in_one_line(server: Server, tmp_path: Path) -> None:
    server.served.clear()
    with pytest.raises(DataError, match=r"answers 404.*ttsi data import made-up DIR"):
        download(made_up(), tmp_path)
    server.http.server_close()
    with pytest.raises(DataError, match=r"cannot be reached.*go online.*ttsi data import made-up DIR") as caught:
        download(made_up(), tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be downloaded in the form that is read here"):
        download(made_up(path=None), tmp_path)


def test_a_copy_is_brought_plain_or_packed_and_only_when_it_is_right(tmp_path: Path) -> None:
    copy, data = tmp_path / "copy", tmp_path / "data"
    (copy / "inner").mkdir(parents=True)
    (copy / "a.json").write_bytes(CONTENT["a.json"])
    with pytest.raises(DataError, match=r"has no inner/b\.jsonl"):
        import_copy(made_up(), copy, data)
    (copy / "inner" / "b.jsonl.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DataError, match="not the file of the pinned commit"):
        import_copy(made_up(), copy, data)
    assert not data.exists()
    (copy / "inner" / "b.jsonl.gz").write_bytes(gzip.compress(CONTENT["inner/b.jsonl"]))
    import_copy(made_up(), copy, data)
    assert (data / "made-up" / "inner" / "b.jsonl").read_bytes() == CONTENT["inner/b.jsonl"]
    assert made_up().present(data) == 2
    (data / "made-up" / "a.json").write_bytes(b"changed")
    assert made_up().mismatches(data) == ["a.json is not the file of the pinned commit: its checksum differs"]
    (data / "made-up" / "a.json").unlink()
    assert made_up().mismatches(data) == ["a.json is missing"]


def test_the_cache_lies_in_ttsi_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTSI_HOME", str(tmp_path))
    assert data_files.cache() == tmp_path / "data"
    (tmp_path / "data" / "made-up").mkdir(parents=True)
    (tmp_path / "data" / "made-up" / "a.json").write_bytes(b"[]")
    assert data_files.find(None, "made-up", "a.json") == tmp_path / "data" / "made-up" / "a.json"
    with pytest.raises(
        DataError, match=r"made-up is not on this machine: run `ttsi data get made-up`, or pass --data DIR"
    ):
        data_files.find(None, "made-up", "b.json")
    monkeypatch.delenv("TTSI_HOME")
    assert home() == Path.home() / ".cache" / "ttsi"


def test_every_source_is_pinned() -> None:
    assert {"bfcl", "seal-tools", "hammer-eval", "nexusraven"} <= set(datasets())
    for one in datasets().values():
        assert len(one.commit) == 40
        assert one.licence
        assert all(len(checksum) == 64 and int(checksum, 16) for sums in one.files.values() for checksum in sums)
        if one.path is not None:
            assert one.url("x").startswith(f"https://raw.githubusercontent.com/{one.repository}/{one.commit}/")
    assert "NON-COMMERCIAL" in dataset("nexusraven").licence
    with pytest.raises(ConfigError, match="did you mean 'bfcl'"):
        dataset("bfc")


def test_what_is_counted_exists() -> None:
    names = {name for one in datasets().values() for name in one.counts}
    # Every benchmark and pool is counted, except those that ship, and one that needs more than the data
    # (tests/benchmarks/test_bfcl_multi_turn.py counts its rows).
    assert {name.partition(":")[0] for name in names} - {"pool"} == set(BENCHMARKS) - {
        "toolworld",
        "toolworld-validation",
        "toolworld-agents",
        "toolworld-agents-validation",
        "toolworld-turns",
        "toolworld-turns-validation",
        "sealtool-sample",
        "bfcl-turns",
    }
    assert {name.removeprefix("pool:") for name in names if name.startswith("pool:")} <= set(training_pools.POOLS)


def test_everybody_is_told_how_to_get_what_does_not_ship() -> None:
    lines = summaries(BENCHMARKS)
    for name in {name.partition(":")[0] for one in datasets().values() for name in one.counts} - {"pool"}:
        verb, wanted = re.search(r"; ttsi data (get|import) ([\w-]+)", lines[name]).groups()  # type: ignore[union-attr]
        assert name in {counted.partition(":")[0] for counted in dataset(wanted).counts}
        assert (verb == "get") == (dataset(wanted).path is not None)  # the others cannot be downloaded


@needs("bfcl")
def test_the_data_here_are_the_pinned_ones() -> None:
    for one in datasets().values():
        assert one.mismatches(DATA) == [], one.name


def not_read() -> list[str]:
    """The patterns of the table in docs/benchmarks.md."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lines = text.partition("## Files that are not read")[2].partition("\n## ")[0].splitlines()
    patterns = [
        name for line in lines if line.startswith("|") for name in re.findall(r"`([^`]+/[^`]+)`", line.split("|")[1])
    ]
    return [*patterns, "bfcl/possible_answer/BFCL_v4_m*", "bfcl/possible_answer/BFCL_v4_web_search.json"]


def unexplained(folder: Path, patterns: list[str]) -> set[str]:
    """The files of a data folder that are neither pinned, hence read, nor named."""
    pinned = {f"{one.name}/{file}" for one in datasets().values() for file in one.files}
    there = {str(path.relative_to(folder)).removesuffix(".gz") for path in folder.glob("*/**/*") if path.is_file()}
    data = {name for name in there if not name.endswith(("SHA256SUMS", "SOURCE.md"))}
    return {name for name in data - pinned if not any(fnmatch(name, one.removesuffix(".gz")) for one in patterns)}


@needs("bfcl")
def test_every_file_is_read_or_the_docs_say_why_not() -> None:
    assert unexplained(DATA, not_read()) == set()
    # Control: without any of the table's entries files are seen, so none is there for nothing.
    for left_out in not_read():
        assert unexplained(DATA, [one for one in not_read() if one != left_out]), left_out


@needs("seal-tools")
def test_rows_are_counted() -> None:
    assert dataset("seal-tools").count_rows(DATA)["seal-tools-in"] == (RowCount(700, 2), RowCount(700, 2))
    for name in datasets().keys() - {"bfcl"}:
        assert all(counted == expected for counted, expected in dataset(name).count_rows(DATA).values()), name


@needs("nexusraven")
def test_control_another_count_is_seen() -> None:
    other = replace(dataset("nexusraven"), counts={"nexusraven": RowCount(318)})
    assert other.count_rows(DATA)["nexusraven"] == (RowCount(318, 1), RowCount(318))
