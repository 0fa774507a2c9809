"""What do the runs of one benchmark say about methods, measures and training data?

Inputs: groups of runs over the same inputs (seeds pooled). Outputs: one `Finding` per question. A question that no run
answers is a finding without a table that says what is missing. What the method itself has to choose (gate, tau, checks
of examples) is in `ttsi.reports.choices`.

Differences are paired over the inputs that both have, with bootstrap intervals; scores have Wilson's interval, or a
bootstrap over inputs where seeds are averaged; AUROC has DeLong's. The questions are those of the tables and figures of
the paper (arXiv:2510.07841), which prints means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttsi.methods import METHODS
from ttsi.reports import pairing, sections, words
from ttsi.reports.naming import knobs, label
from ttsi.reports.pairing import Difference
from ttsi.reports.record import Group
from ttsi.reports.sections import Table
from ttsi.reports.words import count, percent, score, seconds, signed

REFERENCE = "ttsi"
"""The method that the others are compared with, and whose gates, checks and thresholds are looked at."""
FITTED = frozenset({"awareness.tau"})
"""What every model needs a value of its own for (`ttsi tau`): who changes nothing else runs the method as it is."""
GATES = frozenset({"awareness.gate", "awareness.share"})
CHECKS = frozenset(
    f"synthesis.{knob}" for knob in ("grounded", "unambiguous", "seed_overlap", "overlap", "round_trip", "drop_worst")
)
ASKS = {
    "Methods": "Which method gives the most right answers? The gain is against the model alone, decoded the same way.",
    "Costs": "What does a run over all inputs cost? Means over the seeds; an example that is learned twice "
    "is two samples, tokens are those of the written examples.",
    "Gates": "Which inputs should be adapted: those that the model is unsure about, the others, all, or some drawn at "
    "random?",
    "Thresholds": "How large should tau be? Read off the runs that adapt every input: below tau the adapted answer, "
    "above it the base's. Beside it what the same share of inputs, drawn at random, gains on average.",
    "Measures": "Which measure foretells that the base is wrong? AUROC: 0.5 is guessing, 1 is perfect. Wrong: the "
    "error rate when only the surest inputs are answered, averaged over all shares of them. Caught: the part of the "
    "wrong answers among the least sure inputs, as many as the run's tau calls unsure.",
    "Checks of the examples": "What does each check of the written examples do to the gain?",
    "Training data": "How many labelled rows does fine-tuning (`sft`) need? The reference sees none: its samples are "
    "spread over the inputs, and each is forgotten after one answer.",
    "By rule": "How good are the model alone and TT-SI, by each rule that a benchmark has? A failed input is wrong.",
    "Over all calls": "How much of all the calls is right? F1 of tool names and of arguments, counted over the whole "
    "file as Hammer does, or as the benchmark's owners do (official); of the first seed. Both count a right name each "
    "time it is said, so F1 can pass 100.",
    "Failures": "How many inputs could not be answered (a prompt that is too long is never cut), and what did one "
    "input take?",
}
"""Title -> the question, in the order of the page."""
SAID = ("AUROC", "wrong", "caught")
"""What is said of a measure."""


@dataclass(frozen=True)
class Finding:
    """A question and what the runs answer."""

    title: str
    """One of `ASKS`."""
    table: Table | None
    groups: tuple[Group, ...] = ()
    """The runs that it was read from."""
    missing: str = ""
    """What would have to be run for more; empty when nothing is missing."""


def reference(group: Group, found: Sequence[Group]) -> Group | None:
    """The reference that answered the same inputs with the same model and decoding; its own tau before another."""
    usable = [one for one in found if _is(one, REFERENCE) and knobs(one).keys() <= FITTED]
    same = [one for one in usable if _who(one) == _who(group) and pairing.same_questions(one, group)]
    return min(same, key=lambda one: len(knobs(one)), default=None)


def references(found: Sequence[Group]) -> list[Group]:
    """The groups that are the reference of themselves and others."""
    return [one for one in found if reference(one, found) is one]


def varies(group: Group, only: frozenset[str], found: Sequence[Group]) -> bool:
    """The reference method with nothing else changed than (some of) these."""
    usual, mine = reference(group, found), knobs(group)
    theirs = {} if usual is None else knobs(usual)
    other = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
    return _is(group, REFERENCE) and bool(other) and other <= only


def _is(group: Group, method: str) -> bool:
    return bool(group.config["settings"]["method"] == method)


def _who(group: Group) -> tuple[str, ...]:
    model = group.config.get("model") or {}
    return str(group.config["settings"]["model"]), str(model.get("weights_sha256"))


def _few_rows(group: Group) -> bool:
    settings = group.config["settings"]
    return settings["method"] == "sft" and settings["train_limit"] is not None and not knobs(group)


def _compared(found: Sequence[Group]) -> list[Group]:
    """The groups that are methods of their own, in the presets' order; the others have a question of their own."""
    chosen = [one for one in found if not any(varies(one, of, found) for of in (GATES, CHECKS)) and not _few_rows(one)]
    order = list(METHODS)
    return sorted(chosen, key=lambda one: order.index(m) if (m := one.config["settings"]["method"]) in order else 99)


def beside(found: Sequence[Group], others: Sequence[Group]) -> list[Group]:
    """The groups that answered what one of the others answered, in the same way."""
    return [one for one in found if any(pairing.same_questions(one, other) for other in others)]


