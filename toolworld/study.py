"""Control experiments on toolworld: what the gain comes from.

Controls replace the examples of each input: another input's examples, its own with rotated labels, those of the true
generator (`ttsi sweep` compares settings, not these). One pass answers each input both free and constrained, beside the
base's answers and measures, so that every gate and every tau can be read off the same rows. Inputs: a file for the rows
and variants. Outputs: rows and tables; `dev/log.md` has the figures.

    python -m toolworld.study rows.jsonl --split validation --limit 200 --variant k=8,lr=0.01 --variant k=4,lr=0.01
    python -m toolworld.study rows.jsonl --split test --seed 1 --variant examples=other
    python -m toolworld.study rows.jsonl --show          # tables of what was measured so far

Rows are appended; a (variant, seed, split, input) that is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from toolworld import freeze
from toolworld.world import Scene, draw_exchange
from ttsi.adaptation import adapters
from ttsi.adaptation.confidence import lack_of_confidence
from ttsi.answer import generate_answers
from ttsi.awareness import estimate
from ttsi.awareness.selection import is_selected
from ttsi.benchmarks import Sample, load
from ttsi.benchmarks.matching import lenient, strict, tool_choice
from ttsi.config import AdaptationConfig, AnswerConfig, LoopConfig, SynthesisConfig
from ttsi.methods import preset
from ttsi.models import Model
from ttsi.models import load as load_model
from ttsi.synthesis import synthesise
from ttsi.types import Answer, Awareness, Example, Input, stage_seed

DECODINGS: tuple[Literal["free", "constrained"], ...] = ("free", "constrained")


def settings(variant: str) -> tuple[LoopConfig, str]:
    """`k=4,lr=0.01,examples=other` -> the method's settings with these changes, and whose examples are learned."""
    config, source = preset("ttsi", "embedded"), "own"
    for pair in filter(None, variant.split(",")):
        key, value = pair.split("=")
        if key == "examples":
            source = value
        elif key in {f.name for f in fields(SynthesisConfig)}:
            config = replace(config, synthesis=replace(config.synthesis, **{key: _parse_value(value)}))
        elif key in {f.name for f in fields(AdaptationConfig)}:
            config = replace(config, adaptation=replace(config.adaptation, **{key: _parse_value(value)}))
        else:
            config = replace(config, awareness=replace(config.awareness, **{key: _parse_value(value)}))
    return config, source


def _parse_value(value: str) -> Any:
    try:
        return json.loads(value.lower())
    except json.JSONDecodeError:
        return value


def scenes(split: Literal["validation", "test"]) -> dict[str, tuple[Scene, Any]]:
    """The scene and the phrasing style behind every frozen input, for the true generator."""
    return {row["id"]: (scene, way) for row, scene, way in freeze.draw_rows(split)}


def from_true_generator(item: Input, origin: tuple[Scene, Any], k: int, seed: int) -> tuple[Example, ...]:
    """Examples that the world itself writes for these tools, in the input's own phrasing style."""
    scene, way = origin
    rng = random.Random(seed)
    exchanges = [draw_exchange(scene.offers[i % len(scene.offers)], way, rng) for i in range(k)]
    requests = {message.content for message in item.messages}
    return tuple(Example(new.request, new.calls, "") for new in exchanges if new.request not in requests)


