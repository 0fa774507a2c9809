"""toolworld: tools that the embedded model was never trained on.

This package's own benchmark: invented offices, shops and machines with two to eight tools each, made by
`toolworld.world` from domains, tools and ways of asking that were held out of the embedded model's training.
Inputs: nothing; the frozen files ship with the package. Outputs: a `Benchmark` of 640 test or 400 validation inputs,
tagged by whether the domain and the way of asking were seen and whether the request shares its words with the tool.

Licence: the package's own. A sample, made up in the same way: "is there a slot for Biscuit before noon" with
`book_grooming`, `find_sitter` and `order_food` on offer. Metric: share of inputs whose calls are all right (`strict`).
Known defects: the texts come from templates, so they are less varied than people; results say how the *method* behaves
on a tiny model, not how good a model is in the world.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ttsi
from ttsi.benchmarks import Benchmark, jsonl
from ttsi.errors import ConfigError, unknown_name

SPLITS = ("test", "validation")
DATA = Path(ttsi.__file__).parent / "embedded" / "data"


def load(data_dir: Path | None = None, split: str = "test") -> Benchmark:
    """640 frozen inputs with tools the embedded model was never trained on; ships with the package

    Args:
        data_dir: ignored; the files ship with the package.
        split: "test" or "validation".

    Raises:
        ConfigError: there is no such split.
        DataError: the file is missing or damaged.
    """
    if split not in SPLITS:
        raise ConfigError(unknown_name("split of toolworld", split, SPLITS))
    name = "toolworld" if split == "test" else f"toolworld-{split}"
    file = f"toolworld-{split}.jsonl.gz"
    return replace(jsonl.load(DATA / file, name), source=f"ttsi/embedded/data/{file}")


def load_validation(data_dir: Path | None = None) -> Benchmark:
    """400 inputs made the same way, for choosing settings; ships with the package"""
    return load(data_dir, "validation")
