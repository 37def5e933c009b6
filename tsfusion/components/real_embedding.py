"""The embedding of real variables; relies on Keras alone."""

from __future__ import annotations

from typing import Any

from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank
from tsfusion.components._math import glorot

__all__ = ["RealEmbedding"]

Shape = tuple[Any, ...]


@register
class RealEmbedding(Layer):
    r"""``e[..., v, :] = x[..., v] * kernel[v] + bias[v]``, a direction for each real variable.

    ``x (B, T, V)``; ``kernel, bias (V, units)``; result ``(B, T, V, units)``.

    Parameters
    ----------
    units : int
        Width of a variable's embedding.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021), section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import RealEmbedding
    >>> tuple(RealEmbedding(4)(np.ones((2, 5, 3), "float32")).shape)
    (2, 5, 3, 4)
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = check_positive_int(type(self).__name__, "units", units)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Create a vector and a bias for each variable."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, T, V)")
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, initializer=glorot(1, self.units), name="kernel")
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the embeddings, ``(B, T, V, units)``."""
        return ops.expand_dims(inputs, -1) * self.kernel + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the embeddings."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, T, V)")
        return (*input_shape, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units}
