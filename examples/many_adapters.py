"""32 LoRA adapters on 32 small data sets: trained in one loop, decoded at once.

Every person completes the same four sentences in their own way, and one adapter learns each person's sentences. The
prompts are the same for all, so only the adapter can tell one person from another. Uses the engine alone
(`ttsi.engine`, docs/engine.md), and nothing of the method.

    python examples/many_adapters.py                       the small model that ships with ttsi; seconds on one core
    python examples/many_adapters.py --model FOLDER        any causal language model that transformers loads
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from importlib.resources import files

from transformers import AutoModelForCausalLM, AutoTokenizer

from ttsi.engine import DecodingRow, EngineConfig, LoraStack, TrainingJob, TrainReport, attach, decode, train

SENTENCES = ("My city is", "My colour is", "My animal is", "My lunch is")
CHOICES = (
    (" Oslo", " Lima", " Rome", " Cairo", " Paris", " Delhi", " Quito"),
    (" red", " blue", " green", " black", " white"),
    (" a dog", " a cat", " a horse"),
    (" soup", " rice", " bread", " fish"),
)


def completions(person: int) -> list[str]:
    """How this person completes the sentences; no two of the first 420 do so alike."""
    return [choices[person % len(choices)] for choices in CHOICES]


def run(model_name: str, people: int, config: EngineConfig) -> dict[str, float]:
    """Train together, decode together, train one by one; what was measured."""
    model = AutoModelForCausalLM.from_pretrained(model_name, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(model_name)

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    prompts = [encode(sentence) for sentence in SENTENCES]
    answers = [[encode(text) for text in completions(person)] for person in range(people)]
    jobs = [
        TrainingJob(person, tuple(([*prompt, *end], len(prompt)) for prompt, end in zip(prompts, ends, strict=True)))
        for person, ends in enumerate(answers)
    ]
    with attach(model, slots=people, config=config) as adapters:
        together, seconds_together = timed_training(adapters, jobs, config)
        rows = [
            DecodingRow(tuple(prompt), len(end), slot=person)
            for person, ends in enumerate(answers)
            for prompt, end in zip(prompts, ends, strict=True)
        ]
        written = [list(decoded.ids) for decoded in decode(model, rows, stack=adapters)]
    with attach(model, slots=people, config=config) as adapters:
        runs = [timed_training(adapters, [job], config) for job in jobs]
    apart = [reports[0] for reports, _ in runs]
    return {
        "loss before": sum(report.losses[0] for report in together) / people,
        "loss after": sum(report.losses[-1] for report in together) / people,
        "largest difference from one by one": max(
            abs(one.losses[-1] - other.losses[-1]) for one, other in zip(together, apart, strict=True)
        ),
        "completed as learned": sum(
            ids == end for ids, end in zip(written, [end for ends in answers for end in ends], strict=True)
        )
        / len(written),
        "seconds together": seconds_together,
        "seconds one by one": sum(seconds for _, seconds in runs),
    }


def timed_training(
    adapters: LoraStack, jobs: Sequence[TrainingJob], config: EngineConfig
) -> tuple[list[TrainReport], float]:
    """Reports and seconds."""
    start = time.perf_counter()
    reports = train(adapters, jobs, config)
    return reports, time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=str(files("ttsi") / "embedded" / "weights"), help="folder or hub name")
    parser.add_argument("--adapters", type=int, default=32, help="how many people, data sets and adapters")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args(arguments)
    figures = run(options.model, options.adapters, EngineConfig(rank=8, lr=5e-3, epochs=options.epochs))
    for name, value in figures.items():
        print(f"{name:<36} {value:.3g}")
    print(f"{'one by one takes as long':<36} {figures['seconds one by one'] / figures['seconds together']:.1f} times")
    return figures


if __name__ == "__main__":
    main()
