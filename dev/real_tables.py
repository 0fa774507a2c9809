"""Tables of the results on real models, as Markdown.

Inputs: the entries of `docs/results/real.json` and their rows. Outputs: the short table of README.md, and the section
"Real models" of docs/results.md: the headline, the method against what is simpler, fine-tuning by size, the sweeps over
the number of examples, the gate and the threshold, and other models.

Every score stands with its n and its 95 % interval. Methods are compared input by input, over the inputs that both
answered. Gates and thresholds are computed from one run in which every input was adapted (`dev.real_rows.replay`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dev.real_rows import ResultRow, below, outcomes, pooled, replay, scores
from ttsi.reports import pairing
from ttsi.reports.finding import Table, thin
from ttsi.reports.markdown import escape, table
from ttsi.reports.pairing import Difference
from ttsi.reports.phrases import count, duration, interval_text, listing, percent, points_cell
from ttsi.stats import Interval

Entry = Mapping[str, Any]
Rows = Mapping[str, Sequence[ResultRow]]
"""The name of an entry's file of rows -> the rows."""
HEADLINE = "ttsi"
FIRST_MODEL, FIRST_BENCHMARK = "SmolLM2-135M", "sealtool"
ALL = {"awareness.gate": "all"}
SCORES = ("n", "seeds", "base", "adapted", "gain, points", "fixed / broken, all seeds", "time per input")
LEARNS_FROM = ("train_data", "train_limit")


def readme_table(entries: Sequence[Entry], rows: Rows) -> str:
    """The headline of each model: Seal-Tools, and the other benchmarks.

    Those in which a call is demanded as on Seal-Tools are pooled.
    """
    lines = []
    for model in _models(entries):
        own = [entry for entry in headline(entries) if entry["model"] == model]
        others = comparable(own)
        lines += [(model, entry["benchmark"], *_entry_cells(entry)) for entry in own if _is_first(entry)]
        if others:
            named = f"{len(others)} other benchmarks" if len(others) > 1 else others[0]["benchmark"]
            lines.append((model, named, *_pooled(others, rows)))
        apart = [entry for entry in own if not _is_first(entry) and entry not in others]
        lines += [(model, f"{entry['benchmark']}, calls {entry['calls']}", *_entry_cells(entry)) for entry in apart]
    return f"\n{table(Table(('model', 'benchmark', *SCORES), tuple(lines)))}\n" if lines else ""


def results_section(entries: Sequence[Entry], rows: Rows) -> str:
    """The section of docs/results.md; empty without entries."""
    if not entries:
        return ""
    intro = (
        "Made by `python -m dev.real_results` from [real.json](results/real.json) and the rows beside it, not by hand. "
        "The sweeps are in `configs/real`. Seeds are averaged input by input, and intervals resample inputs. Rows "
        "49-294 of `sealtool` are those that nobody had looked at while the method was built. A time is missing where "
        "runs shared work. The weights are the models' 4-bit GGUF files, written out as bfloat16: a full-precision "
        "checkpoint gives other numbers."
    )
    first = [entry for entry in entries if entry["model"] == FIRST_MODEL]
    others = [entry for entry in entries if entry["model"] != FIRST_MODEL]
    parts = [
        ("The headline", "How many more answers are right with TT-SI, on test rows?", _headline(first, rows)),
        ("Against what is simpler", "Which method gives the most right answers?", _methods(first, rows)),
        (
            "Fine-tuning by size",
            "How many rows of the benchmark's own data does fine-tuning need?",
            _sizes(first, rows),
        ),
        ("Examples per input", "How many examples should an input have?", _examples(first, rows)),
        ("Gates and thresholds", _GATES, _gates(first, rows)),
        ("Other models", "Does a larger model gain as well?", _others(others, rows)),
    ]
    text = [f"\n## Real models\n\n{intro}\n"]
    text += [f"\n### {name}\n\n{question}\n\n{table(found)}" for name, question, found in parts if found]
    return "".join([*text, "\n", *_commands(entries), "\n"])


_GATES = (
    'Which inputs should be adapted? Computed from a run in which all were. Under the gate "random" as many inputs are '
    'adapted as under "unsure", and the gain is the expected one. The thresholds are evenly spread over the inputs.'
)


def headline(entries: Iterable[Entry]) -> list[Entry]:
    """The entries of TT-SI as it comes."""
    return [entry for entry in entries if entry["method"] == HEADLINE and not entry["settings"]]


def comparable(entries: Sequence[Entry]) -> list[Entry]:
    """The entries of other benchmarks in which a call was demanded as on the first benchmark, or was not, as there."""
    first = {entry["calls"] for entry in entries if _is_first(entry)}
    return [entry for entry in entries if not _is_first(entry) and entry["calls"] in (first or {entry["calls"]})]


