"""How does cost grow with inputs, candidates, prompt length, K, rank and batch? `python -m benchmarks.growth`.

Inputs: an axis (all by default) and how many inputs the longest run has. Outputs: growth.json, one list of points
{x, seconds, peak_mb} per axis, seconds being the median of the repeats for one unit of work, and one plot per axis
beside it. Peak memory is that of the process so far, so it is meaningful along an axis that grows, and for the run over
inputs, where it must stay flat.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import torch

from benchmarks.score import items_of
from benchmarks.shapes import model_of, tokenizer
from benchmarks.train import CONFIG, job
from ttsi.benchmarks import load as load_benchmark
from ttsi.config import preset
from ttsi.engine.lora import LoraStack
from ttsi.engine.scoring import continuation_logprobs
from ttsi.engine.training import train
from ttsi.loop import improve
from ttsi.models.local import LocalModel
from ttsi.types import Input

FOLDER = Path(__file__).parent
Point = tuple[int, Callable[[], None], int]
"""(x, work, units of work in it)."""

LABELS = {
    "inputs": ("inputs so far", "seconds per input"),
    "batch": ("inputs that go through together", "seconds per input"),
    "candidates": ("candidates", "seconds per prompt"),
    "prompt": ("prompt tokens", "seconds per prompt"),
    "k": ("examples K", "seconds per adapter"),
    "rank": ("LoRA rank", "seconds per adapter"),
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
            train(model, stack, jobs, config)  # type: ignore[arg-type]
            stack.detach()

        yield x, work, 4


def whole(axis: str, device: torch.device, quick: bool, longest: int) -> Iterator[Point]:
    """The loop on toolworld: batches of 1 to 64, or one long run in parts of 1,000 inputs."""
    model = LocalModel("embedded", model_of("embedded", device), tokenizer())
    inputs = [sample.input for sample in load_benchmark("toolworld", None, "test").samples]
    if axis == "batch":
        for x in [1, 2] if quick else [1, 2, 4, 8, 16, 32, 64]:
            asked = inputs[: 2 if quick else 64]
            yield x, lambda asked=asked, x=x: run(model, asked, x), len(asked)
        return
    part = 2 if quick else 1000
    source = cycle(inputs)
    for done in range(part, (2 * part if quick else longest) + 1, part):
        asked = list(islice(source, part))
        yield done, lambda asked=asked: run(model, asked, 64), part


def run(model: LocalModel, inputs: list[Input], batch: int) -> None:
    """TT-SI on these inputs, so many at a time."""
    for start in range(0, len(inputs), batch):
        improve(inputs[start : start + batch], model, model, preset("ttsi"))


def _ignore(_: object) -> None:
    """The result is not what is asked for."""


def points(axis: str, shape: str, device: torch.device, quick: bool, longest: int) -> Iterator[Point]:
    """What is timed along an axis."""
    if axis in ("candidates", "prompt"):
        return scoring(axis, shape, device, quick)
    return training(axis, shape, device, quick) if axis in ("k", "rank") else whole(axis, device, quick, longest)


def measured(axis: str, found: Iterator[Point], repeats: int) -> list[dict[str, float]]:
    """Every point, warmed up once, except along the one long run, which is timed as it goes."""
    rows = []
    for x, work, units in found:
        times = []
        for _ in range(1 if axis == "inputs" else repeats + 1):
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) / units)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append({"x": x, "seconds": statistics.median(times[1:] or times), "peak_mb": peak})
        print(f"{axis} {x}: {rows[-1]['seconds']:.4g} {LABELS[axis][1]}, peak {peak:.0f} MB", flush=True)
    return rows


def plot(axis: str, rows: list[dict[str, float]], folder: Path) -> None:
    """One axis as growth-AXIS.svg."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3), layout="constrained")
    axes.plot([row["x"] for row in rows], [row["seconds"] for row in rows], marker="o")
    axes.set(xlabel=LABELS[axis][0], ylabel=LABELS[axis][1], xscale="log")
    axes.set_ylim(0, 1.1 * max(row["seconds"] for row in rows))
    axes.set_xticks([row["x"] for row in rows], [f"{row['x']:,}" for row in rows])
    axes.set_xticks([], minor=True)
    figure.savefig(folder / f"growth-{axis}.svg")
    pyplot.close(figure)


def main() -> None:
    """Time the axes that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("axes", nargs="*", choices=[*LABELS, []], help="all by default")
    parser.add_argument("--quick", action="store_true", help="two points each; nothing is written")
    parser.add_argument("--shape", default="embedded", help="for scoring and training (benchmarks/shapes.py)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=1000, help="length of the longest run, in thousands of inputs")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = "tiny" if asked.quick else asked.shape
    path = FOLDER / "growth.json"
    for axis in asked.axes or LABELS:
        rows = measured(
            axis, points(axis, shape, device, asked.quick, asked.inputs), 1 if asked.quick else asked.repeats
        )
        if asked.quick:
            continue
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**old, axis: rows}, indent=2) + "\n", encoding="utf-8")
        plot(axis, rows, FOLDER)


if __name__ == "__main__":
    main()
