"""Patches of a long window as tokens; relies on Keras alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank
from tsfusion.components._math import linear

__all__ = ["PatchEmbedding"]

Shape = tuple[Any, ...]


@register
class PatchEmbedding(Layer):
    r"""``token[b, p] = flatten(x[b, start[p] : start[p] + L]) W + bias``, one product for all.

    ``x (B, T, V)``; patches of ``L = patch_length`` steps, ``stride`` apart, of which the last ends
    at the last step; ``W (L V, units)``; result ``(B, P, units)`` with
    ``P = 1 + ceil(max(T - L, 0) / stride)``. Steps before the first, and steps that the mask
    ``(B, T)`` excludes, enter as zeros. The mask of a token is True if any of its steps is known.

    Parameters
    ----------
    units : int
        Width of a token.
    patch_length : int
        Steps in a patch.
    stride : int, optional
        Steps between the starts of neighbours; by default ``patch_length``: no overlap.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    Y. Nie et al., A time series is worth 64 words: long-term forecasting with transformers,
    ICLR 2023, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import PatchEmbedding
    >>> layer = PatchEmbedding(units=4, patch_length=3)
    >>> tuple(layer(np.ones((2, 7, 5), "float32")).shape)
    (2, 3, 4)
    >>> layer.token_spans(7).tolist()
    [[0, 1], [1, 4], [4, 7]]
    """

    def __init__(
        self, units: int, patch_length: int, stride: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        self.patch_length = check_positive_int(owner, "patch_length", patch_length)
        if stride is not None:
            stride = check_positive_int(owner, "stride", stride)
            if stride > self.patch_length:
                raise ValueError(
                    f"{owner}: expected `stride` <= `patch_length`, so that no step is left out, "
                    f"received stride={stride} and patch_length={self.patch_length}."
                )
        self.stride = stride
        self.supports_masking = True

    @property
    def _step(self) -> int:
        return self.patch_length if self.stride is None else self.stride

    def build(self, input_shape: Shape) -> None:
        """Create the matrix over patch x variables."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, T, V)")
        self.kernel = self.add_weight(
            shape=(self.patch_length * input_shape[-1], self.units),
            initializer="glorot_uniform",
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.built = True

    def call(self, inputs: Any, mask: Any | None = None) -> Any:
        """Return the tokens, (B, P, units).

        Parameters
        ----------
        inputs : tensor (B, T, V)
            The window.
        mask : bool tensor (B, T), optional
            True for known steps.
        """
        if mask is not None:
            known = ops.cast(mask, "bool")[:, :, None]
            inputs = ops.where(known, inputs, ops.cast(0, inputs.dtype))
        flat = _patches(inputs, self.patch_length, self._step)
        return linear(flat, self.kernel, self.bias)

    def token_spans(self, steps: int) -> np.ndarray:
        """Return the first and one past the last step of each token, (P, 2).

        Parameters
        ----------
        steps : int
            Length of the window, T.
        """
        steps = check_positive_int(type(self).__name__, "steps", steps)
        ends = steps - self._step * np.arange(_tokens(steps, self.patch_length, self._step))[::-1]
        return np.stack([np.maximum(ends - self.patch_length, 0), ends], axis=1)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the tokens: True where any step of theirs is known."""
        if previous_mask is None:
            return None
        return _TokenMask(self.patch_length, self._step)(previous_mask)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the tokens."""
        check_rank(type(self).__name__, "inputs", input_shape, 3, "(B, T, V)")
        steps = input_shape[1]
        return (input_shape[0], _tokens(steps, self.patch_length, self._step), self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "patch_length": self.patch_length,
            "stride": self.stride,
        }


@register
class _TokenMask(keras.Operation):
    """The mask of tokens; an operation, so that a graph of unknown length can hold it."""

    def __init__(self, patch_length: int, step: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.patch_length = patch_length
        self.step = step

    def call(self, mask: Any) -> Any:
        known = ops.cast(mask, "int32")[:, :, None]
        return ops.any(_patches(known, self.patch_length, self.step) > 0, axis=-1)

    def compute_output_spec(self, mask: Any) -> keras.KerasTensor:
        tokens = _tokens(mask.shape[1], self.patch_length, self.step)
        return keras.KerasTensor((mask.shape[0], tokens), dtype="bool")

    def get_config(self) -> dict[str, Any]:
        return {"patch_length": self.patch_length, "step": self.step, "name": self.name}


def _tokens(steps: Any, length: int, step: int) -> Any:
    """Return the number of tokens; of an unknown number of steps None, of a tensor a tensor."""
    if steps is None:
        return None
    if isinstance(steps, int):
        return 1 + max(steps - length + step - 1, 0) // step
    return 1 + ops.maximum(steps - length + step - 1, 0) // step


def _patches(x: Any, length: int, step: int) -> Any:
    """Return the patches of ``x (B, T, V)`` as rows, (B, P, L V), zeros before its start."""
    steps, variables = ops.shape(x)[1], x.shape[-1]
    count = _tokens(steps, length, step)
    x = ops.pad(x, [[0, 0], [length + (count - 1) * step - steps, 0], [0, 0]])
    if step != length:
        places = ops.arange(count)[:, None] * step + ops.arange(length)[None]
        x = ops.take(x, places, axis=1)
    return ops.reshape(x, (-1, count, length * variables))
