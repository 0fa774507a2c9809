"""What does each choice do to the gain on toolworld? The experiments behind `dev/log.md`.

One pass adapts on every input and answers it both free and constrained, with the base's own answers and measures beside
it, so that every gate (unsure, sure, all) and every tau can be read off the same rows. Controls replace the examples:
another input's, the own ones with rotated labels, the true generator's.

    python dev/study.py rows.jsonl --split validation --limit 200 --variant k=8,lr=0.01 --variant k=4,lr=0.01
    python dev/study.py rows.jsonl --split test --seed 1 --variant examples=other
    python dev/study.py rows.jsonl --show          # tables of what was measured so far

Rows are appended; a (variant, seed, split, input) that is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ttsi.adaptation import adapted
from ttsi.answer import reply
from ttsi.awareness import aware
from ttsi.benchmarks import Sample, load
from ttsi.benchmarks.matching import lenient, strict, tool_choice
from ttsi.config import AdaptationConfig, AnswerConfig, LoopConfig, SynthesisConfig, preset
from ttsi.embedded import freeze
from ttsi.embedded.world import Scene, exchange
from ttsi.models import Model
from ttsi.models import load as load_model
from ttsi.synthesis import synthesise
from ttsi.types import Answer, Awareness, Example, Input, input_hash, stage_seed

DECODINGS = ("free", "constrained")


def settings(variant: str) -> tuple[LoopConfig, str]:
    """`k=4,lr=0.01,examples=other` -> the method's settings with these changes, and whose examples are learned."""
    config, source = preset("ttsi"), "own"
    for pair in filter(None, variant.split(",")):
        key, value = pair.split("=")
        if key == "examples":
            source = value
        elif key in {f.name for f in fields(SynthesisConfig)}:
            config = replace(config, synthesis=replace(config.synthesis, **{key: _typed(value)}))
        elif key in {f.name for f in fields(AdaptationConfig)}:
            config = replace(config, adaptation=replace(config.adaptation, **{key: _typed(value)}))
        else:
            config = replace(config, awareness=replace(config.awareness, **{key: _typed(value)}))
    return config, source


def _typed(value: str) -> Any:
    try:
        return json.loads(value.lower())
    except json.JSONDecodeError:
        return value


def scenes(split: str) -> dict[str, tuple[Scene, Any]]:
    """The scene and the way of asking behind every frozen input: what the true generator knows."""
    return {row["id"]: (shown, way) for row, shown, way in freeze.drawn(split)}  # type: ignore[arg-type]


def from_true_generator(item: Input, known: tuple[Scene, Any], k: int, seed: int) -> tuple[Example, ...]:
    """Examples that the world itself writes for these tools, in the input's own way of asking."""
    shown, way = known
    rng = random.Random(seed)
    drawn = [exchange(shown.offers[i % len(shown.offers)], way, rng) for i in range(k)]
    said = {message.content for message in item.messages}
    return tuple(Example(new.request, new.calls, "") for new in drawn if new.request not in said)


