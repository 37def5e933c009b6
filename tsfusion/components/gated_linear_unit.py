"""The gated linear unit of the Temporal Fusion Transformer; relies on Keras alone."""

from __future__ import annotations

from typing import Any

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rate
from tsfusion.components._math import TimeSharedDropout, gate, glorot, linear

__all__ = ["GatedLinearUnit"]

Shape = tuple[Any, ...]


@register
class GatedLinearUnit(Layer):
    r"""``GLU(x) = sigmoid(x W4 + b4) * (x W5 + b5)``.

    ``x (..., D)``; ``W4, W5 (D, units)``; ``b4, b5 (units,)``; result ``(..., units)``.
    Both halves come from one product with ``kernel = [W4, W5]``.

    Parameters
    ----------
    units : int
        Width of the result.
    dropout_rate : float, default=0.0
        Share of the features of ``x`` dropped in training; of an input with a time axis a
        feature is dropped at all steps at once.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021), equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import GatedLinearUnit
    >>> tuple(GatedLinearUnit(4)(np.ones((2, 3, 5), "float32")).shape)
    (2, 3, 4)
    """

    def __init__(self, units: int, dropout_rate: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        self.dropout_rate = check_rate(owner, "dropout_rate", dropout_rate)
        self.dropout = TimeSharedDropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create the two matrices side by side."""
        self._check_shape(input_shape)
        width = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(width, 2 * self.units), initializer=glorot(width, self.units), name="kernel"
        )
        self.bias = self.add_weight(shape=(2 * self.units,), initializer="zeros", name="bias")
        self.dropout.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the gated values, ``(..., units)``."""
        x = self.dropout(inputs, training=training)
        return gate(linear(x, self.kernel, self.bias))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the result."""
        self._check_shape(input_shape)
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "dropout_rate": self.dropout_rate,
        }

    def _check_shape(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[-1] is None:
            raise ValueError(
                f"{type(self).__name__}: expected `inputs` of shape (..., D) with a known last "
                f"axis, received shape {tuple(shape)}."
            )
