"""Are the runs of a folder those that its sweep names, and are the others named, not pooled?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttsi.errors import ConfigError
from ttsi.runs.run_folders import MOST_NAMED, run_folders, sweep_points


def made(folder: Path, *names: str, points: tuple[str, ...] | None = None) -> Path:
    """A folder of runs, as a sweep leaves it where there are points."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "run.db").touch()
    if points is not None:
        table = {"schema": 1, "points": [{"point": {}, "folder": name, "summary": {}} for name in points]}
        (folder / "sweep.json").write_text(json.dumps(table))
    return folder


def test_of_a_sweep_the_points_that_its_table_names_are_read(tmp_path: Path) -> None:
    sweep = made(tmp_path / "sweep", "seed=0", "seed=1", "tau=0.1", points=("seed=0", "seed=1"))
    chosen = run_folders([sweep])
    assert chosen.runs == [sweep / "seed=0", sweep / "seed=1"]
    assert chosen.left_out == [sweep / "tau=0.1"]
    assert chosen.notice == (
        f"left out, because their sweep.json does not name them: {sweep / 'tau=0.1'}; to take one, name its folder"
    )


def test_control_without_a_table_every_run_is_read(tmp_path: Path) -> None:
    folder = made(tmp_path / "many", "a", "b")
    assert (run_folders([folder]).runs, run_folders([folder]).notice) == ([folder / "a", folder / "b"], None)
    whole = made(tmp_path / "sweep", "a", "b", points=("a", "b"))
    assert (run_folders([whole]).runs, run_folders([whole]).notice) == ([whole / "a", whole / "b"], None)


def test_who_names_a_run_takes_it_and_many_others_are_counted(tmp_path: Path) -> None:
    names = [f"k={k}" for k in range(MOST_NAMED + 4)]
    sweep = made(tmp_path, *names, points=names[:1])
    chosen = run_folders([sweep, sweep / names[1]])
    assert chosen.runs == [sweep / names[0], sweep / names[1]]
    assert names[1] not in {folder.name for folder in chosen.left_out}
    assert chosen.notice is not None and " and 2 more; " in chosen.notice and "\n" not in chosen.notice
    with pytest.raises(ConfigError, match="k=0 is named twice"):
        run_folders([sweep, sweep / names[0]])


def test_a_folder_with_none_of_its_points_stands_for_itself(tmp_path: Path) -> None:
    sweep = made(tmp_path, "a", points=("b",))
    assert (run_folders([sweep]).runs, run_folders([sweep]).left_out) == ([sweep], [sweep / "a"])


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"points": [{"limit": 1}]}', '{"schema": 1, "points": [1]}', "\x00"])
def test_a_file_of_the_same_name_that_is_no_table_names_nothing(tmp_path: Path, text: str) -> None:
    folder = made(tmp_path, "a", "b", points=("a",))
    assert sweep_points(folder / "sweep.json") == {"a"}  # control
    (folder / "sweep.json").write_text(text)
    assert sweep_points(folder / "sweep.json") is None
    assert run_folders([folder]).runs == [folder / "a", folder / "b"]
