"""`ttsi run`: answer many inputs, before and after adaptation, into a run folder.

Inputs: a benchmark or a .jsonl file, a model, settings. Outputs: the run folder (`ttsi.runs.store`), and a table or
`summary.json` on stdout. Without arguments: the embedded model on toolworld, base and TT-SI answers in one run.
"""

from __future__ import annotations

import json as json_module
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ttsi.benchmarks import Benchmark, is_file
from ttsi.benchmarks.illegal_gold import illegal_gold_notice
from ttsi.benchmarks.names import names_notice
from ttsi.cli.option_groups import MACHINE
from ttsi.cli.progress import announced, duration, loading, print_notes, progress
from ttsi.cli.report import page_beside
from ttsi.cli.resume_hint import own_settings_command, resume_command
from ttsi.cli.settings import (
    Device,
    Dtype,
    FolderSwitch,
    InBasic,
    OutputDir,
    OutputSwitch,
    Shortcuts,
    TeacherCosts,
    complete,
)
from ttsi.config import RunConfig
from ttsi.errors import ConfigError, RunFolderError
from ttsi.models import Model, check_format, load_teacher
from ttsi.models import load as load_model
from ttsi.plurals import plural, with_noun
from ttsi.runs.cost_estimate import estimate_cost
from ttsi.runs.evaluation import check_tasks, run_in_folder
from ttsi.runs.folder import OtherRun, check_switches
from ttsi.runs.plan import plan
from ttsi.runs.provenance import settings_digest, settings_of
from ttsi.runs.shared_adapter import SharedAdapterFolder
from ttsi.runs.store import check_free, each_row, holds_run, read_json, was_started
from ttsi.runs.training_data import check_sources, load_training_data

MAX_FAILED = 0.05
"""Share of failed inputs above which the exit code is 1."""
MAX_FAILED_ADAPTATIONS = 0.5
"""The same of failed adaptations, which leave the base's answers: some examples never fit a context."""

_FOREIGN_DATA = (
    "the embedded model has met only the small world that it was made in; "
    "for data of your own choose another: --model smollm2, hf:OWNER/NAME (ttsi ls models)"
)


def run(
    *,
    config: Annotated[RunConfig, InBasic] = RunConfig(),  # noqa: B008  frozen, so sharing it is safe
    shortcuts: Shortcuts = Shortcuts(),  # noqa: B008
    costs: TeacherCosts = TeacherCosts(),  # noqa: B008
    output_dir: OutputDir = None,
    resume: FolderSwitch = False,
    clean: FolderSwitch = False,
    retry_failed: FolderSwitch = False,
    repair: FolderSwitch = False,
    json: OutputSwitch = False,
    quiet: OutputSwitch = False,
    dry_run: OutputSwitch = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    num_workers: Annotated[int | None, Parameter(group=MACHINE)] = None,
    ray: Annotated[str | None, Parameter(group=MACHINE)] = None,
    loaded: Annotated[Model | None, Parameter(parse=False)] = None,
) -> int:
    """Run a benchmark, with and without adaptation.

    The model answers every input; where it is unsure, it adapts and answers again.

    Args:
        config: the settings of the run.
        shortcuts: short names of settings.
        costs: of a teacher.
        output_dir: Folder of the run. By default runs/BENCHMARK--MODEL--METHOD--DIGEST, with the digest of all its
            settings.
        resume: Continue the run in the folder. With --output-dir no other setting is needed: what you leave out is as
            the run has it.
        clean: Delete the run in the folder first.
        retry_failed: Continue, and try inputs again that failed before, or whose adaptation did.
        repair: Continue a damaged run: keep its intact rows and run the other inputs again.
        json: Print summary.json instead of the table.
        quiet: Show no progress on stderr.
        dry_run: Print what would run and what it would cost (a few inputs are tried), and stop.
        num_workers: Number of processes, each with its own copy of the model; more than one needs Ray
            (docs/cluster.md).
        ray: Run on the devices of a Ray cluster: its address, or auto.
        loaded: the model, where it is loaded already; no flag.
    """
    from ttsi.benchmarks import load as load_benchmark
    from ttsi.runs.cluster import Cluster, ray_executor

    check_format(config.format)
    resume = resume or retry_failed or repair
    check_switches(resume=resume, clean=clean)
    cluster = Cluster(num_workers, ray, device, dtype, config.format)

    @cache
    def read() -> Benchmark:
        with announced(f"reading {config.benchmark}", quiet):
            return load_benchmark(config.benchmark, config.data, config.split)

    config = complete(config, shortcuts, config.model, lambda: len(read().samples[: config.limit]))
    check_sources(config)
    folder = output_dir or default_folder(config)
    if not dry_run:  # the settings and the folder before the questions, which take seconds to read
        _check_folder(folder, resume=resume, clean=clean, named=output_dir is not None)
    questions = read()
    own_notices = (illegal_gold_notice, names_notice) if is_file(config.benchmark) else ()
    for warning in (questions.notice, *(notice(questions) for notice in own_notices)):
        if warning:
            print(f"ttsi: {warning}", file=sys.stderr)
    if is_file(config.benchmark) and config.model == "embedded":
        print(f"ttsi: {_FOREIGN_DATA}", file=sys.stderr)
    distributed = ray is not None or num_workers not in (None, 1)
    check_tasks(config, questions, in_process=not distributed)
    if dry_run:
        return _print_plan(config, questions, folder, device, dtype, json, quiet)
    if output_dir is None and not resume and not clean:
        summary = _finished_summary(folder, config, questions.checksum)
        if summary is not None:
            print(f"ttsi: {folder} already holds this run; to run it again add --clean", file=sys.stderr)
            return _print_summary(summary, folder, json)
    check_free(folder, resume=resume, clean=clean)
    with announced("reading the training data", quiet):
        training = load_training_data(config, questions)
    model = _load(config, device, dtype, quiet) if loaded is None else loaded
    teacher = costs.teacher_config(config.teacher_budget)
    writer = training or load_teacher(config.teacher, model, teacher, settings_digest(config), device, dtype)
    executor = ray_executor(cluster, model, writer) if distributed else None
    with progress(quiet) as report:
        try:
            summary = run_in_folder(
                config, questions, model, writer, folder, resume=resume, clean=clean, repair=repair,
                retry_failed=retry_failed, on_batch=report, executor=executor,
            )  # fmt: skip
        except KeyboardInterrupt:
            _print_how_to_continue(folder)
            raise
        except OtherRun as error:
            command = own_settings_command(folder) if error.in_settings else None
            if command is None:
                raise
            raise RunFolderError(f"{error}; go on with its own settings: {command}") from None
    _warn_of_teacher_errors(summary)
    _warn_of_failed_adaptations(summary)
    _warn_of_words(summary, config)
    _check_confidence(summary, config)
    return _print_summary(summary, folder, json)