def rotated(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The same requests, each with the next one's label."""
    kept = [example for example in examples if example.refused is None]
    return tuple(replace(a, calls=b.calls) for a, b in zip(kept, kept[1:] + kept[:1], strict=True))


class Study:
    """Base answers and examples computed once and shared by the variants of one model, split and seed."""

    def __init__(self, model: Model, split: str, samples: Sequence[Sample], seed: int, batch: int) -> None:
        """Nothing is computed yet; see `prepare`."""
        self.model, self.split, self.samples, self.seed, self.batch = model, split, samples, seed, batch
        self.base: dict[str, dict[str, Answer]] = {}
        self.known: dict[str, Awareness] = {}
        self.written: dict[tuple[Any, str], tuple[Example, ...]] = {}
        self.true = scenes(split)

    def batches(self) -> list[list[Sample]]:
        """Consecutive inputs."""
        return [list(self.samples[i : i + self.batch]) for i in range(0, len(self.samples), self.batch)]

    def prepare(self, config: LoopConfig) -> None:
        """The base's answers, both ways of decoding, and awareness on the constrained ones."""
        for group in self.batches():
            items = [sample.input for sample in group]
            for decoding in DECODINGS:
                for item, answer in zip(items, reply(self.model, items, AnswerConfig(decoding)), strict=True):
                    self.base.setdefault(item.id, {})[decoding] = answer
            before = [self.base[item.id]["constrained"] for item in items]
            for item, known in zip(items, aware(self.model, items, before, config.awareness), strict=True):
                self.known[item.id] = known

    def examples(self, items: Sequence[Input], config: LoopConfig, source: str) -> list[tuple[Example, ...]]:
        """What each input learns from."""
        seeds = [stage_seed(self.seed, input_hash(item), 0, "synthesis") for item in items]
        if source == "true":
            pairs = zip(items, seeds, strict=True)
            return [from_true_generator(i, self.true[i.id], config.synthesis.k, s) for i, s in pairs]
        missing = [i for i in items if (config.synthesis, i.id) not in self.written]
        known = [self.known[item.id] for item in missing]
        todo = [seed for item, seed in zip(items, seeds, strict=True) if item in missing]
        for item, new in zip(missing, synthesise(self.model, missing, known, config.synthesis, todo), strict=True):
            self.written[config.synthesis, item.id] = new
        own = [self.written[config.synthesis, item.id] for item in items]
        return [rotated(examples) for examples in own] if source == "rotated" else own

    def run(self, variant: str) -> list[dict[str, Any]]:
        """One row per input."""
        config, source = settings(variant)
        rows = []
        for group in self.batches():
            items = [sample.input for sample in group]
            examples = self.examples(items, config, source)
            taught = items
            if source == "other":
                # The neighbour's examples with the neighbour's tools: learning to learn, but nothing about this input.
                taught, examples = items[1:] + items[:1], examples[1:] + examples[:1]
            seeds = [stage_seed(self.seed, input_hash(item), 0, "adaptation") for item in items]
            answers: dict[str, list[Answer]] = {}
            started = time.perf_counter()
            with adapted(self.model, taught, examples, config.adaptation, seeds) as tuned:
                seconds = (time.perf_counter() - started) / len(items)
                asked = items if config.adaptation.method == "lora" else tuned.inputs
                for decoding in DECODINGS:
                    answers[decoding] = reply(self.model, asked, AnswerConfig(decoding), tuned.adapters)
            for i, sample in enumerate(group):
                after = {decoding: answers[decoding][i] for decoding in DECODINGS}
                if tuned.adaptations[i].status in ("none", "rejected"):
                    after = self.base[sample.input.id]
                row = self.row(variant, sample, after, examples[i])
                rows.append({**row, "status": tuned.adaptations[i].status, "seconds_training": seconds})
        return rows

    def row(
        self, variant: str, sample: Sample, after: dict[str, Answer], examples: Sequence[Example]
    ) -> dict[str, Any]:
        """Both answers graded, with measures and strata."""
        name = sample.input.id
        row: dict[str, Any] = {"variant": variant, "seed": self.seed, "split": self.split, "id": name}
        for side, answers in (("base", self.base[name]), ("adapted", after)):
            for decoding, answer in answers.items():
                for matcher in (strict, lenient, tool_choice):
                    row[f"{side}.{decoding}.{matcher.__name__}"] = bool(
                        answer.error is None and matcher(answer.calls, sample.gold or ())
                    )
        for decoding, answer in self.base[name].items():
            row[f"logprob.{decoding}"] = answer.logprob
        refused = [example.refused for example in examples]
        row["kept"], row["written"] = refused.count(None), len(refused)
        row["reasons"] = [reason for reason in refused if reason]
        return {**row, "measures": dict(self.known[name].measures), "tags": dict(sample.tags)}


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Gain per variant, decoding and gate."""
    from ttsi.reports.stats import auroc, paired_bootstrap

    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["split"], row["variant"]].append(row)
    for (split, variant), group in groups.items():
        seeds = sorted({row["seed"] for row in group})
        kept, written = sum(r["kept"] for r in group), max(1, sum(r["written"] for r in group))
        print(f"\n{split} [{variant}] n={len(group)} seeds={seeds} valid examples {100 * kept / written:.1f} %")
        for decoding in DECODINGS:
            base = [r[f"base.{decoding}.strict"] for r in group]
            new = [r[f"adapted.{decoding}.strict"] for r in group]
            tools = [r[f"base.{decoding}.tool_choice"] for r in group]
            wrong = [not b for b in base]
            scores = {m: auroc([-r["measures"][m] for r in group], wrong) for m in group[0]["measures"]}
            print(f"  {decoding}: base {_pct(base)} tool {_pct(tools)} all {_pct(new)}", _short(scores))
            for measure, share in (
                ("margin", 0.5),
                ("answer_logprob", 0.4),
                ("answer_logprob", 0.5),
                ("answer_logprob", 0.65),
            ):
                ranked = sorted(r["measures"][measure] for r in group)
                tau = ranked[min(len(ranked) - 1, int(share * len(ranked)))]
                gated = [n if r["measures"][measure] < tau else b for r, b, n in zip(group, base, new, strict=True)]
                interval = paired_bootstrap(base, gated, seed=0)
                print(
                    f"    {measure} < {tau:.3f} ({share:.0%}): {_pct(gated)} gain {_gain(base, gated)}"
                    f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
                )


def _pct(flags: Sequence[bool]) -> str:
    return f"{100 * sum(flags) / len(flags):.1f}"


def _gain(before: Sequence[bool], after: Sequence[bool]) -> str:
    return f"{100 * (sum(after) - sum(before)) / len(before):+.2f}"


def _short(scores: dict[str, float | None]) -> str:
    return " ".join(f"{name}={value:.2f}" for name, value in scores.items() if value is not None)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--split", default="validation", choices=["validation", "test"])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--variant", action="append", default=[])
    parser.add_argument("--show", action="store_true")
    given = parser.parse_args()
    done = [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows.exists() else []
    if given.variant:
        done += measure(given, done)
    if given.show or given.variant:
        show(done)


def measure(given: argparse.Namespace, done: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run every variant that is not in the file yet."""
    model = load_model(given.model)
    samples = load("toolworld" if given.split == "test" else "toolworld-validation", None).samples[: given.limit]
    have = {(row["variant"], row["seed"], row["split"], row["id"]) for row in done}
    new: list[dict[str, Any]] = []
    for seed in given.seed or [0]:
        study = Study(model, given.split, samples, seed, given.batch_size)
        todo = [v for v in given.variant if any((v, seed, given.split, s.input.id) not in have for s in samples)]
        if todo:
            study.prepare(settings(todo[0])[0])
        for variant in todo:
            started = time.perf_counter()
            rows = study.run(variant)
            new += rows
            with given.rows.open("a") as out:
                out.writelines(json.dumps(row) + "\n" for row in rows)
            print(f"{variant} seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    return new


if __name__ == "__main__":
    main()