def name_of(entry: Entry) -> str:
    """The method, and what is unusual about it.

    >>> name_of({"method": "sft", "settings": {"train_data": "mine", "train_limit": 8}})
    'sft, 8 rows of mine'
    >>> name_of({"method": "ttsi", "settings": {"synthesis.k": 4}})
    'ttsi, k 4'
    """
    settings = dict(entry["settings"])
    source, limit = (settings.pop(name, None) for name in LEARNS_FROM)
    parts = [entry["method"], *(f"{name.rpartition('.')[2]} {value}" for name, value in settings.items())]
    if source:
        parts.append(f"{count(limit)} rows of {source}" if limit else f"rows of {source}")
    return ", ".join(parts)


def _is_first(entry: Entry) -> bool:
    return bool(entry["benchmark"] == FIRST_BENCHMARK)


def _models(entries: Iterable[Entry]) -> list[str]:
    return list(dict.fromkeys(entry["model"] for entry in entries))


def _cells(found: Entry, seeds: int, seconds: float | None) -> tuple[str, ...]:
    """The cells of `SCORES`."""
    changed = "-" if found["fixed"] is None else f"{found['fixed']} / {found['broken']}"
    return (
        count(found["n"]), count(seeds), _score(found, "base"), _score(found, "adapted"), _gain(found), changed,
        "-" if seconds is None else duration(seconds),
    )  # fmt: skip


def _score(found: Entry, side: str) -> str:
    if found[side] is None:
        return "-"
    return f"{percent(found[side] / 100)}\n{interval_text(_interval(found[f'{side}_ci95'], 0.01))}"


def _gain(found: Entry) -> str:
    gain = found["gain"]
    return "-" if gain is None else points_cell(Difference(found["n"], 0, 0, gain["points"], _interval(gain["ci95"])))


def _interval(bounds: Sequence[float] | None, scale: float = 1) -> Interval | None:
    return None if bounds is None else Interval(scale * bounds[0], scale * bounds[1])


def _entry_cells(entry: Entry) -> tuple[str, ...]:
    return _cells(entry, len(entry["seeds"]), entry["seconds_per_input"])


def _with_strata(entry: Entry) -> Iterator[tuple[str, ...]]:
    """The benchmark's line, and one for each of its parts."""
    yield entry["benchmark"], *_entry_cells(entry)
    for name, found in entry["strata"].items():
        if found["n"] < entry["n"]:
            yield f"{entry['benchmark']}, rows {name}", *_cells(found, len(entry["seeds"]), None)


def _pooled(entries: Sequence[Entry], rows: Rows) -> tuple[str, ...]:
    """The cells of several benchmarks as one."""
    together = pooled({entry["benchmark"]: rows[entry["rows"]] for entry in entries})
    seconds = [row.seconds for row in together if row.seconds is not None]
    mean = sum(seconds) / len(seconds) if seconds else None
    return _cells(scores(together), max(len(entry["seeds"]) for entry in entries), mean)


def _headline(entries: Sequence[Entry], rows: Rows) -> Table | None:
    """TT-SI on each benchmark, the parts of Seal-Tools, and all other benchmarks pooled."""
    found = headline(entries)
    lines = [line for entry in sorted(found, key=lambda entry: not _is_first(entry)) for line in _with_strata(entry)]
    others = comparable(found)
    if len(others) > 1:
        lines.append((f"all {len(others)} others", *_pooled(others, rows)))
    return Table(("benchmark", *SCORES), tuple(lines)) if lines else None


def _others(entries: Sequence[Entry], rows: Rows) -> Table | None:
    """Everything that other models did, with the pooled benchmarks of each."""
    lines = []
    for model in _models(entries):
        own = [entry for entry in entries if entry["model"] == model]
        lines += [
            (f"{model}, {benchmark}", name_of(entry), *cells)
            for entry in own
            for benchmark, *cells in _with_strata(entry)
        ]
        others = comparable(headline(own))
        if len(others) > 1:
            lines.append((f"{model}, all {len(others)} others", HEADLINE, *_pooled(others, rows)))
    return Table(("model and benchmark", "method", *SCORES), tuple(lines)) if lines else None


def _is_sweep(entry: Entry) -> bool:
    """Whether an entry belongs to a table of its own: fine-tuning, another K, another gate."""
    swept = entry["method"] == HEADLINE and set(entry["settings"]) in ({"synthesis.k"}, set(ALL))
    return swept or entry["method"] == "sft"


