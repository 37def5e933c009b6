"""A network of one layer, for tests of what is around the network."""

import functools

import keras

from tsfusion.components._math import TimeSharedDropout
from tsfusion.models import FusionTransformer


class Tiny(keras.Model):
    """A network of one layer: what is kept of it is of the same kinds, in a tenth of the time."""

    def __init__(self, horizon, quantiles, hidden_size, num_heads, dropout, **kwargs):
        super().__init__(name=kwargs["name"])
        self.size = kwargs["long_window"] * kwargs["num_past_real"]
        self.drop = TimeSharedDropout(dropout, name="drop")
        self.hidden = keras.layers.Dense(hidden_size, activation="tanh", name="hidden")
        self.out = keras.layers.Dense(horizon * len(quantiles), name="out")
        self.shape_out = keras.layers.Reshape((horizon, len(quantiles)), name="shape")

    def build(self, input_shape=None):
        self.hidden.build((None, self.size))
        self.out.build((None, self.hidden.units))
        self.built = True

    def read(self, inputs):
        return keras.ops.reshape(inputs["past_real"], (-1, self.size))

    def call(self, inputs, training=None):
        hidden = self.hidden(keras.ops.nan_to_num(self.read(inputs)))
        return self.shape_out(self.out(self.drop(hidden, training=training)))


class Wide(Tiny):
    """The same over every input, codes as numbers: no change of a table leaves it unmoved."""

    # A file is checked against the parameters of the network that stands in it.
    @functools.wraps(FusionTransformer.__init__)
    def __init__(self, horizon, quantiles, hidden_size, num_heads, dropout, **kwargs):
        super().__init__(horizon, quantiles, hidden_size, num_heads, dropout, **kwargs)
        steps = {"past": kwargs["long_window"], "future": horizon, "static": 1}
        self.sizes = {}
        for role, count in steps.items():
            self.sizes[f"{role}_real"] = count * kwargs[f"num_{role}_real"]
            self.sizes[f"{role}_categorical"] = count * len(kwargs[f"{role}_cardinalities"])
        self.size = sum(self.sizes.values())

    def read(self, inputs):
        parts = [
            keras.ops.reshape(keras.ops.cast(inputs[name], "float32"), (-1, size))
            for name, size in self.sizes.items()
            if size
        ]
        return keras.ops.concatenate(parts, axis=1)
