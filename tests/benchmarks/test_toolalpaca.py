"""ToolAlpaca's form, on an API of our own about a pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi.benchmarks import load
from ttsi.benchmarks.matching import grade
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, ToolCall

FIELDS = "Array[Object{name: string. Who., age: integer. How old.}. ]. The guests."
PARAMETERS = {
    "lane": "Required. integer. The lane (e.g. 1).",
    "appid": "string. The key.",
    "tags": "Array[string].  Words.",
    "more": "Object. More.",
    "guests": FIELDS,
    "quiet": "boolean.",
}
FUNCTIONS = {
    "bookLane": f"Books a lane.\nParameters: {json.dumps(PARAMETERS)}\nOutput: OK.\n - Format: json",
    "getHours": "Parameters: {}\nOutput: OK.",
    "components": "#Lane: Object{number}",
}


def write(folder: Path, *steps: list[tuple[str, str]], kind: str = "real", functions: Any = FUNCTIONS) -> Path:
    (folder / "toolalpaca").mkdir(exist_ok=True)
    answers = [[{"Action": name, "Action_Input": text} for name, text in row] for row in steps]
    api = {
        "Name": "Pool",
        "Function_Description": functions,
        "Instructions": [f"Question {n}?" for n in range(len(steps))],
        "Golden_Answers": answers,
    }
    (folder / "toolalpaca" / f"eval_{kind}.json").write_text(json.dumps([api]))
    return folder


def test_an_api_becomes_tools_and_its_questions_samples(tmp_path: Path) -> None:
    folder = write(tmp_path, [("bookLane", '{"lane": 2}')], [("getHours", "{}"), ("getHours", "{}")])
    benchmark = load("toolalpaca", folder)
    first, second = benchmark.samples
    book, hours = first.input.tools
    assert (book.name, book.description, hours.description) == ("bookLane", "Books a lane.", "")
    assert book.parameters == {
        "type": "object",
        "properties": {
            "lane": {"type": "integer", "description": "The lane (e.g. 1)."},
            "appid": {"type": "string", "description": "The key."},
            "tags": {"type": "array", "items": {"type": "string"}, "description": "Words."},
            "more": {"type": "object", "description": "More."},
            "guests": {"type": "array", "items": {"type": "object"}, "description": FIELDS},
            "quiet": {"type": "boolean"},
        },
        "required": ["lane"],
    }
    assert hours.parameters["properties"] == {}
    assert first.gold == (ToolCall("bookLane", {"lane": 2}),)
    assert (first.tags["kind"], second.tags["kind"]) == ("single", "several")
    assert [sample.input.id for sample in benchmark.samples] == ["toolalpaca-001", "toolalpaca-002"]


def test_keys_do_not_count_and_all_else_does(tmp_path: Path) -> None:
    [sample] = load("toolalpaca", write(tmp_path, [("bookLane", '{"lane": 2, "appid": "REDACTED"}')])).samples
    assert sample.tags["key"] == "needed"
    for arguments, right in [
        ({"lane": 2}, True),
        ({"lane": "2", "appid": "mine"}, True),
        ({"lane": 3, "appid": "REDACTED"}, False),
        ({"appid": "REDACTED"}, False),
        ({"lane": 2, "quiet": True}, False),
    ]:
        verdicts = grade(Answer("", (ToolCall("bookLane", arguments),)), sample.gold or (), sample.official)
        assert verdicts["official"] is right
        assert verdicts["lenient"] is False


def test_placeholders_and_doubled_names_are_mended_and_tagged(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        [("bookLane", '{"lane": ${lane from getHours}}')],
        [("bookLane", '{"lane": 1, "day": ${start date}", "tags": [${some tag}]}')],
        [("bookLane", '{"lane": ${a lane, "day": "{start date}"}')],
        [("bookLane", '{"lane": 1, "tags": "tags": ["a"]}')],
        [("getDetails", '{"Question": "Which?"}'), ("getHours", "{}")],
        kind="simulated",
    )
    benchmark = load("toolalpaca-simulated", folder)
    assert [dict(sample.gold[0].arguments) for sample in benchmark.samples if sample.gold] == [
        {"lane": "${lane from getHours}"},
        {"lane": 1, "day": "${start date}", "tags": ["${some tag}"]},
        {"lane": "${a lane}", "day": "{start date}"},
        {"lane": 1, "tags": ["a"]},
        {"Question": "Which?"},
    ]
    assert [sample.tags["solvable"] for sample in benchmark.samples] == ["no", "no", "no", "yes", "no"]
    assert load("toolalpaca", folder, split="simulated") == benchmark


@pytest.mark.parametrize(
    ("step", "functions"),
    [
        (("bookLane", "{oops"), FUNCTIONS),
        (("bookLane", "{}"), {"bookLane": "Books a lane."}),
        (("bookLane", "{}"), {"bookLane": 'Parameters: {"lane": "Lane. The lane."}\nOutput: OK.'}),
        (("bookLane", "{}"), {"bookLane": 'Parameters: {"lane": "the lane"}\nOutput: OK.'}),
    ],
)
def test_nothing_is_dropped_silently(tmp_path: Path, step: tuple[str, str], functions: dict[str, str]) -> None:
    with pytest.raises(DataError, match="this is not ToolAlpaca's eval_real"):
        load("toolalpaca", write(tmp_path, [step], functions=functions))


def test_a_question_without_answer_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [("getHours", "{}")]) / "toolalpaca" / "eval_real.json"
    path.write_text(path.read_text().replace('["Question 0?"]', '["Question 0?", "Question 1?"]'))
    with pytest.raises(DataError, match="this is not ToolAlpaca's"):
        load("toolalpaca", tmp_path)


def test_without_data_it_says_where_to_look(tmp_path: Path) -> None:
    for name in ("toolalpaca", "toolalpaca-simulated"):
        with pytest.raises(DataError, match="pass --data DIR"):
            load(name, tmp_path)
    with pytest.raises(ConfigError, match="unknown split of toolalpaca"):
        load("toolalpaca", tmp_path, split="dev")
