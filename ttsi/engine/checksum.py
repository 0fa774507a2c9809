"""Have the base's weights changed, asked after every batch?

Inputs: a model. Outputs: one 64-bit number over all parameters and buffers, computed where they lie. Per tensor it is
the sum of its bits, read as whole numbers, times their position (1, 2, 3, ...), so that two changes cannot cancel by
swapping; the tensor's name seeds its part. It sees a merge and unmerge of an adapter, which `tensor._version` does not
see. For an answer that stands up to intent, use SHA-256 (`ttsi.engine.lora.weights_sha256`).

Not in the paper (arXiv:2510.07841).
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor
from transformers import PreTrainedModel

CHUNK = 1 << 22
"""Elements widened to 64 bits at a time: 64 MiB beside the model, whatever its size."""
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ODD = 0x9E3779B97F4A7C15


@torch.no_grad()
def weights_checksum(model: PreTrainedModel) -> int:
    """A 64-bit checksum of all parameters and buffers; the same whether adapters are attached or not."""
    total = 0
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        # An attached adapter wraps its layer (`ttsi.engine.lora.AdaptedLinear`), which shows in the name only.
        seed = zlib.crc32(name.replace(".frozen.", ".").encode())
        total += (_weighted_sum(tensor) + seed) * (2 * seed + 1) * _ODD
    return total % 2**64


def _weighted_sum(tensor: Tensor) -> int:
    flat_N = tensor.detach().contiguous().reshape(-1)
    bits_N = flat_N.view(_WHOLE[flat_N.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for start in range(0, len(bits_N), CHUNK):
        part_N = bits_N[start : start + CHUNK].to(torch.int64)
        position_N = torch.arange(start + 1, start + 1 + len(part_N), device=tensor.device)
        total += (part_N * position_N).sum()  # wraps round at 2**64, as a checksum may
    return int(total)
