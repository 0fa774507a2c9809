"""The model of `ttsi ask` where none is named.

Inputs: the packages that are installed. Outputs: a model spec, "smollm2" (a real model) or else "embedded", and why.
Nothing is loaded or imported. A run has no such default: it takes "embedded" everywhere, so that a command means the
same on every machine.
"""

from __future__ import annotations

from ttsi.models import gguf

ASK_SETTINGS = {"smollm2": {"answer.calls": "required"}}
"""Settings of `ttsi ask` for a model. SmolLM2-135M was never trained to call: where words are allowed it makes none."""


def default_model() -> tuple[str, str]:
    """A model that can be loaded here.

    Returns:
        Its spec; and why it is not "smollm2", in one line that ends with how to install that, or "".
    """
    if gguf.smollm2_file() is not None and not gguf.absent_packages():
        return "smollm2", ""
    return "embedded", f"smollm2 is not installed: {gguf.SMOLLM2_INSTALL}"
