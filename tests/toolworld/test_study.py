"""Do the control experiments learn from the examples that they name?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolworld import study
from toolworld.study import rotate_labels
from ttsi.types import Example, ToolCall


def test_rotated_labels_are_those_of_the_next_example() -> None:
    written = [Example(text, (ToolCall(text, {}),), "") for text in "abc"]
    assert [example.calls[0].name for example in rotate_labels(written)] == ["b", "c", "a"]


@pytest.mark.parametrize("source", ["own", "other", "rotated", "true"])
def test_every_source_of_examples_gives_a_row_per_input(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    variant = f"gate=all,k=2,epochs=1,examples={source}"
    monkeypatch.setattr(
        "sys.argv", ["study", str(rows), "--model", "scripted:demo", "--limit", "2", "--variant", variant]
    )
    study.main()
    written = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["variant"] for row in written] == [variant] * 2
    assert written[0]["adapted.free.strict"] in (True, False)
    assert variant in capsys.readouterr().out
