"""The command: `python -m speed [NAME ...] [--quick] [--shape S] [--repeats N] [--output F]`.

Inputs: names of scripts in this folder, all of them by default. Outputs: a line per comparison, and results.json.
`--quick` only checks that everything runs and agrees: its times mean nothing and are not written.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import torch

from speed import measure

SCRIPTS = ("score", "adapters", "answer", "synthesis", "end_to_end", "real")
REPEATS = 6
"""The fewest that give an interval for the median with 95 % coverage."""


def main() -> None:
    """Run the comparisons named on the command line."""
    options = _parser().parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    limits = measure.limits_now(device, options.quick)
    about = measure.machine(limits, device)
    figures = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in about.items()}
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    output = options.output or (None if options.quick else measure.RESULTS)
    repeats = options.repeats or (2 if options.quick else REPEATS)
    for name in options.names or SCRIPTS:
        script = import_module(f"speed.{name}")
        own = "tiny" if options.quick and script.SHAPE != "embedded" else script.SHAPE
        shape = options.shape or own
        for case in script.cases(shape, device, options.quick):
            if options.only and case.key not in options.only:
                continue
            key = case.key if shape == own else f"{case.key}@{Path(shape).name}"
            for result in measure.turns(case, repeats, limits, options.quick):
                if output is not None:
                    measure.write({key: result}, about, output)
            print(measure.line(key, result), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m speed", description="ttsi beside the usual ways")
    parser.add_argument("names", nargs="*", choices=[*SCRIPTS, []], help="which scripts; all by default")
    parser.add_argument("--only", action="append", help="only this key of results.json; may be repeated")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; nothing is written")
    parser.add_argument("--shape", help="another model than each script's own (speed/shapes.py)")
    parser.add_argument("--repeats", type=int, help=f"how often both sides are timed (default {REPEATS})")
    parser.add_argument("--output", type=Path, help="where to write; default speed/results.json")
    return parser


if __name__ == "__main__":
    main()
