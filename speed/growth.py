"""Growth of cost with inputs, candidates, prompt length, K, rank and batch: `python -m speed.growth`.

Inputs: an axis (all by default) and how many inputs the longest run has. Outputs: growth.json, one list of points
{x, seconds, peak_mb} per axis, seconds being the median of the repeats for one unit of work, and one plot per axis
beside it. Peak memory is that of the process so far, so it is meaningful along an axis that grows, and for the run over
inputs, where it must stay flat.

    python -m speed.growth inputs --shape smollm2-135m --inputs 1000
    python -m speed.growth suffix --shape smollm2-135m

An axis of another model than the embedded one has its name behind it. The run over inputs is a whole one, record and
summary included, of the same inputs again and again, so that every part of 1,000 (of a real model: 100) is the same
work. It learns from few examples and briefly: what could grow with a run (the record, what is kept from batch to batch)
then weighs more than it does in anybody's run.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from speed import real
from speed.adapters import CONFIG, job
from speed.score import items_of
from speed.shapes import model_of, tokenizer
from ttsi.benchmarks import Benchmark
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import RunConfig
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.engine.loglikelihood import continuation_logprobs
from ttsi.engine.lora import LoraStack
from ttsi.engine.prefix import PrefixCache
from ttsi.engine.training import train
from ttsi.engine.training_job import TrainingJob
from ttsi.loop import improve
from ttsi.methods import preset
from ttsi.models.local import LocalModel
from ttsi.runs.provenance import resolve
from ttsi.runs.runner import run as run_benchmark
from ttsi.runs.store import open_run
from ttsi.runs.tally import RunProgress
from ttsi.types import Input

FOLDER = Path(__file__).parent
Point = tuple[int, Callable[[], None], int]
"""(x, work, units of work in it)."""
Row = dict[str, float]
"""{x, seconds, peak_mb}."""


@dataclass(frozen=True)
class LongRun:
    """What a run over many inputs does; a part is a whole number of rounds or fits into one, a round one of batches."""

    model: LocalModel
    questions: Benchmark
    config: RunConfig
    distinct: int
    """Different inputs."""
    part: int
    """Inputs per report."""


LABELS = {
    "inputs": ("inputs so far", "seconds per input"),
    "batch": ("inputs that go through together", "seconds per input"),
    "candidates": ("candidates", "seconds per prompt"),
    "prompt": ("prompt tokens", "seconds per prompt"),
    "k": ("examples K", "seconds per adapter"),
    "rank": ("LoRA rank", "seconds per adapter"),
    "suffix": ("tokens of system text and tools", "seconds per adapter"),
}


def scoring(axis: str, shape: str, device: torch.device, quick: bool) -> Iterator[Point]:
    """Candidates at 512 prompt tokens, or prompt tokens with 8 candidates."""
    model = model_of(shape, device)
    points = [2, 4] if quick else [2, 4, 8, 16, 32, 64] if axis == "candidates" else [256, 512, 1024, 2048, 4096, 8192]
    for x in points:
        prompt, candidates = (512, x) if axis == "candidates" else (x, 8)
        items = items_of(model, 1, 32 if quick else prompt, candidates, 24)
        yield x, lambda items=items: _ignore(continuation_logprobs(model, items)), 1


def training(axis: str, shape: str, device: torch.device, quick: bool) -> Iterator[Point]:
    """K at rank 8, or rank at K = 8; 4 adapters, 128 shared tokens, 32 + 24 of each example."""
    model = model_of(shape, device)
    for x in [1, 2] if quick else [1, 2, 4, 8, 16, 32]:
        examples, rank = (x, 8) if axis == "k" else (8, x)
        config, stack = replace(CONFIG, rank=rank), LoraStack(model, 4, rank, 16.0)
        jobs = [job(model, slot, examples, 128, 32, 24) for slot in range(4)]

        def work(stack: LoraStack = stack, jobs: list = jobs, config: object = config) -> None:  # type: ignore[type-arg]
            stack.reset(range(4), range(4))
            stack.attach()
            train(stack, jobs, config)  # type: ignore[arg-type]
            stack.detach()

        yield x, work, 4


def together(device: torch.device, quick: bool) -> Iterator[Point]:
    """The loop on toolworld, in batches of 1 to 64."""
    model = LocalModel("embedded", model_of("embedded", device), tokenizer())
    inputs = [sample.input for sample in load_benchmark("toolworld", None, "test").samples[: 2 if quick else 64]]
    for x in [1, 2] if quick else [1, 2, 4, 8, 16, 32, 64]:
        yield x, lambda x=x: run(model, inputs, x), len(inputs)


def behind(shape: str, device: torch.device, quick: bool) -> Iterator[Point]:
    """Training and an answer of one activated adapter, behind system text and tools that the base has read.

    K 4, three steps, 32 + 24 tokens of each example, an answer of 32 tokens; bfloat16.
    """
    model = model_of(shape, device, torch.bfloat16)
    config, stack = replace(CONFIG, epochs=3), LoraStack(model, 1, CONFIG.rank, CONFIG.alpha)
    for x in [16, 32] if quick else [256, 512, 1024, 2048, 4096, 8192]:
        learned = replace(job(model, 0, 4, x, 32, 24), unadapted=(x,) * 4)
        prompt = tuple(learned.examples[0][0][: x + 32])
        row, cache = DecodingRow(prompt, 32, slot=0, unadapted=x), PrefixCache()  # filled as the work is warmed up

        def work(learned: TrainingJob = learned, row: DecodingRow = row, cache: PrefixCache = cache) -> None:
            stack.reset([0], [0])
            stack.attach()
            train(stack, [learned], config, prefixes=cache)
            decode(model, [row], stack=stack, prefixes=cache)
            stack.detach()

        yield x, work, 1


def long_work(shape: str, device: torch.device, quick: bool) -> LongRun:
    """The embedded model on toolworld, half of its inputs adapted; a real one on Seal-Tools, all of them."""
    if shape == "embedded" or quick:
        method = preset("ttsi", "embedded")
        adaptation = replace(method.adaptation, epochs=2, irrelevance=0)
        loop = replace(method, synthesis=replace(method.synthesis, k=2), adaptation=adaptation)
        model = LocalModel("embedded", model_of("embedded", device), tokenizer())
        config = RunConfig(loop=loop, batch_size=1 if quick else 50)
        return LongRun(model, load_benchmark("toolworld"), config, *((2, 2) if quick else (500, 1000)))
    spec = real.SPECS.get(shape, shape)
    config = RunConfig(model=spec, loop=real.settings(spec, 1, 1), batch_size=10)
    return LongRun(real.local_model(spec, device, "auto"), load_benchmark("sealtool-sample"), config, 50, 100)


def long_run(work: LongRun, longest: int) -> list[Row]:
    """A run of so many inputs, reported after every part."""
    part, model, config = work.part, work.model, work.config
    questions = again_and_again(work.questions, work.distinct, longest)
    rows: list[Row] = []
    began = time.perf_counter()

    def report(progress: RunProgress) -> None:
        nonlocal began
        if progress.done and progress.done % part == 0:
            now = time.perf_counter()
            rows.append(row("inputs", progress.done, (now - began) / part))
            began = now

    resolved = resolve(config, questions, model, model)
    with tempfile.TemporaryDirectory() as folder, open_run(Path(folder) / "run", resolved) as store:
        run_benchmark(questions, model, model, config, store, report)
    return rows


def again_and_again(benchmark: Benchmark, distinct: int, inputs: int) -> Benchmark:
    """The first samples of a benchmark, repeated under new ids until there are so many."""
    samples = [benchmark.samples[place % distinct] for place in range(inputs)]
    named = (
        replace(sample, input=replace(sample.input, id=f"{sample.input.id}-{place // distinct}"))
        for place, sample in enumerate(samples)
    )
    return replace(benchmark, samples=tuple(named))


def run(model: LocalModel, inputs: list[Input], batch: int) -> None:
    """TT-SI on these inputs, so many at a time."""
    for start in range(0, len(inputs), batch):
        improve(inputs[start : start + batch], model, model, preset("ttsi", "embedded"))


def _ignore(_: object) -> None:
    """The result is not what was requested."""


def points(axis: str, shape: str, device: torch.device, quick: bool) -> Iterator[Point]:
    """What is timed along an axis."""
    if axis in ("candidates", "prompt"):
        return scoring(axis, shape, device, quick)
    if axis == "suffix":
        return behind(shape, device, quick)
    return training(axis, shape, device, quick) if axis in ("k", "rank") else together(device, quick)


def measure_axis(axis: str, points: Iterator[Point], repeats: int) -> list[Row]:
    """Every point, warmed up once."""
    rows = []
    for x, work, units in points:
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) / units)
        rows.append(row(axis, x, statistics.median(times[1:])))
    return rows


def row(axis: str, x: int, seconds: float) -> Row:
    """One point, printed as it is measured."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{axis} {x}: {seconds:.4g} {LABELS[axis][1]}, peak {peak:.0f} MB", flush=True)
    return {"x": x, "seconds": seconds, "peak_mb": peak}


