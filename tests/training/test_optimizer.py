"""The fused Adam against Keras' own."""

import keras
import numpy as np
import pytest

from tsfusion.training.optimizer import adam


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's kernels")
@pytest.mark.parametrize("compiled", [False, True])
def test_the_fused_adam_takes_the_steps_of_keras(compiled):
    import tensorflow as tf

    def trained(make):
        generator = np.random.default_rng(0)
        table = keras.Variable(generator.normal(size=(6, 3)).astype("float32"))
        weights = keras.Variable(generator.normal(size=(3, 2)).astype("float32"))
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
        optimizer = make(schedule, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9)
        optimizer.build([table, weights])

        @tf.function(jit_compile=compiled)
        def step(codes, x):
            with tf.GradientTape() as tape:
                rows = tf.gather(table.value, codes)  # a sparse gradient
                loss = tf.reduce_sum((rows @ weights.value - x) ** 2)
            optimizer.apply(tape.gradient(loss, [table.value, weights.value]), [table, weights])

        for _ in range(6):
            step(tf.constant([1, 4, 1]), generator.normal(size=(3, 2)).astype("float32"))
        return [np.asarray(variable) for variable in (table, weights, *optimizer.variables)]

    ours, theirs = trained(adam), trained(keras.optimizers.Adam)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        # The kernel rounds 1 - beta_2 to float32.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)
