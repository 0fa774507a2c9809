"""`ttsi run`: many inputs through the method, into a run folder.

Inputs: a benchmark or a .jsonl file, a model, the knobs. Outputs: the run folder (`ttsi.runs.store`), and the table or
`summary.json` on stdout. Without arguments: the embedded model on toolworld, base and TT-SI answers in one run.
"""

from __future__ import annotations

import json as json_module
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ttsi.benchmarks import Benchmark, is_file
from ttsi.benchmarks.names import names_notice
from ttsi.cli.again import resume_command
from ttsi.cli.help import BASIC, FOLDER, MACHINE, OUTPUT
from ttsi.cli.progress import announced, duration, loading, print_notes, progress
from ttsi.cli.settings import Device, Dtype, FormatName, Knobs, Switch
from ttsi.config import RunConfig
from ttsi.errors import RunFolderError
from ttsi.models import Model, Writer, check_format, load_teacher
from ttsi.models import load as load_model
from ttsi.runs.cost_estimate import estimate_cost
from ttsi.runs.executor import Executor, local_executor
from ttsi.runs.plan import plan
from ttsi.runs.provenance import resolve, settings_digest, settings_of
from ttsi.runs.runner import run as run_benchmark
from ttsi.runs.store import Store, check_free, holds_run, open_run, read_json, was_started
from ttsi.runs.training_data import check_sources, load_training_data

MAX_FAILED = 0.05
"""Share of failed inputs above which the exit code is 1."""


def run(
    *,
    benchmark: Annotated[str, Parameter(group=BASIC)] = "toolworld",
    model: Annotated[str, Parameter(group=BASIC)] = "embedded",
    knobs: Knobs = Knobs(),  # noqa: B008  frozen, so sharing it is safe
    data: Annotated[Path | None, Parameter(group=BASIC)] = None,
    split: Annotated[str, Parameter(group=BASIC)] = "test",
    limit: Annotated[int | None, Parameter(group=BASIC)] = None,
    format: FormatName = None,
    output_dir: Annotated[Path | None, Parameter(group=FOLDER)] = None,
    resume: Annotated[Switch, Parameter(group=FOLDER)] = False,
    clean: Annotated[Switch, Parameter(group=FOLDER)] = False,
    retry_failed: Annotated[Switch, Parameter(group=FOLDER)] = False,
    repair: Annotated[Switch, Parameter(group=FOLDER)] = False,
    json: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    quiet: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    dry_run: Annotated[Switch, Parameter(group=OUTPUT)] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_size: Annotated[int, Parameter(group=MACHINE)] = 16,
    num_workers: Annotated[int | None, Parameter(group=MACHINE)] = None,
    ray: Annotated[str | None, Parameter(group=MACHINE)] = None,
    speaker: Annotated[Model | None, Parameter(parse=False)] = None,
) -> int:
    """Answer many inputs, base and improved, and grade them.

    Args:
        benchmark: a name (ttsi ls benchmarks), or a file FILE.jsonl of your own.
        model: who answers (ttsi ls models): embedded, smollm2, a folder, FILE.gguf, hf:OWNER/NAME.
        knobs: the method's settings.
        data: the folder with downloaded benchmarks.
        split: which part of the benchmark.
        limit: only the first so many inputs, for a quick look; with --resume a larger one, or none, does the rest.
        output_dir: where the run is kept; by default runs/BENCHMARK--MODEL--METHOD--DIGEST, with the digest of all its
            settings.
        resume: go on with the run that is in the folder.
        clean: delete the run that is in the folder first.
        retry_failed: go on, and put inputs that failed before through once more.
        repair: go on with a damaged run: keep the rows that are whole, and do the others again.
        json: print summary.json instead of the table.
        quiet: no progress on stderr.
        dry_run: print what would be run and what it would cost (a few inputs are tried), and stop.
        batch_size: inputs that go through the model together; with 1 a result has the same bits whoever its neighbours
            are, with more it is the same up to rounding.
        num_workers: processes with a model each; more than one needs Ray (docs/cluster.md).
        ray: the address of a Ray cluster, or auto, whose devices do the work.
        speaker: the model, where it is loaded already; no flag.
    """
    from ttsi.benchmarks import load as load_benchmark

    check_format(format)
    with announced(f"reading {benchmark}", quiet):
        questions = load_benchmark(benchmark, data, split)
    for warning in (questions.notice, names_notice(questions) if is_file(benchmark) else ""):
        if warning:
            print(f"ttsi: {warning}", file=sys.stderr)
    loop = knobs.loop(min(len(questions.samples), limit or len(questions.samples)), model)
    config = RunConfig(
        benchmark=benchmark,
        model=model,
        method=knobs.method,
        writer=knobs.teacher,
        writer_budget=knobs.teacher_budget,
        train=knobs.train_data,
        train_limit=knobs.train_limit,
        loop=loop,
        limit=limit,
        batch_size=batch_size,
        data_dir=data,
        split=split,
        format=format,
    )
    check_sources(config)
    folder = output_dir or default_folder(config)
    resume = resume or retry_failed or repair
    if dry_run:
        return _say_plan(config, questions, folder, device, dtype, json, quiet)
    if output_dir is None and not resume and not clean and (found := _finished(folder, config, questions.checksum)):
        print(f"ttsi: this was run before, shown from {folder}; run it again with --clean", file=sys.stderr)
        return _show(found, folder, json)
    check_free(folder, resume=resume, clean=clean)
    if resume and not was_started(folder):
        hint = "`ttsi ls runs` lists the runs; without --resume a new one begins"
        raise RunFolderError(f"there is no run in {folder} to go on with: {hint}")
    with announced("reading the training data", quiet):
        learned = load_training_data(config, questions)
    if speaker is None:
        with loading(model, quiet):
            speaker = load_model(model, device=device, dtype=dtype, format=format)
        print_notes(speaker, quiet)
    writer = learned or load_teacher(config.writer, speaker, knobs.teaching(), settings_digest(config), device, dtype)
    solve = local_executor(speaker, writer)
    if ray is not None or num_workers not in (None, 1):
        from ttsi.runs.cluster import Cluster, ray_executor

        solve = ray_executor(Cluster(num_workers, ray, device, dtype, format), speaker, writer)
    resolved = resolve(config, questions, speaker, writer)
    with open_run(folder, resolved, resume=resume, clean=clean, repair=repair) as store:
        summary = _run(config, questions, speaker, writer, store, quiet, retry_failed, solve)
    _tell_faults(summary)
    return _show(summary, folder, json)


