"""Does the command say what a model's user should know before a run?"""

from __future__ import annotations

from typing import Any

import pytest

from ttsi.models import scripted


def test_a_model_s_notes_are_printed(ttsi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    note = "scripted:demo: 67% of its layers' weights get no adapter (experts)"
    run = ("run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--output-dir")
    assert note not in ttsi(*run, "first").err  # control: a model without notes
    monkeypatch.setattr(scripted.DemoModel, "notes", (note,), raising=False)
    assert f"ttsi: {note}\n" in ttsi(*run, "second").err
    assert note in ttsi("env", "--model", "scripted:demo").err
    assert note not in ttsi(*run, "third", "--quiet").err