def _check_folder(folder: Path, *, resume: bool, clean: bool, named: bool) -> None:
    """Refuse a folder that this run cannot go into; one that was not named may hold it already, finished."""
    if named or resume or clean:
        check_free(folder, resume=resume, clean=clean)
    if resume and not was_started(folder):
        hint = "`ttsi ls runs` lists the runs; without --resume a new one begins"
        raise RunFolderError(f"there is no run in {folder} to resume: {hint}")


def _load(config: RunConfig, device: str, dtype: str, quiet: bool) -> Model:
    with loading(config.model, quiet):
        model = load_model(config.model, device=device, dtype=dtype, format=config.format)
    print_notes(model, quiet)
    return model


def _print_how_to_continue(folder: Path) -> None:
    if holds_run(folder):
        kept = sum(1 for _ in each_row(folder))
        inputs = with_noun(kept, "input is", "inputs are")
        print(f"ttsi: {inputs} kept in {folder}; continue with: {resume_command()}", file=sys.stderr)


def _warn_of_teacher_errors(summary: dict[str, Any]) -> None:
    """The run goes on when a teacher fails, so the errors are easily overlooked."""
    errors = {name.rpartition(".")[2]: n for name, n in summary["metrics"].items() if name.startswith("teacher.fault.")}
    if errors:
        counts = ", ".join(f"{name} x {n}" for name, n in sorted(errors.items()))
        print(
            f"ttsi: some requests to the teacher failed ({counts}); without examples the base model's answer is kept",
            file=sys.stderr,
        )


def _warn_of_failed_adaptations(summary: dict[str, Any]) -> None:
    """The base answers where an adaptation fails, so a run in which most of them do looks like any other."""
    if _most_adaptations_failed(summary):
        attempted, failed = (summary["metrics"][f"adaptations.{name}"] for name in ("attempted", "failed"))
        from ttsi.reports.story import one_line

        reason = one_line(summary["reasons"]["adaptation_failed"][0]["reason"], 200)
        print(
            f"ttsi: adaptation failed for {failed} of {with_noun(attempted, 'input')} (the most frequent reason: "
            f"{reason}); the base answered them; --retry-failed tries them again",
            file=sys.stderr,
        )


def _warn_of_words(summary: dict[str, Any], config: RunConfig) -> None:
    """A small model may never call of its own accord, and then nothing is adapted."""
    words, unsure = summary["metrics"]["awareness.unsure_in_words"], summary["n_unsure"]
    if words and 2 * words >= unsure and config.loop.adapt and config.loop.adaptation.keep_decision:
        inputs, were = with_noun(unsure, "unsure input"), plural(words, "was", "were")
        print(
            f"ttsi: {words} of {inputs} {were} answered in words, so {plural(words, 'it', 'they')} {were} not adapted; "
            "if every request needs a call, run with --answer.calls required",
            file=sys.stderr,
        )


def _most_adaptations_failed(summary: dict[str, Any]) -> bool:
    metrics = summary["metrics"]  # an older summary counts no failures
    failed = metrics.get("adaptations.failed", 0)
    return bool(failed > MAX_FAILED_ADAPTATIONS * metrics.get("adaptations.attempted", 0))


