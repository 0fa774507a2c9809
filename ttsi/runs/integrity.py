"""Integrity of the base weights: the same bits as at the start of the run.

Inputs: a model. Outputs: nothing while its weights are unchanged, a `ModelError` as soon as they are not. After every
batch, before its rows are recorded, a checksum weighted by position is compared (milliseconds; it sees a merged and
unmerged adapter, which PyTorch's version counters do not). At the end of the run the full SHA-256 is compared.
"""

from __future__ import annotations

from ttsi.errors import ModelError
from ttsi.models import HasLocalWeights, Model


class WeightsIntegrity:
    """A model's checksums at the start of a run; a scripted or remote model has no weights to check."""

    def __init__(self, model: Model) -> None:
        self._model = model if isinstance(model, HasLocalWeights) else None
        if self._model is not None:
            self._checksum, self._sha256 = self._model.weights_checksum(), self._model.weights_sha256()

    def check(self) -> None:
        """Compare the checksum.

        Raises:
            ModelError: the weights have changed.
        """
        if self._model is not None and self._model.weights_checksum() != self._checksum:
            raise ModelError(_CHANGED)

    def check_fully(self) -> None:
        """Compare the SHA-256.

        Raises:
            ModelError: the weights have changed.
        """
        if self._model is not None and self._model.weights_sha256() != self._sha256:
            raise ModelError(_CHANGED)


_CHANGED = (
    "the base weights are not what they were at the start: this batch was not recorded. Go on with --resume; if it "
    "happens again, report it with the output of `ttsi env`"
)
