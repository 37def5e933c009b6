"""The head that turns features into quantiles which cannot cross; relies on Keras alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_rank
from tsfusion.components._math import linear

__all__ = ["QuantileHead"]

Shape = tuple[Any, ...]


@register
class QuantileHead(Layer):
    r"""``y[m] = z[m]``, ``y[j] = y[j-1] + softplus(z[j])`` above, and downwards likewise below.

    Below the middle ``y[j] = y[j+1] - softplus(z[j])``. ``x (B, H, D)``; ``z = x W + b (B, H, Q)``
    with ``W (D, Q)``; ``m`` the level nearest 0.5; result ``(B, H, Q)`` in float32, never
    decreasing along Q, whatever the weights. The bias starts at the quantiles of the standard
    normal law, for targets come scaled.

    Parameters
    ----------
    levels : sequence of float
        Increasing levels in (0, 1).
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import QuantileHead
    >>> quantiles = QuantileHead([0.1, 0.5, 0.9])(np.ones((2, 4, 8), "float32"))
    >>> tuple(quantiles.shape)
    (2, 4, 3)
    """

    def __init__(self, levels: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = check_levels(type(self).__name__, "levels", levels)
        self.supports_masking = True

    @property
    def middle(self) -> int:
        """Index of the level nearest 0.5."""
        return int(np.argmin(np.abs(np.asarray(self.levels) - 0.5)))

    def build(self, input_shape: Shape) -> None:
        """Create the linear map to one value for each level."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, H, D)")
        levels = len(self.levels)
        self.kernel = self.add_weight(
            shape=(input_shape[-1], levels), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(levels,), initializer=self._start, name="bias")
        self.built = True

    def _start(self, shape: Shape, dtype: Any = None) -> Any:
        normal = np.asarray([NormalDist().inv_cdf(level) for level in self.levels])
        steps = np.abs(np.diff(normal))
        inverse_softplus = np.log(np.expm1(steps))
        m = self.middle
        start = np.concatenate([inverse_softplus[:m], normal[m : m + 1], inverse_softplus[m:]])
        return ops.cast(start.astype("float32"), dtype)

    def call(self, inputs: Any) -> Any:
        """Return the quantiles, ``(B, H, Q)`` float32."""
        z = ops.cast(linear(inputs, self.kernel, self.bias), "float32")
        m = self.middle
        middle = z[..., m : m + 1]
        parts = [middle]
        if m > 0:
            steps = ops.flip(ops.softplus(z[..., :m]), axis=-1)
            parts.insert(0, ops.flip(middle - ops.cumsum(steps, axis=-1), axis=-1))
        if m + 1 < len(self.levels):
            parts.append(middle + ops.cumsum(ops.softplus(z[..., m + 1 :]), axis=-1))
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the quantiles."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, H, D)")
        return (*input_shape[:-1], len(self.levels))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Return the symbolic quantiles."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "levels": list(self.levels)}


def check_levels(owner: str, name: str, levels: Sequence[float]) -> list[float]:
    """Return the levels as floats, or raise ``ValueError`` unless they increase within (0, 1)."""
    try:
        values = [float(level) for level in levels]
    except (TypeError, ValueError):
        values = []
    inside = all(0 < value < 1 for value in values)
    if not values or not inside or any(b <= a for a, b in pairwise(values)):
        raise ValueError(
            f"{owner}: expected `{name}` to be increasing numbers in (0, 1), received {levels!r}."
        )
    return values
