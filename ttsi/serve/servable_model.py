"""A model as the server needs it.

Inputs: a loaded model, ours or the user's own. Outputs: a `ServableModel`, or one line with what it lacks. A model of
the user's own needs the members of `Model` only: one that does not hash its weights, count tokens or keep anything
between calls has an empty hash, no tokens and nothing to forget.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ttsi.models import Model, ModelWrapper, as_model, check_speaker
from ttsi.types import Prompt


@runtime_checkable
class ServableModel(Model, Protocol):
    """A model that can be served."""

    def weights_sha256(self) -> str:
        """SHA-256 (hex) of the base weights as they are now."""
        ...

    def prompt_tokens(self, prompt: Prompt) -> int:
        """The length of a prompt in tokens."""
        ...

    def forget(self) -> None:
        """Drop all that is cached between calls."""
        ...


def as_servable(model: Model, spec: str) -> ServableModel:
    """The model with all that the server needs.

    Raises:
        ConfigError: it can only write, or it, or the model behind it, lacks what every model has.
    """
    check_speaker(spec)
    model = as_model(model)
    return model if isinstance(model, ServableModel) else ModelWrapper(model)
