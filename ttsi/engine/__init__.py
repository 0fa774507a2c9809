"""How is the method computed? Tensors: the only folder (with `ttsi.embedded.train`) that imports torch.

Inputs: token ids, slots of adapters, settings. Outputs: token ids, log-probabilities, losses. Text, templates and
tool calls stay above it (`ttsi.models.local`). The paper (arXiv:2510.07841) adapts one input at a time; here a
batch of inputs shares each forward pass and every row keeps its own adapter, its own random numbers and its own
result.

    packing.py     sequences that share a beginning in one row, exactly
    prefix.py      what was read of a prompt before
    caching.py     under which name a model takes what it has read
    batching.py    which rows go together, and what happens when memory runs out
    lora.py        many adapters in one layer
    training.py    B independent adapters, one forward and backward
    scoring.py     log-likelihood of many continuations
    constraint.py  which tokens a grammar allows next
    decoding.py    batched generation, one adapter per row
"""
