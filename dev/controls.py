"""Controls of the gain: which property of the examples explains which part of it.

    python -m dev.controls CONTROL --model smollm2 --benchmark sealtool-dev --data DIR --limit N --order-seed 0 \
        --output FILE.jsonl [--lr ...]
    python -m dev.controls --summary FILE.jsonl...

Inputs: the name of a control (`dev.control_examples`), a model, a benchmark. Outputs: one row per input with the base's
verdict and the adapted one (`dev.control_rows`); a table of such files (`dev.control_table`). The same command goes on
where it stopped.

Every input goes through the stages of `ttsi.loop` with the settings of the method ttsi, each input adapted, and other
examples in place of its own. Controls on the same inputs are paired. The base's answers, and the examples that a model
writes, are kept in files beside the output, which several controls share. What settings alone can do is in
configs/real/controls.yaml.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dev.control_examples import CONTROLS, Examples, ExampleTask, check_gold, near_copies
from dev.control_rows import BaseRecord, ControlRow, RecordFile, WrittenRecord
from dev.control_table import summary_table
from ttsi.adaptation import adapters
from ttsi.answer import generate_answers
from ttsi.awareness import estimate
from ttsi.batch import Stages, with_adaptations
from ttsi.benchmarks import Benchmark
from ttsi.benchmarks import load as load_benchmark
from ttsi.call_equality import canonical_calls
from ttsi.config import AdaptationConfig, LoopConfig, RunConfig, SynthesisConfig, TeacherConfig
from ttsi.errors import ConfigError, DataError, TTSIError
from ttsi.methods import preset
from ttsi.models import Model, check_speaker, load_teacher, prefix_cache
from ttsi.models import load as load_model
from ttsi.runs.grading import grades, headline
from ttsi.runs.integrity import WeightsIntegrity
from ttsi.runs.plan import Batch, PlannedSample, batches, plan
from ttsi.runs.provenance import settings_digest
from ttsi.synthesis import synthesise
from ttsi.types import Episode, Prompt, last_request, stage_seed


@dataclass(frozen=True)
class Experiment:
    """One control on one benchmark with one model."""

    control: str
    config: RunConfig
    benchmark: Benchmark
    model: Model
    writer: Model
    """Writes the examples: the model itself, or a teacher."""
    output: Path

    @property
    def loop(self) -> LoopConfig:
        """The settings of the stages."""
        return self.config.loop

    @cached_property
    def settings(self) -> str:
        """Digest of everything that the rows depend on."""
        return self._digest(self.config, self.control)

    @cached_property
    def base_file(self) -> RecordFile[BaseRecord]:
        """The base's answers and confidence: the same whatever is learned afterwards."""
        early = replace(self.loop, synthesis=SynthesisConfig(), adaptation=AdaptationConfig())
        name = self._digest(replace(self.config, teacher=None, loop=early))
        return RecordFile(self.output.with_name(f"base-{name}.jsonl"), BaseRecord)

    @cached_property
    def written_file(self) -> RecordFile[WrittenRecord]:
        """The writer's examples: the same whatever is learned of them."""
        name = self._digest(replace(self.config, loop=replace(self.loop, adaptation=AdaptationConfig())))
        return RecordFile(self.output.with_name(f"written-{name}.jsonl"), WrittenRecord)

    def seeds(self, batch: Batch, stage: str) -> list[int]:
        """The seeds that a run has for this stage."""
        return [stage_seed(self.loop.seed, item.input_hash, item.repeat, stage) for item in batch]

    def _digest(self, config: RunConfig, *more: str) -> str:
        weights = [str(model.describe().get(key)) for model in (self.model, self.writer) for key in _IDENTITY]
        parts = [settings_digest(replace(config, limit=None)), self.benchmark.checksum, *weights, *more]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


_IDENTITY = ("weights_sha256", "dtype", "format")


def run_control(experiment: Experiment, report: Callable[[str], None] = lambda line: None) -> None:
    """Do the inputs that the output lacks, batch by batch.

    A batch is done whole, so that an input has the same neighbours after an interruption.

    Raises:
        ConfigError: this benchmark's gold must not be learned.
        DataError: the output holds rows of something else, or a row has no gold.
        ModelError: the base's weights have changed.
    """
    if experiment.control == "nearest":
        check_gold(experiment.benchmark.name)
    output = RecordFile(experiment.output, ControlRow)
    done = output.read()
    if any(row.settings != experiment.settings for row in done.values()):
        raise DataError(f"{output.path} holds rows of another control or other settings: name another file")
    planned, integrity = plan(experiment.benchmark, experiment.config), WeightsIntegrity(experiment.model)
    for batch in batches(planned, experiment.config.batch_size):
        if all(item.key in done for item in batch):
            continue
        began = time.perf_counter()
        rows = [row for row in _rows(experiment, batch) if row.key not in done]
        integrity.check()
        output.append(rows)
        done |= {row.key: row for row in rows}
        report(f"{len(done)} of {len(planned)} inputs, {time.perf_counter() - began:.0f} s")


