"""Batches: the same windows on every backend, in an order that the seed alone decides."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings

from tests.data.test_panel import build, panels
from tests.data.test_windows import LENGTHS, all_origins
from tsfusion.training.batches import EpochClock, EvaluationBatches, TrainingBatches, as_dataset

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data serves TensorFlow alone"
)


def batches_of(kind, given_, lengths, **kwargs):
    panel, _ = build(given_)
    shape = dict(zip(("context_length", "horizon"), lengths))
    return kind(panel, all_origins(panel), batch_size=4, **shape, **kwargs)


@on_tensorflow
@settings(deadline=None, max_examples=25)
@given(panels(), LENGTHS)
def test_the_graph_gathers_what_numpy_gathers(given_, lengths):
    panel, _ = build(given_)
    stop = panel.offsets[1:] - 1
    batches = batches_of(EvaluationBatches, given_, lengths, stop=stop)
    found = list(as_dataset(batches))
    assert len(found) == len(batches)
    for i, (inputs, y, weight) in enumerate(found):
        expected, expected_y, expected_weight = batches[i]
        assert sorted(inputs) == sorted(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(inputs[name].numpy(), values, err_msg=name)
            assert inputs[name].dtype == values.dtype
        np.testing.assert_array_equal(y.numpy(), expected_y)
        np.testing.assert_array_equal(weight.numpy(), expected_weight)


SERIES = [{t: (float(t), t / 2, -t / 3, t % 4) for t in range(6)}, {2: (1.0, 0.0, 0.0, 1)}]


def training(steps=3, seed=5, windows=10):
    panel, _ = build(SERIES)
    every = all_origins(panel)
    return TrainingBatches(
        panel, every.take(np.arange(windows)), context_length=3, horizon=2, batch_size=4,
        steps=steps, seed=seed,
    )  # fmt: skip


@pytest.mark.backends
def test_every_window_is_drawn_once_before_any_is_drawn_twice():
    batches = training(steps=5)
    drawn = np.concatenate([batches.index(i) for i in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert list(drawn[:10]) != list(drawn[10:])


@pytest.mark.backends
def test_a_batch_is_a_function_of_seed_epoch_and_number():
    one, two = training(), training()
    first = [one.index(i) for i in range(3)]
    EpochClock(one).on_epoch_begin(4)
    later = [one.index(i) for i in range(3)]
    two.epoch = 4
    for i in (2, 0, 1):
        np.testing.assert_array_equal(two.index(i), later[i])
    two.epoch = 0
    for i in (1, 2, 0):
        np.testing.assert_array_equal(two.index(i), first[i])
    assert not np.array_equal(np.concatenate(first), np.concatenate(later))
    assert not np.array_equal(training(seed=6).index(0), first[0])


@on_tensorflow
def test_the_dataset_goes_on_over_epochs():
    batches = training(steps=3)
    expected = training(steps=1000)
    for i, (inputs, y, _) in zip(range(70), as_dataset(batches)):
        want, want_y, _ = expected[i]
        np.testing.assert_array_equal(inputs["past_real"].numpy(), want["past_real"])
        np.testing.assert_array_equal(y.numpy(), want_y)
    batches.epoch = 2
    inputs, _, _ = next(iter(as_dataset(batches)))
    np.testing.assert_array_equal(inputs["past_real"].numpy(), expected[6][0]["past_real"])
