"""A recurrent encoder whose masked steps leave its state alone; relies on Keras alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tsfusion.components._attention import bare
from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rank
from tsfusion.components._recurrence import gru_states, lstm_states

__all__ = ["RecurrentEncoder"]

Shape = tuple[Any, ...]

KINDS = ("lstm", "gru")


@register
class RecurrentEncoder(Layer):
    r"""``h[t], c[t] = LSTM(x[t], h[t-1], c[t-1])`` over known steps; others carry the state on.

    LSTM: ``[i, f, g, o] = x W + h U + b``, ``c' = sigmoid(f) * c + sigmoid(i) * tanh(g)`` and
    ``h' = sigmoid(o) * tanh(c')``. GRU: ``[z, r, g] = x W + b``, ``[z', r', g'] = h U + b'``,
    ``z = sigmoid(z + z')``, ``r = sigmoid(r + r')``, ``h' = z * h + (1 - z) * tanh(g + r * g')``.
    ``x (B, T, D)``; ``h, c (B, units)``; ``W (D, 4 units)``; ``U (units, 4 units)``. The inputs of
    all steps are multiplied by ``W`` at once, outside the loop.

    Parameters
    ----------
    units : int
        Width of the state.
    kind : {"lstm", "gru"}, default="lstm"
        The cell.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import RecurrentEncoder
    >>> steps, (h, c) = RecurrentEncoder(units=4)(np.ones((2, 5, 3), "float32"))
    >>> tuple(steps.shape), tuple(h.shape), tuple(c.shape)
    ((2, 5, 4), (2, 4), (2, 4))
    """

    def __init__(self, units: int, kind: str = "lstm", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = check_positive_int(owner, "units", units)
        if kind not in KINDS:
            raise ValueError(f"{owner}: expected `kind` to be one of {KINDS}, received {kind!r}.")
        self.kind = kind
        self.supports_masking = True

    @property
    def _gates(self) -> int:
        return 4 if self.kind == "lstm" else 3

    @property
    def _num_states(self) -> int:
        return 2 if self.kind == "lstm" else 1

    def build(self, inputs_shape: Shape, initial_state_shape: Any = None) -> None:
        """Create the weights; the forget gate starts open."""
        self._check_shapes(inputs_shape, initial_state_shape)
        width = self._gates * self.units
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], width), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width), initializer=_orthogonal, name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(width,), initializer=self._start, name="bias")
        if self.kind == "gru":
            self.recurrent_bias = self.add_weight(
                shape=(width,), initializer="zeros", name="recurrent_bias"
            )
        self.built = True

    def _start(self, shape: Shape, dtype: Any = None) -> Any:
        start = ops.zeros(shape, dtype=dtype)
        if self.kind == "gru":
            return start
        units = self.units
        return ops.concatenate([start[:units], ops.ones((units,), dtype), start[2 * units :]])

    def call(
        self,
        inputs: Any,
        initial_state: Sequence[Any] | None = None,
        mask: Any | None = None,
        inputs_mask: Any | None = None,
    ) -> tuple[Any, list[Any]]:
        """Return the states after each step and the last ones.

        Parameters
        ----------
        inputs : tensor (B, T, D)
            The sequence.
        initial_state : sequence of tensors (B, units), optional
            ``[h, c]`` for an LSTM, ``[h]`` for a GRU; by default zeros.
        mask, inputs_mask : bool tensor (B, T), optional
            True for the steps that count.

        Returns
        -------
        tuple of a tensor (B, T, units) and the list of last states, each (B, units)
        """
        mask = inputs_mask if mask is None else mask
        inputs = bare(inputs, own=[mask])
        # The inputs are turned, not the gates: they are as wide as the four together.
        turned = ops.transpose(inputs, (1, 0, 2))
        projected = ops.add(ops.matmul(turned, self.kernel), self.bias)
        # From a tensor, not from a shape: the loop must know its widths with an unknown batch.
        first = projected[0, :, : self.units]
        if initial_state is None:
            initial_state = [ops.zeros_like(first)] * self._num_states
        state = [ops.cast(part, projected.dtype) for part in initial_state]
        keep = None
        if mask is not None:
            keep = ops.cast(ops.transpose(mask)[..., None], projected.dtype)
        # A sum is a tensor on every backend; a variable would escape the written-out gradient.
        recurrent = self.recurrent_kernel + 0.0
        if self.kind == "gru":
            bias = self.recurrent_bias + 0.0
            states = gru_states(projected, recurrent, bias, state[0], keep)
            return ops.transpose(states, (1, 0, 2)), [states[-1]]
        states = lstm_states(projected, recurrent, state[0], state[1], keep)
        if inputs.shape[1] is None:
            hs, c = states[:-1], states[-1]
        else:
            # The slope of a slice is as large, and slower, than that of the two parts.
            hs, c = ops.split(states, [inputs.shape[1]], axis=0)
            c = c[0]
        return ops.transpose(hs, (1, 0, 2)), [hs[-1], c]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the sequence; the last states have none."""
        return previous_mask

    def compute_output_shape(self, inputs_shape: Shape, initial_state_shape: Any = None) -> Any:
        """Return the shapes of the sequence and the last states."""
        self._check_shapes(inputs_shape, initial_state_shape)
        last = [(inputs_shape[0], self.units)] * self._num_states
        return (*inputs_shape[:-1], self.units), last

    def compute_output_spec(
        self,
        inputs: Any,
        initial_state: Any = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        """Return the symbolic sequence and last states."""
        shapes = None if initial_state is None else [part.shape for part in initial_state]
        sequence, last = self.compute_output_shape(inputs.shape, shapes)
        return (
            keras.KerasTensor(sequence, dtype=self.compute_dtype),
            [keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in last],
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "units": self.units, "kind": self.kind}

    def _check_shapes(self, inputs_shape: Shape, initial_state_shape: Any) -> None:
        owner = type(self).__name__
        check_rank(owner, "inputs", inputs_shape, 3, "(B, T, D)")
        if initial_state_shape is None:
            return
        wrong = len(initial_state_shape) != self._num_states or any(
            len(shape) != 2 or shape[-1] != self.units for shape in initial_state_shape
        )
        if wrong:
            raise ValueError(
                f"{owner}: expected `initial_state` of {self._num_states} tensors of shape "
                f"(B, {self.units}), received shapes {[tuple(s) for s in initial_state_shape]}."
            )


def _orthogonal(shape: Shape, dtype: Any = None) -> Any:
    # The decomposition behind it knows no bfloat16.
    return ops.cast(keras.initializers.Orthogonal()(shape, dtype="float32"), dtype)