def methods(found: Sequence[Group]) -> Finding:
    """Which method is right most often?"""
    chosen = _compared(found)
    rows = []
    for group in chosen:
        fixed, broken, _, _ = pairing.changes(group.rows, group.matcher)
        against = reference(group, found)
        rows.append(
            (
                label(group),
                count(len({row.key for row in group.rows})),
                count(len(group.runs)),
                percent(base[0]) if (base := score(group, "base")) else "-",
                final_score(group),
                points(pairing.gain(group)),
                f"{fixed} / {broken}" if group.adapts else "-",
                "-" if against is None or against is group else against_in_points(against, group),
            )
        )
    absent = [name for name in METHODS if name not in {str(one.config["settings"]["method"]) for one in found}]
    head = (
        "method",
        "n",
        "seeds",
        "base",
        "in the end",
        "gain, points",
        "fixed / broken, all seeds",
        f"against {REFERENCE}, points",
    )
    return Finding(
        "Methods",
        Table(head, tuple(rows)) if rows else None,
        tuple(chosen),
        f"Not run: {words.listing(absent)}." if absent else "",
    )


def costs(found: Sequence[Group]) -> Finding:
    """What does each method cost?"""
    chosen = _compared(found)
    rows = []
    for group in chosen:
        runs = len(group.runs)
        metrics = [run.summary["metrics"] for run in group.runs]
        rows.append(
            (
                label(group),
                percent(adapted_share(group)),
                count(sum(run.summary["samples_trained"] for run in group.runs) / runs),
                count(sum(one["examples.in_context"] for one in metrics) / runs),
                count(sum(one["examples.tokens"] for one in metrics) / runs),
                per_input(group),
            )
        )
    head = (
        "method",
        "inputs answered again",
        "samples trained",
        "shown in the prompt",
        "tokens written",
        "time per input",
    )
    shared = any(len(group.timed) < len(group.runs) for group in chosen)
    return Finding(
        "Costs",
        Table(head, tuple(rows)) if rows else None,
        (),  # the commands stand under the methods
        "Runs of a sweep that shared answers have no time of their own." if shared else "",
    )


def measures(found: Sequence[Group]) -> Finding:
    """Which measure knows when the base is wrong?"""
    title = "Measures"
    columns: dict[str, tuple[Group, dict[str, tuple[str, ...]]]] = {}
    for group in sorted(found, key=lambda one: (not _is(one, "base"), len(knobs(one)))):
        decoding = str(group.config["settings"]["loop"]["answer"]["decoding"])
        table = (
            None
            if decoding in columns or not knobs(group).keys() <= FITTED
            else sections.measures(group.runs[0], group.matcher, "")
        )
        if table is not None:
            columns[decoding] = (group, {row[0]: row[1:4] for row in table.rows})
    if not columns:
        return Finding(title, None, (), "Missing: any graded run; every run records every measure.")
    names = dict.fromkeys(name for _, found_ in columns.values() for name in found_)
    rows = tuple(
        (name, *(cell for _, found_ in columns.values() for cell in found_.get(name, ("-",) * len(SAID))))
        for name in names
    )
    absent = [name for name in ("constrained", "free") if name not in columns]
    return Finding(
        title,
        Table(("measure", *(f"{said}, {decoding}" for decoding in columns for said in SAID)), rows),
        tuple(group for group, _ in columns.values()),
        f"Missing: a run with `--decoding {absent[0]}`." if absent else "",
    )


def samples(found: Sequence[Group]) -> Finding:
    """How many rows does fine-tuning need to match the reference?"""
    title = "Training data"
    taught = [one for one in found if one.config["settings"]["method"] == "sft" and not knobs(one)]
    rows, used = [], []
    for group in sorted(taught, key=lambda one: int(one.config["train"]["n"])):
        against = reference(group, found)
        rows.append(_learned(group, "-" if against is None else against_in_points(against, group)))
        used.append(group)
    if not rows:
        return Finding(title, None, (), "Missing: `ttsi run --method sft --train-data NAME --train-limit N`.")
    usual = beside(references(found), used)
    rows += [_learned(one, "-") for one in usual]
    head = ("method", "seeds", "samples trained", "in the end", "gain, points", f"against {REFERENCE}, points")
    return Finding(title, Table(head, tuple(rows)), (*used, *usual), "" if usual else f"Not run: {REFERENCE}.")


def _learned(group: Group, against: str) -> tuple[str, ...]:
    trained = sum(run.summary["samples_trained"] for run in group.runs) / len(group.runs)
    gain = points(pairing.gain(group))
    return (label(group), count(len(group.runs)), count(trained), final_score(group), gain, against)


def points(gap: Difference | None) -> str:
    """A difference with its interval on a second line."""
    return f"{signed(gap.points)}\n{words.between_points(gap)}" if gap else "-"


def adapted_share(group: Group) -> float:
    """Share of inputs that were answered a second time or whose adapter was given up."""
    return sum(row.episode.adaptation.status != "none" for row in group.rows) / max(len(group.rows), 1)


def per_input(group: Group) -> str:
    """Seconds per input, of the runs that did everything themselves."""
    n = sum(len(run.rows) for run in group.timed)
    return seconds(sum(run.summary["seconds"]["total"] for run in group.timed) / n) if n else "-"


def final_score(group: Group) -> str:
    """The score of the answers given in the end, with its interval on a second line."""
    found = score(group, pairing.final_side(group.runs[0]))
    return f"{percent(found[0])}\n{words.between(found[1])}" if found else "not graded"


def against_in_points(first: Group, second: Group) -> str:
    """The second's final answers against the first's, paired."""
    one, other = pairing.final(first), pairing.final(second)
    return points(pairing.difference(one, other)) if one.keys() & other.keys() else "-"


def same_inputs(found: Sequence[Group]) -> list[list[Group]]:
    """The groups by model and by the inputs that they answered."""
    sets: dict[tuple[str, ...], list[Group]] = {}
    for group in found:
        data = group.config["data"]
        sets.setdefault((*_who(group), data["benchmark"], data["checksum"], str(data["n"])), []).append(group)
    return list(sets.values())
