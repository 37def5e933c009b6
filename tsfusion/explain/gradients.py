"""Values and slopes of a Keras model on each backend; relies on Keras and on the backend alone.

The one place of the package that speaks to TensorFlow, JAX and PyTorch by name. A model is run with
``training=False`` on a dict of NumPy arrays; what comes back is NumPy again. What is compiled is
kept with the model, and reads its weights anew in each call, so that further training is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

__all__ = ["runner", "slopes"]

Inputs = dict[str, np.ndarray]
# JAX and XLA compile each size of a batch: what is smaller is filled up to one of these.
_SIZES = (16, 64)
# XLA halves what slopes cost, 0.6 ms a sample without it, and takes twelve seconds to compile.
_WORTH_XLA = 50_000
_KEPT = "_compiled_for_explanations"


def runner(
    model: Any, *, size: int = 512, rarely: bool = False, **options: Any
) -> Callable[[Inputs], Any]:
    """Return a function from a batch to what the model makes of it.

    Parameters
    ----------
    model : keras.Model
        Built; takes a dict.
    size : int, default=512
        The most samples in a batch, and the size that most have.
    rarely : bool, default=False
        Whether so few calls with these options will follow that TensorFlow had better go step by
        step than trace them. JAX always compiles, PyTorch never.
    **options
        Passed to the model's call, such as ``return_attention=True``.

    Returns
    -------
    callable
        From a dict of arrays (B, ...) to an array, or to a dict of arrays.
    """
    backend = keras.backend.backend()
    key = tuple(sorted(options.items()))
    if backend == "jax":
        function = _jax(model, key, False)

        def run_jax(inputs: Inputs) -> Any:
            count = _count(inputs)
            return _numpy(function({}, *_state(model), _padded(inputs, size), {}), count)

        return run_jax
    if backend == "torch":
        import torch

        def run_torch(inputs: Inputs) -> Any:
            with torch.no_grad():
                return _numpy(model(_tensors(inputs), training=False, **options))

        return run_torch

    run_tensorflow = _tensorflow(model, key, not rarely)
    return lambda inputs: _numpy(run_tensorflow(_tensors(inputs)))


def slopes(
    model: Any, names: Sequence[str], *, size: int = 512, samples: int = 1
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
    size : int, default=512
        As for `runner`.
    samples : int, default=1
        About how many samples will follow in all: TensorFlow uses XLA where that pays.

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
            count = _count(inputs)
            filled = _padded({**inputs, "": weights}, size)
            weights = filled.pop("")
            along = {name: filled.pop(name) for name in names}
            (_, values), found = function(along, *_state(model), filled, weights)
            return _numpy(values, count), _numpy(found, count)

        return jax_slopes
    if backend == "torch":
        return _torch_slopes(model, names)
    xla = samples >= _WORTH_XLA
    compute = _tensorflow_slopes(model, names, xla)

    def tensorflow_slopes(inputs: Inputs, weights: np.ndarray) -> tuple[np.ndarray, Inputs]:
        count = _count(inputs)
        both = {**inputs, "": weights}
        tensors = _tensors(_padded(both, size) if xla else both)
        return _numpy(compute(tensors, tensors.pop("")), count)

    return tensorflow_slopes


def _count(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())))


def _padded(batch: Inputs, size: int) -> Inputs:
    """Return a batch of a size that will come again; what fills it up is its first sample."""
    given = _count(batch)
    wanted = next((one for one in _SIZES if given <= one <= size), max(size, given))
    if given == wanted:
        return batch
    return {
        name: np.concatenate([value, np.repeat(value[:1], wanted - given, axis=0)])
        for name, value in batch.items()
    }


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


def _kept(model: Any, key: Any, make: Callable[[], Callable]) -> Callable:
    """Return what was made for the key before, and is kept as long as the model is."""
    # Past Keras, which would track a dict that is set as an attribute.
    kept = model.__dict__.setdefault(_KEPT, {})
    if key not in kept:
        kept[key] = make()
    found: Callable = kept[key]
    return found


def _tensorflow(model: Any, options: tuple[tuple[str, Any], ...], traced: bool) -> Callable:
    def run(inputs: Any) -> Any:
        return model(inputs, training=False, **dict(options))

    return _kept(model, options, lambda: _traced(run, False)) if traced else run


def _tensorflow_slopes(model: Any, names: tuple[str, ...], xla: bool) -> Callable:
    import tensorflow as tf

    def compute(tensors: Any, weights: Any) -> Any:
        along = [tensors[name] for name in names]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(along)
            outputs = model({**tensors, **dict(zip(names, along))}, training=False)
            total, values = _value(outputs, weights)
        found = tape.gradient(total, along, unconnected_gradients="zero")
        return values, dict(zip(names, found))

    return _kept(model, (names, xla), lambda: _traced(compute, xla))


def _traced(function: Callable, xla: bool) -> Callable:
    """Return a compiled function: one graph for batches of any size, but for XLA."""
    import tensorflow as tf

    if xla:
        compiled: Callable = tf.function(function, jit_compile=True)
        return compiled
    graph = tf.function(function)

    def call(*tensors: Any) -> Any:
        if tf.config.functions_run_eagerly():
            return function(*tensors)
        signature = tf.nest.map_structure(
            lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), tensors
        )
        return graph.get_concrete_function(*signature)(*tensors)

    return call


def _jax(model: Any, options: tuple[tuple[str, Any], ...], with_slopes: bool) -> Callable:
    """Return a compiled function of inputs with slopes, weights, other inputs and what is meant."""
    import jax

    def compute(along: Any, trained: Any, other: Any, rest: Any, weights: Any) -> Any:
        outputs, _ = model.stateless_call(
            trained, other, {**along, **rest}, training=False, **dict(options)
        )
        return _value(outputs, weights) if with_slopes else outputs

    return _kept(
        model,
        (options, with_slopes),
        lambda: jax.jit(jax.value_and_grad(compute, has_aux=True) if with_slopes else compute),
    )


def _state(model: Any) -> tuple[list[Any], list[Any]]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _tensors(inputs: Inputs) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(array) for name, array in inputs.items()}


def _numpy(found: Any, count: int | None = None) -> Any:
    """Return arrays, and of each the first ``count`` samples."""
    if isinstance(found, dict):
        return {name: _numpy(value, count) for name, value in found.items()}
    if isinstance(found, (tuple, list)):
        return tuple(_numpy(value, count) for value in found)
    return ops.convert_to_numpy(found)[:count]
