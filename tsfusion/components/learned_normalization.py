"""Normalisation by statistics that are taken from data and then learned further."""

from __future__ import annotations

import numbers
from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import Layer, register

__all__ = ["LearnedNormalization"]


def _inverse_softplus(value: np.ndarray) -> np.ndarray:
    # log(exp(v) - 1), written so that a large v does not overflow.
    return value + np.log(-np.expm1(-value))


@register
class LearnedNormalization(Layer):
    r"""Normalise each feature by a learned mean and a learned standard deviation.

    .. math::

        Z = \frac{X - \mu}{\sigma}, \qquad \sigma = \mathrm{softplus}(\rho) + \epsilon

    with :math:`X` (..., D) the input, :math:`\mu` (D,) and :math:`\rho` (D,) trainable, and
    :math:`Z` of the shape of :math:`X`. Whatever training does to :math:`\rho`, :math:`\sigma` is
    above :math:`\epsilon`: no division by zero and no change of sign.

    Parameters
    ----------
    epsilon : float
        Lower bound of the standard deviation, > 0.
    **kwargs
        Keywords of `keras.layers.Layer`, such as ``name`` and ``dtype``.

    Raises
    ------
    ValueError
        If ``epsilon`` is not a finite number > 0, the input has no known last axis, or `adapt`
        gets data of another width.

    Notes
    -----
    The layer starts as the identity (mean 0, standard deviation 1). `adapt` sets both from data;
    training moves them from there. The arithmetic is done in the dtype of the weights, since in
    half precision the difference of two large numbers is mostly rounding. Masks pass through; NaN
    in, NaN out.

    References
    ----------
    Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing",
    NeurIPS 2000, for softplus as a positive parametrisation.

    Examples
    --------
    >>> import numpy as np
    >>> from keras import ops
    >>> from tsfusion.components import LearnedNormalization
    >>> x = np.array([[[1.0, 10.0], [3.0, 30.0]], [[5.0, np.nan], [7.0, 50.0]]])
    >>> norm = LearnedNormalization()
    >>> norm.adapt(x)
    >>> ops.convert_to_numpy(norm.mean).astype("float64").round(3).tolist()
    [4.0, 30.0]
    >>> ops.convert_to_numpy(norm.std).astype("float64").round(3).tolist()
    [2.236, 16.33]
    >>> tuple(norm(x).shape)
    (2, 2, 2)
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        valid = isinstance(epsilon, numbers.Real) and not isinstance(epsilon, bool)
        if not valid or not 0 < epsilon < float("inf"):
            raise ValueError(
                f"{type(self).__name__}: expected `epsilon` to be a finite number > 0, "
                f"received {epsilon!r}."
            )
        self.epsilon = float(epsilon)
        self.supports_masking = True
        # Inputs are cast here, not by Keras: see the notes.
        self.autocast = False

    def _check_shape(self, shape: Any) -> tuple[int | None, ...]:
        owner = type(self).__name__
        if any(isinstance(size, (list, tuple)) for size in shape):
            raise ValueError(f"{owner}: expected one tensor (..., D), received shapes {shape}.")
        shape = tuple(shape)
        if len(shape) < 2 or shape[-1] is None:
            raise ValueError(
                f"{owner}: expected `inputs` of shape (..., D) with a known last axis, "
                f"received shape {shape}."
            )
        if self.built and shape[-1] != self.mean.shape[0]:
            raise ValueError(
                f"{owner}: expected `inputs` of width {self.mean.shape[0]}, as in the call that "
                f"built the layer, received width {shape[-1]}."
            )
        return shape

    def build(self, input_shape: Any) -> None:
        """Make the mean and the (raw) standard deviation of each feature."""
        width = self._check_shape(input_shape)[-1]
        start = float(_inverse_softplus(np.maximum(1.0 - self.epsilon, 1e-6)))
        self.mean = self.add_weight(
            name="mean", shape=(width,), initializer="zeros", autocast=False
        )
        self.raw_std = self.add_weight(
            name="raw_std",
            shape=(width,),
            initializer=keras.initializers.Constant(start),
            autocast=False,
        )

    @property
    def std(self) -> Any:
        """The standard deviation (D,), always above ``epsilon``."""
        return ops.add(ops.softplus(ops.convert_to_tensor(self.raw_std)), self.epsilon)

    def adapt(self, data: Any, mask: Any = None) -> None:
        """Set mean and standard deviation (population, ddof 0) from data.

        Parameters
        ----------
        data : array
            (..., D). NaN is left out, each feature by itself.
        mask : bool array, optional
            Of the shape of ``data`` without its last axis; steps where it is False are left out.

        Notes
        -----
        A feature without any value keeps mean 0 and standard deviation 1, and a constant one gets
        standard deviation 1: there is no scale to learn from. Builds the layer if need be.
        """
        owner = type(self).__name__
        values = _as_array(data).astype("float64")
        shape = self._check_shape(values.shape)
        if np.isinf(values).any():
            raise ValueError(f"{owner}: expected finite data (or NaN) in `adapt`, received inf.")
        counted = ~np.isnan(values)
        if mask is not None:
            mask = _as_array(mask).astype(bool)
            if mask.shape != shape[:-1]:
                raise ValueError(
                    f"{owner}: expected `mask` of shape {shape[:-1]}, received {mask.shape}."
                )
            counted &= mask[..., None]
        mean, std = _statistics(
            values.reshape(-1, values.shape[-1]), counted.reshape(-1, values.shape[-1])
        )
        if not self.built:
            self.build((None, *shape[1:]))
        self.mean.assign(mean)
        self.raw_std.assign(_inverse_softplus(np.maximum(std - self.epsilon, 1e-6)))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the normalised input, of its own shape, in the compute dtype."""
        self._check_shape(inputs.shape)
        values = ops.cast(inputs, self.variable_dtype)
        values = ops.divide(ops.subtract(values, ops.convert_to_tensor(self.mean)), self.std)
        return ops.cast(values, self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the input."""
        return mask

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return self._check_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


def _as_array(data: Any) -> np.ndarray:
    is_tensor = keras.ops.is_tensor(data)
    return np.asarray(ops.convert_to_numpy(data) if is_tensor else data)


def _statistics(values: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column (R, D) over the counted rows."""
    count = counted.sum(axis=0)
    divisor = np.maximum(count, 1)
    mean = np.where(counted, values, 0.0).sum(axis=0) / divisor
    deviation = np.where(counted, values - mean, 0.0)
    std = np.sqrt((deviation**2).sum(axis=0) / divisor)
    # Rounding leaves a constant feature a deviation of some ulps of its mean, not exactly zero.
    return mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0)