def _check_confidence(summary: dict[str, Any], config: RunConfig) -> None:
    """Point out a measure that is no number; refuse it where it decides about adaptation and is none for any input."""
    missing, measured = summary["metrics"]["awareness.nan"], summary["n"] - summary["n_error"]
    awareness = config.loop.awareness
    if not missing:
        return
    if missing >= measured and config.loop.adapt and awareness.gate in ("unsure", "sure"):
        raise ConfigError(
            f"the measure {awareness.measure} is NaN for {missing} of {with_noun(measured, 'input')}: nothing can be "
            "decided by it"
        )
    print(
        f"ttsi: the measure {awareness.measure} is NaN for {missing} of {with_noun(measured, 'input')}, "
        "which counts as unsure",
        file=sys.stderr,
    )


def default_folder(config: RunConfig) -> Path:
    """runs/BENCHMARK--MODEL--METHOD--DIGEST with 8 digits; answer.calls stands before the digest if it is not auto."""
    calls = config.loop.answer.calls
    demand = [] if calls == "auto" else [f"calls-{calls}"]
    names = [config.benchmark, config.model, config.method, *demand, settings_digest(config)[:8]]
    return Path("runs") / "--".join(folder_name(name) for name in names)


def folder_name(name: str) -> str:
    """A name as part of a folder's name: the last part of a path or spec, without special characters.

    >>> folder_name("data/mine.jsonl"), folder_name("hf:Qwen/Qwen2.5-0.5B")
    ('mine', 'Qwen2.5-0.5B')
    """
    last = name.rstrip("/").rpartition("/")[2].removesuffix(".gz").removesuffix(".jsonl")
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "run"


def _finished_summary(folder: Path, config: RunConfig, checksum: str) -> dict[str, Any] | None:
    """The summary of the same run, when it is complete."""
    if not holds_run(folder) or not (folder / "summary.json").is_file():
        return None
    old = read_json(folder / "config.json")
    if old.get("digest") != settings_digest(config) or old.get("data", {}).get("checksum") != checksum:
        raise RunFolderError(f"{folder} holds a run of other data: continue with --resume, or start over with --clean")
    return read_json(folder / "summary.json")


def _print_plan(
    config: RunConfig, questions: Benchmark, folder: Path, device: str, dtype: str, as_json: bool, quiet: bool
) -> int:
    """What would run and what it would cost; the model itself stands in for a teacher, which may cost money."""
    model = _load(config, device, dtype, quiet=quiet)
    inputs = [place.sample.input for place in plan(questions, config)]
    with announced("trying a few inputs", quiet):
        estimate = estimate_cost(
            inputs, model, load_training_data(config, questions) or model, config.loop, config.batch_size
        )
    if any(sample.environment is not None for sample in questions.samples):
        print("ttsi: an agent's task counts as its first decision here, and most take several", file=sys.stderr)
    if as_json:
        planned = {
            "inputs": len(inputs),
            "bill": asdict(estimate),
            "output_dir": str(folder),
            "settings": settings_of(config),
        }
        print(json_module.dumps(planned, indent=2))
        return 0
    memory = "" if estimate.memory_mb is None else f", {estimate.memory_mb / 1024:.1f} GB of memory"
    what = f"{with_noun(len(inputs), 'input')} of {config.benchmark}"
    print(f"would run  {what}: {config.method} with {config.model}, into {folder}")
    print(f"adapted    about {100 * estimate.adapted_share:.0f} % of the inputs")
    bounds = f"{duration(estimate.seconds_low)} to {duration(estimate.seconds_high)}"
    tried = f"{with_noun(estimate.tried, 'input')} tried"
    print(f"takes      about {duration(estimate.seconds)} ({bounds}; {tried}){memory}")
    return 0


def _print_summary(summary: dict[str, Any], folder: Path, as_json: bool) -> int:
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
    return int(summary["n_error"] > MAX_FAILED * summary["n"] or _most_adaptations_failed(summary))


def _next_steps(summary: dict[str, Any], folder: Path) -> Iterator[str]:
    """Where the run is, and commands that show more of it."""
    has_digest = re.search(r"--[0-9a-f]{8}$", folder.name) is not None
    yield f"kept in {folder}" + (" (the last part is the digest of its settings)" if has_digest else "")
    place = shlex.quote(str(folder))
    adapter = SharedAdapterFolder(folder)
    if adapter.is_activated is not None:
        path = shlex.quote(str(adapter.path))
        use = "activated, so it cannot be merged" if adapter.is_activated else f"ttsi serve --model {path}"
        yield f"the fine-tuned adapter, in PEFT's format: {path} ({use})"
    if not summary["metrics"]["graded"]:
        yield f"the answers, one JSON line each: ttsi export {place} --format jsonl"
    yield f"the report, one page:  ttsi report {place} --output {shlex.quote(str(page_beside(folder)))}"
