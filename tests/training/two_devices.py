"""Fits on one device and on two, in a process of its own; prints how far they are apart."""

import sys

import numpy as np

from tests.conftest import ROLES, SMALL, small_panel
from tests.tiny import Tiny
from tsfusion import FusionForecaster
from tsfusion.models.factory import NETWORKS


def strategy():
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def data_parallel():
    import keras

    return keras.distribution.DataParallel(auto_shard_dataset=False)


def table():
    """Unknown targets in one series alone, so that halves of a batch weigh differently."""
    frame = small_panel(n_series=4, n_steps=50)
    rng = np.random.default_rng(0)
    unknown = (frame["store"] == "s1") & (rng.random(len(frame)) < 0.4)
    frame.loc[unknown, "sales"] = np.nan
    return frame


def fitted(distribution, source=None):
    options = {**SMALL, "max_epochs": 3, "steps_per_epoch": 4, "dropout": 0.0,
               "learning_rate": 0.02, "validation_size": 0.3}  # fmt: skip
    model = FusionForecaster(
        horizon=3, context_length=14, **ROLES, **options, distribution=distribution
    )
    return model.fit(table() if source is None else source)


def main():
    NETWORKS["fusion"] = Tiny
    distribution = strategy() if sys.argv[1] == "mirrored" else data_parallel()
    one, two = fitted(None), fitted(distribution)
    away = [np.abs(np.subtract(one.history_[k], two.history_[k])).max() for k in one.history_]
    away += [
        np.abs(a - b).max() for a, b in zip(one.model_.get_weights(), two.model_.get_weights())
    ]
    future = table().groupby("store").tail(3)[["store", "date", "price", "event"]]
    future["date"] += np.timedelta64(3, "D")
    away.append(np.abs(one.forecast(future)["mean"] - two.forecast(future)["mean"]).max())
    moved = max(np.abs(w).max() for w in one.model_.get_weights())
    print("away", max(away), "replicas", sys.argv[1], "largest weight", moved)


if __name__ == "__main__":
    main()
