"""Collector of the results on real models: run folders become `docs/results/real.json`, its rows, and the tables.

    python -m dev.real_results collect RUN...   # folders of runs, or of sweeps
    python -m dev.real_results pages            # the tables of README.md and docs/results.md again

Inputs: run folders of `ttsi sweep configs/real/NAME.yaml`. Outputs: one entry of `real.json` per model, benchmark,
method and settings, with all its seeds pooled (`dev.real_rows`), in place of an earlier entry of the same; its rows in
`docs/results/rows`; and the tables between the markers (`dev.real_tables`). A run that lacks inputs is refused;
--partial takes the inputs that every seed has.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from dev.real_rows import ResultRow, read_rows, rows_of, scores, seconds_per_input, share_answered_again, write_rows
from dev.real_tables import readme_table, results_section
from ttsi.atomic import write_atomically
from ttsi.benchmarks import is_file
from ttsi.config import RunConfig
from ttsi.errors import DataError, RunFolderError, TTSIError
from ttsi.methods import preset
from ttsi.record import Run
from ttsi.reports.command import command, provenance
from ttsi.reports.groups import Group, group_runs
from ttsi.reports.naming import has_embedded_settings, variations
from ttsi.runs.reading import load_run
from ttsi.runs.run_folders import run_folders

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- real results: begin -->", "<!-- real results: end -->"

Entry = dict[str, Any]
KEY = ("model", "benchmark", "method", "calls", "decoding", "settings")
"""Entries that agree in these are the same result: a later one takes the place of the earlier."""
STRATA = {"sealtool": {"49-294": range(48, 294)}}
"""Benchmark -> name -> places in its file, reported beside all rows. The first 48 rows of Seal-Tools were looked at
while the method was built."""
MODELS = {
    "smollm2": ("SmolLM2-135M", "smollm2"),
    "smollm2-135m": ("SmolLM2-135M", "smollm2"),
    "qwen2.5-coder-0.5b": ("Qwen2.5-Coder-0.5B", "hf:Qwen/Qwen2.5-Coder-0.5B-Instruct"),
    "qwen2.5-coder-0.5b-instruct": ("Qwen2.5-Coder-0.5B", "hf:Qwen/Qwen2.5-Coder-0.5B-Instruct"),
    "qwen2.5-coder-1.5b": ("Qwen2.5-Coder-1.5B", "hf:Qwen/Qwen2.5-Coder-1.5B-Instruct"),
    "qwen2.5-coder-1.5b-instruct": ("Qwen2.5-Coder-1.5B", "hf:Qwen/Qwen2.5-Coder-1.5B-Instruct"),
}
"""Last part of a model's spec, in small letters -> its name in the tables, and the spec by which others get it."""
ORDER = list(dict.fromkeys(name for name, _ in MODELS.values()))
"""Models in the order of the tables; others follow."""


def model_name(spec: str) -> str:
    """A model's name in the tables: never a path of one machine.

    >>> model_name("/home/me/models/smollm2-135m"), model_name("hf:some/Model-7B")
    ('SmolLM2-135M', 'Model-7B')
    """
    last = _last_part(spec)
    return MODELS.get(last.lower(), (last, ""))[0]


def public_spec(spec: str) -> str:
    """The spec by which others get a model.

    >>> public_spec("/home/me/models/smollm2-135m"), public_spec("hf:some/Model-7B"), public_spec("/home/me/mine")
    ('smollm2', 'hf:some/Model-7B', 'mine')
    """
    last = _last_part(spec)
    own = spec if re.match(r"\w+:", spec) else last
    return MODELS.get(last.lower(), ("", own))[1]


def _last_part(spec: str) -> str:
    return spec.rstrip("/").rpartition("/")[2].removesuffix(".gguf")


