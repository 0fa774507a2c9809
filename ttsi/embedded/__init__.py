"""The embedded model: weights, tokenizer, model card, and the frozen inputs of the toolworld benchmark.

Two million parameters, so that the whole method runs for real on a machine without network and without a GPU. It is a
test bench, not an assistant. What made these files lies beside the package, in `toolworld/` of the repository.

How it differs from the paper: there, Qwen2.5-1.5B-Instruct. Nothing here is needed to use a model of one's own.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
DATA = Path(__file__).parent / "data"
