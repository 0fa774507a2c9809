"""Public benchmarks: conversions of published files into rows of the JSONL form.

Inputs: a data folder with files as their owners publish them. Outputs: a `Benchmark`. A converter is a generator from
the files' JSON values to rows (`ttsi.benchmarks.jsonl`); this module has what all converters share: finding and reading
the files, splits, errors that name file and row.

Files are converted in memory whenever a benchmark is read, in 0.01 to 0.8 seconds. A converted copy on disk would save
half a second at most, since the published files are read for their checksum anyway, and could be stale; so there is
none, and the data folder may be read-only. The checksum is that of the published files, uncompressed, and of the ids
that are left out, so that a run of all rows is not taken for one of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

from ttsi.benchmarks import Benchmark, Sample
from ttsi.benchmarks.data_files import find, parse_json, read_bytes, sha256
from ttsi.benchmarks.jsonl import Row, read_converted
from ttsi.benchmarks.matching import OFFICIAL
from ttsi.errors import ConfigError, DataError, unknown_name


@dataclass(frozen=True)
class Conversion:
    """Files of one data set that belong together, and the converter that makes rows of them."""

    dataset: str
    """The folder of the files."""
    files: tuple[str, ...]
    convert: Callable[..., Iterator[Row]]
    """The converter; its arguments are the JSON values of the files, in order."""
    form: str
    """What the files should be, for the error: "BFCL V4"."""
    lines: bool = False
    """Whether files named .json hold one value a line, too, as those named .jsonl do."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Tags that a sample must have; others are left out."""
    excluded_ids: Callable[[], frozenset[str]] = frozenset
    """A function that returns the ids of rows to leave out, because another benchmark holds them."""

    def read(self, paths: Sequence[Path], contents: Sequence[bytes]) -> list[Sample]:
        """The samples of the files with these contents.

        Raises:
            DataError: a file is not JSON, or a row is not in the documented form.
        """
        values = [
            parse_json(content, path, self.lines or file.endswith(".jsonl"))
            for content, path, file in zip(contents, paths, self.files, strict=True)
        ]
        samples: list[Sample] = []
        try:
            for row in self.convert(*values):
                samples.append(read_converted(row))
        except (LookupError, TypeError, ValueError, AttributeError, SyntaxError, DataError) as error:
            reason = str(error) if isinstance(error, DataError) else repr(error)
            raise DataError(f"{paths[0]}, row {len(samples) + 1}: {reason}; this is not {self.form}") from None
        excluded = self.excluded_ids()
        return [s for s in samples if self.only.items() <= s.tags.items() and s.input.id not in excluded]


@dataclass(frozen=True)
class PublicBenchmark:
    """A benchmark that is read from published files; the official rule is its headline where every row has one."""

    name: str
    summary: str
    """One line for `ttsi ls`."""
    splits: Mapping[str, tuple[Conversion, ...]]
    """Conversions in the order of their samples."""
    notice: str = ""
    """See `Benchmark.notice`."""

    def __call__(self, data_dir: Path | None = None, split: str = "test") -> Benchmark:
        """Read and convert the files of a split.

        Args:
            data_dir: the folder with the data; None is the cache.
            split: a key of `splits`; of a benchmark with one split, "test" is that one.

        Raises:
            ConfigError: there is no such split.
            DataError: the data are missing or not in the documented form.
        """
        single = len(self.splits) == 1
        if split not in self.splits and not (single and split == "test"):
            raise ConfigError(unknown_name(f"split of {self.name}", split, self.splits))
        samples: list[Sample] = []
        paths: list[Path] = []
        content = b""
        for conversion in next(iter(self.splits.values())) if single else self.splits[split]:
            located = [find(data_dir, conversion.dataset, file) for file in conversion.files]
            contents = [read_bytes(path) for path in located]
            samples += conversion.read(located, contents)
            paths += located
            content += b"".join(contents) + "\n".join(sorted(conversion.excluded_ids())).encode()
        name = self.name if single or split == "test" else f"{self.name}-{split}"
        matcher = OFFICIAL if all(sample.official for sample in samples) else "lenient"
        return Benchmark(name, tuple(samples), sha256(content), commonpath(paths), matcher, self.notice)


def tool_row(name: str, description: str, properties: Mapping[str, Any], required: list[str] | None = None) -> Row:
    """A tool as rows have it; `required` is left out where it is None."""
    schema = {"type": "object", "properties": properties} | ({} if required is None else {"required": required})
    return {"name": name, "description": description, "parameters": schema}


def call_row(name: str, arguments: Mapping[str, Any]) -> Row:
    """A call as rows have it."""
    return {"name": name, "arguments": dict(arguments)}


def message_row(role: str, content: str, *calls: Row) -> Row:
    """A message as rows have it."""
    return {"role": role, "content": content} | ({"tool_calls": list(calls)} if calls else {})


def solvable_tag(solvable: bool) -> Mapping[str, str]:
    """The tag that separates rows that an answer can solve from those that none can."""
    return {"solvable": "yes" if solvable else "no"}
