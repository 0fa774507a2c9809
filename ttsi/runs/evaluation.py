"""Evaluation in one call: a benchmark, a model and a method in, the summary out.

Inputs: a benchmark and a model, by name or as objects, the settings, and a folder for the record. Outputs: the content
of `summary.json`. `ttsi run` is the same with flags: both end in `run_in_folder`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ttsi.batch import check_references
from ttsi.benchmarks import WHOLE, Benchmark, check_samples, refuse_split
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import CUSTOM, AgentConfig, LoopConfig, RunConfig, TeacherConfig
from ttsi.errors import ConfigError
from ttsi.methods import METHODS, Method, check_single_requests, find_method, preset
from ttsi.models import Model, Writer, as_model, as_teacher, load_teacher
from ttsi.models import load as load_model
from ttsi.plurals import kind_of
from ttsi.runs.executor import Executor, local_executor
from ttsi.runs.folder import was_started
from ttsi.runs.provenance import resolve, settings_digest
from ttsi.runs.run_library import check_unchanged, library_state, run_library
from ttsi.runs.runner import run
from ttsi.runs.shared_adapter import SharedAdapterFolder
from ttsi.runs.store import open_run
from ttsi.runs.tally import RunProgress
from ttsi.runs.training_data import check_sources, load_training_data

OnBatch = Callable[[RunProgress], None]


def evaluate(
    benchmark: str | Path | Benchmark,
    model: str | Model,
    config: LoopConfig | str | None = None,
    output_dir: str | Path | None = None,
    *,
    method: str | None = None,
    teacher: str | Model | None = None,
    teacher_config: TeacherConfig | None = None,
    train_data: str | Path | None = None,
    limit: int | None = None,
    order_seed: int | None = None,
    batch_size: int = 16,
    data: Path | None = None,
    split: str = WHOLE,
    agent: AgentConfig | None = None,
    clean: bool = False,
    retry_failed: bool = False,
    on_batch: OnBatch | None = None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Answer every input of a benchmark, base and adapted, and grade the answers.

    Args:
        benchmark: a name (`ttsi ls benchmarks`), a .jsonl file of your own, or a `Benchmark`.
        model: a spec (`ttsi ls models`) or a loaded model.
        config: a method's name (`ttsi ls methods`) or the settings; None is "ttsi" with the settings for this model
            ("ttd" where a teacher is given).
        output_dir: the folder of the record, for reports, exports and `ttsi.runs.store.read_rows`. Called again with
            the same folder and settings, it does the inputs that are still missing, as `ttsi run --resume` does.
            None keeps nothing but the summary.
        method: the name of the settings in `config`, for the record; None is the method whose settings they are for
            this model, whatever the seed, "base" where they adapt nothing, and else "custom".
        teacher: writes the examples: a spec or a model; None is the model itself.
        teacher_config: limits and costs of a teacher behind an endpoint ("openai:NAME"); None is no limit.
        train_data: the data that the methods icl and sft learn from: a benchmark's name or a .jsonl file with gold.
        limit: use only this many inputs, from the first on.
        order_seed: draws a random order of the inputs, before the limit takes the first; None is that of the file.
        batch_size: inputs that go through the model together.
        data: the folder with downloaded benchmarks.
        split: the part of the benchmark.
        agent: the settings of agents' tasks, for benchmarks that have some; None is the defaults.
        clean: first delete the run in the folder.
        retry_failed: put inputs that failed in an earlier call, or whose adaptation did, through once more.
        on_batch: called with the progress before the first batch and after each.
        executor: where batches are done; by default in this process (`ttsi.runs.cluster` has one for Ray).

    Returns:
        The content of summary.json: `base`, `adapted` and `gain` in percent, and much more.

    >>> summary = evaluate("toolworld", "scripted:demo", limit=4)
    >>> summary["n"], summary["method"]
    (4, 'ttsi')

    Raises:
        ConfigError: a name is unknown, or the settings do not go together, or a teacher without an endpoint has limits.
        DataError: the benchmark or the training data cannot be read.
        RunFolderError: the folder holds another run, or cannot be written.
        ModelError: the model cannot be loaded, or its weights changed.
        KeyboardInterrupt: after the batch in which Ctrl-C was pressed; recorded inputs are kept.
    """
    _check_arguments(benchmark, output_dir, on_batch)
    if isinstance(benchmark, Benchmark):
        refuse_split(benchmark.name, split)
        check_samples(benchmark)
    questions = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(str(benchmark), data, split)
    model = model if isinstance(model, str) else as_model(model)
    if teacher is not None and not isinstance(teacher, str):
        teacher = as_teacher(teacher)
    if teacher_config is not None and not (isinstance(teacher, str) and teacher.startswith("openai:")):
        raise ConfigError('teacher_config is for a teacher behind an endpoint, teacher="openai:NAME": leave it out')
    teaching = teacher_config or TeacherConfig()
    spec = model if isinstance(model, str) else model.spec
    name, loop = _method(config, method, spec, teacher is not None)
    settings = RunConfig(
        benchmark=benchmark.name if isinstance(benchmark, Benchmark) else str(benchmark),
        model=spec,
        method=name,
        teacher=teacher if teacher is None or isinstance(teacher, str) else teacher.spec,
        teacher_budget=teaching.budget,
        loop=loop,
        limit=limit,
        order_seed=order_seed,
        batch_size=batch_size,
        data=data,
        split=split,
        train_data=str(train_data) if isinstance(train_data, Path) else train_data,
        agent=agent or AgentConfig(),
    )
    check_sources(settings)
    check_references(loop)
    check_tasks(settings, questions, in_process=executor is None)
    rows = load_training_data(settings, questions)
    loaded = load_model(model) if isinstance(model, str) else model
    if isinstance(teacher, str):
        teacher = load_teacher(teacher, loaded, teaching, settings_digest(settings), "auto", "auto")
    with tempfile.TemporaryDirectory(prefix="ttsi-") as temporary:
        folder = Path(temporary if output_dir is None else output_dir)
        return run_in_folder(
            settings, questions, loaded, rows or teacher or loaded, folder, resume=not clean and was_started(folder),
            clean=clean, retry_failed=retry_failed, on_batch=on_batch or ignore, executor=executor,
        )  # fmt: skip


