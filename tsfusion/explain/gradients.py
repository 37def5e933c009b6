"""Values and slopes of a Keras model on each backend; relies on Keras and on the backend alone.

The one place of the package that speaks to TensorFlow, JAX and PyTorch by name. A model is run with
``training=False`` on a dict of NumPy arrays; what comes back is NumPy again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["padded", "runner", "slopes"]

Inputs = dict[str, np.ndarray]
# Tracing a network of this kind costs TensorFlow about as much as so many eager calls.
_WORTH_TRACING = 40


def padded(batch: Inputs, size: int) -> Inputs:
    """Return a batch of a size that will come again: ``size``, or 16 for few samples.

    What fills it up is its first sample. PyTorch, which does not compile, takes any size.
    """
    given = len(next(iter(batch.values())))
    wanted = size if given > 16 else min(size, 16)
    if given == wanted or keras.backend.backend() == "torch":
        return batch
    return {
        name: np.concatenate([value, np.repeat(value[:1], wanted - given, axis=0)])
        for name, value in batch.items()
    }


def runner(model: Any, *, calls: int = 1, **options: Any) -> Callable[[Inputs], Any]:
    """Return a function from a batch to what the model makes of it.

    Parameters
    ----------
    model : keras.Model
        Built; takes a dict.
    calls : int, default=1
        About how many calls will follow, all with batches of one shape: TensorFlow compiles where
        that pays. JAX always compiles, PyTorch never.
    **options
        Passed to the model's call, such as ``return_attention=True``.

    Returns
    -------
    callable
        From a dict of arrays (B, ...) to an array, or to a dict of arrays.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        function = _jax(model, tuple(sorted(options.items())), False)
        return lambda inputs: _numpy(function({}, *_state(model), inputs, {}))
    if backend == "torch":
        import torch

        def run_torch(inputs: Inputs) -> Any:
            with torch.no_grad():
                return _numpy(model(_tensors(inputs), training=False, **options))

        return run_torch

    run_tensorflow = _tensorflow(model, tuple(sorted(options.items())), calls >= _WORTH_TRACING)
    return lambda inputs: _numpy(run_tensorflow(_tensors(inputs)))


def slopes(
    model: Any, names: Sequence[str], *, calls: int = 1
) -> Callable[[Inputs, np.ndarray], tuple[np.ndarray, Inputs]]:
    r"""Return a function that gives values and their slopes along some inputs.

    The value of a sample is :math:`v_b = \sum_{h,q} w_{bhq} f(x_b)_{hq}`. Samples do not depend on
    each other, so the slope of the sum of all values holds the slope of each.

    Parameters
    ----------
    model : keras.Model
        Built; from a dict to (B, H, Q).
    names : sequence of str
        The inputs (float arrays) to take slopes along.
    calls : int, default=1
        As for `runner`.

    Returns
    -------
    callable
        From a dict of arrays (B, ...) and the weights (B, H, Q) to the values (B,) and a dict of
        slopes, each of the shape of its input. NaN where an input is NaN, as the case may be.
    """
    names = tuple(names)
    backend = keras.backend.backend()
    if backend == "jax":
        function = _jax(model, (), True)

        def jax_slopes(inputs: Inputs, weights: np.ndarray) -> tuple[np.ndarray, Inputs]:
            along = {name: inputs[name] for name in names}
            rest = {name: array for name, array in inputs.items() if name not in along}
            (_, values), found = function(along, *_state(model), rest, weights)
            return _numpy(values), _numpy(found)

        return jax_slopes
    if backend == "torch":
        return _torch_slopes(model, names)
    compute = _tensorflow_slopes(model, names, calls >= _WORTH_TRACING)
    return lambda inputs, weights: _numpy(compute(_tensors(inputs), ops.convert_to_tensor(weights)))


def _value(outputs: Any, weights: Any) -> tuple[Any, Any]:
    """Return the sum of all values, and the values (B,)."""
    values = ops.sum(outputs * weights, axis=(1, 2))
    return ops.sum(values), values


def _torch_slopes(model: Any, names: tuple[str, ...]) -> Callable:
    def torch_slopes(inputs: Inputs, weights: np.ndarray) -> tuple[np.ndarray, Inputs]:
        import torch

        tensors = _tensors(inputs)
        along = [tensors[name].detach().requires_grad_(True) for name in names]
        with torch.enable_grad():
            outputs = model({**tensors, **dict(zip(names, along))}, training=False)
            total, values = _value(outputs, ops.convert_to_tensor(weights))
            found = torch.autograd.grad(total, along, allow_unused=True)
        return _numpy(values), {
            name: np.zeros(inputs[name].shape, np.float32) if slope is None else _numpy(slope)
            for name, slope in zip(names, found)
        }

    return torch_slopes


# Compiled once for all calls on a model, as the function of JAX below; a few models stay in memory
# for it. The weights are read anew in each call, so that further training is seen.
@lru_cache(maxsize=8)
def _tensorflow(model: Any, options: tuple[tuple[str, Any], ...], traced: bool) -> Callable:
    import tensorflow as tf

    def run(inputs: Any) -> Any:
        return model(inputs, training=False, **dict(options))

    return tf.function(run, reduce_retracing=True) if traced else run


@lru_cache(maxsize=8)
def _tensorflow_slopes(model: Any, names: tuple[str, ...], traced: bool) -> Callable:
    import tensorflow as tf

    def compute(tensors: Any, weights: Any) -> Any:
        along = [tensors[name] for name in names]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(along)
            outputs = model({**tensors, **dict(zip(names, along))}, training=False)
            total, values = _value(outputs, weights)
        found = tape.gradient(total, along, unconnected_gradients="zero")
        return values, dict(zip(names, found))

    return tf.function(compute, reduce_retracing=True) if traced else compute


@lru_cache(maxsize=8)
def _jax(model: Any, options: tuple[tuple[str, Any], ...], with_slopes: bool) -> Callable:
    """Return a compiled function of inputs with slopes, weights, other inputs and what is meant."""
    import jax

    def compute(along: Any, trained: Any, other: Any, rest: Any, weights: Any) -> Any:
        outputs, _ = model.stateless_call(
            trained, other, {**along, **rest}, training=False, **dict(options)
        )
        return _value(outputs, weights) if with_slopes else outputs

    return jax.jit(jax.value_and_grad(compute, has_aux=True) if with_slopes else compute)


def _state(model: Any) -> tuple[list[Any], list[Any]]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _tensors(inputs: Inputs) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(array) for name, array in inputs.items()}


def _numpy(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _numpy(value) for name, value in found.items()}
    if isinstance(found, (tuple, list)):
        return tuple(_numpy(value) for value in found)
    return ops.convert_to_numpy(found)