def collect(folders: Sequence[Path], results: Path = RESULTS, partial: bool = False) -> list[Entry]:
    """Put runs into `real.json` and write their rows.

    Args:
        folders: of runs, or of sweeps.
        results: the folder of `real.json`.
        partial: take unfinished runs too, with the inputs that every seed has.

    Returns:
        The new entries.

    Raises:
        DataError: a run lacks inputs, two settings would be one entry, or an earlier entry holds more inputs.
        RunFolderError: a folder holds no run.
        ConfigError: two runs have the same settings and seed.
    """
    chosen = run_folders(folders)
    if chosen.notice:
        print(f"real_results: {chosen.notice}", file=sys.stderr)
    runs = [run for folder in chosen.runs if (run := _load(folder, partial))]
    made = [_entry(group, partial) for group in group_runs(runs)]
    entries = {key_of(entry): entry for entry in read_entries(results)}
    new: set[str] = set()
    for entry, _ in made:
        key, old = key_of(entry), entries.get(key_of(entry))
        if key in new:
            raise DataError(f"two groups of runs are {title(entry)}: collect those of one data file, order and limit")
        if old is not None and old["n"] * len(old["seeds"]) > entry["n"] * len(entry["seeds"]):
            raise DataError(
                f"{title(entry)} has {_size(old)} in real.json and {_size(entry)} here: name all of its runs, or take "
                "the entry out of real.json first"
            )
        new.add(key)
        entries[key] = entry
    for entry, rows in made:
        write_rows(results / entry["rows"], rows)
    ordered = sorted(entries.values(), key=lambda entry: (_place(entry["model"]), key_of(entry)))
    write_atomically(results / "real.json", json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    return [entry for entry, _ in made]


def _place(model: str) -> int:
    return ORDER.index(model) if model in ORDER else len(ORDER)


def read_entries(results: Path = RESULTS) -> list[Entry]:
    """The entries of `real.json`."""
    entries: list[Entry] = json.loads((results / "real.json").read_text(encoding="utf-8"))
    return entries


def key_of(entry: Entry) -> str:
    """What makes an entry the same result as another."""
    return json.dumps([entry[name] for name in KEY], sort_keys=True)


def title(entry: Entry) -> str:
    """An entry in a few words."""
    settings = "".join(f", {name} {value}" for name, value in entry["settings"].items())
    return f"{entry['method']}{settings} with {entry['model']} on {entry['benchmark']}"


def _size(entry: Entry) -> str:
    return f"{entry['n']} inputs under {len(entry['seeds'])} seed{'s' * (len(entry['seeds']) > 1)}"


def _load(folder: Path, partial: bool) -> Run | None:
    try:
        run = load_run(folder)
    except RunFolderError:
        if partial:
            return None  # begun, and no input is done
        raise
    if len(run.rows) < run.data.n and not partial:
        raise DataError(
            f"{folder} holds {len(run.rows)} of {run.data.n} inputs: finish it with the command that began it, or add "
            "--partial"
        )
    return replace(run, config=effective(run.config))


def effective(config: RunConfig) -> RunConfig:
    """The settings, of which those without effect are the method's: runs that differ in these alone are one result.

    Where every answer is a call, settings about answers without one do nothing.
    """
    if config.loop.answer.calls == "auto":
        return config
    usual = preset(config.method, config.model).adaptation
    own = replace(config.loop.adaptation, irrelevance=usual.irrelevance, keep_decision=usual.keep_decision)
    return replace(config, loop=replace(config.loop, adaptation=own))


def _entry(group: Group, partial: bool) -> tuple[Entry, list[ResultRow]]:
    """The entry of a group of seeds, and its rows."""
    runs = sorted(group.runs, key=lambda run: run.seed)
    seeds = [run.seed for run in runs]
    by_seed = [rows_of(run) for run in runs]
    shared = set.intersection(*({row.key for row in rows} for rows in by_seed))
    rows = [row for one in by_seed for row in one if row.key in shared]
    if not rows:
        raise DataError(f"the runs {', '.join(run.name for run in runs)} have no input in common yet")
    if not partial and any(len(one) != len(shared) for one in by_seed):
        raise DataError(f"the runs {', '.join(run.name for run in runs)} answered different inputs: name one limit")
    config, first = group.config, group.first
    places = STRATA.get(first.data.benchmark, {})
    entry: Entry = {
        "model": model_name(config.model),
        "weights": (first.weights or "")[:12],
        "benchmark": first.data.benchmark,
        "data": first.data.checksum[:12],
        "rule": first.data.matcher,
        "method": config.method,
        "settings": _settings(group),
        "calls": config.loop.answer.calls,
        "decoding": config.loop.answer.decoding,
        "seeds": seeds,
        "planned": first.data.n,
        **scores(rows),
        "strata": {name: scores([row for row in rows if row.position in inside]) for name, inside in places.items()},
        "share_adapted": round(share_answered_again(rows), 4),
        "seconds_per_input": seconds_per_input(rows),
        "n_error": sum(row.error for row in rows),
        "examples": {"written": sum(row.written for row in rows), "kept": sum(row.kept for row in rows)},
        "command": _command(group),
        "commit": ", ".join(dict.fromkeys(str(run.machine.get("commit") or "not recorded") for run in runs)),
        "machine": provenance([group]).partition("; ")[2],
    }
    name = "--".join([entry["model"], entry["benchmark"], entry["method"], _short_hash(key_of(entry))])
    return {**entry, "rows": f"rows/{name}.csv.gz"}, rows


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _settings(group: Group) -> dict[str, Any]:
    """What differs from the method's preset for this model, and what the method learns from."""
    config = group.config
    sources = {
        "teacher": config.teacher and model_name(config.teacher),
        "train_data": config.train_data and _file_name(config.train_data),
        "train_limit": config.train_limit,
        "format": config.format,
    }
    changed = {name: value.name if isinstance(value, PurePath) else value for name, value in variations(group).items()}
    return {**changed, **{name: value for name, value in sources.items() if value is not None}}


def _command(group: Group) -> str:
    """The command of a run, with models by the names under which others get them, and files without their folders."""
    config, loop = group.config, group.config.loop
    synthesis = loop.synthesis
    named = replace(
        config,
        model=public_spec(config.model),
        teacher=config.teacher and public_spec(config.teacher),
        benchmark=_file_name(config.benchmark),
        train_data=config.train_data and _file_name(config.train_data),
        loop=replace(loop, synthesis=replace(synthesis, prompt=synthesis.prompt and Path(synthesis.prompt.name))),
    )
    return command(named, has_embedded_settings(group.first), group.first.model.get("dtype"))


def _file_name(name: str) -> str:
    """The name of a benchmark, or of a file without its folder."""
    return PurePath(name).name if is_file(name) else name


def put_between(text: str, content: str, name: str) -> str:
    """The text of a page with new content between its markers.

    Raises:
        DataError: it has no markers, or more than one pair.
    """
    if [text.count(mark) for mark in (BEGIN, END)] != [1, 1] or text.index(END) < text.index(BEGIN):
        raise DataError(f"{name} has not one pair of the markers {BEGIN} and {END}: put them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{content}{END}{rest.partition(END)[2]}"


def between(text: str) -> str:
    """What stands between the markers of a page."""
    return text.partition(BEGIN)[2].partition(END)[0].removeprefix("\n")


def tables(results: Path = RESULTS) -> dict[str, str]:
    """Page -> what belongs between its markers."""
    entries = read_entries(results)
    rows = {entry["rows"]: read_rows(results / entry["rows"]) for entry in entries}
    return {"README.md": readme_table(entries, rows), "docs/results.md": results_section(entries, rows)}


def write_pages(root: Path = ROOT, results: Path = RESULTS) -> None:
    """Put the tables into the pages.

    Raises:
        DataError: a page has no markers.
    """
    texts = {
        root / name: put_between((root / name).read_text(encoding="utf-8"), content, name)
        for name, content in tables(results).items()
    }
    for path, text in texts.items():
        write_atomically(path, text)


def main(words: Sequence[str] | None = None) -> int:
    """Collect runs, or write the tables again; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dev.real_results", description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    collecting = verbs.add_parser("collect", help="put runs into docs/results/real.json, and write the tables")
    collecting.add_argument(
        "runs", nargs="+", type=Path, help="folders of runs or sweeps; all seeds of a result at once"
    )
    collecting.add_argument("--partial", action="store_true", help="take unfinished runs too; n is what is done")
    verbs.add_parser("pages", help="write the tables of README.md and docs/results.md again")
    chosen = parser.parse_args(words)
    try:
        for entry in collect(chosen.runs, partial=chosen.partial) if chosen.verb == "collect" else []:
            print(f"{title(entry)}: {_size(entry)}, base {entry['base']}, adapted {entry['adapted']}")
        write_pages()
    except TTSIError as error:
        print(f"real_results: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
