"""Checksums of a model's weights: a fast one after every batch, and SHA-256.

Inputs: a model. Outputs: `weights_checksum`, one 64-bit number over all parameters and buffers, computed where they
lie: per tensor the sum of its bits, read as integers, times their positions (1, 2, 3, ...), so that two changes cannot
cancel by swapping; the tensor's name seeds its part. It sees an adapter that was merged and unmerged, which
`tensor._version` does not. `weights_sha256` stands up to intent, too. Attached adapters change neither;
`adapter_sha256` identifies one of them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

CHUNK = 1 << 22
"""Elements widened to 64 bits at a time: 64 MiB beside the model, whatever its size."""
SAMPLED = 16
"""Numbers of each tensor that a fingerprint looks at."""
WRAPPED = ".frozen."
"""An attached adapter wraps its layer (`ttsi.engine.lora.AdaptedLinear`), which shows in the tensors' names only."""
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ODD = 0x9E3779B97F4A7C15


@torch.no_grad()
def weights_checksum(model: nn.Module) -> int:
    """A 64-bit checksum of all parameters and buffers; the same whether adapters are attached or not."""
    total = 0
    for name, tensor in _tensors(model):
        seed = zlib.crc32(name.encode())
        total += (_weighted_sum(tensor) + seed) * (2 * seed + 1) * _ODD
    return total % 2**64


def _weighted_sum(tensor: Tensor) -> int:
    flat_N = tensor.detach().contiguous().reshape(-1)
    bits_N = flat_N.view(_INTEGERS[flat_N.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for start in range(0, len(bits_N), CHUNK):
        part_N = bits_N[start : start + CHUNK].to(torch.int64)
        position_N = torch.arange(start + 1, start + 1 + len(part_N), device=tensor.device)
        total += (part_N * position_N).sum()  # wraps round at 2**64, as a checksum may
    return int(total)


@torch.no_grad()
def weights_fingerprint(model: nn.Module) -> int:
    """A number that changes when an adapter is merged or training changes the weights, at little cost.

    It looks at `SAMPLED` numbers of each tensor, spread evenly, so it does not see a change of one number.
    """
    samples: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for _, tensor in _tensors(model):
        flat_N = tensor.detach().reshape(-1)
        sample_S = flat_N[:: max(1, len(flat_N) // SAMPLED)][:SAMPLED]
        samples.setdefault((tensor.device, tensor.dtype), []).append(sample_S)
    # In one transfer per type, and converted on the CPU: Apple's GPUs have no float64.
    parts = [torch.cat(group).cpu().double() for group in samples.values()]
    return zlib.crc32(torch.cat(parts).numpy().tobytes()) if parts else 0


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes of all parameters and buffers, in the order of their names.

    The same whether adapters are attached or not.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(model), key=lambda pair: pair[0]):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def adapter_sha256(values_P: Tensor) -> str:
    """SHA-256 (hex) of an adapter's numbers (`LoraStack.values_SP`), fp32 and in their order."""
    return hashlib.sha256(values_P.detach().float().cpu().contiguous().numpy().data).hexdigest()


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        yield name.replace(WRAPPED, "."), tensor
