"""The pinball loss against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from tsfusion.models.losses import PinballLoss

pytestmark = pytest.mark.backends


def test_twice_the_mean_over_levels():
    generator = np.random.default_rng(0)
    y = generator.normal(size=(6, 4)).astype("float32")
    forecast = generator.normal(size=(6, 4, 3)).astype("float32")
    levels = (0.1, 0.5, 0.8)
    expected = np.mean(
        [2 * mean_pinball_loss(y.ravel(), forecast[..., i].ravel(), alpha=q)
         for i, q in enumerate(levels)]
    )  # fmt: skip
    assert float(PinballLoss(levels)(y, forecast)) == pytest.approx(expected, rel=1e-5)


def test_weights_and_config():
    loss = PinballLoss.from_config(
        PinballLoss([0.5], reduction="mean_with_sample_weight").get_config()
    )
    y, forecast = np.array([[1.0, 9.0]]), np.zeros((1, 2, 1))
    assert float(loss(y, forecast, np.array([[1.0, 0.0]]))) == pytest.approx(1.0)


def test_bad_levels():
    with pytest.raises(ValueError, match="levels in"):
        PinballLoss([0.5, 1.5])
