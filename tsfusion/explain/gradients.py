"""Values and slopes of a Keras model on each backend; relies on Keras and on the backend alone.

The one place of the package that speaks to TensorFlow, JAX and PyTorch by name. A model is run with
``training=False`` on a dict of NumPy arrays; what comes back is NumPy again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        run = _jax(lambda outputs, _: (0.0, outputs), model, options, with_slopes=False)
        return lambda inputs: _numpy(run({}, inputs, {}))
    if backend == "torch":
        import torch

        def run_torch(inputs: Inputs) -> Any:
            with torch.no_grad():
                return _numpy(model(_tensors(inputs), training=False, **options))

        return run_torch

    def run_tensorflow(inputs: Any) -> Any:
        return model(inputs, training=False, **options)

    function = _traced(run_tensorflow, calls)
    return lambda inputs: _numpy(function(_tensors(inputs)))


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

    def value(outputs: Any, weights: Any) -> Any:
        values = ops.sum(outputs * weights, axis=(1, 2))
        return ops.sum(values), values

    backend = keras.backend.backend()
    if backend == "jax":
        run = _jax(value, model, {}, with_slopes=True)

        def jax_slopes(inputs: Inputs, weights: np.ndarray) -> tuple[np.ndarray, Inputs]:
            along = {name: inputs[name] for name in names}
            rest = {name: array for name, array in inputs.items() if name not in along}
            (_, values), found = run(along, rest, weights)
            return _numpy(values), _numpy(found)

        return jax_slopes
    if backend == "torch":
        return _torch_slopes(value, model, names)
    return _tensorflow_slopes(value, model, names, calls)


def _torch_slopes(value: Callable, model: Any, names: tuple[str, ...]) -> Callable:
    def torch_slopes(inputs: Inputs, weights: np.ndarray) -> tuple[np.ndarray, Inputs]:
        import torch

        tensors = _tensors(inputs)
        along = [tensors[name].detach().requires_grad_(True) for name in names]
        with torch.enable_grad():
            outputs = model({**tensors, **dict(zip(names, along))}, training=False)
            total, values = value(outputs, ops.convert_to_tensor(weights))
            found = torch.autograd.grad(total, along, allow_unused=True)
        return _numpy(values), {
            name: np.zeros(inputs[name].shape, np.float32) if slope is None else _numpy(slope)
            for name, slope in zip(names, found)
        }

    return torch_slopes


def _tensorflow_slopes(
    value: Callable, model: Any, names: tuple[str, ...], calls: int
) -> Callable:
    import tensorflow as tf

    def compute(tensors: Any, weights: Any) -> Any:
        along = [tensors[name] for name in names]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(along)
            outputs = model({**tensors, **dict(zip(names, along))}, training=False)
            total, values = value(outputs, weights)
        found = tape.gradient(total, along, unconnected_gradients="zero")
        return values, dict(zip(names, found))

    function = _traced(compute, calls)
    return lambda inputs, weights: _numpy(
        function(_tensors(inputs), ops.convert_to_tensor(weights))
    )


def _traced(function: Callable, calls: int) -> Callable:
    if calls < _WORTH_TRACING:
        return function
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True)


def _jax(value: Callable, model: Any, options: dict[str, Any], *, with_slopes: bool) -> Callable:
    """Return a compiled function of inputs with slopes, the other inputs and the weights."""
    import jax

    trained = [variable.value for variable in model.trainable_variables]
    other = [variable.value for variable in model.non_trainable_variables]

    def compute(along: Any, trained: Any, other: Any, rest: Any, weights: Any) -> Any:
        outputs, _ = model.stateless_call(
            trained, other, {**along, **rest}, training=False, **options
        )
        return value(outputs, weights)

    if with_slopes:
        function = jax.jit(jax.value_and_grad(compute, has_aux=True))
    else:
        function = jax.jit(lambda *args: compute(*args)[1])
    return lambda along, rest, weights: function(along, trained, other, rest, weights)


def _tensors(inputs: Inputs) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(array) for name, array in inputs.items()}


def _numpy(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _numpy(value) for name, value in found.items()}
    if isinstance(found, (tuple, list)):
        return tuple(_numpy(value) for value in found)
    return ops.convert_to_numpy(found)