def plot(named: str, rows: list[Row], folder: Path) -> None:
    """One axis, with the model's name where it is another than usual, as growth-AXIS.svg."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    axis = named.partition("@")[0]
    figure, axes = pyplot.subplots(figsize=(5, 3), layout="constrained")
    axes.plot([row["x"] for row in rows], [row["seconds"] for row in rows], marker="o")
    axes.set(xlabel=LABELS[axis][0], ylabel=LABELS[axis][1], xscale="linear" if axis == "inputs" else "log")
    axes.set_ylim(0, 1.1 * max(row["seconds"] for row in rows))
    ticked = rows[1::2] if axis == "inputs" else rows
    axes.set_xticks([row["x"] for row in ticked], [f"{row['x']:,}" for row in ticked])
    axes.set_xticks([], minor=True)
    figure.savefig(folder / f"growth-{named}.svg")
    pyplot.close(figure)


def main() -> None:
    """Time the axes named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m speed.growth", description=__doc__.splitlines()[0])
    parser.add_argument("axes", nargs="*", choices=[*LABELS, []], help="all by default")
    parser.add_argument("--quick", action="store_true", help="two points each; nothing is written")
    parser.add_argument("--shape", default="embedded", help="for scoring and training (speed/shapes.py)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=10_000, help="length of the longest run; reported every 1,000")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = "tiny" if options.quick else options.shape
    path = FOLDER / "growth.json"
    for axis in options.axes or LABELS:
        if axis == "inputs":
            work = long_work(options.shape, device, options.quick)
            rows = long_run(work, 2 * work.part if options.quick else options.inputs)
        else:
            repeats = 1 if options.quick else options.repeats
            rows = measure_axis(axis, points(axis, shape, device, options.quick), repeats)
        if options.quick:
            continue
        named = axis if options.shape == "embedded" else f"{axis}@{Path(options.shape).name}"
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**old, named: rows}, indent=2) + "\n", encoding="utf-8")
        plot(named, rows, FOLDER)


if __name__ == "__main__":
    main()