def _check_arguments(benchmark: object, output_dir: object, on_batch: object) -> None:
    """Refuse values of a type that would fail later, in the words of what failed then."""
    if not isinstance(benchmark, str | Path | Benchmark):
        ways = "a name, a .jsonl file or a ttsi.Benchmark (inputs without gold go to ttsi.improve)"
        raise ConfigError(f"benchmark is {kind_of(benchmark)}: give {ways}")
    if not isinstance(output_dir, str | os.PathLike | None):
        raise ConfigError(f"output_dir is {kind_of(output_dir)}: give a path, or None to keep nothing")
    if on_batch is not None and not callable(on_batch):
        raise ConfigError(f"on_batch is {kind_of(on_batch)}: give a function of the progress, or None")


def ignore(progress: RunProgress) -> None:
    """Do nothing with the progress."""


def run_in_folder(
    config: RunConfig,
    benchmark: Benchmark,
    model: Model,
    writer: Writer,
    folder: Path,
    *,
    resume: bool = False,
    clean: bool = False,
    repair: bool = False,
    retry_failed: bool = False,
    on_batch: OnBatch = ignore,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Open the folder, do the missing inputs, close it; arguments and errors as in `open_run` and `run`.

    The settings fit the benchmark (`check_tasks`), which the caller checks before it loads a model.
    """
    resolved = resolve(config, benchmark, model, writer)
    with (
        run_library(
            config, model, folder.name, config.data, in_order=executor is None, retry_failed=retry_failed
        ) as library,
        open_run(folder, resolved | library_state(library), resume=resume, clean=clean, repair=repair) as store,
    ):
        if library is not None:
            check_unchanged(library, store)
        run_id = "" if library is None else store.run_id()
        executor = executor or local_executor(model, writer, library, run_id, config.agent, SharedAdapterFolder(folder))
        return run(
            benchmark, model, writer, config, store, on_batch, retry_failed=retry_failed, executor=executor
        )  # fmt: skip


def check_tasks(config: RunConfig, benchmark: Benchmark, *, in_process: bool) -> None:
    """Refuse settings that do not go together with agents' tasks, or without them.

    Raises:
        ConfigError: one line.
    """
    if not any(sample.environment is not None for sample in benchmark.samples):
        if config.agent != AgentConfig():
            raise ConfigError(f"--agent.* is for agents' tasks, and {benchmark.name} has none: leave it out")
        check_single_requests(config.loop, f"{benchmark.name} has none")
        return
    if not in_process:
        raise ConfigError(f"{benchmark.name} has environments, which stay in one process: leave --num-workers out")
    if config.library.folder is not None:
        raise ConfigError(f"{benchmark.name} has agents' tasks, and a library is for single requests: leave it out")
    if config.loop.answer.strategy in ("vote", "pass@k"):
        raise ConfigError(
            f"answer.strategy is {config.loop.answer.strategy}, and an agent acts on one answer: use method vote"
        )


def _method(
    config: LoopConfig | str | None, method: str | None, spec: str, has_teacher: bool
) -> tuple[str, LoopConfig]:
    """The name and the settings of what is run; settings go by a method's name only where they are its settings."""
    if not isinstance(config, LoopConfig | str | None):
        raise ConfigError(f"config is {kind_of(config)}: use a method's name or a LoopConfig")
    if not isinstance(config, LoopConfig):
        if config is not None and method is not None:
            raise ConfigError(f"config is already a method's name, {config!r}: leave method out, or give a LoopConfig")
        name = config or method or ("ttd" if has_teacher else "ttsi")
        return name, preset(name, spec)
    if method is not None:
        if find_method(method).adapts != config.adapt:
            raise ConfigError(f"config.adapt is {config.adapt}, and method {method} says otherwise: change one of them")
        return method, config
    if not config.adapt:
        return "base", config
    fitting = (name for name, one in METHODS.items() if _may_have(one, has_teacher))
    own = replace(config, seed=0)
    return next((name for name in fitting if replace(preset(name, spec), seed=0) == own), CUSTOM), config


def _may_have(method: Method, has_teacher: bool) -> bool:
    """Whether this may be the method of a run with, or without, a teacher."""
    return method.with_teacher is None if has_teacher else not method.needs_teacher
