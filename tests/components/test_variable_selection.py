"""Variable selection against equations 6-8 of the paper, one variable at a time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import (
    arrays,
    elu,
    named,
    norm,
    normal,
    randomize,
    sigmoid,
    softmax,
)
from tsfusion.components import RealEmbedding, VariableSelection
from tsfusion.components._weighted_norm import weighted_gated_norm

pytestmark = pytest.mark.backends

B, T, V, D = 2, 3, 4, 5


def gated(weights: dict, eta2: Any, around: Any, prefix: str, v: Any = ...) -> Any:
    eta1 = elu(eta2) @ weights[f"{prefix}linear_kernel"][v] + weights[f"{prefix}linear_bias"][v]
    gates = eta1 @ weights[f"{prefix}gate_kernel"][v] + weights[f"{prefix}gate_bias"][v]
    a, b = np.split(gates, 2, axis=-1)
    y = around + sigmoid(a) * b
    return norm(y, weights[f"{prefix}gamma"][v], weights[f"{prefix}beta"][v])


def published(weights: dict, x: np.ndarray, c: Any, mask: np.ndarray) -> tuple:
    x = np.where(mask[..., None], x, 0)
    values = []
    for v in range(x.shape[2]):
        one = x[:, :, v]
        around = one
        if "skip_kernel" in weights:
            around = one @ weights["skip_kernel"][v] + weights["skip_bias"][v]
        eta2 = one @ weights["hidden_kernel"][v] + weights["hidden_bias"][v]
        values.append(gated(weights, eta2, around, "", v))
    if x.shape[2] == 1:
        return values[0] * mask, mask.astype(float)
    flat = x.reshape(*x.shape[:2], -1)
    eta2 = flat @ weights["choice_hidden_kernel"].reshape(flat.shape[-1], -1)
    eta2 = eta2 + weights["choice_hidden_bias"]
    if c is not None:
        eta2 = eta2 + (c @ weights["choice_context_kernel"])[:, None]
    around = flat @ weights["choice_skip_kernel"].reshape(flat.shape[-1], -1)
    logits = gated(weights, eta2, around + weights["choice_skip_bias"], "choice_")
    return weighted(values, logits, mask)


def light(weights: dict, x: np.ndarray, c: Any, mask: np.ndarray) -> tuple:
    phi = [
        elu(x[:, :, v] @ weights["basis_kernel"][v] + weights["basis_bias"][v])
        * mask[:, :, v, None]
        for v in range(x.shape[2])
    ]
    logits = sum(one @ weights["choice_kernel"][v] for v, one in enumerate(phi))
    logits = logits + weights["choice_bias"]
    if c is not None:
        logits = logits + (c @ weights["choice_context_kernel"])[:, None]
    values = [
        one @ weights["value_kernel"][v] + weights["value_bias"][v] for v, one in enumerate(phi)
    ]
    return weighted(values, logits, mask)


def weighted(values: list, logits: np.ndarray, mask: np.ndarray) -> tuple:
    weights = softmax(np.where(mask, logits, -1e30)) * mask
    return sum(weights[..., v, None] * value for v, value in enumerate(values)), weights


FORMULAS = {"published": published, "light": light}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("hidden", [D, 7])
@pytest.mark.parametrize("form", FORMULAS)
def test_formula(form: str, hidden: int, context: bool, masked: bool) -> None:
    x, c = normal(B, T, V, D), normal(B, 6) if context else None
    mask = np.ones((B, T, V), bool)
    if masked:
        mask[0, 0, 1:3] = False
        mask[1, 2] = False
        x[~mask] = np.nan
    layer = VariableSelection(hidden, V, form=form)
    layer(np.nan_to_num(x), context=c)
    randomize(layer)
    given = {"mask": mask} if masked else {}
    found, weights = arrays(layer(x, context=c, return_weights=True, **given))
    expected = FORMULAS[form](named(layer), np.nan_to_num(x), c, mask)
    np.testing.assert_allclose(found, expected[0], atol=5e-6)
    np.testing.assert_allclose(weights, expected[1], atol=2e-6)
    assert (weights[~mask] == 0).all()
    some = mask.any(axis=-1)
    np.testing.assert_allclose(weights.sum(axis=-1)[some], 1, rtol=1e-6)
    assert (found[~some] == 0).all()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, context=c, **given)), found)


@pytest.mark.parametrize("form", FORMULAS)
def test_reals_folded_into_the_first_product_are_the_same_numbers(form: str) -> None:
    reals, others = normal(B, T, 3), normal(B, T, 1, D, seed=4)
    mask = np.random.default_rng(2).random((B, T, V)) < 0.6
    embedding = RealEmbedding(D)
    embedding.build(reals.shape)
    kernel, bias = randomize(embedding)
    layer = VariableSelection(6, V, form=form)
    layer.build((B, T, V, D))
    randomize(layer)
    embedded = np.concatenate([reals[..., None] * kernel + bias, others], axis=2)
    expected = layer(embedded, mask=mask, return_weights=True)
    found = layer.select(
        reals=ops.convert_to_tensor(reals),
        real_kernel=embedding.kernel,
        real_bias=embedding.bias,
        embedded=ops.convert_to_tensor(others),
        mask=ops.convert_to_tensor(mask),
    )
    for one, other in zip(arrays(found), arrays(expected)):
        np.testing.assert_allclose(one, other, atol=3e-6)


@pytest.mark.parametrize("form", FORMULAS)
def test_static_variables(form: str) -> None:
    x = normal(B, V, D)
    layer = VariableSelection(D, V, form=form)
    layer(x)
    randomize(layer)
    mask = np.array([[True, False, True, True], [False] * 4])
    found, weights = arrays(layer(x, mask=mask, return_weights=True))
    expected = FORMULAS[form](named(layer), x[:, None], None, mask[:, None])
    np.testing.assert_allclose(found, expected[0][:, 0], atol=5e-6)
    np.testing.assert_allclose(weights, expected[1][:, 0], atol=2e-6)


def test_a_single_variable_has_weight_one() -> None:
    x = normal(B, T, 1, D)
    layer = VariableSelection(D, 1)
    layer(x)
    randomize(layer)
    mask = np.ones((B, T, 1), bool)
    mask[0, 1] = False
    found, weights = arrays(layer(x, mask=mask, return_weights=True))
    expected = published(named(layer), x, None, mask)
    np.testing.assert_allclose(found, expected[0], atol=5e-6)
    np.testing.assert_array_equal(weights, expected[1])
    np.testing.assert_array_equal(arrays(layer(x, return_weights=True))[1], np.ones((B, T, 1)))


def test_a_mask_of_steps_masks_all_their_variables() -> None:
    layer = VariableSelection(D, V)
    x = normal(B, T, V, D)
    steps = np.array([[True, False, True], [False, True, True]])
    whole = np.repeat(steps[..., None], V, axis=-1)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(x, mask=steps)), ops.convert_to_numpy(layer(x, mask=whole))
    )


def test_errors() -> None:
    with pytest.raises(ValueError, match="`form` to be one of"):
        VariableSelection(4, 2, form="heavy")
    with pytest.raises(ValueError, match="`num_variables` to be an integer >= 1, received 0"):
        VariableSelection(4, 0)
    with pytest.raises(ValueError, match=r"expected `inputs` of shape \(B, T, 2, D\)"):
        VariableSelection(4, 2).build((2, 5, 3, 4))
    layer = VariableSelection(4, V)
    layer(normal(B, T, V, D))
    with pytest.raises(ValueError, match="expected a call without `context`"):
        layer(normal(B, T, V, D), context=normal(B, 3))


def sum_of_squares(x: list[np.ndarray]) -> float:
    gates, skip, weights, gamma, beta = x
    a, b = np.split(gates, 2, axis=-1)
    answers = norm(skip + sigmoid(a) * b, gamma[:, None, None], beta[:, None, None])
    return float(np.mean(((weights * answers).sum(axis=0) - 0.3) ** 2))


class Probe(keras.Model):
    """The end of the selection, with every argument a weight."""

    def __init__(self, start: list[np.ndarray]) -> None:
        super().__init__()
        self.parts = [
            self.add_weight(shape=part.shape, name=f"part{n}") for n, part in enumerate(start)
        ]
        for weight, part in zip(self.parts, start):
            weight.assign(part)
        self.built = True

    def call(self, inputs: Any) -> Any:
        return weighted_gated_norm(*[part + 0.0 for part in self.parts], 1e-3)


def test_written_out_gradient_equals_differences() -> None:
    shapes = [(V, B, T, 2 * D), (V, B, T, D), (V, B, T, 1), (V, D), (V, D)]
    start = [normal(*shape, seed=n) for n, shape in enumerate(shapes)]
    model = Probe(start)
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    model.train_on_batch(np.zeros((B, 1), "float32"), np.full((B, T, D), 0.3, "float32"))
    exact = [part.astype("float64") for part in start]
    rng = np.random.default_rng(0)
    for part, old, weight in zip(exact, start, model.parts):
        found = old - ops.convert_to_numpy(weight)
        for _ in range(12):
            place = tuple(rng.integers(0, size) for size in part.shape)
            losses = []
            for step in (1e-5, -1e-5):
                part[place] = float(old[place]) + step
                losses.append(sum_of_squares(exact))
            part[place] = old[place]
            slope = (losses[0] - losses[1]) / 2e-5
            np.testing.assert_allclose(found[place], slope, atol=2e-6)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has float64 on request only")
@pytest.mark.parametrize("form", ["published", "light"])
def test_outputs_have_the_type_of_the_policy(form):
    layer = VariableSelection(num_variables=3, hidden_size=4, form=form, dtype="float64")
    outputs = layer(np.random.default_rng(0).normal(size=(2, 5, 3, 4)))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float64"