def _methods(entries: Sequence[Entry], rows: Rows) -> Table | None:
    """Every method of a benchmark that has several; fine-tuning with its largest part."""
    lines: list[tuple[str, ...]] = []
    for benchmark in dict.fromkeys(entry["benchmark"] for entry in entries):
        own = [entry for entry in entries if entry["benchmark"] == benchmark]
        largest = max(_fine_tuned(own), key=_rows_learned, default=None)
        shown = [entry for entry in own if not _is_sweep(entry) or entry is largest]
        if len(shown) > 1:
            lines += _against_headline(f"{benchmark}, ", shown, own, rows)
    return _compared(lines)


def _sizes(entries: Sequence[Entry], rows: Rows) -> Table | None:
    own = [entry for entry in entries if _is_first(entry)]
    tuned = sorted(_fine_tuned(own), key=_rows_learned)
    return _compared(_against_headline("", [*tuned, *headline(own)], own, rows)) if tuned else None


def _examples(entries: Sequence[Entry], rows: Rows) -> Table | None:
    own = [entry for entry in entries if _is_first(entry)]
    swept = [entry for entry in own if entry["method"] == HEADLINE and set(entry["settings"]) == {"synthesis.k"}]
    swept.sort(key=lambda entry: entry["settings"]["synthesis.k"])
    return _compared(_against_headline("", [*swept, *headline(own)], own, rows)) if swept else None


def _fine_tuned(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry["method"] == "sft"]


def _rows_learned(entry: Entry) -> float:
    return float(entry["settings"].get("train_limit", float("inf")))


def _compared(lines: Iterable[tuple[str, ...]]) -> Table | None:
    found = tuple(lines)
    return Table(("method", *SCORES, "against ttsi, points"), found) if found else None


def _against_headline(
    before: str, shown: Sequence[Entry], own: Sequence[Entry], rows: Rows
) -> Iterator[tuple[str, ...]]:
    """A line per entry, the last cell its final answers less those of TT-SI."""
    reference = next(iter(headline(own)), None)
    for entry in shown:
        yield f"{before}{name_of(entry)}", *_entry_cells(entry), _difference(reference, entry, rows)


def _difference(reference: Entry | None, entry: Entry, rows: Rows) -> str:
    """The final answers of an entry less those of another, over the inputs that both answered."""
    if reference is None or reference is entry:
        return "-"
    if any(reference[name] != entry[name] for name in ("data", "rule", "weights", "calls", "decoding")):
        return "not comparable"
    one, other = (outcomes(rows[each["rows"]], "final") for each in (reference, entry))
    return points_cell(pairing.difference(one, other)) if one.keys() & other.keys() else "-"


def _gates(entries: Sequence[Entry], rows: Rows) -> Table | None:
    """The gates and thresholds that a run of the gate "all" contains."""
    every = next(
        (one for one in entries if _is_first(one) and one["method"] == HEADLINE and one["settings"] == ALL), None
    )
    if every is None:
        return None
    answered = rows[every["rows"]]
    unsure = sum(bool(row.unsure) for row in answered) / len(answered)
    lines = [
        ("all", percent(1), *_gate_cells(scores(answered))),
        ("unsure", percent(unsure), *_gate_cells(scores(replay(answered, lambda row: bool(row.unsure))))),
        ("sure", percent(1 - unsure), *_gate_cells(scores(replay(answered, lambda row: not row.unsure)))),
        ("random", percent(unsure), *_expected(every, unsure)),
    ]
    for tau in thin(sorted({row.value for row in answered if row.value is not None})):
        share = sum(below(tau)(row) for row in answered) / len(answered)
        lines.append((f"tau {tau:.3g}", percent(share), *_gate_cells(scores(replay(answered, below(tau))))))
    head = ("gate", "inputs let through", "n", "adapted", "gain, points", "fixed / broken")
    return Table(head, tuple(lines))


def _gate_cells(found: Entry) -> tuple[str, ...]:
    n, _, _, adapted, gain, changed, _ = _cells(found, 1, None)
    return n, adapted, gain, changed


def _expected(entry: Entry, share: float) -> tuple[str, ...]:
    """A random share of the inputs has this share of everything that adapting all of them changes."""
    gain, interval = entry["gain"], _interval(entry["gain"]["ci95"], share)
    gap = Difference(entry["n"], 0, 0, share * gain["points"], interval)
    adapted = percent((entry["base"] + share * gain["points"]) / 100)
    return count(entry["n"]), adapted, points_cell(gap), f"{share * entry['fixed']:.1f} / {share * entry['broken']:.1f}"


def _commands(entries: Sequence[Entry]) -> Iterator[str]:
    """The command of each entry, and what it ran on."""
    yield "<details><summary>Commands</summary>\n\n```sh\n"
    for entry in entries:
        yield f"{entry['command']}  # seeds {', '.join(map(str, entry['seeds']))}; {entry['commit']}\n"
    machines = listing(list(dict.fromkeys(escape(entry["machine"]) for entry in entries)))
    yield f"```\n\n{machines}\n\n</details>\n"
