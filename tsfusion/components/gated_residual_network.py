"""The gated residual network of the Temporal Fusion Transformer; relies on Keras alone."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rate
from tsfusion.components._math import by_rows, layer_normalize, linear
from tsfusion.components.gated_linear_unit import GatedLinearUnit

__all__ = ["GatedResidualNetwork"]

Shape = tuple[Any, ...]


@register
class GatedResidualNetwork(Layer):
    r"""``GRN(a, c) = LayerNorm(a + GLU(eta1))``, one hidden layer behind a gate.

    ``eta2 = ELU(a W2 + b2 + c W3)`` and ``eta1 = eta2 W1 + b1``, with ``a (B, T, D)`` or
    ``(B, D)``, the optional context ``c (B, Dc)``, which holds at every step,
    ``W2 (D, hidden_size)``, ``W3 (Dc, hidden_size)`` and ``W1 (hidden_size, hidden_size)``. The
    result is ``(..., output_size)``; where ``D`` differs from it, ``a`` is projected before it is
    added.

    Parameters
    ----------
    hidden_size : int
        Width of the hidden layer.
    output_size : int, optional
        Width of the result; by default ``hidden_size``.
    dropout_rate : float, default=0.0
        Share of the features of ``eta1`` dropped in training, at all steps at once.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021), equations 2-4.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import GatedResidualNetwork
    >>> layer = GatedResidualNetwork(8, output_size=3)
    >>> steps, context = np.ones((2, 5, 4), "float32"), np.ones((2, 6), "float32")
    >>> tuple(layer(steps, context=context).shape)
    (2, 5, 3)
    """

    def __init__(
        self,
        hidden_size: int,
        output_size: int | None = None,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.hidden_size = check_positive_int(owner, "hidden_size", hidden_size)
        if output_size is not None:
            output_size = check_positive_int(owner, "output_size", output_size)
        self.output_size = output_size
        self.dropout_rate = check_rate(owner, "dropout_rate", dropout_rate)
        self.hidden_dense = keras.layers.Dense(
            self.hidden_size, name="hidden_dense", dtype=self.dtype_policy
        )
        self.linear_dense = keras.layers.Dense(
            self.hidden_size, name="linear_dense", dtype=self.dtype_policy
        )
        self.gate = GatedLinearUnit(
            self._width, self.dropout_rate, name="gate", dtype=self.dtype_policy
        )
        self.supports_masking = True

    @property
    def _width(self) -> int:
        return self.hidden_size if self.output_size is None else self.output_size

    def build(self, inputs_shape: Shape, context_shape: Shape | None = None) -> None:
        """Create the weights; those of the context only if there is one."""
        self._check_shapes(inputs_shape, context_shape)
        hidden_shape = (*inputs_shape[:-1], self.hidden_size)
        self.hidden_dense.build(inputs_shape)
        self.context_kernel = None
        if context_shape is not None:
            self.context_kernel = self.add_weight(
                shape=(context_shape[-1], self.hidden_size),
                initializer="glorot_uniform",
                name="context_kernel",
            )
        self.linear_dense.build(hidden_shape)
        self.gate.build(hidden_shape)
        self.skip_kernel = None
        if inputs_shape[-1] != self._width:
            self.skip_kernel = self.add_weight(
                shape=(inputs_shape[-1], self._width),
                initializer="glorot_uniform",
                name="skip_kernel",
            )
            self.skip_bias = self.add_weight(
                shape=(self._width,), initializer="zeros", name="skip_bias"
            )
        self.gamma = self.add_weight(shape=(self._width,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(self._width,), initializer="zeros", name="beta")
        self.built = True

    def call(self, inputs: Any, context: Any | None = None, training: bool | None = None) -> Any:
        """Return the network's answer, ``(..., output_size)``."""
        hidden = by_rows(self.hidden_dense, inputs)
        if (context is None) != (self.context_kernel is None):
            raise ValueError(
                f"{type(self).__name__}: expected a call "
                f"{'without' if self.context_kernel is None else 'with'} `context`, as the layer "
                f"was built, received one {'without' if context is None else 'with'} it."
            )
        if context is not None:
            shift = ops.matmul(context, self.context_kernel)
            hidden = hidden + (shift if len(inputs.shape) == 2 else shift[:, None, :])
        gated = self.gate(by_rows(self.linear_dense, ops.elu(hidden)), training=training)
        if self.skip_kernel is not None:
            inputs = linear(inputs, self.skip_kernel, self.skip_bias)
        return layer_normalize(inputs + gated, self.gamma, self.beta)

    def compute_output_shape(
        self, inputs_shape: Shape, context_shape: Shape | None = None
    ) -> Shape:
        """Return the shape of the result."""
        self._check_shapes(inputs_shape, context_shape)
        return (*inputs_shape[:-1], self._width)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "output_size": self.output_size,
            "dropout_rate": self.dropout_rate,
        }

    def _check_shapes(self, inputs_shape: Shape, context_shape: Shape | None) -> None:
        owner = type(self).__name__
        if len(inputs_shape) not in (2, 3) or inputs_shape[-1] is None:
            raise ValueError(
                f"{owner}: expected `inputs` of shape (B, T, D) or (B, D) with a known last axis, "
                f"received shape {tuple(inputs_shape)}."
            )
        if context_shape is not None and (len(context_shape) != 2 or context_shape[-1] is None):
            raise ValueError(
                f"{owner}: expected `context` of shape (B, D) with a known last axis, "
                f"received shape {tuple(context_shape)}."
            )
