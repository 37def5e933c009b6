"""The recurrent encoder against its formula, its gradient against differences."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import arrays, normal, randomize, sigmoid
from tsfusion.components import RecurrentEncoder

pytestmark = pytest.mark.backends

B, T, D, UNITS = 3, 5, 4, 6
MASK = np.array([[0, 0, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


def lstm(weights: list, x: np.ndarray, state: list, mask: np.ndarray) -> tuple:
    kernel, recurrent, bias = weights
    h, c = state
    hs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        new_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        new_h = sigmoid(o) * np.tanh(new_c)
        keep = mask[:, t, None]
        h, c = np.where(keep, new_h, h), np.where(keep, new_c, c)
        hs.append(h)
    return np.stack(hs, axis=1), h, c


def gru(weights: list, x: np.ndarray, state: list, mask: np.ndarray) -> tuple:
    kernel, recurrent, bias, recurrent_bias = weights
    (h,) = state
    hs = []
    for t in range(x.shape[1]):
        z, r, g = np.split(x[:, t] @ kernel + bias, 3, axis=-1)
        z2, r2, g2 = np.split(h @ recurrent + recurrent_bias, 3, axis=-1)
        z = sigmoid(z + z2)
        new = z * h + (1 - z) * np.tanh(g + sigmoid(r + r2) * g2)
        h = np.where(mask[:, t, None], new, h)
        hs.append(h)
    return np.stack(hs, axis=1), h


FORMULAS = {"lstm": (lstm, 2), "gru": (gru, 1)}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("kind", FORMULAS)
def test_formula(kind: str, started: bool, masked: bool) -> None:
    formula, count = FORMULAS[kind]
    layer = RecurrentEncoder(UNITS, kind=kind)
    layer.build((B, T, D))
    weights = randomize(layer)
    start = [normal(B, UNITS, seed=s) * started for s in range(count)]
    mask = MASK if masked else np.ones((B, T), bool)
    sequence, last = layer(
        normal(B, T, D),
        initial_state=start if started else None,
        mask=mask if masked else None,
    )
    expected = formula(weights, normal(B, T, D), start, mask)
    for one, other in zip(arrays([sequence, *last]), expected):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_keras_own_lstm_agrees() -> None:
    layer = RecurrentEncoder(UNITS)
    layer.build((B, T, D))
    theirs = keras.layers.LSTM(UNITS, return_sequences=True, use_cudnn=False)
    theirs.build((B, T, D))
    theirs.set_weights(randomize(layer))
    x = normal(B, T, D)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x)[0]), ops.convert_to_numpy(theirs(x)), atol=2e-6
    )


class Probe(keras.Model):
    """A forward pass all of whose inputs and outputs take part in the loss."""

    def __init__(self, layer: RecurrentEncoder) -> None:
        super().__init__()
        self.layer = layer
        count = 2 if layer.kind == "lstm" else 1
        self.x = self.add_weight(shape=(B, T, D), name="x")
        self.start = [self.add_weight(shape=(B, UNITS), name=f"s{n}") for n in range(count)]
        self.layer.build((B, T, D))

    def call(self, mask: object) -> object:
        sequence, last = self.layer(
            self.x + 0.0, initial_state=[start + 0.0 for start in self.start], mask=mask
        )
        parts = [sequence, *[part[:, None] for part in last]]
        return ops.concatenate([ops.reshape(part, (B, -1)) for part in parts], axis=-1)


def loss_of(
    kind: str, weights: list, x: np.ndarray, start: list, mask: np.ndarray, target
) -> float:
    formula, _ = FORMULAS[kind]
    sequence, *last = formula(weights, x, start, mask)
    flat = np.concatenate([sequence.reshape(B, -1), *last], axis=-1)
    return float(np.mean((flat - target) ** 2))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", FORMULAS)
def test_written_out_gradient_equals_differences(kind: str, masked: bool) -> None:
    model = Probe(RecurrentEncoder(UNITS, kind=kind))
    randomize(model, seed=8)
    mask = MASK if masked else np.ones((B, T), bool)
    width = UNITS * (T + (2 if kind == "lstm" else 1))
    target = normal(B, width, seed=5)
    weights = [ops.convert_to_numpy(w).astype("float64") for w in model.layer.weights]
    x = ops.convert_to_numpy(model.x).astype("float64")
    start = [ops.convert_to_numpy(part).astype("float64") for part in model.start]
    rate = 1.0
    before = {w.path: ops.convert_to_numpy(w).copy() for w in model.trainable_weights}
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile=False)
    model.train_on_batch(mask, target)
    variables = dict(zip([w.path for w in model.layer.weights], weights))
    variables[model.x.path] = x
    variables |= {w.path: part for w, part in zip(model.start, start)}
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        found = (before[weight.path] - ops.convert_to_numpy(weight)) / rate
        array = variables[weight.path]
        for _ in range(6):
            place = tuple(rng.integers(0, size) for size in array.shape)
            old, losses = array[place], []
            for step in (1e-5, -1e-5):
                array[place] = old + step
                losses.append(loss_of(kind, weights, x, start, mask, target))
            array[place] = old
            slope = (losses[0] - losses[1]) / 2e-5
            np.testing.assert_allclose(found[place], slope, atol=2e-6, err_msg=weight.path)


def test_errors() -> None:
    with pytest.raises(ValueError, match="`kind` to be one of"):
        RecurrentEncoder(3, kind="rnn")
    with pytest.raises(ValueError, match="`units` to be an integer >= 1, received 0"):
        RecurrentEncoder(0)
    with pytest.raises(
        ValueError, match=r"expected `initial_state` of 2 tensors of shape \(B, 3\)"
    ):
        RecurrentEncoder(3)(normal(2, 4, 3), initial_state=[normal(2, 3)])
    with pytest.raises(ValueError, match=r"`inputs` of shape \(B, T, D\)"):
        RecurrentEncoder(3)(normal(2, 4))
