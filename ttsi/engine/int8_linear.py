"""Frozen linear layers with int8 weights: half the memory of bfloat16, up to twice as fast for few tokens.

    W[o, i] = scale[o] * q[o, i]        q = round(W / scale), scale[o] = max_i |W[o, i]| / 127

One scale per output, so that rounding to the nearest errs by at most a 254th of a row's largest weight. Activations are
bfloat16, sums fp32. Up to `MAX_PACKED_TOKENS` tokens (a decoding step) torch's int8 kernel reads the weights as they
are. More tokens are multiplied with bfloat16 weights that live for this product only, in the backward pass, too. The
layer is frozen: gradients flow to its input, adapters are added as on any other (`ttsi.engine.lora`).

Inputs: a language model of transformers with bfloat16 weights. Outputs: the same model, its linear layers and
vocabulary head in int8. Embeddings, norms, routers and stacked experts stay as they are. The paper (arXiv:2510.07841)
keeps the base in the model's own precision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ttsi.engine.anatomy import head_of
from ttsi.engine.targets import linear_at, replace_layer, target_names
from ttsi.errors import ModelError

MAX_PACKED_TOKENS = 16
"""Tokens up to which torch's int8 kernel is the faster one on a CPU."""
PACKED_MULTIPLE = 32
"""Inputs per layer must be a multiple of this for that kernel, which else reads behind the end of a row."""
LARGEST = 127


class Int8Linear(nn.Linear):
    """A frozen linear layer with int8 weights [out, in] and one bfloat16 scale per output."""

    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        """Quantise the weights of a layer, which is left as it was.

        Raises:
            ModelError: a weight is not finite.
        """
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight_DE, scale_D = int8_weights(linear.weight.detach())
        self.weight = nn.Parameter(weight_DE, requires_grad=False)
        self.bias = linear.bias
        self.register_buffer("scale", scale_D)

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output [..., out], bfloat16."""
        tokens = input.numel() // max(1, self.in_features)
        if self._packs(input, tokens):
            flat_ND = input.reshape(tokens, self.in_features)
            out_ND: Tensor = torch._weight_int8pack_mm(flat_ND, self.weight, self.scale)
            out = out_ND.view(*input.shape[:-1], self.out_features)
        else:
            out = _Product.apply(input, self.weight, self.scale)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias

    def _packs(self, input: Tensor, tokens: int) -> bool:
        return (
            0 < tokens <= MAX_PACKED_TOKENS
            and input.device.type == "cpu"
            and input.dtype == torch.bfloat16
            and self.in_features % PACKED_MULTIPLE == 0
            and not (torch.is_grad_enabled() and input.requires_grad)
        )


class _Product(torch.autograd.Function):
    """x W^T, with W in bfloat16 for the moment of the product only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_DE: Tensor, scale_D: Tensor) -> Tensor:
        ctx.save_for_backward(weight_DE, scale_D)
        return torch.nn.functional.linear(x, weight_DE * scale_D[:, None])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        weight_DE, scale_D = ctx.saved_tensors
        return grads[0] @ (weight_DE * scale_D[:, None]), None, None


def int8_weights(weight_DE: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 weights [out, in], bfloat16 scales [out]).

    Raises:
        ModelError: a weight is not finite.
    """
    exact_DE = weight_DE.float()
    if not bool(torch.isfinite(exact_DE).all()):
        raise ModelError("its weights are not all finite, so that int8 cannot hold them")
    scale_D = (exact_DE.abs().amax(dim=1) / LARGEST).to(torch.bfloat16)
    # Divided by the scale as it is kept. Where that was rounded down, the largest weights are clamped.
    steps_D = scale_D.float().clamp_min(torch.finfo(torch.bfloat16).tiny)
    return (exact_DE / steps_D[:, None]).round_().clamp_(-LARGEST, LARGEST).to(torch.int8), scale_D


@torch.no_grad()
def to_int8(model: PreTrainedModel) -> PreTrainedModel:
    """The same model, with the linear layers of its language model and its head in int8; one layer after another.

    Raises:
        ModelError: it has no linear layer, or a weight is not finite.
    """
    for name in target_names(model):
        replace_layer(model, name, Int8Linear(linear_at(model, name)))
    model.set_output_embeddings(Int8Linear(head_of(model)))
    return model


def is_int8(model: PreTrainedModel) -> bool:
    """Whether its linear layers hold int8 weights, adapters attached or not."""
    return any(isinstance(module, Int8Linear) for module in model.modules())
