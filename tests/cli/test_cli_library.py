"""`ttsi run --library` and `ttsi library`: what a run leaves there, what the verbs show, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import QUESTIONS
from tests.worlds import TOOLS, row, write
from ttsi.cli import main
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary
from ttsi.reports.groups import group_runs
from ttsi.reports.naming import label
from ttsi.runs.reading import load_run
from ttsi.runs.store import read_rows


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    tools = ["find_hotel" if "sleep" in text else "get_weather" for text in QUESTIONS]
    lines = [row(text, tool, id=f"q{i}") for i, (text, tool) in enumerate(zip(QUESTIONS, tools, strict=True))]
    return write(tmp_path / "mine.jsonl", lines)


def run(stream: Path, folder: Path, library: Path, *more: str) -> int:
    settings = ["--awareness.measure", "answer_mean", "--tau", "-0.3", "--k", "3", "--batch-size", "2"]
    place = ["--output-dir", str(folder), "--library", str(library), "--quiet"]
    return main(["run", "--benchmark", str(stream), "--model", "scripted:demo", *settings, *place, *more])


@pytest.fixture
def library(stream: Path, tmp_path: Path) -> Path:
    assert run(stream, tmp_path / "run", tmp_path / "library") == 0
    return tmp_path / "library"


def only_entry(library: Path) -> str:
    with AdapterLibrary(library, writable=False) as opened:
        [entry] = opened.entries
    return entry.id


def given(folder: Path) -> int:
    return sum(one.episode.adaptation.status == "library" for one in read_rows(folder))


def test_a_run_fills_the_library_and_is_answered_by_it(library: Path, tmp_path: Path) -> None:
    statuses = [one.episode.adaptation.status for one in read_rows(tmp_path / "run")]
    assert "library" in statuses
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["metrics"]["library.given"] == statuses.count("library")
    with AdapterLibrary(library, writable=False) as opened:
        assert opened.entries[0].origin == "run"


def test_a_second_run_finds_what_the_first_learned(library: Path, stream: Path, tmp_path: Path) -> None:
    assert run(stream, tmp_path / "second", library) == 0
    assert given(tmp_path / "second") > given(tmp_path / "run") > 0


def test_an_interrupted_run_goes_on_to_the_same_answers_and_the_same_library(stream: Path, tmp_path: Path) -> None:
    assert run(stream, tmp_path / "whole", tmp_path / "library") == 0
    assert run(stream, tmp_path / "parts", tmp_path / "other", "--limit", "3") == 0  # in the middle of a batch of two
    assert run(stream, tmp_path / "parts", tmp_path / "other", "--limit", "100", "--resume") == 0
    whole, parts = (read_rows(tmp_path / name) for name in ("whole", "parts"))
    assert [one.episode.adapted for one in whole] == [one.episode.adapted for one in parts]
    assert [one.episode.adaptation for one in whole] == [one.episode.adaptation for one in parts]
    evidence = []
    for name in ("library", "other"):
        with AdapterLibrary(tmp_path / name, writable=False) as opened:
            evidence.append([(one.id, one.status, one.wins, one.losses, one.tries, one.uses) for one in opened.entries])
    assert evidence[0] == evidence[1]
    assert began(tmp_path / "whole") == began(tmp_path / "parts") == "new", "as it was at first, not at the resume"


def began(folder: Path) -> str | None:
    return load_run(folder).began_with_library


def test_seeds_with_a_new_library_each_are_one_group_and_a_library_used_before_is_another(
    stream: Path, tmp_path: Path
) -> None:
    for seed in range(3):
        assert run(stream, tmp_path / f"run{seed}", tmp_path / f"library{seed}", "--seed", str(seed)) == 0
    assert run(stream, tmp_path / "later", tmp_path / "library2", "--seed", "3") == 0
    assert (began(tmp_path / "run0"), began(tmp_path / "later")) == ("new", "used before")
    runs = [load_run(tmp_path / name) for name in ("run0", "run1", "run2", "later")]
    assert [[one.seed for one in group.runs] for group in group_runs(runs)] == [[0, 1, 2], [3]]
    names = [label(group) for group in group_runs(runs)]
    assert "library used before" in names[1] and "used" not in names[0]
    older = [replace(one, record={**one.record, "library": None}) for one in runs]  # the control: nothing is known
    assert [[one.seed for one in group.runs] for group in group_runs(older)] == [[0], [1], [2, 3]]


def test_the_verbs_show_what_there_is(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = only_entry(library)
    capsys.readouterr()
    main(["library", "ls", str(library)])
    listed = capsys.readouterr().out
    assert name in listed
    assert "admitted" in listed
    main(["library", "show", str(library), name[:6]])
    shown = capsys.readouterr().out
    assert "whole" in shown
    assert "get_weather(city=" in shown
    main(["library", "stats", str(library)])
    assert "1 admitted" in capsys.readouterr().out


def test_an_entry_moves_to_another_library_where_it_is_a_candidate(library: Path, tmp_path: Path) -> None:
    name = only_entry(library)
    assert main(["library", "export", str(library), name, str(tmp_path / "entry")]) == 0
    assert {path.name for path in (tmp_path / "entry").iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "entry.json", "examples.jsonl",
    }  # fmt: skip
    assert main(["library", "import", str(tmp_path / "second"), str(tmp_path / "entry")]) == 0
    with AdapterLibrary(tmp_path / "second", writable=False) as opened:
        [entry] = opened.entries
        assert (entry.version, entry.status, entry.wins) == (0, "candidate", 0)
        assert opened.pooled_inputs(entry.tools_hash)


def test_a_damaged_export_is_refused(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["library", "export", str(library), only_entry(library), str(tmp_path / "entry")])
    file = tmp_path / "entry" / "adapter_model.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:4], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        assert main(["library", "import", str(tmp_path / "second"), str(tmp_path / "entry")]) == 2
        assert "damaged entry" in capsys.readouterr().err
    with AdapterLibrary(tmp_path / "second", writable=False) as opened:
        assert opened.entries == []
    file.write_bytes(whole)
    assert main(["library", "import", str(tmp_path / "second"), str(tmp_path / "entry")]) == 0


def test_rm_deletes_the_entry_its_file_and_its_examples(library: Path) -> None:
    assert main(["library", "rm", str(library), only_entry(library)]) == 0
    with AdapterLibrary(library, writable=False) as opened:
        assert opened.entries == []
    assert list((library / "adapters").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["library", "ls", "nowhere"], "there is no library in nowhere"),
        (["library", "rm", "nowhere", "x"], "there is no library in nowhere"),
        (["library", "import", "new", "nowhere"], "holds no entry of a library"),
        (["run", "--library", "lib", "--method", "ttsi-icl", "--model", "scripted:demo"], "keeps adapters"),
        (["run", "--library", "lib", "--num-workers", "2", "--model", "scripted:demo"], "leave --num-workers"),
        (["serve", "--library", "lib", "--method", "ttsi-icl"], "keeps adapters"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert line in error
    assert not (tmp_path / "nowhere").exists()


def test_an_id_that_names_nothing_is_refused(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["library", "show", str(library), "zzz"]) == 2
    assert "no entry" in capsys.readouterr().err
    assert main(["library", "rm", str(library)]) == 2


def test_ask_answers_from_the_library(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.worlds import TOOLS

    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(TOOLS), encoding="utf-8")
    words = ["ask", "Do I need an umbrella in Cairo", "--tools", str(tools), "--model", "scripted:demo"]
    settings = ["--awareness.measure", "answer_mean", "--tau", "-0.3", "--k", "3", "--library", str(library)]
    assert main([*words, *settings]) == 0
    assert f"The library's adapter {only_entry(library)} answers" in capsys.readouterr().out


def test_prepare_trains_tests_and_keeps_an_adapter_that_can_be_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools, folder = tmp_path / "tools.json", tmp_path / "ahead"
    tools.write_text(json.dumps(TOOLS))
    arguments = ["library", "prepare", str(folder), str(tools), "--model", "scripted:demo"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "admitted" in out
    assert "of 3 tools in" in out
    assert "examples held back likelier than the base does" in out
    assert main(["library", "show", str(folder), only_entry(folder)]) == 0
    assert "prepare" in capsys.readouterr().out
    assert main(["library", "export", str(folder), only_entry(folder), str(tmp_path / "peft")]) == 0
    assert main(arguments) == 2
    refusal = f"has the admitted entry {only_entry(folder)} for these tools: ttsi library rm"
    assert refusal in capsys.readouterr().err
    tools.write_text("[]")
    assert main(arguments) == 2
    tools.write_text('[{"name": "f", "name": "g"}]')
    assert main(arguments) == 2
    assert "the key 'name' stands twice in an object" in capsys.readouterr().err
    assert main([*arguments[:3], str(tmp_path / "none.json"), *arguments[4:]]) == 2


@pytest.fixture
def tools_file(tmp_path: Path) -> Path:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS), encoding="utf-8")
    return path


def ask(tools: Path, library: Path, *more: str) -> int:
    words = ["ask", "Do I need an umbrella in Cairo", "--tools", str(tools), "--model", "scripted:demo"]
    settings = ["--awareness.measure", "answer_mean", "--tau", "-0.3", "--k", "3", "--library", str(library)]
    return main([*words, *settings, *more])


def test_a_prepared_candidate_says_that_it_does_not_answer_and_gives_way(
    tools_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = ["library", "prepare", str(tmp_path / "lib"), str(tools_file), "--model", "scripted:demo"]
    with monkeypatch.context() as patch:
        patch.setattr("ttsi.library.candidate_adapters.is_admitted", lambda wins, losses: False)
        assert main(prepare) == 0
        out = capsys.readouterr().out
        assert "a candidate (" in out
        assert "of the 20 that admit it" in out
        assert "does not answer yet" in out
        first = only_entry(tmp_path / "lib")
        assert ask(tools_file, tmp_path / "lib") == 0
        assert f"the adapter {first} for these tools does not answer: it is a candidate" in capsys.readouterr().err
    assert main([*prepare, "--seed", "1"]) == 0  # it takes the place of the candidate
    assert only_entry(tmp_path / "lib") != first
    capsys.readouterr()
    assert ask(tools_file, tmp_path / "lib") == 0  # the control: an admitted one answers
    assert "does not answer" not in capsys.readouterr().err


def test_a_new_library_and_one_for_other_tools_or_settings_are_said_to_be(
    library: Path, tools_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tools_file, tmp_path / "mistyped") == 0
    mistyped = tmp_path / "mistyped"
    said = capsys.readouterr().err
    assert f"{mistyped} is new, and empty" in said
    assert f"ttsi library prepare {mistyped} TOOLS.json trains an adapter ahead" in said
    assert ask(tools_file, library) == 0
    assert "ttsi: " not in capsys.readouterr().err.replace("ttsi: loading", "")  # the control
    entry = only_entry(library)
    assert ask(tools_file, library, "--adaptation.rank", "3") == 0
    said = capsys.readouterr().err
    assert "fits scripted:demo here: rank 8, not 3" in said
    assert f"the adapter {entry} for these tools does not fit here: rank 8, not 3" in said
    assert "has no adapter for these tools" not in said
    tools_file.write_text(json.dumps(TOOLS[:2]), encoding="utf-8")
    assert ask(tools_file, library) == 0
    assert "has no adapter for these tools: ttsi library prepare trains one" in capsys.readouterr().err


def test_a_tool_that_changed_since_its_adapter_was_made_is_named_before_the_work(
    library: Path, tools_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        raise LibraryError("the work begins")

    monkeypatch.setattr("ttsi.library.improve_with_library", work)
    assert ask(tools_file, library) == 2
    assert capsys.readouterr().err == "ttsi: the work begins\n"  # the control: the same tools
    first, second, *others = json.loads(tools_file.read_text())
    first["function"]["description"] += " of any kind"
    second["function"]["parameters"]["additionalProperties"] = False
    tools_file.write_text(json.dumps([first, second, *others]))
    assert ask(tools_file, library) == 2
    changed = f"{first['function']['name']} has another description, {second['function']['name']} has other parameters"
    notice, end = capsys.readouterr().err.splitlines()
    assert f"only {only_entry(library)} for other tools of the same names ({changed})" in notice
    assert end == "ttsi: the work begins"


def serve(library: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """`ttsi serve --library`, up to the moment at which it would listen."""
    monkeypatch.setattr("asyncio.run", lambda coroutine: coroutine.close() or 0)
    return main(["serve", "--model", "scripted:demo", "--port", "0", "--library", str(library)])


def test_a_server_says_at_its_start_that_its_library_is_empty(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    mistyped, damaged, mine, keyed = (tmp_path / name for name in ("typo.lib", "damaged", "mine", "keyed"))
    for folder, file in ((damaged, "library.db"), (mine, "notes.txt"), (keyed, "keys")):
        folder.mkdir()
        (folder / file).write_text("nothing of the kind")
    for folder, notice in (
        (mistyped, f"{mistyped} is new, and empty: it learns from requests. ttsi library prepare {mistyped} TOOLS"),
        (keyed, f"{keyed} has no adapter that every key gets"),
        (mine, f"{mine} holds other files and no library"),
        (damaged, f"{damaged}"),
    ):
        assert serve(folder, monkeypatch) == 0
        assert f"ttsi: library: {notice}" in capsys.readouterr().err
    assert not mistyped.exists()  # the worker makes it
    assert serve(library, monkeypatch) == 0
    assert "library:" not in capsys.readouterr().err  # the control: it has an adapter


def test_the_summary_counts_what_the_library_answered(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttsi.reports.tables import plain

    assert run(stream, tmp_path / "run", tmp_path / "library") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    tried = sum(bool(one.episode.adaptation.library_entry) for one in read_rows(tmp_path / "run"))
    assert f"library  answered {given(tmp_path / 'run')} inputs with a stored adapter, {tried} tried" in plain(summary)
    alone = {**summary, "metrics": {**summary["metrics"], "library.tried": 0}}
    assert "library" not in plain(alone)  # the control


def test_a_folder_that_is_no_library_is_refused_before_a_model_is_loaded(
    tools_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert main(["library", "prepare", str(tmp_path / "mine"), str(tools_file), "--model", "scripted:none"]) == 2
    assert "holds other files and no library" in capsys.readouterr().err


def test_an_export_says_what_it_is(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with AdapterLibrary(library) as opened, opened.step("back"):
        [entry] = opened.entries
        opened.set_status(entry, "candidate")
    assert main(["library", "export", str(library), entry.id, str(tmp_path / "peft")]) == 0
    assert f"{entry.id} is a candidate" in capsys.readouterr().err
