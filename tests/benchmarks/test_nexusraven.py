"""NexusRaven's form, on rows of our own about a pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttsi.benchmarks import load, nexusraven
from ttsi.benchmarks.matching import grade
from ttsi.errors import ConfigError, DataError
from ttsi.types import Answer, ToolCall

DOCS = "\n    Books lanes.\n\n    Args:\n    lanes (int): How many.\n\n    day (str, datetime obj): When.\n    "


def argument(name: str, kind: str = "None", required: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required, "default": "None", "description": ": Said.", **more}


def write(folder: Path, **changes: Any) -> Path:
    """The two files, with one row changed."""
    (folder / "nexusraven").mkdir(exist_ok=True)
    row = {
        "dataset": "pool",
        "prompt": "Two lanes for me, please.",
        "python_function_name": "book_lanes",
        "python_args_dict": {"lanes": 2},
        "context_functions": ["book_lanes", "get_hours"],
    }
    dated = {**row, "python_args_dict": '{"lanes": 1, "day": "${string}"}'}
    functions = [
        {
            "dataset": "pool",
            "name": "book_lanes",
            "description": DOCS,
            "args_dicts": [argument("lanes"), argument("day")],
        },
        {
            "dataset": "pool",
            "name": "get_hours",
            "description": "Hours.",
            "args_dicts": [argument("days", "list", required=True, description=""), argument("n", "int", default="7")],
        },
    ]
    files = {"queries": [{**row, **changes}, dated], "api_list": functions}
    for name, content in files.items():
        (folder / "nexusraven" / f"derived_standardized_{name}.json").write_text(json.dumps(content))
    return folder


def test_a_row_and_its_functions_are_read(tmp_path: Path) -> None:
    benchmark = load("nexusraven", write(tmp_path))
    first, second = benchmark.samples
    assert [tool.name for tool in first.input.tools] == ["book_lanes", "get_hours"]
    assert first.input.messages[0].content == "Two lanes for me, please."
    assert first.gold == (ToolCall("book_lanes", {"lanes": 2}),)
    assert second.gold == (ToolCall("book_lanes", {"lanes": 1, "day": "${string}"}),)  # JSON text, as on the hub
    assert [sample.tags["solvable"] for sample in benchmark.samples] == ["yes", "no"]
    lanes, hours = first.input.tools
    assert lanes.parameters == {
        "type": "object",
        "properties": {
            "lanes": {"type": "integer", "description": "Said.", "default": None},
            "day": {"type": "string", "description": "Said.", "default": None},
        },
        "required": [],
    }
    assert hours.parameters["properties"] == {
        "days": {"type": "array"},
        "n": {"type": "integer", "description": "Said.", "default": 7},
    }
    assert hours.parameters["required"] == ["days"]


def test_the_owners_rule_fills_in_defaults(tmp_path: Path) -> None:
    first, _ = load("nexusraven", write(tmp_path)).samples
    answer = Answer("", (ToolCall("book_lanes", {"day": None, "lanes": 2}),))
    assert grade(answer, first.gold, first.official) == {
        "strict": False, "lenient": False, "tool_choice": True, "official": True,
    }  # fmt: skip


def test_the_licence_is_told(tmp_path: Path) -> None:
    assert load("nexusraven", write(tmp_path)).notice == nexusraven.NOTICE
    assert "non-commercial" in nexusraven.NOTICE
    assert "\n" not in nexusraven.NOTICE


@pytest.mark.parametrize(
    "changes",
    [
        {"context_functions": ["no_such_function"]},
        {"python_args_dict": "{oops"},
        {"python_args_dict": None},
        {"dataset": None, "prompt": "x", "context_functions": None},
    ],
)
def test_another_form_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not NexusRaven's standardized queries"):
        load("nexusraven", write(tmp_path, **changes))


def test_a_type_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / "nexusraven" / "derived_standardized_api_list.json"
    path.write_text(path.read_text().replace("lanes (int)", "lanes (Lane)"))
    with pytest.raises(DataError, match="KeyError"):
        load("nexusraven", tmp_path)


def test_without_data_it_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pass --data DIR"):
        load("nexusraven", tmp_path)
    with pytest.raises(ConfigError, match="unknown split of nexusraven"):
        load("nexusraven", tmp_path, split="dev")
