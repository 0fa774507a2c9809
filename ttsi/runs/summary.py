"""Summary of a run: scores, gain, cost and strata.

Inputs: the rows of a run and its configuration. Outputs: the dictionary of `summary.json`, scores in percent. It is
counted from the rows each time, so a resumed run has exactly the summary of an uninterrupted one.

An answer that is missing because its input failed counts as wrong: leaving it out would make failures look like gains.
Where there is no gold there is no score (null). Beside the paper's accuracy (arXiv:2510.07841) stand its standard
error, the paired interval and test of the gain, and how well awareness predicts a wrong answer of the base (AUROC). An
agent's task has the awareness of the base's least confident decision (`ttsi.agents.task_episode`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ttsi import stats
from ttsi.record import STAGES, RunRow, Side, omission_rule

SCHEMA = 1


def summarise(rows: Sequence[RunRow], config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of summary.json.

    Args:
        rows: the run's rows.
        config: the content of config.json: `settings` (a RunConfig as a dictionary) and `data`.
    """
    settings = config["settings"]
    loop, matcher = settings["loop"], config["data"]["matcher"]
    adapts = loop["adapt"]
    graded = [row for row in rows if row.grades is not None]
    return {
        "schema": SCHEMA,
        "benchmark": config["data"]["benchmark"],
        "decoding": loop["answer"]["decoding"],
        "calls": loop["answer"].get("calls", "auto"),
        "model": settings["model"],
        "method": settings["method"],
        "seed": loop["seed"],
        "n": len(rows),
        "n_error": sum(row.episode.error is not None for row in rows),
        "n_unsure": sum(row.episode.awareness is not None and row.episode.awareness.unsure for row in rows),
        "base": _score(graded, "base", matcher),
        "adapted": _score(graded, "adapted", matcher) if adapts else None,
        "gain": _gain(graded, matcher, loop["seed"]) if adapts and graded else None,
        "omission": _omission(graded, matcher, loop["seed"]),
        "awareness": {
            "auroc": _error_auroc(graded, matcher, loop["awareness"]["measure"]),
            "tau": loop["awareness"]["tau"],
        },
        # A shared adapter learned its samples once, however many inputs it answers.
        "samples_trained": sum(_samples(row, "trained") for row in rows)
        + max((_samples(row, "shared") for row in rows), default=0),
        "seconds": _seconds(rows),
        "metrics": _metrics(rows, graded, matcher, adapts),
        "strata": _strata(graded, matcher, adapts),
        "matcher": matcher,
        "reasons": {
            "failed": _most_frequent(row.episode.error for row in rows),
            "given_up": _most_frequent(
                row.episode.adaptation.reason for row in rows if row.episode.adaptation.status == "training-failed"
            ),
            "adaptation_failed": _most_frequent(row.episode.adaptation.reason for row in _without_a_step(rows)),
        },
    }


def _most_frequent(reasons: Iterable[str | None], most: int = 3) -> list[dict[str, Any]]:
    """The most frequent reasons with their counts."""
    counted = Counter(reason for reason in reasons if reason)
    return [{"reason": reason, "n": n} for reason, n in counted.most_common(most)]


def verdicts(rows: Sequence[RunRow], side: Side, matcher: str) -> list[bool]:
    """Right or wrong, for rows that have gold."""
    return [row.grades is not None and row.grades[matcher][side] for row in rows]


def _score(rows: Sequence[RunRow], side: Side, matcher: str) -> dict[str, float | None]:
    if not rows:
        return {"score": None, "stderr": None}
    mean, stderr = stats.mean_stderr(verdicts(rows, side, matcher))
    return {"score": 100 * mean, "stderr": None if stderr is None else 100 * stderr}


def _gain(rows: Sequence[RunRow], matcher: str, seed: int) -> dict[str, Any]:
    return _difference(verdicts(rows, "base", matcher), verdicts(rows, "adapted", matcher), seed)


def _omission(rows: Sequence[RunRow], matcher: str, seed: int) -> dict[str, Any] | None:
    """What `answer.omit_unstated` alone makes of the base's answers; None where no row has that verdict."""
    rule = omission_rule(matcher)
    judged = [row for row in rows if row.grades is not None and rule in row.grades]
    if not judged:
        return None
    shorter = verdicts(judged, "base", rule)
    change = _difference(verdicts(judged, "base", matcher), shorter, seed)
    return {"n": len(judged), "score": 100 * sum(shorter) / len(judged), **change}


def _difference(before: Sequence[bool], after: Sequence[bool], seed: int) -> dict[str, Any]:
    fixed = sum(new and not old for old, new in zip(before, after, strict=True))
    broken = sum(old and not new for old, new in zip(before, after, strict=True))
    interval = stats.paired_bootstrap(before, after, seed)
    return {
        "points": 100 * (fixed - broken) / len(before),
        "ci95": None if interval is None else [100 * interval.low, 100 * interval.high],
        "p_mcnemar": stats.mcnemar_exact(fixed, broken),
        "fixed": fixed,
        "broken": broken,
    }


def _error_auroc(rows: Sequence[RunRow], matcher: str, measure: str) -> float | None:
    """AUROC of "this measure is low" for "the base is wrong"."""
    pairs = [
        (-value, not row.grades[matcher]["base"])
        for row in rows
        if row.grades is not None and (value := _measure(row, measure)) is not None
    ]
    return stats.auroc([score for score, _ in pairs], [wrong for _, wrong in pairs])


