"""The one check that every public layer passes; a layer takes part by having a `Case`.

A `Case` says how to make and call one layer with tiny arrays. Everything else (config, files,
masks, precision, gradients, symbolic shapes, learner methods) the `check_*` functions derive.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops, tree

import tsfusion.components

BACKEND = keras.backend.backend()


@dataclass(frozen=True)
class Case:
    """One way of making and calling a public layer."""

    # The name in `tsfusion.components.__all__`.
    layer: str
    # Constructor arguments (no name, no dtype).
    kwargs: dict[str, Any]
    # Returns the positional tensor arguments of `call`: a tuple of arrays or lists of arrays,
    # float32 or int32, batch first, the same values each time.
    inputs: Callable[[], tuple]
    # Shapes of the flattened outputs (keras.tree.flatten), batch included.
    outputs: list[tuple[int, ...]]
    # The number of weights (variables without seeds) and of seed generators after build.
    weights: int
    seeds: int = 0
    # Further tensor arguments of `call` by name (a function, as `inputs`).
    keywords: Callable[[], dict[str, Any]] = dict
    # Arguments of `call` that are no tensors, e.g. {"return_weights": True}.
    flags: dict[str, Any] = field(default_factory=dict)
    # Shapes of the flattened scores if `call` takes `return_attention_scores`, else None.
    scores: list[tuple[int, ...]] | None = None
    # Endings of the paths of weights whose gradient is zero by the formula (say why in the case).
    no_gradient: tuple[str, ...] = ()
    # False if axis 1 of the inputs must be known when the model is made.
    free_time: bool = True
    # False if padding masks (B, T) on the rank-3 inputs have no meaning for the layer.
    masked: bool = True
    # False if the output at one time step may not be compared alone (e.g. time was reduced or
    # regrouped): then outputs are compared whole when masked steps change.
    keeps_time: bool = True
    # Distinguishes several cases of one layer.
    label: str = ""

    @property
    def id(self) -> str:
        return f"{self.layer}-{self.label}" if self.label else self.layer


# Making and calling


def make(case: Case, **layer_kwargs: Any) -> Any:
    layer_class = getattr(tsfusion.components, case.layer)
    return layer_class(**copy.deepcopy(case.kwargs), **{"name": "checked", **layer_kwargs})


def call(layer: Any, case: Case, **more: Any) -> Any:
    return layer(*case.inputs(), **case.keywords(), **case.flags, **more)


def numbers(outputs: Any) -> list[np.ndarray]:
    """The flattened outputs as arrays (bfloat16 as float32, which NumPy knows)."""
    return [
        # A copy: on torch the array is a view, which changes with the variable behind it.
        ops.convert_to_numpy(
            ops.cast(one, "float32") if dtype_of(one) == "bfloat16" else one
        ).copy()
        for one in tree.flatten(outputs)
    ]


def dtype_of(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def specs(outputs: Any) -> list[tuple[tuple[int | None, ...], str]]:
    return [(tuple(one.shape), dtype_of(one)) for one in tree.flatten(outputs)]


def assert_close(found: Any, expected: Any, tolerance: float = 2e-6) -> None:
    found, expected = numbers(found), numbers(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def copy_weights(source: Any, target: Any) -> None:
    for mine, theirs in zip(target.weights, source.weights, strict=True):
        mine.assign(ops.cast(ops.convert_to_tensor(theirs), mine.dtype))


def symbolic(array: np.ndarray, free_time: bool = False, batch: int | None = None) -> Any:
    shape = list(array.shape[1:])
    if free_time and array.ndim >= 2:
        shape[0] = None if array.ndim >= 3 else shape[0]
    return keras.Input(batch_shape=(batch, *shape), dtype=str(array.dtype))


def arrays(case: Case) -> list[np.ndarray]:
    return tree.flatten((case.inputs(), case.keywords()))


def as_model(case: Case, layer: Any, *, before: Any = None, after: Any = None, **more: Any) -> Any:
    """A functional model around the layer, of unknown time length where the case allows it."""
    sources = tree.map_structure(
        lambda array: symbolic(array, free_time=case.free_time),
        (case.inputs(), case.keywords()),
    )
    args, keywords = sources if before is None else tree.map_structure(before, sources)
    outputs = layer(*args, **keywords, **case.flags, **more)
    return keras.Model(tree.flatten(sources), outputs if after is None else after(outputs))


def predict(model: Any, case: Case) -> Any:
    return model.predict(arrays(case), verbose=0, batch_size=64)


# The checks


def check_config(case: Case) -> None:
    layer = make(case, trainable=False, dtype="mixed_bfloat16")
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert again.name == "checked"
    assert again.trainable is False
    assert again.dtype_policy.name == "mixed_bfloat16"
    for name in case.kwargs:
        assert name in config, f"get_config lacks {name}"
    with pytest.raises((TypeError, ValueError), match="no_such_argument"):
        make(case, no_such_argument=1)


def check_counts_and_shapes(case: Case) -> None:
    layer = make(case)
    assert not layer.weights
    outputs = call(layer, case)
    assert [shape for shape, _ in specs(outputs)] == case.outputs
    assert len(layer.weights) == case.weights
    seeds = [variable for variable in layer.variables if "seed_generator" in variable.path]
    assert len(seeds) == case.seeds
    paths = [weight.path for weight in layer.weights]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("checked/") for path in paths), paths
    assert all(np.isfinite(one).all() for one in numbers(outputs))
    built = make(case)
    built.build_from_config(json.loads(json.dumps(layer.get_build_config())))
    assert [tuple(w.shape) for w in built.weights] == [tuple(w.shape) for w in layer.weights]
    copy_weights(layer, built)
    assert_close(call(built, case), outputs)


def check_symbolic(case: Case) -> None:
    for dtype in ("float32", "mixed_bfloat16"):
        asked = [{}, {"return_attention_scores": True}] if case.scores is not None else [{}]
        for more in asked:
            layer = make(case, dtype=dtype)
            args, keywords = tree.map_structure(
                lambda array: symbolic(array, batch=array.shape[0]),
                (case.inputs(), case.keywords()),
            )
            expected = layer(*args, **keywords, **case.flags, **more)
            assert specs(call(layer, case, **more)) == specs(expected)


def check_compiled(case: Case) -> None:
    layer = make(case)
    expected = call(layer, case)
    model = as_model(case, layer)
    # torch compiles for minutes; its graph mode is its eager mode, as is that of JAX.
    for jit in {"tensorflow": (False, True), "jax": (True,), "torch": (False,)}[BACKEND]:
        model.compile(jit_compile=jit)
        assert_close(predict(model, case), expected)


class SplitMask(keras.layers.Layer):
    """Takes the last channel of (B, T, D + 1) off and makes it the mask of the rest."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs[..., :-1]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.not_equal(inputs[..., -1], 0)


