"""Plain decoding beside llama.cpp's server: the same GGUF file, the same number of threads.

    python -m speed.llama_cpp FILE.gguf [--name qwen-0.5b] [--dtype int8] [--repeats 6]

Work: one short prompt and 64 tokens behind it, greedily; alone, and 16 of them at once. llama.cpp multiplies the file's
own 4 to 8 bits; `ttsi` reads the file into bfloat16 or int8, and both are measured unless one is named. Rounding
differs, so that long texts part ways: the results compared are the first tokens of each answer, of which a quarter may
differ.
Outputs: a line per comparison, and `decode_vs_llamacpp@NAME` and the like in results.json. A ratio above 1 means that
ttsi is faster.

Its server comes from the package xllamacpp (pip install xllamacpp), which runs llama.cpp's server in this process. The
paper (arXiv:2510.07841) has no such figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from speed import measure
from speed.__main__ import REPEATS
from speed.measure import Case
from speed.shapes import cost_of
from ttsi.engine.decoding import DecodingRow, decode
from ttsi.models import load
from ttsi.models.local import LocalModel

WRITTEN = 64
COMPARED = 3
"""Tokens of each answer whose text is compared."""
TOLERANCE = 0.25
ROWS = {"decode": 1, "decode16": 16}


def prompt(index: int) -> str:
    """A prompt that begins like no other, and whose next tokens no rounding changes."""
    return f"{', '.join(map(str, range(index + 1, index + 9)))},"


def server(file: Path, rows: int) -> Callable[[], list[str]]:
    """llama.cpp's server with a slot for each row; the texts behind all prompts."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_parallel, settings.n_ctx = str(file), rows, 256 * rows
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = torch.get_num_threads()
    running = xllamacpp.Server(settings)

    def answer(index: int) -> str:
        request = {
            "prompt": prompt(index), "max_tokens": WRITTEN, "temperature": 0, "ignore_eos": True, "cache_prompt": False,
        }  # fmt: skip
        reply = running.handle_completions(request)
        return str((json.loads(reply) if isinstance(reply, str | bytes) else reply)["choices"][0]["text"])

    def answers() -> list[str]:
        with ThreadPoolExecutor(rows) as pool:
            return list(pool.map(answer, range(rows)))

    return answers


def cases(file: Path, dtype: str) -> list[Case]:
    """One per number of rows."""
    model = load(str(file), dtype=dtype)
    assert isinstance(model, LocalModel)
    cost = cost_of(model.model)
    infix = "" if dtype == "bfloat16" else f"_{dtype}"
    task, made = f"{file.name}, {WRITTEN} tokens, {dtype}", []
    for key, rows in ROWS.items():
        prompts = [tuple(model.encoder.encode_text(prompt(index))) for index in range(rows)]
        read = cost.forward(sum(map(len, prompts)), rows, sum(len(ids) ** 2 / 2 for ids in prompts))
        steps = [cost.step(rows, len(prompts[0]) + at) for at in range(1, WRITTEN)]
        made.append(
            Case(
                f"{key}{infix}_vs_llamacpp", "llama.cpp's server", f"{task}, {rows} rows",
                ours=lambda prompts=prompts: texts(model, prompts), peer=server(file, rows),
                difference=lambda ours, peer: share_of_others(model, ours, peer), tolerance=TOLERANCE,
                work=[read, *steps],
            )
        )  # fmt: skip
    return made


def texts(model: LocalModel, prompts: Sequence[tuple[int, ...]]) -> list[str]:
    """What our side writes behind each prompt."""
    decoded = decode(model.model, [DecodingRow(ids, WRITTEN) for ids in prompts])
    return [str(model.tokenizer.decode(list(one.ids))) for one in decoded]


def share_of_others(model: LocalModel, ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Share of the rows whose first tokens differ."""
    firsts = [[model.encoder.encode_text(text)[:COMPARED] for text in side] for side in (ours, theirs)]
    return sum(int(one != other) for one, other in zip(*firsts, strict=True)) / len(ours)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m speed.llama_cpp", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="a GGUF file")
    parser.add_argument("--name", help="the model's name in results.json; default: the file's")
    parser.add_argument(
        "--dtype", action="append", choices=["bfloat16", "int8"], help="may be repeated; both by default"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how often both sides are timed (%(default)s)")
    parser.add_argument("--output", type=Path, default=measure.RESULTS, help="where to write (%(default)s)")
    options = parser.parse_args()
    limits = measure.limits_now(torch.device("cpu"), quick=False)
    about = measure.machine(limits, torch.device("cpu"))
    for dtype in options.dtype or ["bfloat16", "int8"]:
        for case in cases(options.file, dtype):
            result = measure.compare(case, options.repeats, limits, quick=False)
            key = f"{case.key}@{options.name or options.file.stem}"
            print(measure.line(key, result), flush=True)
            measure.write({key: result}, about, options.output)


if __name__ == "__main__":
    main()
