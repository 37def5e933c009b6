"""Losses of quantile forecasts; rely on Keras alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import register

__all__ = ["PinballLoss"]


@register
class PinballLoss(keras.losses.Loss):
    r"""Pinball (quantile) loss, averaged over levels.

    .. math:: L(y, \hat y) = \frac{2}{Q} \sum_q \max(\tau_q (y - \hat y_q),
        (\tau_q - 1)(y - \hat y_q))

    with the factor 2 of GluonTS and fev, so that the loss of the median alone is the absolute
    error.

    Parameters
    ----------
    levels : sequence of float
        The quantile levels, each in (0, 1); shape (Q,).
    **kwargs
        ``name``, ``reduction`` and ``dtype`` of `keras.losses.Loss`.

    References
    ----------
    Koenker and Bassett (1978), "Regression Quantiles", Econometrica 46(1).

    Examples
    --------
    >>> import numpy as np
    >>> loss = PinballLoss([0.5], reduction="none")
    >>> np.asarray(loss(np.array([[3.0]]), np.array([[[1.0]]]))).round(3).tolist()
    [[2.0]]
    """

    def __init__(self, levels: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**{"name": "pinball", **kwargs})
        self.levels = tuple(float(level) for level in levels)
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise ValueError(f"PinballLoss: expected levels in (0, 1), received levels={levels!r}.")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss; ``y_true`` is (B, H) or (B, H, 1), ``y_pred`` (B, H, Q)."""
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == 2:
            y_true = ops.expand_dims(y_true, -1)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each step, (B, H)."""
        levels = ops.convert_to_tensor(np.asarray(self.levels), dtype=y_pred.dtype)
        error = ops.cast(y_true, y_pred.dtype) - y_pred
        return 2 * ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "levels": list(self.levels)}
