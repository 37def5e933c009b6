"""The scaling around a network: equivariance, the anchor, the loss."""

import keras
import numpy as np
import pytest
from keras import ops

from tsfusion.models.instance_scaled import InstanceScaled
from tsfusion.models.losses import PinballLoss

pytestmark = pytest.mark.backends


class Slope(keras.Model):
    """Gives the mean scaled past target plus a trainable number, for two steps and one level."""

    def __init__(self):
        super().__init__()
        self.shift = self.add_weight(shape=(), initializer="zeros", name="shift")

    def build(self, shape=None):
        self.built = True

    def call(self, inputs, training=None):
        past = ops.nan_to_num(ops.convert_to_tensor(inputs["past_real"]))
        middle = ops.mean(past[:, -2:, :1], axis=1, keepdims=True) + self.shift
        return ops.repeat(middle, 2, axis=1)


def model(**kwargs):
    made = InstanceScaled(Slope(), **kwargs)
    made.build()
    return made


PAST = np.array([[1.0, 2.0, 3.0, np.nan], [10.0, 10.0, 10.0, 10.0]], "float32")[..., None]


def by_hand(past, anchor):
    known = past[np.isfinite(past)]
    spread = known.std() or 1.0
    scaled = np.nan_to_num((past - known.mean()) / spread)
    start = known[-1] if anchor == "last" else known.mean()
    return start + spread * scaled[-2:].mean()


@pytest.mark.parametrize("anchor", ["last", "level"])
def test_output_is_anchor_plus_spread_times_network(anchor):
    output = ops.convert_to_numpy(model(anchor=anchor)({"past_real": PAST}))
    expected = [by_hand(row[:, 0], anchor) for row in PAST]
    np.testing.assert_allclose(output[:, 0, 0], expected, rtol=1e-5)


def test_forecasts_move_and_stretch_with_the_data():
    layer = model()
    usual = ops.convert_to_numpy(layer({"past_real": PAST[:1]}))
    moved = ops.convert_to_numpy(layer({"past_real": PAST[:1] * 100 - 7}))
    np.testing.assert_allclose(moved, usual * 100 - 7, rtol=1e-5)


def test_nothing_known_gives_the_fallback():
    empty = np.full((1, 4, 1), np.nan, "float32")
    output = model()({"past_real": empty, "fallback_loc": np.array([5.0], "float32")})
    np.testing.assert_allclose(ops.convert_to_numpy(output)[0, 0, 0], 5.0)


def test_the_loss_is_taken_in_units_of_the_window():
    layer = model()
    layer.compile(loss=PinballLoss([0.5], reduction="sum_over_batch_size"), jit_compile=False)
    x = {"past_real": PAST[:1]}
    y = np.array([[3.0, 4.0]], "float32")
    output = layer(x)
    loss = float(layer.compute_loss(x, ops.convert_to_tensor(y), output))
    spread = np.std([1.0, 2.0, 3.0])
    expected = np.abs(y - ops.convert_to_numpy(output)[..., 0]).mean() / spread
    assert loss == pytest.approx(expected, rel=1e-5)


def test_bad_anchor():
    with pytest.raises(ValueError, match="expected anchor 'last' or 'level'"):
        model(anchor="first")