def _rows(experiment: Experiment, batch: Batch) -> list[ControlRow]:
    """The rows of a batch; an input that does not fit the model is one with an error."""
    max_tokens = experiment.loop.answer.max_tokens
    rows: dict[tuple[str, int], ControlRow] = {}
    for item in batch:
        question = item.sample.input
        reason = experiment.model.fits(Prompt(question.messages, question.tools), max_tokens)
        if reason is not None:
            rows[item.key] = _failed_row(experiment, item, reason)
    fit = [item for item in batch if item.key not in rows]
    if fit:
        with prefix_cache(experiment.model):
            rows |= {row.key: row for row in _adapted_rows(experiment, fit)}
    return [rows[item.key] for item in batch]


def _failed_row(experiment: Experiment, item: PlannedSample, reason: str) -> ControlRow:
    episode = Episode(item.sample.input.id, item.input_hash, None, None, None, error=reason)
    return replace(_row(experiment, item, episode), error=f"prompt: {reason}")


def _adapted_rows(experiment: Experiment, batch: Batch) -> list[ControlRow]:
    model, loop = experiment.model, experiment.loop
    inputs = [item.sample.input for item in batch]
    records = _base_records(experiment, batch)
    before, awareness = [record.answer for record in records], [record.awareness for record in records]
    examples, seconds = _examples(experiment, batch, records)
    began = time.perf_counter()
    with adapters(model, inputs, examples, before, loop, experiment.seeds(batch, "adaptation")) as tuned:
        trained = time.perf_counter()
        seeds = experiment.seeds(batch, "answer")
        after = generate_answers(
            model, tuned.inputs, loop.answer, tuned.adapters, seeds, tuned.strategy, (inputs, before)
        )
    answered = time.perf_counter()
    own = {"adaptation": (trained - began) / len(batch), "adapted answer": (answered - trained) / len(batch)}
    episodes = [
        Episode(one.id, item.input_hash, answer, answer, sure, seconds={**record.seconds, **spent, **own})
        for one, item, answer, sure, record, spent in zip(
            inputs, batch, before, awareness, records, seconds, strict=True
        )
    ]
    stages = Stages(inputs, loop.seed, 0)
    episodes = with_adaptations(stages, episodes, range(len(batch)), examples, tuned, after, loop.adaptation)
    return [_row(experiment, item, episode) for item, episode in zip(batch, episodes, strict=True)]


def _base_records(experiment: Experiment, batch: Batch) -> list[BaseRecord]:
    file = experiment.base_file
    records = file.read()
    if any(item.key not in records for item in batch):
        model, loop, inputs = experiment.model, experiment.loop, [item.sample.input for item in batch]
        began = time.perf_counter()
        answers = generate_answers(model, inputs, loop.answer, seeds=experiment.seeds(batch, "answer"))
        answered = time.perf_counter()
        awareness = estimate(model, inputs, answers, loop.awareness)
        measured = time.perf_counter()
        seconds = {"answer": (answered - began) / len(batch), "awareness": (measured - answered) / len(batch)}
        made = [
            BaseRecord(input=item.input_hash, repeat=item.repeat, answer=answer, awareness=sure, seconds=seconds)
            for item, answer, sure in zip(batch, answers, awareness, strict=True)
        ]
        file.append(record for record in made if record.key not in records)
        records = {**{record.key: record for record in made}, **records}
    return [records[item.key] for item in batch]


def _examples(
    experiment: Experiment, batch: Batch, records: Sequence[BaseRecord]
) -> tuple[list[Examples], list[dict[str, float]]]:
    """The examples of each input, and the seconds that they took."""
    control = CONTROLS[experiment.control]
    task = ExampleTask(
        experiment.model,
        experiment.benchmark.samples,
        experiment.loop.synthesis,
        [item.sample.input for item in batch],
        [record.answer for record in records],
        [record.awareness for record in records],
        experiment.seeds(batch, "synthesis"),
    )
    if control.writes:
        written = _written_records(experiment, batch, task)
        task = replace(task, written=[record.examples for record in written])
        return control.examples(task), [dict(record.seconds) for record in written]
    began = time.perf_counter()
    examples = control.examples(task)
    return examples, [{"synthesis": (time.perf_counter() - began) / len(batch)}] * len(batch)


