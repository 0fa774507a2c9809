"""Public benchmarks as rows of the JSONL form: plain JSON, the same samples, the checksum of the published files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.places import DATA, needs
from tests.worlds import row, write
from ttsi.benchmarks import BENCHMARKS, Benchmark, Sample, load
from ttsi.benchmarks.conversion import Conversion, PublicBenchmark
from ttsi.benchmarks.data_files import find, parse_json, read_bytes
from ttsi.benchmarks.datasets import dataset
from ttsi.benchmarks.jsonl import Row, read_converted
from ttsi.benchmarks.training_pools import POOLS
from ttsi.errors import ConfigError, DataError
from ttsi.object_reference import load_object
from ttsi.types import Input, Message, Tool, ToolCall

RECORDS = {
    name: record
    for name, reference in (BENCHMARKS | POOLS).items()
    if isinstance(record := load_object("benchmark", reference), PublicBenchmark)
}
SPLITS = [(name, split) for name, record in RECORDS.items() for split in record.splits]


def rows_of(conversion: Conversion) -> Iterator[Row]:
    """The rows of a split, as its converter makes them."""
    paths = [find(DATA, conversion.dataset, file) for file in conversion.files]
    lines = [conversion.lines or file.endswith(".jsonl") for file in conversion.files]
    values = [parse_json(read_bytes(path), path, many) for path, many in zip(paths, lines, strict=True)]
    yield from conversion.convert(*values)


@needs("bfcl")
@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_rows_are_json_and_give_the_samples(name: str, split: str) -> None:
    samples: list[Sample] = []
    for conversion in RECORDS[name].splits[split]:
        written = [json.loads(json.dumps(one)) for one in rows_of(conversion)]
        fit = [one for one in map(read_converted, written) if conversion.only.items() <= one.tags.items()]
        excluded = conversion.excluded_ids()
        samples += [one for one in fit if one.input.id not in excluded]
    benchmark = RECORDS[name](DATA, split)
    assert tuple(samples) == benchmark.samples
    assert all(sample.official for sample in samples) == (benchmark.matcher == "official")


@needs("bfcl")
@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_the_checksum_is_that_of_the_pinned_files(name: str, split: str) -> None:
    """So a run folder can be resumed, whatever becomes of the converters."""
    content = b""
    for conversion in RECORDS[name].splits[split]:
        for file in conversion.files:
            data = read_bytes(find(DATA, conversion.dataset, file))
            assert hashlib.sha256(data).hexdigest() in dataset(conversion.dataset).files[file]
            content += data
        content += "\n".join(sorted(conversion.excluded_ids())).encode()  # none but for Seal-Tools' dev
    assert RECORDS[name](DATA, split).checksum == hashlib.sha256(content).hexdigest()


def test_splits_are_found_by_name_and_others_refused() -> None:
    for name, record in RECORDS.items():
        with pytest.raises(ConfigError, match=f"unknown split of {name} 'tset'"):
            record(DATA, "tset")


def letters(values: list[str]) -> Iterator[Row]:
    for value in values:
        yield {"id": value.lower(), "messages": [{"role": "user", "content": value}], "tools": [], "gold": []}


def test_an_error_names_file_and_row(tmp_path: Path) -> None:
    conversion = Conversion("alphabet", ("letters.jsonl",), letters, "an alphabet")
    record = PublicBenchmark("alphabet", "", {"test": (conversion,)})
    path = tmp_path / "letters.jsonl"
    path.write_text('"A"\n"B"\n')
    assert [sample.input.id for sample in record(tmp_path).samples] == ["a", "b"]
    for third, reason in (("3", "AttributeError"), ('{"x"', "not the expected JSON")):
        path.write_text(f'"A"\n"B"\n{third}\n')
        with pytest.raises(DataError, match=rf"letters\.jsonl.*{reason}") as caught:
            record(tmp_path)
        assert "\n" not in str(caught.value)
    path.write_text('"A"\n3\n')
    with pytest.raises(DataError, match=r"letters\.jsonl, row 2: .*; this is not an alphabet"):
        record(tmp_path)


FLIGHT = Sample(
    Input(
        "one", (Message("user", "Book a flight to Rome"),), (Tool("book", "", {"type": "object", "properties": {}}),)
    ),
    (ToolCall("book", {}),),
)
MINE = Benchmark("mine", (FLIGHT,), "0" * 64, "here")


def without_parameters() -> Benchmark:
    return MINE


def with_parameters(data_dir: Path | None, split: str = "test") -> Benchmark:
    return Benchmark(f"mine-{split}", (FLIGHT,), "0" * 64, str(data_dir))


def nothing() -> None:
    pass


def test_a_benchmark_is_the_object_of_a_reference() -> None:
    assert load(f"{__name__}:MINE") is load(f"{__name__}:without_parameters") is MINE
    made = load(f"{__name__}:with_parameters", Path("data"), "dev")
    assert (made.name, made.source) == ("mine-dev", "data")
    with pytest.raises(ConfigError, match="is None; give a Benchmark or a function"):
        load(f"{__name__}:nothing")
    with pytest.raises(ConfigError, match="is a Sample; give a Benchmark"):
        load(f"{__name__}:FLIGHT")
    with pytest.raises(ConfigError, match="cannot import no_such_module"):
        load("no_such_module:load")


POOL = {"name": "pool", "parameters": {"type": "dict", "required": ["day"], "properties": {"day": {"type": "string"}}}}
BFCL = {
    "rule": "bfcl",
    "category": "simple_python",
    "functions": [POOL],
    "accepted": [{"pool": {"day": ["Sun", "Sunday"]}}],
}
SUNDAY = [{"name": "pool", "arguments": {"day": "Sun"}}]


@pytest.mark.parametrize(
    ("official", "arguments", "right"),
    [
        (BFCL, {"day": "sunday"}, True),
        (BFCL, {"day": "Monday"}, False),
        ("toolrl", {"day": "Sun"}, True),
        ("toolrl", {"day": "sunday"}, False),
        ("nexusraven", {"day": "Sun"}, True),
        ("nexusraven", {"day": "Sun", "lane": 1}, False),
        ({"rule": "keyless", "ignored": ["day"]}, {}, True),
        ({"rule": "keyless", "ignored": ["lane"]}, {}, False),
    ],
)
def test_a_line_of_ones_own_names_an_official_rule(
    tmp_path: Path, official: object, arguments: dict[str, object], right: bool
) -> None:
    tool = {"name": "pool", "parameters": {"type": "object", "properties": {"day": {"type": "string"}}}}
    line = row("Open on Sun", "pool", tools=[tool], official=official) | {"gold": SUNDAY}
    benchmark = load(str(write(tmp_path / "mine.jsonl", [line])))
    assert benchmark.matcher == "official"
    [sample] = benchmark.samples
    assert sample.official is not None
    assert sample.official([ToolCall("pool", arguments)]) is right
    mixed = load(str(write(tmp_path / "mixed.jsonl", [line, {**line, "official": None}])))
    assert mixed.matcher == "strict"


@pytest.mark.parametrize(
    ("official", "message"),
    [
        ("nexus", "unknown official rule 'nexus'; did you mean 'nexusraven'"),
        (3, "official is a number; write a name or"),
        ({"rule": "keyless"}, "the rule keyless takes rule, ignored and nothing else"),
        ({"rule": "toolrl", "ignored": []}, "the rule toolrl takes rule and nothing else"),
        ({"rule": "keyless", "ignored": "day"}, "ignored is a string; write a list of names"),
        ({**BFCL, "accepted": [{"pond": {}}]}, "not in BFCL's form"),
        ({**BFCL, "accepted": [{"pool": {"day": "Sun"}}]}, "accepted values is a string; write a list"),
        ({**BFCL, "functions": [{"name": "pool"}]}, "not in BFCL's form"),
        ({**BFCL, "category": None}, "category is missing"),
    ],
)
def test_a_rule_that_cannot_judge_is_refused(tmp_path: Path, official: object, message: str) -> None:
    path = write(tmp_path / "mine.jsonl", [row("Open on Sun", "pool", official=official) | {"gold": SUNDAY}])
    with pytest.raises(DataError, match=rf"^mine\.jsonl:1: .*{message}"):
        load(str(path))


def test_a_rule_about_one_call_needs_one(tmp_path: Path) -> None:
    for gold, message in (([], "exactly one call in gold, not 0"), (None, "needs gold")):
        line = row("Open on Sun", "pool", official="toolrl") | {"gold": gold}
        with pytest.raises(DataError, match=message):
            load(str(write(tmp_path / "mine.jsonl", [line])))