def rotate_labels(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The same requests, each with the next one's label."""
    kept = [example for example in examples if example.refused is None]
    return tuple(replace(a, calls=b.calls) for a, b in zip(kept, kept[1:] + kept[:1], strict=True))


class Study:
    """Base answers and examples computed once and shared by the variants of one model, split and seed."""

    def __init__(
        self, model: Model, split: Literal["validation", "test"], samples: Sequence[Sample], seed: int, batch: int
    ) -> None:
        """Nothing is computed yet; see `prepare`."""
        self.model, self.split, self.samples, self.seed, self.batch = model, split, samples, seed, batch
        self.base: dict[str, dict[str, Answer]] = {}
        self.awareness: dict[str, Awareness] = {}
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
                for item, answer in zip(
                    items, generate_answers(self.model, items, AnswerConfig(decoding)), strict=True
                ):
                    self.base.setdefault(item.id, {})[decoding] = answer
            before = [self.base[item.id]["constrained"] for item in items]
            for item, awareness in zip(items, estimate(self.model, items, before, config.awareness), strict=True):
                self.awareness[item.id] = awareness

    def examples(self, items: Sequence[Input], config: LoopConfig, source: str) -> list[tuple[Example, ...]]:
        """What each input learns from."""
        seeds = [stage_seed(self.seed, item.content_hash, 0, "synthesis") for item in items]
        if source == "true":
            pairs = zip(items, seeds, strict=True)
            return [from_true_generator(i, self.true[i.id], config.synthesis.k, s) for i, s in pairs]
        missing = [i for i in items if (config.synthesis, i.id) not in self.written]
        awareness = [self.awareness[item.id] for item in missing]
        todo = [seed for item, seed in zip(items, seeds, strict=True) if item in missing]
        for item, new in zip(missing, synthesise(self.model, missing, awareness, config.synthesis, todo), strict=True):
            self.written[config.synthesis, item.id] = new
        own = [self.written[config.synthesis, item.id] for item in items]
        return [rotate_labels(examples) for examples in own] if source == "rotated" else own

    def run(self, variant: str) -> list[dict[str, Any]]:
        """One row per input."""
        config, source = settings(variant)
        rows = []
        for everyone in self.batches():
            group = [
                sample
                for sample in everyone
                if is_selected(self.awareness_under(sample, config), config.awareness.gate)
            ]
            spared = [sample for sample in everyone if sample not in group]
            rows += [
                {**self.row(variant, s, self.base[s.input.id], ()), "status": "spared", "seconds_training": 0.0}
                for s in spared
            ]
            if not group:
                continue
            items = [sample.input for sample in group]
            examples = self.examples(items, config, source)
            taught = items
            if source == "other":
                # The neighbour's examples with the neighbour's tools: learning to learn, but nothing about this input.
                taught, examples = items[1:] + items[:1], examples[1:] + examples[:1]
            seeds = [stage_seed(self.seed, item.content_hash, 0, "adaptation") for item in items]
            answers: dict[str, list[Answer]] = {}
            started = time.perf_counter()
            first = [self.base[item.id]["constrained"] for item in taught]
            with adapters(self.model, taught, examples, first, config, seeds) as tuned:
                seconds = (time.perf_counter() - started) / len(items)
                tuned_inputs = items if config.adaptation.method == "lora" else tuned.inputs
                for decoding in DECODINGS:
                    answers[decoding] = generate_answers(
                        self.model, tuned_inputs, AnswerConfig(decoding), tuned.adapters
                    )
            for i, sample in enumerate(group):
                base, after = self.base[sample.input.id], {d: answers[d][i] for d in DECODINGS}
                useless = tuned.adaptations[i].status in ("none", "training-failed")
                after = {
                    d: base[d]
                    if useless or lack_of_confidence(base[d], new, config.adaptation.min_confidence_gain)
                    else new
                    for d, new in after.items()
                }
                row = self.row(variant, sample, after, examples[i])
                rows.append({**row, "status": tuned.adaptations[i].status, "seconds_training": seconds})
        return rows

    def awareness_under(self, sample: Sample, config: LoopConfig) -> Awareness:
        """The input's awareness under the variant's measure and tau."""
        awareness = self.awareness[sample.input.id]
        value = awareness.measures[config.awareness.measure]
        return replace(awareness, value=value, unsure=value < config.awareness.tau)

    def row(
        self, variant: str, sample: Sample, after: Mapping[Any, Answer], examples: Sequence[Example]
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
        for side, answers in (("base", self.base[name]), ("adapted", after)):
            for decoding, answer in answers.items():
                row[f"{side}.{decoding}.mean_logprob"] = answer.logprob / max(1, answer.tokens)
        refused = [example.refused for example in examples]
        row["kept"], row["written"] = refused.count(None), len(refused)
        row["reasons"] = [reason for reason in refused if reason]
        return {**row, "measures": dict(self.awareness[name].measures), "tags": dict(sample.tags)}


def show(rows: Sequence[dict[str, Any]], measure: str, tau: float | None, strata: bool) -> None:
    """Gain per variant, decoding and gate; without tau, unsure are the 30, 40, 50 and 65 % with the lowest measure."""
    from ttsi.stats import auroc

    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["split"], row["variant"]].append(row)
    for (split, variant), group in groups.items():
        seeds = sorted({row["seed"] for row in group})
        kept, written = sum(r["kept"] for r in group), max(1, sum(r["written"] for r in group))
        print(f"\n{split} [{variant}] rows={len(group)} seeds={seeds} valid examples {100 * kept / written:.1f} %")
        values = sorted(row["measures"][measure] for row in group)
        taus = [tau] if tau is not None else [values[int(share * len(values))] for share in (0.3, 0.4, 0.5, 0.65)]
        for decoding in DECODINGS:
            wrong = [not r[f"base.{decoding}.strict"] for r in group]
            scores = {m: auroc([-r["measures"][m] for r in group], wrong) for m in group[0]["measures"]}
            tools = _mean(group, f"base.{decoding}.tool_choice")
            print(
                f"  {decoding}: base {_mean(group, f'base.{decoding}.strict'):.1f} tool {tools:.1f} AUROC",
                _short(scores),
            )
            for limit in taus:
                unsure = [r["measures"][measure] < limit for r in group]
                print(
                    f"    {measure} < {limit:.3f} ({100 * sum(unsure) / len(unsure):.0f} %): ",
                    _gain(group, decoding, unsure),
                )
            print("    all: ", _gain(group, decoding, [True] * len(group)))
            if tau is not None:
                unsure = [r["measures"][measure] < tau for r in group]
                print("    sure only: ", _gain(group, decoding, [not flag for flag in unsure]))
                if strata:
                    _show_strata(group, decoding, unsure)


def _show_strata(group: Sequence[dict[str, Any]], decoding: str, unsure: Sequence[bool]) -> None:
    for tag in ("domain_seen", "phrasing_seen", "way", "lexical", "kind"):
        for value in sorted({row["tags"][tag] for row in group}):
            chosen = [i for i, row in enumerate(group) if row["tags"][tag] == value]
            part = [group[i] for i in chosen]
            print(f"      {tag}={value}: ", _gain(part, decoding, [unsure[i] for i in chosen]))


def _gain(group: Sequence[dict[str, Any]], decoding: str, gate: Sequence[bool]) -> str:
    """Scores and the paired gain; an input's seeds are averaged first, so that n is the number of inputs."""
    from ttsi.stats import paired_bootstrap

    before, after = defaultdict(list), defaultdict(list)
    for row, adapt in zip(group, gate, strict=True):
        base = row[f"base.{decoding}.strict"]
        before[row["id"]].append(base)
        after[row["id"]].append(row[f"adapted.{decoding}.strict"] if adapt else base)
    old = [sum(flags) / len(flags) for flags in before.values()]
    new = [sum(flags) / len(flags) for flags in after.values()]
    interval = paired_bootstrap(old, new, seed=0)
    points = 100 * (sum(new) - sum(old)) / len(old)
    per_seed = defaultdict(list)
    for row, adapt in zip(group, gate, strict=True):
        base, adapted_ = row[f"base.{decoding}.strict"], row[f"adapted.{decoding}.strict"]
        per_seed[row["seed"]].append((adapted_ if adapt else base) - base)
    seeds = " ".join(f"{100 * sum(v) / len(v):+.2f}" for _, v in sorted(per_seed.items()))
    scores = f"{100 * sum(old) / len(old):.1f} -> {100 * sum(new) / len(new):.1f}"
    bounds = "-" if interval is None else f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return f"n={len(old)} {scores} {points:+.2f} {bounds} seeds {seeds}"


def _mean(group: Sequence[dict[str, Any]], key: str) -> float:
    return 100 * sum(float(row[key]) for row in group) / len(group)


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
    parser.add_argument("--measure", default=preset("ttsi", "embedded").awareness.measure)
    parser.add_argument("--tau", type=float)
    parser.add_argument("--strata", action="store_true")
    given = parser.parse_args()
    done = [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows.exists() else []
    if given.variant:
        done += measure(given, done)
    if given.show or given.variant:
        show(done, given.measure, given.tau, given.strata)


def measure(given: argparse.Namespace, done: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run every variant that is not in the file yet."""
    model = load_model(given.model)
    samples = load("toolworld" if given.split == "test" else "toolworld-validation", None).samples[: given.limit]
    have = {(row["variant"], row["seed"], row["split"], row["id"]) for row in done}
    new: list[dict[str, Any]] = []
    before: Study | None = None
    for seed in given.seed or [0]:
        study = Study(model, given.split, samples, seed, given.batch_size)
        todo = [v for v in given.variant if any((v, seed, given.split, s.input.id) not in have for s in samples)]
        if todo and before is not None:
            study.base, study.awareness = before.base, before.awareness
        elif todo:
            study.prepare(settings(todo[0])[0])
            before = study
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
