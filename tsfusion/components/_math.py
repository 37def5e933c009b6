"""Pure functions and the dropout that several layers share; relies on ``keras.ops`` alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tsfusion.components._base import register

__all__ = [
    "TimeSharedDropout",
    "by_rows",
    "gate",
    "glorot",
    "layer_normalize",
    "linear",
    "masked_softmax",
]

# Keras' own default and that of the TFT authors' program: rows of zeros (padding) stay tame.
NORM_EPSILON = 1e-3


def glorot(fan_in: int, fan_out: int) -> keras.initializers.Initializer:
    """Return Glorot's uniform initializer for matrices that lie stacked in one weight.

    Keras derives the fans from the whole shape, which for a stack (V, D, D) reads V as a
    convolution's width and starts every matrix too small.
    """
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)


def gate(x: Any) -> Any:
    """Return ``sigmoid(a) * b`` for the two halves ``[a, b]`` of the last axis of ``x``."""
    # In two parts at once: the slope of a slice is as large as all that it was taken from.
    a, b = ops.split(x, 2, axis=-1)
    return ops.sigmoid(a) * b


def by_rows(function: Callable[[Any], Any], x: Any) -> Any:
    """Return a function of rows, (R, D) to (R, E), of the last axis of ``x``.

    TensorFlow adds a bias in the kernel of a product of two matrices, and of no other.
    """
    if len(x.shape) == 2:
        return function(x)
    rows = function(ops.reshape(x, (-1, x.shape[-1])))
    return ops.reshape(rows, (-1, *ops.shape(x)[1:-1], rows.shape[-1]))


def linear(x: Any, kernel: Any, bias: Any) -> Any:
    """Return ``x @ kernel + bias`` over the last axis of ``x``."""
    return by_rows(lambda rows: ops.add(ops.matmul(rows, kernel), bias), x)


def layer_normalize(x: Any, gamma: Any, beta: Any) -> Any:
    """Return ``gamma * (x - mean) / sqrt(var + 1e-3) + beta`` over the last axis, in float32."""
    dtype = x.dtype
    x = ops.cast(x, "float32")
    x = x - ops.mean(x, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
    x = x * ops.rsqrt(variance + NORM_EPSILON)
    x = x * ops.cast(gamma, "float32") + ops.cast(beta, "float32")
    return ops.cast(x, dtype)


def masked_softmax(logits: Any, mask: Any | None) -> Any:
    """Return the float32 softmax over the last axis: exactly 0 where ``mask`` is False.

    A row whose entries are all masked is all zeros; so are its gradients.
    """
    logits = ops.cast(logits, "float32")
    if mask is None:
        return ops.softmax(logits, axis=-1)
    weights = ops.softmax(ops.where(mask, logits, -1e9), axis=-1)
    return ops.where(mask, weights, 0.0)


@register
class TimeSharedDropout(keras.layers.Dropout):
    """Dropout whose mask is shared over time, the axis before the last.

    On a CPU the random numbers of a mask over (B, T, V, D) cost several times the model itself.
    """

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """Drop whole features of a sample; a (B, D) input has no time and drops per element."""
        if not training or self.rate == 0:
            return inputs
        shape = list(ops.shape(inputs))
        if len(shape) > 2:
            shape[-2] = 1
        return keras.random.dropout(
            inputs, self.rate, noise_shape=tuple(shape), seed=self.seed_generator
        )
