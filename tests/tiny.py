"""A network of one layer, for tests of what is around the network."""

import keras

from tsfusion.components._math import TimeSharedDropout


class Tiny(keras.Model):
    """A network of one layer: what is kept of it is of the same kinds, in a tenth of the time."""

    def __init__(self, horizon, quantiles, hidden_size, num_heads, dropout, **kwargs):
        super().__init__(name=kwargs["name"])
        self.past = (kwargs["long_window"], kwargs["num_past_real"])
        self.drop = TimeSharedDropout(dropout, name="drop")
        self.hidden = keras.layers.Dense(hidden_size, activation="tanh", name="hidden")
        self.out = keras.layers.Dense(horizon * len(quantiles), name="out")
        self.shape_out = keras.layers.Reshape((horizon, len(quantiles)), name="shape")

    def build(self, input_shape=None):
        self.hidden.build((None, self.past[0] * self.past[1]))
        self.out.build((None, self.hidden.units))
        self.built = True

    def call(self, inputs, training=None):
        past = keras.ops.nan_to_num(inputs["past_real"])
        past = keras.ops.reshape(past, (-1, self.past[0] * self.past[1]))
        return self.shape_out(self.out(self.drop(self.hidden(past), training=training)))