def _run(
    config: RunConfig,
    questions: Benchmark,
    model: Model,
    writer: Writer,
    store: Store,
    quiet: bool,
    retry_failed: bool,
    solve: Executor,
) -> dict[str, Any]:
    with progress(quiet) as report:
        try:
            return run_benchmark(
                questions, model, writer, config, store, report, retry_failed=retry_failed, executor=solve
            )
        except KeyboardInterrupt:
            kept = len(store.done())
            print(f"ttsi: {kept} inputs are kept in {store.folder}; go on with: {resume_command()}", file=sys.stderr)
            raise


def _tell_faults(summary: dict[str, Any]) -> None:
    """A teacher that failed is no error of the run, but nobody should have to look for it."""
    faults = {name.rpartition(".")[2]: n for name, n in summary["metrics"].items() if name.startswith("teacher.fault.")}
    if faults:
        told = ", ".join(f"{name} x {n}" for name, n in sorted(faults.items()))
        print(
            f"ttsi: the teacher failed at times ({told}); where nothing was learned the base answered", file=sys.stderr
        )


def default_folder(config: RunConfig) -> Path:
    """runs/<benchmark>--<model>--<method>--<first 8 digits of the digest>; between them a demand for calls."""
    calls = config.loop.answer.calls
    demand = [] if calls == "auto" else [f"calls-{calls}"]
    names = [config.benchmark, config.model, config.method, *demand, settings_digest(config)[:8]]
    return Path("runs") / "--".join(plain_name(name) for name in names)


def plain_name(name: str) -> str:
    """A name without what folders cannot be called.

    >>> plain_name("data/mine.jsonl"), plain_name("hf:Qwen/Qwen2.5-0.5B")
    ('mine', 'Qwen2.5-0.5B')
    """
    last = name.rstrip("/").rpartition("/")[2].removesuffix(".gz").removesuffix(".jsonl")
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "run"


def _finished(folder: Path, config: RunConfig, checksum: str) -> dict[str, Any] | None:
    """The summary of the same run, when it is complete."""
    if not holds_run(folder) or not (folder / "summary.json").is_file():
        return None
    old = read_json(folder / "config.json")
    if old.get("digest") != settings_digest(config) or old.get("data", {}).get("checksum") != checksum:
        raise RunFolderError(f"{folder} holds a run of other data: go on with --resume, or start over with --clean")
    return read_json(folder / "summary.json")


def _say_plan(
    config: RunConfig, questions: Benchmark, folder: Path, device: str, dtype: str, as_json: bool, quiet: bool
) -> int:
    """What would be run and what it would cost; the model itself stands in for a teacher, who may cost money."""
    with loading(config.model, quiet):
        model = load_model(config.model, device=device, dtype=dtype, format=config.format)
    inputs = [place.sample.input for place in plan(questions, config)]
    with announced("trying a few inputs", quiet):
        bill = estimate_cost(
            inputs, model, load_training_data(config, questions) or model, config.loop, config.batch_size
        )
    if as_json:
        planned = {
            "inputs": len(inputs),
            "bill": asdict(bill),
            "output_dir": str(folder),
            "settings": settings_of(config),
        }
        print(json_module.dumps(planned, indent=2))
        return 0
    memory = "" if bill.memory_mb is None else f", {bill.memory_mb / 1024:.1f} GB of memory"
    print(f"would run  {len(inputs)} inputs of {config.benchmark}: {config.method} with {config.model}, into {folder}")
    print(f"adapted    about {100 * bill.adapted_share:.0f} % of the inputs")
    bounds = f"{duration(bill.seconds_low)} to {duration(bill.seconds_high)}"
    print(f"takes      about {duration(bill.seconds)} ({bounds}; {bill.tried} inputs tried){memory}")
    return 0


def _show(summary: dict[str, Any], folder: Path, as_json: bool) -> int:
    from ttsi.reports import tables

    if as_json:
        print(json_module.dumps(summary, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(tables.table(summary))
    else:
        print(tables.plain(summary))
    if not as_json:
        print("\n".join(_next_steps(summary, folder)))
    return 1 if summary["n_error"] > MAX_FAILED * summary["n"] else 0


def _next_steps(summary: dict[str, Any], folder: Path) -> Iterator[str]:
    """Where the run is, and what to type to see more of it."""
    named = re.search(r"--[0-9a-f]{8}$", folder.name) is not None
    yield f"kept in {folder}" + (" (the last part is the digest of its settings)" if named else "")
    place = shlex.quote(str(folder))
    if not summary["metrics"]["graded"]:
        yield f"the answers, one JSON line each: ttsi export {place} --format jsonl"
    yield f"the report, one page:  ttsi report {place} --output {shlex.quote(str(folder) + '.html')}"
