"""Scaling of each window by its own level and spread; relies on Keras alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_rank

__all__ = ["InstanceScaling"]

Shape = tuple[Any, ...]

METHODS = ("standard", "robust")
# The interquartile range of the standard normal law: both methods then agree on normal values.
NORMAL_IQR = 1.3489795
# Float32 holds 1.2e-7 of a value's size; its squares and those of smaller scales must not vanish.
TINY = 1e-15


@register
class InstanceScaling(Layer):
    r"""``z[b, t, v] = (x[b, t, v] - loc[b, v]) / scale[b, v]``, with each window's own statistics.

    ``x (B, T, V)`` and an optional mask ``(B, T, V)`` of what is known; ``loc, scale (B, 1, V)`` in
    float32: the mean and standard deviation over the known steps (``"standard"``), or the median
    and the interquartile range divided by 1.349 (``"robust"``). Where nothing is known, ``z`` is 0.

    A window whose spread is no more than ``epsilon`` times its largest size is constant but
    for rounding: it takes ``fallback_scale`` (say, the series' own), or ``max(|loc|, 1)``, of which
    no value is smaller than the noise, and keeps its own ``loc``, so that it becomes zeros. Where
    nothing is known, both come from the fallbacks, or are 0 and 1. A robust spread of zero in a
    window that is not constant (more than half of the values are equal) gives way to the
    standard one. ``scale`` is always positive and finite.

    A few values say little of their spread. With ``prior_steps`` p, the spread of a window of n
    known values is drawn to its fallback, as if p more values had that spread:

    .. math:: s = \sqrt{(n s_{window}^2 + p s_{fallback}^2) / (n + p)}

    Parameters
    ----------
    method : {"standard", "robust"}, default="standard"
        Which statistics.
    epsilon : float, default=1e-5
        Spread, relative to the largest absolute value, up to which a window is constant.
    prior_steps : float, default=0
        How many values the fallback of the scale counts for.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import InstanceScaling
    >>> layer = InstanceScaling()
    >>> x = np.array([[[1.0], [2.0], [3.0]]], "float32")
    >>> z, loc, scale = layer(x)
    >>> bool(np.allclose(layer.inverse(z, loc, scale), x))
    True
    """

    def __init__(
        self, method: str = "standard", epsilon: float = 1e-5, prior_steps: float = 0.0,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        # Statistics of values already rounded to bfloat16 would be those of other values.
        kwargs["autocast"] = False
        super().__init__(**kwargs)
        owner = type(self).__name__
        if method not in METHODS:
            raise ValueError(
                f"{owner}: expected `method` to be one of {METHODS}, received {method!r}."
            )
        number = isinstance(epsilon, (int, float, np.number)) and not isinstance(epsilon, bool)
        if not number or not 0 < epsilon < 1:
            raise ValueError(
                f"{owner}: expected `epsilon` to be a number in (0, 1), received {epsilon!r}."
            )
        self.method = method
        number = isinstance(prior_steps, (int, float, np.number))
        if not number or not 0 <= prior_steps < float("inf"):
            raise ValueError(
                f"{owner}: expected `prior_steps` to be a number >= 0, received {prior_steps!r}."
            )
        self.epsilon = float(epsilon)
        self.prior_steps = float(prior_steps)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Check the shape; there are no weights."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, T, V)")
        self.built = True

    def call(
        self,
        inputs: Any,
        mask: Any | None = None,
        inputs_mask: Any | None = None,
        fallback_loc: Any | None = None,
        fallback_scale: Any | None = None,
    ) -> tuple[Any, Any, Any]:
        """Return the scaled values, their location and their scale.

        Parameters
        ----------
        inputs : tensor (B, T, V)
            The values; those not known may be anything, NaN too.
        mask, inputs_mask : bool tensor (B, T, V) or (B, T), optional
            True for what is known. What is not finite is never known.
        fallback_loc, fallback_scale : tensor (B, V), optional
            What to take where the window itself does not tell; the scale positive.

        Returns
        -------
        tuple of tensors (B, T, V), and float32 (B, 1, V) and (B, 1, V)
        """
        mask = inputs_mask if mask is None else mask
        x = ops.cast(inputs, "float32")
        known = ops.isfinite(x)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            known = known & (mask[:, :, None] if len(mask.shape) == 2 else mask)
        x = ops.where(known, x, 0.0)
        # Everything is computed on values of size one: squares of 1e30 would overflow.
        size = ops.maximum(ops.max(ops.abs(x), axis=1, keepdims=True), TINY)
        loc, spread = self._statistics(x / size, known)
        some = ops.any(known, axis=1, keepdims=True)
        constant = ops.logical_not(some & (spread > self.epsilon))
        loc = loc * size
        if fallback_loc is not None:
            loc = ops.where(some, loc, _row(fallback_loc))
        if fallback_scale is None:
            rest = ops.maximum(ops.abs(loc), 1.0)
        else:
            rest = ops.maximum(_row(fallback_scale), TINY)
        scale = ops.where(constant, rest, ops.maximum(spread * size, TINY * self.epsilon))
        if self.prior_steps:
            count = ops.sum(ops.cast(known, "float32"), axis=1, keepdims=True)
            share = self.prior_steps / (count + self.prior_steps)
            # Of the larger of the two, so that no square overflows.
            large = ops.maximum(scale, rest)
            scale = large * ops.sqrt(
                (1 - share) * ops.square(scale / large) + share * ops.square(rest / large)
            )
        scaled = ops.where(known, (x - loc) / scale, 0.0)
        return ops.cast(scaled, self.compute_dtype), loc, scale

    def _statistics(self, x: Any, known: Any) -> tuple[Any, Any]:
        weights = ops.cast(known, "float32")
        count = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
        mean = ops.sum(x * weights, axis=1, keepdims=True) / count
        squares = ops.sum(ops.square((x - mean) * weights), axis=1, keepdims=True) / count
        # The root's slope at zero is infinite, and would make a constant window's gradient NaN.
        positive = squares > 0
        spread = ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0)
        if self.method == "standard":
            return mean, spread
        ordered = ops.sort(ops.where(known, x, float("inf")), axis=1)
        low, middle, high = (_quantile(ordered, count, level) for level in (0.25, 0.5, 0.75))
        robust = (high - low) / NORMAL_IQR
        return middle, ops.where(robust > self.epsilon, robust, spread)

    def inverse(self, y: Any, loc: Any, scale: Any) -> Any:
        """Return values in the window's own units, ``y * scale + loc``, in float32.

        Parameters
        ----------
        y : tensor (B, H, V)
            Scaled values.
        loc, scale : tensor (B, 1, V)
            As returned by the call.
        """
        return ops.cast(y, "float32") * ops.cast(scale, "float32") + ops.cast(loc, "float32")

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape, Shape]:
        """Return the shapes of the scaled values, location and scale."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, T, V)")
        row = (input_shape[0], 1, input_shape[2])
        return tuple(input_shape), row, row

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the symbolic scaled values, location and scale."""
        shape, row, _ = self.compute_output_shape(inputs.shape)
        return (
            keras.KerasTensor(shape, dtype=self.compute_dtype),
            keras.KerasTensor(row, dtype="float32"),
            keras.KerasTensor(row, dtype="float32"),
        )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the steps at which anything is known."""
        if previous_mask is None or len(previous_mask.shape) == 2:
            return previous_mask
        return ops.any(previous_mask, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "method": self.method,
            "epsilon": self.epsilon,
            "prior_steps": self.prior_steps,
        }


def _row(values: Any) -> Any:
    return ops.cast(values, "float32")[:, None, :]


def _quantile(ordered: Any, count: Any, level: float) -> Any:
    """Return the linearly interpolated quantile of the first ``count`` of sorted values."""
    place = (count - 1) * level
    below = ops.floor(place)
    low = ops.take_along_axis(ordered, ops.cast(below, "int32"), axis=1)
    high = ops.take_along_axis(ordered, ops.cast(ops.ceil(place), "int32"), axis=1)
    # Where nothing is known both are infinite, and their difference would be NaN.
    low = ops.where(ops.isfinite(low), low, 0.0)
    high = ops.where(ops.isfinite(high), high, 0.0)
    return low + (high - low) * (place - below)