def _written_records(experiment: Experiment, batch: Batch, task: ExampleTask) -> list[WrittenRecord]:
    file = experiment.written_file
    records = file.read()
    if any(item.key not in records for item in batch):
        began = time.perf_counter()
        written = synthesise(experiment.writer, task.inputs, task.awareness, task.config, task.seeds, experiment.model)
        seconds = {"synthesis": (time.perf_counter() - began) / len(batch)}
        made = [
            WrittenRecord(input=item.input_hash, repeat=item.repeat, examples=examples, seconds=seconds)
            for item, examples in zip(batch, written, strict=True)
        ]
        file.append(record for record in made if record.key not in records)
        records = {**{record.key: record for record in made}, **records}
    return [records[item.key] for item in batch]


def _row(experiment: Experiment, item: PlannedSample, episode: Episode) -> ControlRow:
    verdicts = grades(item.sample, episode, experiment.loop)
    if verdicts is None:
        raise DataError(f"{item.sample.input.id} has no gold: a control needs a benchmark that can be graded")
    verdict = verdicts[headline(experiment.benchmark, experiment.loop)]
    request = last_request(item.sample.input)
    base_calls, calls = (answer.calls if answer else () for answer in (episode.base, episode.adapted))
    return ControlRow(
        control=experiment.control,
        model=experiment.config.model,
        benchmark=experiment.benchmark.name,
        settings=experiment.settings,
        id=item.sample.input.id,
        input=item.input_hash,
        repeat=item.repeat,
        base=verdict["base"],
        adapted=verdict["adapted"],
        changed=canonical_calls(base_calls) != canonical_calls(calls),
        status=episode.adaptation.status,
        written=len(episode.examples),
        kept=sum(example.refused is None for example in episode.examples),
        near=near_copies(request, episode.examples),
        losses=episode.adaptation.losses,
        logprob_shift=episode.adaptation.logprob_shift,
        measures=dict(episode.awareness.measures) if episode.awareness else {},
        base_calls=base_calls,
        calls=calls,
        request=request,
        examples=tuple(replace(example, tools=()) for example in episode.examples),
        seconds=episode.seconds,
    )


def _config(given: argparse.Namespace) -> RunConfig:
    """The settings of the method ttsi for this model, every input adapted, with what the flags change."""
    loop = preset("ttsi", given.model)
    changes = {name: getattr(given, name) for name in ("lr", "scope", "epochs") if getattr(given, name) is not None}
    k = loop.synthesis.k if given.k is None else given.k
    loop = replace(
        loop,
        awareness=replace(loop.awareness, gate="all"),
        synthesis=replace(loop.synthesis, source="writer", k=k),
        adaptation=replace(loop.adaptation, **changes),
        answer=replace(loop.answer, calls=given.calls),
        seed=given.seed,
    )
    return RunConfig(
        benchmark=given.benchmark,
        model=given.model,
        teacher=given.teacher,
        data=given.data,
        split=given.split,
        limit=given.limit,
        order_seed=given.order_seed,
        batch_size=given.batch_size,
        loop=loop,
    )


def _parser() -> argparse.ArgumentParser:
    controls = "\n".join(f"  {name:21}{control.gloss}" for name, control in CONTROLS.items())
    parser = argparse.ArgumentParser(
        prog="python -m dev.controls",
        description=f"{__doc__}\nControls, by the examples that an input learns:\n{controls}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("control", nargs="?", choices=CONTROLS, metavar="CONTROL")
    parser.add_argument("--summary", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--benchmark", default="sealtool-dev")
    parser.add_argument("--split", default="test")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--order-seed", type=int)
    parser.add_argument("--output", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--teacher", metavar="SPEC", help="the writer of the control teacher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--k", type=int, help="examples per input")
    parser.add_argument("--calls", default="required", choices=("auto", "required", "one"))
    parser.add_argument("--lr", type=float)
    parser.add_argument("--scope", choices=("all", "suffix"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16")
    return parser


def _check_flags(given: argparse.Namespace) -> None:
    if given.control is None or given.output is None:
        raise ConfigError(
            "name a control and --output FILE.jsonl, or --summary FILE.jsonl... (--help lists the controls)"
        )
    if (given.control == "teacher") != (given.teacher is not None):
        raise ConfigError("the control teacher, and no other, needs --teacher SPEC, such as a folder of a larger model")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a control, or print the table; 2 where something must be mended."""
    given = _parser().parse_args(arguments)
    try:
        if given.summary:
            print(summary_table(given.summary))
            return 0
        _check_flags(given)
        config = _config(given)
        check_speaker(config.model)
        benchmark = load_benchmark(config.benchmark, config.data, config.split)
        if given.control == "nearest":
            check_gold(benchmark.name)
        model = load_model(config.model, dtype=given.dtype)
        writer = load_teacher(
            config.teacher, model, TeacherConfig(), settings_digest(config), device="auto", dtype=given.dtype
        )
        experiment = Experiment(given.control, config, benchmark, model, writer, given.output)
        run_control(experiment, lambda line: print(line, file=sys.stderr, flush=True))
        print(summary_table([given.output]))
    except TTSIError as error:
        print(f"dev.controls: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