def _rates_at_tau(rows: Sequence[RunRow], matcher: str) -> tuple[float | None, float | None]:
    """Share of the base's wrong answers, and of its right ones, that awareness calls unsure."""
    pairs = [
        (row.episode.awareness.unsure, not row.grades[matcher]["base"])
        for row in rows
        if row.grades is not None and row.episode.awareness is not None
    ]
    return stats.rates_at([0.0 if unsure else 1.0 for unsure, _ in pairs], [wrong for _, wrong in pairs], 0.5)


def _measure(row: RunRow, measure: str) -> float | None:
    awareness = row.episode.awareness
    if awareness is None:
        return None
    value = awareness.value if measure == awareness.measure else awareness.measures.get(measure)
    return None if value is None or math.isnan(value) else value


def _samples(row: RunRow, status: str) -> int:
    return row.episode.adaptation.samples if row.episode.adaptation.status == status else 0


def _seconds(rows: Sequence[RunRow]) -> dict[str, float]:
    spent = {stage: math.fsum(row.episode.seconds.get(stage, 0.0) for row in rows) for stage in STAGES}
    return {**spent, "total": math.fsum(spent.values())}


def _metrics(rows: Sequence[RunRow], graded: Sequence[RunRow], matcher: str, adapts: bool) -> dict[str, float | None]:
    sides: tuple[Side, ...] = ("base", "adapted") if adapts else ("base",)
    rules = sorted({rule for row in graded for rule in row.grades or {}})
    # A row without gold calls has a verdict of the benchmark's own rule only.
    graded_by = {rule: [row for row in graded if rule in (row.grades or {})] for rule in rules}
    metrics = {f"{side}.{rule}": _score(graded_by[rule], side, rule)["score"] for side in sides for rule in rules}
    measures = sorted({name for row in rows if row.episode.awareness for name in row.episode.awareness.measures})
    metrics |= {f"auroc.{name}": _error_auroc(graded, matcher, name) for name in measures}
    metrics["tpr_at_tau"], metrics["fpr_at_tau"] = _rates_at_tau(graded, matcher)
    examples = [example for row in rows for example in row.episode.examples]
    kept = sum(example.refused is None for example in examples)
    metrics["graded"] = len(graded)
    metrics["examples.written"] = len(examples)
    metrics["examples.kept"] = 100 * kept / len(examples) if examples else None
    metrics["examples.in_context"] = sum(_samples(row, "in-context") for row in rows)
    metrics |= _writing(rows)
    metrics["resampled"] = sum(row.episode.adaptation.status == "resampled" for row in rows)
    metrics["library.given"] = sum(row.episode.adaptation.status == "library" for row in rows)
    metrics["library.tried"] = sum(bool(row.episode.adaptation.library_entry) for row in rows)
    metrics["awareness.nan"] = sum(
        row.episode.awareness is not None and math.isnan(row.episode.awareness.value) for row in rows
    )
    metrics["awareness.unsure_in_words"] = sum(
        row.episode.awareness is not None and row.episode.awareness.unsure and row.episode.awareness.in_words
        for row in rows
    )
    metrics["adaptations.attempted"] = sum(row.episode.adaptation.status != "none" for row in rows)
    metrics["adaptations.failed"] = len(_without_a_step(rows))
    metrics["adaptations.training-failed"] = sum(row.episode.adaptation.status == "training-failed" for row in rows)
    metrics["adaptations.refused"] = sum(bool(row.episode.adaptation.refused) for row in rows)
    shifts = [shift for row in rows if (shift := row.episode.adaptation.logprob_shift) is not None]
    metrics["adaptations.logprob_shift"] = math.fsum(shifts) / len(shifts) if shifts else None
    for side in sides:
        metrics[f"{side}.unreadable"] = 100 * sum(_unreadable(row, side) for row in rows) / len(rows) if rows else None
    return metrics


def _writing(rows: Sequence[RunRow]) -> dict[str, float]:
    """The writer's tokens and dollars, the errors of its attempts, and the reasons why examples were refused."""
    examples = [example for row in rows for example in row.episode.examples]
    errors = Counter(error for example in examples for error in example.attempt_errors)
    refused = Counter(example.refused.partition(":")[0] for example in examples if example.refused)
    counts = {"examples.tokens": sum(example.tokens for example in examples)}
    counts |= {f"examples.refused.{reason}": n for reason, n in sorted(refused.items())}
    counts |= {f"teacher.fault.{error}": n for error, n in sorted(errors.items())}
    return {**counts, "teacher.dollars": math.fsum(example.dollars for example in examples)}


def adaptation_failed(row: RunRow) -> bool:
    """Whether the adaptation failed before it had trained; a guard refuses an adapter after its steps."""
    return row.episode.adaptation.failed


def _without_a_step(rows: Sequence[RunRow]) -> list[RunRow]:
    return [row for row in rows if adaptation_failed(row)]


def _unreadable(row: RunRow, side: Side) -> bool:
    answer = row.episode.base if side == "base" else row.episode.adapted
    return answer is not None and answer.error is not None


def _strata(rows: Sequence[RunRow], matcher: str, adapts: bool) -> dict[str, Any]:
    """Scores by "tag=value"; a tag with one value everywhere is left out."""
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        for tag, value in row.tags.items():
            groups.setdefault(f"{tag}={value}", []).append(row)
    return {
        name: {
            "n": len(group),
            "base": _score(group, "base", matcher)["score"],
            "adapted": _score(group, "adapted", matcher)["score"] if adapts else None,
        }
        for name, group in sorted(groups.items())
        if len(group) < len(rows)
    }