class ReadMask(keras.layers.Layer):
    """Returns the mask of its input as numbers; -1 where there is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return ops.full(ops.shape(inputs)[:2], -1.0)
        return ops.cast(mask, "float32")

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        return keras.KerasTensor(inputs.shape[:2], dtype="float32")


def maskable(array: np.ndarray) -> bool:
    return array.ndim == 3 and array.dtype == np.float32


def mask_of(array: np.ndarray) -> np.ndarray:
    """The first sample lacks its last step, the second has no step at all."""
    mask = np.ones(array.shape[:2], bool)
    mask[0, -1] = False
    mask[1] = False
    return mask


def with_garbage(array: np.ndarray, garbage: float) -> np.ndarray:
    if not maskable(array):
        return array
    mask = mask_of(array)
    values = np.where(mask[..., None], array, np.float32(garbage))
    return np.concatenate([values, mask[..., None].astype("float32")], axis=-1)


def check_masks(case: Case) -> None:
    if not case.masked or not any(map(maskable, arrays(case))):
        return
    split = tree.map_structure(
        lambda array: SplitMask() if maskable(array) else (lambda tensor: tensor),
        (case.inputs(), case.keywords()),
    )

    def outputs_for(garbage: float, layer: Any) -> Any:
        args, keywords = tree.map_structure(
            lambda array, splitter: splitter(ops.convert_to_tensor(with_garbage(array, garbage))),
            (case.inputs(), case.keywords()),
            split,
        )
        return layer(*args, **keywords, **case.flags)

    first = make(case)
    # Twice the first call of a layer: the mask must be read then too.
    second = type(first).from_config(first.get_config())
    outputs = outputs_for(0.5, first)
    second.build_from_config(first.get_build_config())
    copy_weights(first, second)
    others = outputs_for(-7.0, second)
    masks = [
        mask_of(array)
        for array in tree.flatten((case.keywords(), case.inputs()))
        if maskable(array)
    ]
    for one, other in zip(numbers(outputs), numbers(others)):
        assert np.isfinite(one).all()
        assert np.isfinite(other).all()
        mask = next((m for m in masks if case.keeps_time and m.shape == one.shape[:2]), ...)
        np.testing.assert_allclose(one[mask], other[mask], rtol=2e-6, atol=2e-6)
    check_mask_in_model(case, first, outputs, masks)


def check_mask_in_model(case: Case, layer: Any, outputs: Any, masks: list[np.ndarray]) -> None:
    """The same through a functional model, which hands masks on by itself."""
    given = [with_garbage(array, 0.5) for array in arrays(case)]
    wide = tree.map_structure(
        lambda array: symbolic(with_garbage(array, 0.5), free_time=case.free_time),
        (case.inputs(), case.keywords()),
    )
    args, keywords = tree.map_structure(
        lambda array, tensor: SplitMask()(tensor) if maskable(array) else tensor,
        (case.inputs(), case.keywords()),
        wide,
    )
    result = layer(*args, **keywords, **case.flags)
    head = tree.flatten(result)[0]
    model = keras.Model(tree.flatten(wide), [tree.flatten(result), ReadMask()(head)])
    found = tree.flatten(model.predict(given, verbose=0))
    expected = numbers(outputs)
    mask = next((m for m in masks if case.keeps_time and m.shape == expected[0].shape[:2]), None)
    for one, other in zip(found, expected):
        pick = mask if mask is not None and one.shape[:2] == mask.shape else ...
        np.testing.assert_allclose(one[pick], other[pick], rtol=2e-6, atol=2e-6)
    if mask is not None:
        np.testing.assert_array_equal(found[-1], mask.astype("float32"))


def check_precision(case: Case) -> None:
    exact = make(case)
    expected = numbers(call(exact, case))
    policies = ["mixed_bfloat16", *(["mixed_float16"] if BACKEND != "jax" else [])]
    for policy in policies:
        layer = make(case, dtype=policy)
        outputs = call(layer, case)
        assert all(w.dtype == "float32" for w in layer.weights if w.dtype.startswith(("f", "b")))
        copy_weights(exact, layer)
        outputs = numbers(call(layer, case))
        for one, other in zip(outputs, expected):
            assert np.isfinite(one).all()
            scale = max(1.0, float(np.abs(other).max()))
            np.testing.assert_allclose(one.astype("float32"), other, atol=0.1 * scale, rtol=0.1)
    half = make(case, dtype="bfloat16")
    call(half, case)
    wrong = [w.path for w in half.weights if w.dtype.startswith("float")]
    assert not wrong, f"the dtype policy does not reach {wrong}"


def flat_floats(outputs: Any) -> Any:
    parts = [
        keras.layers.Flatten()(ops.cast(one, "float32"))
        for one in tree.flatten(outputs)
        if "float" in dtype_of(one)
    ]
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)


def check_gradients(case: Case) -> None:
    """One step of plain gradient descent moves every weight, except those that it cannot move."""
    fixed = Case(**{**vars(case), "free_time": False})
    layer = make(case)
    model = as_model(fixed, layer, after=flat_floats)
    before = [ops.convert_to_numpy(w).copy() for w in layer.trainable_weights]
    target = np.random.default_rng(5).normal(size=(len(arrays(case)[0]), *model.output_shape[1:]))
    model.compile(keras.optimizers.SGD(10.0), "mse", jit_compile=False)
    model.train_on_batch(arrays(case), target.astype("float32"))
    for weight, old in zip(layer.trainable_weights, before):
        moved = np.abs(ops.convert_to_numpy(weight) - old).max()
        if weight.path.endswith(case.no_gradient):
            assert moved < 1e-5, f"{weight.path} moved by {moved}: it does have a gradient"
        else:
            assert moved > 1e-5, f"no gradient reaches {weight.path}"


def check_scores(case: Case) -> None:
    if case.scores is None:
        return
    layer = make(case)
    call(layer, case)
    for training in (False, True):
        # Dropout draws from the seed's state, on torch from a global one: both calls start alike.
        state = [ops.convert_to_numpy(variable).copy() for variable in layer.variables]
        results = []
        for more in ({}, {"return_attention_scores": True}):
            keras.utils.set_random_seed(7)
            for variable, value in zip(layer.variables, state):
                variable.assign(value)
            results.append(call(layer, case, training=training, **more))
        plain, (output, scores) = results
        assert_close(output, plain)
        assert [shape for shape, _ in specs(scores)] == case.scores
        assert {dtype for _, dtype in specs(scores)} == {"float32"}
        for one in numbers(scores):
            np.testing.assert_allclose(one.sum(axis=-1), 1.0, rtol=1e-5)
    model = as_model(case, layer, return_attention_scores=True)
    assert_close(predict(model, case), call(layer, case, return_attention_scores=True))
    if case.masked:
        masks = [
            mask_of(array) if maskable(array) else None for array in tree.flatten(case.inputs())
        ]
        masks = masks if isinstance(case.inputs()[0], list) else masks[0]
        plain = call(layer, case, mask=masks)
        output, scores = call(layer, case, mask=masks, return_attention_scores=True)
        assert_close(output, plain)
        for one in numbers(scores):
            sums = one.sum(axis=-1)
            assert np.all((np.abs(sums - 1) < 1e-5) | (sums == 0))


def check_clone_and_pickle(case: Case) -> None:
    layer = make(case)
    model = as_model(case, layer)
    expected = predict(model, case)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert_close(predict(clone, case), expected)
    again = pickle.loads(pickle.dumps(model))
    assert_close(predict(again, case), expected)


def check_learner(case: Case, folder: Path) -> None:
    layer = make(case)
    params = layer.get_params()
    assert set(case.kwargs) <= set(params)
    assert layer.get_params(deep=False) == params
    assert layer.my_params.startswith(f"{case.layer}(")
    assert "not built" in layer.summary()
    assert layer.set_params(**params) is layer
    expected = numbers(call(layer, case))
    assert layer.set_params(**params) is layer
    assert all(weight.path.split("/", 1)[1] in layer.summary() for weight in layer.weights)
    with pytest.raises(ValueError, match="no_such_parameter") as refusal:
        layer.set_params(no_such_parameter=1)
    assert all(name in str(refusal.value) for name in case.kwargs)
    text = io.StringIO()
    layer.help(file=text)
    assert case.layer in text.getvalue()
    path = layer.save(folder / f"{case.id}.zip")
    new = type(layer).load(path)
    assert_close(call(new, case), expected)
    unbuilt = make(case)
    assert unbuilt.load(path) is unbuilt
    assert_close(call(unbuilt, case), expected)
    for weight in layer.weights:
        weight.assign(ops.zeros(weight.shape, weight.dtype))
    layer.load(path)
    assert_close(call(layer, case), expected)
