"""Workers that die, however often, change nothing in the results; a model that is not the driver's is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.worlds import rows, write
from ttsi.benchmarks import load as load_benchmark
from ttsi.errors import ConfigError, ModelError
from ttsi.methods import preset
from ttsi.models import load
from ttsi.runs.cluster import Cluster, RayWorker
from ttsi.runs.executor import local_executor
from ttsi.runs.plan import PlannedSample
from ttsi.runs.store import read_json, read_rows
from ttsi.types import Episode, GoldExample, TrainingData

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed")

CHILD = """
import os, signal, sys
from pathlib import Path
from ttsi.cli import main
from ttsi.runs.store import Store

kills, stop, real, recorded = int(sys.argv[1]), sys.argv[2] == "stop", Store.record, 0

def workers():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"ray::RayWorker") and ours(int(entry.name)):
                    yield int(entry.name)
            except OSError:
                pass

def ours(pid):
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False

def record(self, row, **how):
    global kills, recorded
    real(self, row, **how)
    recorded += 1
    if stop and recorded == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    if kills and recorded % 5 == 2:
        found = sorted(workers())
        if found:
            kills -= 1
            os.kill(found[0], signal.SIGKILL)
            print("killed", file=sys.stderr)

Store.record = record
sys.exit(main(sys.argv[3:]))
"""


def ttsi(tmp: Path, name: str, *more: str, kills: int = 0, stop: str = "go") -> Any:
    arguments = ["run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--batch-size", "2", "--quiet"]
    command = [sys.executable, "-c", CHILD, str(kills), stop, *arguments, "--output-dir", name, *more]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp)}
    if "auto" in more:  # nor may a cluster be found that somebody else has on this machine
        environment["RAY_TMPDIR"] = str(tmp)
    done = subprocess.run(command, cwd=tmp, env=environment, capture_output=True, text=True, check=False)
    if "no Ray cluster can be started" in done.stderr:
        pytest.skip(f"Ray cannot start here: {done.stderr.splitlines()[-1]}")
    return done


@needs_ray
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_workers_that_die_and_a_stop_in_between_change_nothing(tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", rows(16))
    alone = ttsi(tmp_path, "alone")
    assert alone.returncode == 0, alone.stderr
    killed = ttsi(tmp_path, "many", "--num-workers", "2", kills=1, stop="stop")
    assert killed.returncode == 130, killed.stderr
    assert killed.stderr.count("killed") == 1, "control: a worker did die"
    assert "stopping after this batch (inputs under way: " in killed.stderr
    kept = len(read_rows(tmp_path / "many"))
    assert 3 <= kept < 16
    assert kept % 2 == 0, "what was under way was finished"
    again = ttsi(tmp_path, "many", "--num-workers", "3", "--resume", kills=1)
    assert again.returncode == 0, again.stderr
    prints = [read_json(tmp_path / name / "summary.json")["results_sha256"] for name in ("alone", "many")]
    assert prints[0] == prints[1]
    assert len(read_rows(tmp_path / "many")) == 16


@needs_ray
def test_an_address_without_a_cluster_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "mine.jsonl", rows(2))
    result = ttsi(tmp_path, "out", "--ray", "auto")
    assert result.returncode == 2
    assert "no Ray cluster can be reached at auto" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_worker_with_another_model_refuses(tmp_path: Path) -> None:
    script = tmp_path / "says.json"
    script.write_text(json.dumps(["yes"]))
    description = load(f"scripted:{script}").describe()
    assert RayWorker(Cluster(), description, None, preset("ttsi", "embedded"))
    script.write_text(json.dumps(["no"]))
    with pytest.raises(ModelError, match="differs from the driver's in sha256"):
        RayWorker(Cluster(), description, None, preset("ttsi", "embedded"))


def test_a_worker_learns_from_training_data_as_one_process_does(tmp_path: Path) -> None:
    outcomes: dict[str, Any] = {}
    for method in ("sft", "icl"):
        loop, model = preset(method, "embedded"), load("scripted:demo")
        samples = load_benchmark(str(write(tmp_path / "mine.jsonl", rows(9)))).samples
        data = TrainingData("rest", "0" * 64, tuple(GoldExample(s.input, s.gold) for s in samples[4:] if s.gold))
        batch = [PlannedSample(sample, i, sample.input.content_hash, 0) for i, sample in enumerate(samples[:4])]
        [(_, alone)] = local_executor(model, data)(iter([batch]), loop)
        pairs = [(place.sample.input, 0) for place in batch]
        outcomes[method] = answers(RayWorker(Cluster(), model.describe(), data, loop).answer(pairs))
        assert outcomes[method] == answers(alone)
        # Control: without the data it writes for itself, and learns something else.
        assert (
            answers(RayWorker(Cluster(), model.describe(), None, preset("ttsi", "embedded")).answer(pairs))
            != outcomes[method]
        )
    assert outcomes["sft"] != outcomes["icl"]


def answers(episodes: list[Episode]) -> list[Any]:
    return [(episode.adapted, episode.examples, episode.adaptation) for episode in episodes]


def test_a_teacher_and_workers_exclude_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttsi.cli import main

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine.jsonl", rows(2))
    (tmp_path / "says.json").write_text(json.dumps(["no idea"] * 99))
    command = ["run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--method", "ttd", "--output-dir", "out"]
    command += ["--teacher", "scripted:says.json", "--quiet"]
    assert main([*command, "--num-workers", "2"]) == 2
    assert "a teacher works with one process only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "a refused command leaves nothing behind"
    assert main(command) == 0, "control: without workers it runs"


def test_what_cannot_be_placed_is_refused() -> None:
    with pytest.raises(ConfigError, match="num-workers is 0"):
        Cluster(0)


def test_without_ray_the_way_to_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttsi.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    write(tmp_path / "mine.jsonl", rows(2))
    command = ["run", "--benchmark", "mine.jsonl", "--model", "scripted:demo", "--num-workers", "2"]
    assert main([*command, "--quiet"]) == 2
    assert "pip install 'ttsi[ray]'" in capsys.readouterr().err
