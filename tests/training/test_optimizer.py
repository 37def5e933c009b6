"""The fused Adam against Keras' own."""

import copy

import keras
import numpy as np
import pytest

from tsfusion.training.fit import TrainingPlan, _jit, _optimizer
from tsfusion.training.optimizer import adam


def plan(**changed):
    return TrainingPlan(**{
        "architecture": "fusion", "hidden_size": 8, "context_length": 4, "horizon": 2,
        "levels": (0.5,), "max_epochs": 1, "steps_per_epoch": None, "batch_size": 4,
        "learning_rate": 1e-2, "patience": 1, "optimizer": None, "loss": None, "callbacks": None,
        "jit_compile": False, "averaging": 0.99, "verbose": 0, **changed,
    })  # fmt: skip


@pytest.mark.parametrize(("steps", "momentum"), [(2000, 0.99), (200, 0.95), (5, 0.0)])
def test_the_average_of_weights_forgets_where_a_fit_began(steps, momentum):
    made = _optimizer(plan(), steps)
    assert made.use_ema
    assert made.ema_momentum == pytest.approx(momentum)
    assert made.ema_momentum**steps < 1e-4  # what is left of the first weights


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's compiler")
def test_xla_is_for_long_fits_on_a_gpu(monkeypatch):
    import tensorflow as tf

    assert _jit(plan(jit_compile=True), 1) is True
    for devices in ([], ["GPU:0"]):
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind, found=devices: found)
        assert [_jit(plan(jit_compile=None), steps) for steps in (10, 10**6)] == [
            False, bool(devices),
        ]  # fmt: skip


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


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's kernels")
def test_a_model_trained_with_it_can_be_copied():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(adam(0.1, use_ema=True), "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin(np.ones((1, 2))), model(np.ones((1, 2))))
    assert type(twin.optimizer) is type(model.optimizer)
