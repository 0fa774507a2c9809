"""Trials of a library of adapters at full size: kills, damage, and adapters planted for the wrong tools.

    python -m tests.trials.library_folder NAME N

    kills     N SIGKILLs of runs with --library at random instants, up to five per run, resumed each time
    damage    the folder cut or flipped at N places
    planted   N inputs whose tools have no adapter of their own, beside adapters planted for other tools

Inputs: the name of a trial and n. Outputs: one line of JSON with the counts; an error where a promise is broken. The
scripted model only. The tests under tests/library do the same with small n, with their controls.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.library.streams import QUESTIONS, UNSURE, answer, inputs
from tests.models.test_weight_files import damaged
from tests.runs.crashes import Crashes
from tests.runs.test_kill import KILLED
from tests.worlds import row, write
from ttsi import codec
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary, tools_hash
from ttsi.library.exchange import export_entry, import_entry
from ttsi.models import load
from ttsi.runs.folder import was_started
from ttsi.runs.store import read_rows
from ttsi.types import Tool

ROUNDS = 3


def stream(path: Path) -> Path:
    """Each question three times, in other words."""
    lines = [
        row(f"{'Again: ' * number}{text}", "get_weather", id=f"q{number}-{place}")
        for number in range(ROUNDS)
        for place, text in enumerate(QUESTIONS)
    ]
    return write(path, lines)


def command(file: Path, folder: Path) -> list[str]:
    """A run of the file into the folder, beside its library."""
    settings = ["--awareness.measure", "answer_mean", "--tau", "-0.3", "--k", "3", "--batch-size", "2", "--quiet"]
    place = ["--output-dir", str(folder), "--library", f"{folder}.lib"]
    resume = ["--resume"] if was_started(folder) else []
    return ["run", "--benchmark", str(file), "--model", "scripted:demo", *settings, *place, *resume]


def outcome(folder: Path) -> tuple[list[Any], list[Any]]:
    """The answers, and the library, without times."""
    episodes = [replace(one.episode, seconds={}) for one in read_rows(folder)]
    with AdapterLibrary(Path(f"{folder}.lib"), writable=False) as library:
        entries = [replace(entry, created=0.0, last_learned=0.0, last_use=0.0, origin="") for entry in library.entries]
    return episodes, entries


def kills(n: int, tmp: Path) -> dict[str, Any]:
    """After each kill every entry that is read is whole; in the end run and library are as without any kill."""
    rng, counts = random.Random(0), Counter[str]()
    file = stream(tmp / "mine.jsonl")
    with Crashes() as crashes:
        assert crashes.run(command(file, tmp / "warm")) == 0
        begun = time.perf_counter()
        assert crashes.run(command(file, tmp / "whole")) == 0
        length, expected = time.perf_counter() - begun, outcome(tmp / "whole")
        assert any(episode.adaptation.status == "library" for episode in expected[0])
        while counts["kills"] < n:
            folder = tmp / "torn"
            for path in (folder, Path(f"{folder}.lib")):
                shutil.rmtree(path, ignore_errors=True)
            for _ in range(rng.randint(1, 5)):
                if crashes.run(command(file, folder), after=rng.uniform(0, length)) == KILLED:
                    counts["kills"] += 1
                    counts["entries read after a kill"] += _whole_entries(Path(f"{folder}.lib"))
            assert crashes.run(command(file, folder)) == 0
            assert outcome(folder) == expected, "another outcome"
            counts["runs"] += 1
    return {**counts, "half entries": 0, "other outcomes": 0}


def _whole_entries(folder: Path) -> int:
    if not (folder / "library.db").exists():
        return 0
    copy = folder.with_name("copy.lib")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)  # so that looking changes nothing
    with AdapterLibrary(copy) as library:
        return sum(bool(library.adapter(entry)) for entry in library.entries)


def damage(n: int, tmp: Path) -> dict[str, Any]:
    """Each damage is refused by the name of the file, or the library reads the same."""
    rng, counts = random.Random(0), Counter[str]()
    file = stream(tmp / "mine.jsonl")
    with Crashes() as crashes:
        assert crashes.run(command(file, tmp / "whole")) == 0
    folder = Path(f"{tmp / 'whole'}.lib")
    _, expected = outcome(tmp / "whole")
    files = [folder / "library.db", *(folder / "adapters").iterdir()]
    for trial in range(n):
        kind, path = ("cut", "flip")[trial % 2], files[trial // 2 % len(files)]
        whole = path.read_bytes()
        path.write_bytes(damaged(path, rng, kind))
        try:
            with AdapterLibrary(folder, writable=False) as library:
                files_read = [library.adapter(entry) for entry in library.entries]
            assert outcome(tmp / "whole")[1] == expected and len(files_read) == len(expected), "another library"
            counts[f"{kind}: reads the same"] += 1
        except LibraryError as error:
            assert str(path) in str(error)
            counts[f"{kind}: refused by name"] += 1
        path.write_bytes(whole)
    return {"damaged": n, **counts}


def planted(n: int, tmp: Path) -> dict[str, Any]:
    """An adapter of one list of tools answers no input of another, whichever way it got there.

    A third of the inputs has nearly its tools. The tools of another third have its file in the place of their own. The
    last third has it as an imported entry that claims to be of their tools.
    """
    model, rng, counts = load("scripted:demo"), random.Random(0), Counter[str]()
    with AdapterLibrary(tmp / "library") as library:
        answer(library, inputs()[:8], model, UNSURE)
        [source] = library.entries
        assert source.status == "admitted"
        for trial in range(n):
            tools, kind = other_tools(source.tools, trial, rng), ("near", "copied", "claimed")[trial % 3]
            if kind == "copied":
                with library.step(f"copy {trial}"):
                    own = library.add_entry(replace(source, tools=tools, tools_hash=tools_hash(tools)), b"another")
                    library.set_status(own, "admitted")
                [path] = (tmp / "library" / "adapters").glob(f"{own.id}*")
                path.write_bytes(library.adapter(source))
            elif kind == "claimed":
                folder = export_entry(library, source, tmp / f"claimed {trial}")
                claim = json.loads((folder / "entry.json").read_text())
                claim |= {"tools": codec.to_json(tools), "tools_hash": tools_hash(tools)}
                (folder / "entry.json").write_text(json.dumps(claim))
                with library.step(f"import {trial}"):
                    assert import_entry(library, folder).status == "candidate"
                shutil.rmtree(folder)
            [episode] = answer(library, [replace(inputs()[trial % 8], id=f"{trial}", tools=tools)], model, UNSURE)
            counts[f"{kind}: tried"] += bool(episode.adaptation.library_entry)
            with library.step(f"tidy {trial}"):
                for entry in library.entries:
                    if entry.id != source.id:
                        library.remove(entry)
        [control] = answer(library, [replace(inputs()[9], tools=source.tools[::-1])], model, UNSURE)
        assert control.adaptation.library_entry == source.id, "it is not even tried on its own tools"
    assert not sum(counts.values()), counts
    return {"inputs": n, **counts}


def other_tools(tools: Sequence[Tool], trial: int, rng: random.Random) -> tuple[Tool, ...]:
    """The same tools but for one, which differs in its name, its description or its parameters; or one fewer."""
    place = rng.randrange(len(tools))
    one = tools[place]
    parameters = {**one.parameters, "description": f"{trial}"}
    changed = (
        [replace(one, name=f"{one.name}_{trial}")],
        [replace(one, description=f"{one.description} {trial}")],
        [replace(one, parameters=parameters)],
        [],
    )
    return (*tools[:place], *rng.choice(changed), *tools[place + 1 :])


FIGURES = {"kills": kills, "damage": damage, "planted": planted}

if __name__ == "__main__":
    name, number = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps({"figure": name, **FIGURES[name](number, Path(place))}), flush=True)
