"""The engine: many LoRA adapters attached to one model, trained together, decoded at once, exported in PEFT's format.

    with attach(model, slots=16, config=EngineConfig(rank=8)) as adapters:
        reports = train(adapters, [TrainingJob(slot, examples) for slot, examples in enumerate(data)], EngineConfig())
        answers = decode(model, [DecodingRow(prompt, 32, slot=slot) for slot in range(16)], stack=adapters)
        adapters.save(3, "adapter-3")

Inputs: a module with linear layers, token ids (or a loss of one's own), slots of adapters, settings. Outputs: adapters,
token ids, log-probabilities, losses. Text, templates and tool calls stay above it (`ttsi.models.local`); it imports
nothing of ttsi but its errors, and with `models` it is the only folder that imports torch. The paper
(arXiv:2510.07841) adapts one input at a time; here a batch of inputs shares each forward pass and every row keeps its
own adapter, its own random numbers and its own result. docs/engine.md has more.

    attachment.py      adapters on a model for the length of a `with` block
    engine_config.py   the settings
    lora.py            many adapters in one model
    targets.py         which layers get adapters
    checkpoint.py      the state of a long training, for one that is interrupted
    training.py        training: causal language models, or any module with a loss of one's own
    training_job.py    what one adapter learns
    step_loss.py       the loss of a training step
    distillation.py    the base with a longer prompt as the teacher
    held_back.py       the choice of the step by held-back examples
    optimizer.py       AdamW for many adapters, each as if it were alone
    objective.py       one loss per adapter from log-probabilities
    schedule.py        the learning rate of each step
    step_rows.py       the rows of a training step, and what the base has read of them
    loss_guard.py      reject an adapter whose training went wrong
    decoding.py        batched decoding, one adapter per row
    constraint.py      grammar masks
    loglikelihood.py   log-likelihood of many continuations
    prefix.py          prefix cache and prefilling
    packing.py         sequences that begin alike in one row, exactly
    attention.py       attention of packed rows on a CPU
    decoding_attention.py  attention of a few new tokens on a CPU
    token_logprobs.py  log-probabilities of labels without fp32 copies of the logits
    int8_linear.py     frozen linear layers with int8 weights
    peft_folder.py     the folder of one adapter in PEFT's format
    repetition.py      endless repetition in greedy decoding
    forced_tokens.py   tokens that a grammar leaves no choice about
    batching.py        batches under a token budget, out-of-memory back-off
    free_memory.py     freed memory given back to the system
    windows.py         attention windows
    caching.py         the name of transformers' cache argument
    anatomy.py         decoder and head of a language model
    architecture.py    the engine beside the model's own forward pass
    checksum.py        checksums of the base's weights
"""

from __future__ import annotations

from ttsi.engine.attachment import attach
from ttsi.engine.constraint import Grammars
from ttsi.engine.decoding import Decoded, DecodingRow, decode
from ttsi.engine.engine_config import EngineConfig
from ttsi.engine.int8_linear import to_int8
from ttsi.engine.loglikelihood import continuation_logprobs
from ttsi.engine.lora import LoraStack
from ttsi.engine.objective import Objective, cross_entropy
from ttsi.engine.optimizer import TrainReport
from ttsi.engine.training import train, train_with_loss
from ttsi.engine.training_job import TrainingJob

__all__ = [
    "Decoded",
    "DecodingRow",
    "EngineConfig",
    "Grammars",
    "LoraStack",
    "Objective",
    "TrainReport",
    "TrainingJob",
    "attach",
    "continuation_logprobs",
    "cross_entropy",
    "decode",
    "to_int8",
    "train",
    "train_with_loss",
]
